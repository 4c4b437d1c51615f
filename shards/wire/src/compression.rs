//! The codecs of record batches: compress, and decompress with a cap on what comes out.

use std::io::{Read, Write};

/// How a batch's records are compressed; the number is what stands in the batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// Gzip.
    Gzip = 1,
    /// Snappy in the blocks of xerial's library, as the Java client writes it; raw snappy is read as well.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard (Produce and Fetch from versions 7 and 10 on, KIP-110).
    Zstd = 4,
}

/// Why bytes could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not what the codec writes.
    #[error("the compressed records are damaged")]
    Damaged,
    /// More would come out than allowed.
    #[error("the records have more than {0} bytes when decompressed")]
    TooLarge(usize),
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec of a number.
    pub fn from_number(number: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(number)).copied()
    }

    /// Kafka's name (`compression.type`).
    pub fn name(self) -> &'static str {
        ["none", "gzip", "snappy", "lz4", "zstd"][self as usize]
    }

    /// The codec of a name.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// First bytes of xerial's framing: magic, version 1, compatible with 1.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// Uncompressed bytes of a xerial block.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// Compresses `bytes`.
pub fn compress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let fail = |_| CodecError::Damaged;
    match codec {
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).map_err(fail)?;
            encoder.finish().map_err(fail)
        }
        Codec::Snappy => {
            let mut out = XERIAL.to_vec();
            let mut encoder = snap::raw::Encoder::new();
            for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
                let packed = encoder.compress_vec(block).map_err(|_| CodecError::Damaged)?;
                out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
                out.extend_from_slice(&packed);
            }
            Ok(out)
        }
        Codec::Lz4 => {
            // Java's decoder knows only independent blocks.
            let info = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes).map_err(fail)?;
            encoder.finish().map_err(|_| CodecError::Damaged)
        }
        Codec::Zstd => zstd::encode_all(bytes, 0).map_err(fail),
    }
}

/// Decompresses `bytes` into `out` (emptied first); more than `bytes_max` bytes are an error, and are never held.
pub fn decompress(codec: Codec, bytes: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.clear();
    match codec {
        Codec::None => {
            if bytes.len() > bytes_max {
                return Err(CodecError::TooLarge(bytes_max));
            }
            out.extend_from_slice(bytes);
            Ok(())
        }
        Codec::Gzip => drain(flate2::read::MultiGzDecoder::new(bytes), bytes_max, out),
        Codec::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(bytes), bytes_max, out),
        Codec::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(bytes).map_err(|_| CodecError::Damaged)?;
            // 8 MiB windows: what every compression level without --long needs, and all a hostile frame gets.
            decoder.window_log_max(23).map_err(|_| CodecError::Damaged)?;
            drain(decoder, bytes_max, out)
        }
        Codec::Snappy => match bytes.strip_prefix(XERIAL_MAGIC) {
            Some(rest) => {
                let mut rest = rest.get(8..).ok_or(CodecError::Damaged)?;
                while !rest.is_empty() {
                    let (len, after) = rest.split_first_chunk::<4>().ok_or(CodecError::Damaged)?;
                    let (block, after) =
                        after.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or(CodecError::Damaged)?;
                    unsnap(block, bytes_max, out)?;
                    rest = after;
                }
                Ok(())
            }
            None => unsnap(bytes, bytes_max, out),
        },
    }
}

fn drain(reader: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    reader.take(bytes_max as u64 + 1).read_to_end(out).map_err(|_| CodecError::Damaged)?;
    if out.len() > bytes_max { Err(CodecError::TooLarge(bytes_max)) } else { Ok(()) }
}

/// Appends one raw snappy block.
fn unsnap(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let len = snap::raw::decompress_len(block).map_err(|_| CodecError::Damaged)?;
    // Snappy makes at most 64 bytes of 3: a length beyond is a lie, and no memory is taken for it.
    if len > block.len().saturating_mul(32) {
        return Err(CodecError::Damaged);
    }
    let start = out.len();
    if len > bytes_max - start {
        return Err(CodecError::TooLarge(bytes_max));
    }
    out.resize(start + len, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|_| CodecError::Damaged)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_no_more_than_allowed() {
        let text: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let mut out = Vec::new();
        for codec in Codec::ALL {
            let packed = compress(codec, &text).unwrap();
            decompress(codec, &packed, text.len(), &mut out).unwrap();
            assert_eq!(out, text, "{codec:?}");
            let short = decompress(codec, &packed, text.len() - 1, &mut out);
            assert_eq!(short, Err(CodecError::TooLarge(text.len() - 1)), "{codec:?}");
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
    }

    #[test]
    fn raw_snappy_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"ice ice ice ice").unwrap();
        let mut out = Vec::new();
        decompress(Codec::Snappy, &packed, 100, &mut out).unwrap();
        assert_eq!(out, b"ice ice ice ice");
    }
}
