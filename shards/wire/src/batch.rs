//! Record batches of format 2: what their headers say, whether they hold, and the fields that a broker writes into them.
//!
//! Base offset and leader epoch lie ahead of what the CRC-32C covers, so a broker stamps them without touching the rest.

mod builder;
mod filter;
mod records;

pub use builder::{BatchBuilder, BatchRecord, BuildError, recompress};
pub use filter::{RawRecord, RawRecords, empty, raw_records, rewrite};
use records::walk;
pub use records::{HeaderView, RecordView, Records, records, records_capped};

use crate::compression::{Codec, CodecError};
use crate::primitives::{DecodeError, Reader};

/// Bytes ahead of the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: base offset and length.
pub const LENGTH_END: usize = 12;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here on.
const CRC_FROM: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const TIMESTAMP_TYPE: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a batch has, or than its length says.
    #[error("{have} bytes, where the batch has {need}")]
    Truncated {
        /// Bytes of the batch.
        need: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// A length field below the size of a header.
    #[error("a batch length of {0}")]
    Length(i32),
    /// More bytes than allowed.
    #[error("a batch of {bytes} bytes, where {bytes_max} are allowed")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Bytes behind the batch where exactly one is allowed.
    #[error("{0} bytes behind the batch")]
    Trailing(usize),
    /// A format other than 2. Clients older than Kafka 0.11 send 0 and 1.
    #[error("record format {0}; only format 2 is supported")]
    Magic(i8),
    /// The checksum does not hold.
    #[error("the checksum does not hold")]
    Crc,
    /// A codec that does not exist.
    #[error("codec number {0} does not exist")]
    Codec(u8),
    /// Number of records and offsets do not fit, or no records.
    #[error("{records_count} records with a last offset delta of {last_offset_delta}")]
    Count {
        /// As the header says.
        records_count: i32,
        /// As the header says.
        last_offset_delta: i32,
    },
    /// An idempotent producer's id, epoch and sequence do not fit together.
    #[error("producer id, epoch and sequence do not fit together")]
    Producer,
    /// A broker's own mark, which clients must not send.
    #[error("a control batch, which clients must not send")]
    Control,
    /// A record does not fit its batch.
    #[error("record {0} does not fit the batch")]
    Record(i32),
    /// The records cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CodecError),
}

/// The header of a batch. Offsets and timestamps (milliseconds) as they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes behind the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended it.
    pub partition_leader_epoch: i32,
    /// Format.
    pub magic: i8,
    /// CRC-32C of everything behind it.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// Offset of the last record, relative to the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record.
    pub base_timestamp: i64,
    /// Highest timestamp.
    pub max_timestamp: i64,
    /// -1: not idempotent.
    pub producer_id: i64,
    /// Epoch of the producer.
    pub producer_epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Number of records.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header; judges only that it is there, its format and its length.
    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let short = BatchError::Truncated { need: HEADER_BYTES, have: bytes.len() };
        if let Some(magic) = bytes.get(MAGIC_AT).filter(|magic| **magic != 2) {
            return Err(BatchError::Magic(*magic as i8));
        }
        let header = Self::read(bytes).map_err(|_| short)?;
        if (header.batch_length as i64) < (HEADER_BYTES - LENGTH_END) as i64 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    fn read(bytes: &[u8]) -> Result<BatchHeader, DecodeError> {
        let mut r = Reader::new(bytes);
        Ok(BatchHeader {
            base_offset: r.fixed()?,
            batch_length: r.fixed()?,
            partition_leader_epoch: r.fixed()?,
            magic: r.fixed()?,
            crc: r.fixed()?,
            attributes: r.fixed()?,
            last_offset_delta: r.fixed()?,
            base_timestamp: r.fixed()?,
            max_timestamp: r.fixed()?,
            producer_id: r.fixed()?,
            producer_epoch: r.fixed()?,
            base_sequence: r.fixed()?,
            records_count: r.fixed()?,
        })
    }

    /// Bytes of the whole batch.
    pub fn total_bytes(&self) -> usize {
        self.batch_length as usize + LENGTH_END
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    /// The codec; `None` when the number is none's.
    pub fn codec(&self) -> Option<Codec> {
        Codec::from_number((self.attributes & 7) as u8)
    }

    /// The codec's name, for people.
    pub fn codec_name(&self) -> &'static str {
        self.codec().map_or("unknown", Codec::name)
    }

    /// Whether all records carry the time of the append (`max_timestamp`).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it is a broker's own mark and no data. Clients must not send these.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether `base_timestamp` is a compaction's delete horizon. Clients must not send these.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether the checksum holds for the batch at the start of `bytes`.
    pub fn crc_holds(&self, bytes: &[u8]) -> bool {
        bytes.get(CRC_FROM..self.total_bytes()).is_some_and(|covered| crc32c(covered) == self.crc)
    }
}

/// A batch that holds, with what a look at its records gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Its header.
    pub header: BatchHeader,
    /// The lowest timestamp of its records in milliseconds; of compressed ones, which are not looked into, the header's base.
    pub timestamp_min: i64,
    /// The highest one; of compressed ones the header's word for it.
    pub timestamp_max: i64,
}

/// Judges the batch at the start of `bytes` and gives its header. Compressed records are not looked into.
pub fn validate_prefix(bytes: &[u8], bytes_max: usize) -> Result<BatchHeader, BatchError> {
    prefix(bytes, bytes_max).map(|validated| validated.header)
}

/// Judges `bytes` as exactly one batch, sent by a client. Compressed records are not looked into.
pub fn validate(bytes: &[u8], bytes_max: usize) -> Result<Validated, BatchError> {
    let behind = BatchHeader::decode(bytes).map_or(0, |header| bytes.len().saturating_sub(header.total_bytes()));
    if behind > 0 {
        return Err(BatchError::Trailing(behind));
    }
    let validated = prefix(bytes, bytes_max)?;
    if validated.header.is_control() { Err(BatchError::Control) } else { Ok(validated) }
}

fn prefix(bytes: &[u8], bytes_max: usize) -> Result<Validated, BatchError> {
    let header = BatchHeader::decode(bytes)?;
    let need = header.total_bytes();
    if need > bytes_max {
        return Err(BatchError::TooLarge { bytes: need, bytes_max });
    }
    if need > bytes.len() {
        return Err(BatchError::Truncated { need, have: bytes.len() });
    }
    if !header.crc_holds(bytes) {
        return Err(BatchError::Crc);
    }
    let codec = header.codec().ok_or(BatchError::Codec((header.attributes & 7) as u8))?;
    let (count, delta) = (header.records_count, header.last_offset_delta);
    if count < 1 || delta != count - 1 {
        return Err(BatchError::Count { records_count: count, last_offset_delta: delta });
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || (header.base_sequence < 0 && !header.is_control())) {
        return Err(BatchError::Producer);
    }
    let (timestamp_min, timestamp_max) = match codec {
        Codec::None => walk(&header, &bytes[HEADER_BYTES..need])?,
        _ => (header.base_timestamp.min(header.max_timestamp), header.max_timestamp),
    };
    Ok(Validated { header, timestamp_min, timestamp_max })
}

/// A batch found by [`batches`].
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its header.
    pub header: BatchHeader,
    /// All its bytes.
    pub bytes: &'a [u8],
}

/// The batches that stand back to back in `bytes`, by their headers alone. A cut-off last one is an error, after which nothing comes.
pub fn batches(bytes: &[u8]) -> impl Iterator<Item = Result<Found<'_>, BatchError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = BatchHeader::decode(rest).and_then(|header| {
            let short = BatchError::Truncated { need: header.total_bytes(), have: rest.len() };
            let (bytes, after) = rest.split_at_checked(header.total_bytes()).ok_or(short)?;
            rest = after;
            Ok(Found { header, bytes })
        });
        if found.is_err() {
            rest = &[];
        }
        Some(found)
    })
}

/// Writes base offset and leader epoch into a batch.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Makes `now_ms` the timestamp of all records of a batch, and its checksum hold again.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn stamp_log_append_time(batch: &mut [u8], now_ms: i64) {
    let attributes = i16::from_be_bytes([batch[CRC_FROM], batch[CRC_FROM + 1]]) | TIMESTAMP_TYPE;
    batch[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now_ms.to_be_bytes());
    seal(batch);
}

/// Writes the checksum of a batch.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests;
