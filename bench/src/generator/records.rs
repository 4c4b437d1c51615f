//! Record batches, made cheaply: bodies are laid out once, then only what differs from batch to batch is written into them.
//!
//! A value begins with a [`Stamp`]. Because every field that changes has a fixed width, the first n records of a prepared batch are
//! themselves a valid batch of n records. Compressed batches cannot be stamped: they are compressed anew when the load has a rate (and the
//! client has the time), otherwise a few are prepared, whose stamps say [`PREPARED`]. The codecs come from floe-wire, where they are other
//! people's libraries, too.

use crc_fast::CrcAlgorithm;
use floe_wire::compression;

use crate::client::varint;
use crate::workload::{Codec, STAMP_BYTES, Workload};

/// The producer of a stamp that is the same in every batch: its sequence and time mean nothing.
pub const PREPARED: u32 = u32::MAX;

/// Bytes of a record batch before its first record.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes of every key.
pub const KEY_BYTES: usize = 8;

// Offsets in the header of a batch, format 2.
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const BASE_TIME_AT: usize = 27;
const MAX_TIME_AT: usize = 35;
const COUNT_AT: usize = 57;

/// How many different batches are prepared when they cannot be stamped.
const PREPARED_BATCHES: usize = 4;

/// What a value says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which producer sent it, or [`PREPARED`].
    pub producer: u32,
    /// Its place among what this producer sent to this partition.
    pub sequence: u64,
    /// When it was due, in nanoseconds since 1970.
    pub due_ns: u64,
}

impl Stamp {
    /// Writes it to the beginning of a value.
    pub fn write(self, value: &mut [u8]) {
        value[..8].copy_from_slice(&self.sequence.to_le_bytes());
        value[8..16].copy_from_slice(&self.due_ns.to_le_bytes());
        value[16..20].copy_from_slice(&self.producer.to_le_bytes());
        value[20..24].copy_from_slice(&self.checksum().to_le_bytes());
    }

    /// Reads it from a value; none when the value is not ours.
    pub fn read(value: &[u8]) -> Option<Stamp> {
        let bytes = value.get(..STAMP_BYTES)?;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let stamp = Stamp { sequence: u64_at(0), due_ns: u64_at(8), producer: u32_at(16) };
        (stamp.checksum() == u32_at(20)).then_some(stamp)
    }

    /// Of the stamp alone: the batch's own CRC-32C guards every byte, this one says that the bytes were laid out by us.
    fn checksum(self) -> u32 {
        let mixed = (self.sequence ^ u64::from(self.producer).rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ self.due_ns.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (mixed ^ (mixed >> 32)) as u32
    }
}

/// A full batch of a workload, laid out once.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where each record's value begins, and where the last record ends.
    values_at: Vec<usize>,
    record_end: Vec<usize>,
    keyed: bool,
    codec: Codec,
    prepared: Vec<Vec<u8>>,
    next_prepared: usize,
}

impl Template {
    /// Lays out as many records as fit into a batch of this workload.
    pub fn new(workload: &Workload, keyed: bool, seed: u64) -> Template {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; BATCH_HEADER_BYTES];
        let (mut values_at, mut record_end) = (Vec::new(), Vec::new());
        let records_max = workload.batch_records_max.unwrap_or(u32::MAX).min(1_000_000);
        for delta in 0..records_max {
            let mut record = vec![0u8]; // attributes
            varint(&mut record, 0); // timestamp delta
            varint(&mut record, i64::from(delta));
            if keyed {
                varint(&mut record, KEY_BYTES as i64);
                record.extend_from_slice(&[0; KEY_BYTES]);
            } else {
                varint(&mut record, -1);
            }
            varint(&mut record, workload.record_bytes as i64);
            let value_at = record.len();
            record.resize(value_at + STAMP_BYTES, 0);
            let body_bytes = workload.record_bytes - STAMP_BYTES;
            let random_bytes = (body_bytes as f64 * (1.0 - workload.compressibility)) as usize;
            record.extend(std::iter::repeat_with(|| random.u8(..)).take(random_bytes));
            record.resize(value_at + workload.record_bytes, b'x');
            varint(&mut record, 0); // headers
            let mut framed = Vec::with_capacity(record.len() + 5);
            varint(&mut framed, record.len() as i64);
            if delta > 0 && bytes.len() + framed.len() + record.len() > workload.batch_bytes_max {
                break;
            }
            values_at.push(bytes.len() + framed.len() + value_at);
            bytes.extend_from_slice(&framed);
            bytes.extend_from_slice(&record);
            record_end.push(bytes.len());
        }
        bytes[MAGIC_AT] = 2;
        bytes[12..16].copy_from_slice(&(-1i32).to_be_bytes()); // leader epoch
        // No producer id, epoch, sequence.
        bytes[43..57].fill(0xff);
        Template { bytes, values_at, record_end, keyed, codec: workload.codec, prepared: vec![], next_prepared: 0 }
    }

    /// Compresses a few full batches once; from then on those are what [`Template::full_prepared`] gives.
    pub fn prepare(&mut self, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..PREPARED_BATCHES {
            for (at, &value_at) in self.values_at.iter().enumerate() {
                Stamp { producer: PREPARED, sequence: at as u64, due_ns: 0 }.write(&mut self.bytes[value_at..]);
                if self.keyed {
                    let key_at = self.key_at(at);
                    self.bytes[key_at..key_at + KEY_BYTES].copy_from_slice(&random.u64(..).to_le_bytes());
                }
            }
            let mut out = Vec::new();
            self.append(self.records_max(), 0, &mut out);
            self.prepared.push(out);
        }
    }

    /// Records of a full batch.
    pub fn records_max(&self) -> usize {
        self.values_at.len()
    }

    /// Bytes of a full batch before compression.
    pub fn bytes_max(&self) -> usize {
        self.bytes.len()
    }

    /// Was [`Template::prepare`] called?
    pub fn is_prepared(&self) -> bool {
        !self.prepared.is_empty()
    }

    /// Stamps record `at` of the batch that [`Template::append`] makes next.
    pub fn stamp(&mut self, at: usize, stamp: Stamp, key: Option<u64>) {
        stamp.write(&mut self.bytes[self.values_at[at]..]);
        if let Some(key) = key {
            let key_at = self.key_at(at);
            self.bytes[key_at..key_at + KEY_BYTES].copy_from_slice(&key.to_le_bytes());
        }
    }

    /// The first `records` records as a batch made at `now_ms`, appended to `out`.
    pub fn append(&mut self, records: usize, now_ms: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        if self.codec == Codec::None {
            out.extend_from_slice(&self.bytes[..self.record_end[records - 1]]);
        } else {
            out.extend_from_slice(&self.bytes[..BATCH_HEADER_BYTES]);
            let records = &self.bytes[BATCH_HEADER_BYTES..self.record_end[records - 1]];
            let packed = compression::compress(self.codec.wire(), records).expect("memory takes everything");
            out.extend_from_slice(&packed);
        }
        finish(&mut out[begin..], self.codec, records, now_ms);
    }

    /// One of the prepared full batches with a new time, appended to `out`.
    pub fn append_prepared(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        self.next_prepared = (self.next_prepared + 1) % self.prepared.len();
        out.extend_from_slice(&self.prepared[self.next_prepared]);
        finish(&mut out[begin..], self.codec, self.values_at.len(), now_ms);
    }

    /// Completes the first `records` records as a batch in the template's own memory, see [`Template::in_place`]; tells its length.
    pub fn finish_in_place(&mut self, records: usize, now_ms: u64) -> usize {
        let end = self.record_end[records - 1];
        finish(&mut self.bytes[..end], Codec::None, records, now_ms);
        end
    }

    /// The template's memory: what [`Template::finish_in_place`] left there.
    pub fn in_place(&self) -> &[u8] {
        &self.bytes
    }

    fn key_at(&self, at: usize) -> usize {
        let value_bytes = self.record_end[at] - self.values_at[at] - 1;
        self.values_at[at] - varint_bytes(value_bytes as i64) - KEY_BYTES
    }
}

/// Completes the header of a batch whose records are in place.
fn finish(batch: &mut [u8], codec: Codec, records: usize, now_ms: u64) {
    let length = (batch.len() - LENGTH_AT - 4) as i32;
    batch[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    batch[ATTRIBUTES_AT..LAST_DELTA_AT].copy_from_slice(&(codec as i16).to_be_bytes());
    batch[LAST_DELTA_AT..BASE_TIME_AT].copy_from_slice(&(records as i32 - 1).to_be_bytes());
    batch[BASE_TIME_AT..MAX_TIME_AT].copy_from_slice(&now_ms.to_be_bytes());
    batch[MAX_TIME_AT..MAX_TIME_AT + 8].copy_from_slice(&now_ms.to_be_bytes());
    batch[COUNT_AT..BATCH_HEADER_BYTES].copy_from_slice(&(records as i32).to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

/// What was found in a fetched batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Offset after its last record.
    pub next_offset: i64,
    /// Records in it at or after the wanted offset.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Header fields of the batch at the beginning of `bytes`, and its whole length; none when it is cut off there.
pub fn batch_bounds(bytes: &[u8]) -> Option<(usize, i64)> {
    let header = bytes.get(..BATCH_HEADER_BYTES)?;
    let length = LENGTH_AT + 4 + usize::try_from(be32(header, LENGTH_AT)).ok()?;
    if length < BATCH_HEADER_BYTES || length > bytes.len() {
        return None;
    }
    let base = i64::from_be_bytes(header[..8].try_into().expect("eight bytes"));
    Some((length, base + i64::from(be32(header, LAST_DELTA_AT)) + 1))
}

/// Looks at every record of a whole batch from offset `from` on: `each` gets its stamp, none when the value is not ours. An error says that the
/// batch is damaged.
pub fn read_batch(
    batch: &[u8],
    from: i64,
    unpacked: &mut Vec<u8>,
    mut each: impl FnMut(Option<Stamp>),
) -> Result<Seen, &'static str> {
    if batch[MAGIC_AT] != 2 {
        return Err("not a batch of format 2");
    }
    if crc32c(&batch[ATTRIBUTES_AT..]) != be32(batch, CRC_AT) as u32 {
        return Err("the batch's CRC-32C is wrong");
    }
    let base = i64::from_be_bytes(batch[..8].try_into().expect("eight bytes"));
    let mut seen = Seen { next_offset: base + i64::from(be32(batch, LAST_DELTA_AT)) + 1, ..Seen::default() };
    let codec = compression::Codec::from_number(batch[ATTRIBUTES_AT + 1] & 7).ok_or("no such codec")?;
    let mut rest = &batch[BATCH_HEADER_BYTES..];
    if codec != compression::Codec::None {
        compression::decompress(codec, rest, UNPACKED_BYTES_MAX, unpacked).map_err(|_| "does not decompress")?;
        rest = unpacked;
    }
    for _ in 0..be32(batch, COUNT_AT) {
        let length = usize::try_from(read_varint(&mut rest)?).map_err(|_| "a record of negative length")?;
        let mut record = rest.get(..length).ok_or("a record is cut off")?;
        rest = &rest[length..];
        record = record.get(1..).ok_or("a record is cut off")?; // attributes
        read_varint(&mut record)?; // timestamp delta
        let offset = base + read_varint(&mut record)?;
        let key = read_varint(&mut record)?.max(0) as usize;
        record = record.get(key..).ok_or("a key is cut off")?;
        let value = usize::try_from(read_varint(&mut record)?).map_err(|_| "a record without value")?;
        let value = record.get(..value).ok_or("a value is cut off")?;
        if offset >= from {
            seen.records += 1;
            seen.bytes += value.len() as u64;
            each(Stamp::read(value));
        }
    }
    Ok(seen)
}

/// Of one batch after decompression; the largest that a workload can ask for, with room.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn be32(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn varint_bytes(value: i64) -> usize {
    let mut out = Vec::new();
    varint(&mut out, value);
    out.len()
}

fn read_varint(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (&byte, rest) = bytes.split_first().ok_or("a number is cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return Err("a number has no end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(more: &str) -> Workload {
        let text = format!("kind = 'produce'\nrecord_bytes = 100\nbatch_bytes_max = 5000\n{more}");
        Workload::parse(&text, "").expect("parses")
    }

    fn read(batch: &[u8], from: i64) -> (Result<Seen, &'static str>, Vec<Option<Stamp>>) {
        let mut stamps = Vec::new();
        let seen = read_batch(batch, from, &mut Vec::new(), |stamp| stamps.push(stamp));
        (seen, stamps)
    }

    #[test]
    fn any_part_of_a_template_is_a_batch() {
        for (codec, keyed) in
            [("none", false), ("none", true), ("gzip", true), ("snappy", false), ("lz4", true), ("zstd", false)]
        {
            let mut template = Template::new(&workload(&format!("codec = '{codec}'")), keyed, 1);
            assert!(
                (40..50).contains(&template.records_max()) && template.bytes_max() <= 5000,
                "{}",
                template.bytes_max()
            );
            for records in [1, 2, template.records_max()] {
                let stamp = |at: usize| Stamp { producer: 3, sequence: 70 + at as u64, due_ns: 9 * at as u64 };
                for at in 0..records {
                    template.stamp(at, stamp(at), keyed.then_some(u64::MAX));
                }
                let mut batch = Vec::new();
                template.append(records, 1234, &mut batch);
                assert_eq!(batch_bounds(&batch), Some((batch.len(), records as i64)));
                assert_eq!(batch_bounds(&batch[..batch.len() - 1]), None);
                let (seen, stamps) = read(&batch, 0);
                let whole = Seen { next_offset: records as i64, records: records as u64, bytes: 100 * records as u64 };
                assert_eq!(seen, Ok(whole));
                assert_eq!(stamps, (0..records).map(|at| Some(stamp(at))).collect::<Vec<_>>());
                // What was read before is not counted again.
                assert_eq!(read(&batch, records as i64 - 1).1, vec![Some(stamp(records - 1))]);
            }
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut template = Template::new(&workload(""), false, 1);
        template.stamp(0, Stamp { producer: 1, sequence: 2, due_ns: 3 }, None);
        let mut batch = Vec::new();
        template.append(1, 0, &mut batch);
        for at in BATCH_HEADER_BYTES..batch.len() {
            let mut damaged = batch.clone();
            damaged[at] ^= 4;
            assert!(read(&damaged, 0).0.is_err(), "byte {at}");
        }
        // A whole batch of somebody else's records.
        let (seen, stamps) = read(&crate::client::batch(1, 100), 0);
        assert_eq!((seen.map(|seen| seen.records), stamps), (Ok(1), vec![None]));
    }

    #[test]
    fn prepared_batches_say_so_and_differ_in_keys_only() {
        let mut template = Template::new(&workload("codec = 'lz4'\ncompressibility = 0.5"), true, 1);
        template.prepare(7);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        template.append_prepared(1, &mut first);
        template.append_prepared(1, &mut second);
        assert_ne!(first, second);
        assert!(first.len() < template.bytes_max() * 3 / 4, "{} of {}", first.len(), template.bytes_max());
        assert!(read(&first, 0).1.iter().all(|stamp| stamp.is_some_and(|stamp| stamp.producer == PREPARED)));
    }
}
