//! Record batches of format v2 (magic 2): validated as a client sent them, stamped in place, walked without trust.
//!
//! The CRC-32C covers everything from the attributes on, so base offset and leader epoch can be stamped without touching it.

use crate::primitives::{DecodeError, Reader};

/// Bytes of a batch ahead of its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that the batch's length field does not count: base offset and the length itself.
const LENGTH_SKIPS: usize = 12;
const CRC_FROM: usize = 21;
/// Attributes: the codec.
const CODEC_MASK: i16 = 0x07;
/// Attributes: timestamps are the broker's.
const LOG_APPEND_TIME: i16 = 0x08;
/// Attributes: part of a transaction.
const TRANSACTIONAL: i16 = 0x10;
/// Attributes: a marker that only brokers write.
const CONTROL: i16 = 0x20;
/// The last codec that exists (zstd).
const CODEC_LAST: i16 = 4;

/// Why bytes are not a batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header says.
    #[error("the batch has {have} bytes where it says {said}")]
    Truncated {
        /// Bytes that it claims to have.
        said: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// Bytes behind the one batch that a partition's request may hold.
    #[error("{0} bytes behind the batch: a request holds one batch for each partition")]
    Trailing(usize),
    /// Formats 0 and 1, which Kafka 4 refuses as well, or nonsense.
    #[error("record format {0}; only format 2 is taken: use a client newer than Kafka 0.11")]
    Magic(i8),
    /// A length below that of a header.
    #[error("a batch length of {0}")]
    Length(i32),
    /// The checksum does not match.
    #[error("checksum {stored:#010x} stored, {computed:#010x} computed")]
    Crc {
        /// As sent.
        stored: u32,
        /// As it is.
        computed: u32,
    },
    /// A codec that does not exist.
    #[error("compression codec {0} does not exist")]
    Codec(i16),
    /// A marker from a client.
    #[error("control batches are written by brokers only")]
    Control,
    /// The number of records does not go with the offsets.
    #[error("{records} records with offsets 0 to {last_offset_delta}")]
    Count {
        /// Records that it claims to have.
        records: i32,
        /// Delta of the last one.
        last_offset_delta: i32,
    },
    /// A producer id without epoch or sequence, or the other way round.
    #[error("producer id {producer_id} with epoch {epoch} and sequence {sequence}")]
    Producer {
        /// As sent.
        producer_id: i64,
        /// As sent.
        epoch: i16,
        /// As sent.
        sequence: i32,
    },
    /// The records of an uncompressed batch do not fill it exactly.
    #[error("record {index} of the batch is not well formed: {cause}")]
    Record {
        /// Which, from 0.
        index: i32,
        /// What is wrong.
        cause: DecodeError,
    },
    /// The offset deltas of an uncompressed batch are not 0, 1, 2, ...
    #[error("record {index} has offset delta {delta}")]
    Delta {
        /// Which, from 0.
        index: i32,
        /// As sent.
        delta: i64,
    },
}

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// All bytes of the batch, header included.
    pub bytes: usize,
    /// Epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// CRC-32C from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: i16,
    /// Offset of the last record, relative to the first.
    pub last_offset_delta: i32,
    /// Timestamp that the records' are relative to, in milliseconds.
    pub base_timestamp: i64,
    /// Largest timestamp, in milliseconds.
    pub max_timestamp: i64,
    /// The producer; -1 is none.
    pub producer_id: i64,
    /// Its epoch; -1 is none.
    pub producer_epoch: i16,
    /// Sequence number of the first record; -1 is none.
    pub base_sequence: i32,
    /// Number of records.
    pub records: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may be cut anywhere behind it. Nothing but format and length are checked.
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { said: HEADER_BYTES, have: bytes.len() });
        };
        let magic = header[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let length = i32::from_be_bytes(array(header, 8));
        let bytes = usize::try_from(length).map_err(|_| BatchError::Length(length))? + LENGTH_SKIPS;
        if bytes < HEADER_BYTES {
            return Err(BatchError::Length(length));
        }
        Ok(BatchHeader {
            base_offset: i64::from_be_bytes(array(header, 0)),
            bytes,
            leader_epoch: i32::from_be_bytes(array(header, 12)),
            crc: u32::from_be_bytes(array(header, 17)),
            attributes: i16::from_be_bytes(array(header, CRC_FROM)),
            last_offset_delta: i32::from_be_bytes(array(header, 23)),
            base_timestamp: i64::from_be_bytes(array(header, 27)),
            max_timestamp: i64::from_be_bytes(array(header, 35)),
            producer_id: i64::from_be_bytes(array(header, 43)),
            producer_epoch: i16::from_be_bytes(array(header, 51)),
            base_sequence: i32::from_be_bytes(array(header, 53)),
            records: i32::from_be_bytes(array(header, 57)),
        })
    }

    /// Number of the codec; 0 is none.
    pub fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    /// Whether it belongs to a transaction.
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether timestamps are those of appending.
    pub fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }
}

fn array<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

fn crc(batch: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[CRC_FROM..]) as u32
}

/// Validates the one batch that a produce request holds for a partition. The records of a compressed batch are not looked at: they pass
/// through as they came, and their count is what the header says.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::read(bytes)?;
    if bytes.len() < header.bytes {
        return Err(BatchError::Truncated { said: header.bytes, have: bytes.len() });
    }
    if bytes.len() > header.bytes {
        return Err(BatchError::Trailing(bytes.len() - header.bytes));
    }
    let computed = crc(bytes);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    if header.codec() > CODEC_LAST {
        return Err(BatchError::Codec(header.codec()));
    }
    if header.attributes & CONTROL != 0 {
        return Err(BatchError::Control);
    }
    if header.records < 1 || header.last_offset_delta != header.records - 1 {
        return Err(BatchError::Count { records: header.records, last_offset_delta: header.last_offset_delta });
    }
    let (producer_id, epoch, sequence) = (header.producer_id, header.producer_epoch, header.base_sequence);
    let idempotent = producer_id >= 0 && epoch >= 0 && sequence >= 0;
    let plain = producer_id == -1 && epoch == -1 && sequence == -1;
    if !(idempotent || plain) || (plain && header.transactional()) {
        return Err(BatchError::Producer { producer_id, epoch, sequence });
    }
    if header.codec() == 0 {
        walk(&bytes[HEADER_BYTES..], header.records)?;
    }
    Ok(header)
}

/// Checks that `records` records with offset deltas 0, 1, 2, ... fill `bytes` exactly.
fn walk(bytes: &[u8], records: i32) -> Result<(), BatchError> {
    let mut reader = Reader::new(bytes);
    for index in 0..records {
        let broken = |cause| BatchError::Record { index, cause };
        let len = reader.varlong().map_err(broken)?;
        let len = usize::try_from(len).map_err(|_| broken(DecodeError::NegativeLength(len)))?;
        let mut record = Reader::new(reader.take(len).map_err(broken)?);
        record.take(1).map_err(broken)?;
        record.varlong().map_err(broken)?;
        let delta = record.varlong().map_err(broken)?;
        if delta != i64::from(index) {
            return Err(BatchError::Delta { index, delta });
        }
    }
    match reader.remaining() {
        0 => Ok(()),
        left => Err(BatchError::Record { index: records, cause: DecodeError::Trailing(left) }),
    }
}

/// Stamps what the leader decides into a validated batch.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives a validated batch the time of appending (`message.timestamp.type=LogAppendTime`): readers take the largest timestamp for every record's
/// then. Computes the checksum anew.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn stamp_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let attributes = i16::from_be_bytes([batch[CRC_FROM], batch[CRC_FROM + 1]]) | LOG_APPEND_TIME;
    batch[CRC_FROM..CRC_FROM + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    let sum = crc(batch);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
    use proptest::prelude::*;

    /// A batch as an independent implementation makes it.
    fn batch(records: i32, compression: Compression) -> Vec<u8> {
        let record = |n: i32| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 7,
            producer_epoch: 1,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(n),
            sequence: n,
            timestamp: 1000 + i64::from(n),
            key: (n % 2 == 0).then(|| "key".into()),
            value: Some(vec![b'v'; 100].into()),
            headers: Default::default(),
        };
        let records: Vec<Record> = (0..records).map(record).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("encodes");
        bytes.to_vec()
    }

    fn resum(batch: &mut [u8]) {
        let sum = crc(batch);
        batch[17..21].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn batches_of_another_implementation_are_valid() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let mut bytes = batch(30, compression);
            let header = validate(&bytes).expect("valid");
            assert_eq!((header.records, header.last_offset_delta, header.codec()), (30, 29, compression as i16));
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 0));
            assert_eq!((header.base_timestamp, header.max_timestamp), (1000, 1029));
            stamp(&mut bytes, 5_000_000_000, 3);
            let stamped = validate(&bytes).expect("stamping leaves the checksum alone");
            assert_eq!((stamped.base_offset, stamped.leader_epoch), (5_000_000_000, 3));
            stamp_log_append_time(&mut bytes, 77);
            let stamped = validate(&bytes).expect("the checksum was made anew");
            assert!(stamped.log_append_time());
            assert_eq!(stamped.max_timestamp, 77);
        }
    }

    type Damage = fn(&mut Vec<u8>);
    type Expected = fn(&BatchError) -> bool;

    #[test]
    fn what_is_wrong_is_named() {
        let table: &[(&str, Damage, Expected)] = &[
            ("cut", |b| b.truncate(100), |e| matches!(e, BatchError::Truncated { have: 100, .. })),
            ("cut header", |b| b.truncate(60), |e| matches!(e, BatchError::Truncated { have: 60, .. })),
            ("two batches", |b| b.extend_from_slice(&b.clone()), |e| matches!(e, BatchError::Trailing(_))),
            ("old format", |b| b[16] = 1, |e| *e == BatchError::Magic(1)),
            ("negative length", |b| b[8] = 0x80, |e| matches!(e, BatchError::Length(_))),
            ("flipped bit", |b| b[90] ^= 4, |e| matches!(e, BatchError::Crc { .. })),
            ("codec 5", |b| b[22] |= 5, |e| *e == BatchError::Codec(5)),
            ("control", |b| b[22] |= 0x20, |e| *e == BatchError::Control),
            ("no records", |b| b[57..61].fill(0), |e| matches!(e, BatchError::Count { records: 0, .. })),
            ("more records", |b| b[60] += 1, |e| matches!(e, BatchError::Count { .. })),
            ("half a producer", |b| b[51..53].fill(0xff), |e| matches!(e, BatchError::Producer { .. })),
            ("long record", |b| b[61] = 0x7e, |e| matches!(e, BatchError::Record { .. } | BatchError::Delta { .. })),
        ];
        for (name, damage, expected) in table {
            let mut bytes = batch(3, Compression::None);
            damage(&mut bytes);
            if !matches!(*name, "cut" | "cut header" | "flipped bit" | "two batches") {
                resum(&mut bytes);
            }
            let error = validate(&bytes).expect_err(name);
            assert!(expected(&error), "{name}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_bytes_make_validation_panic(noise in proptest::collection::vec(any::<u8>(), 0..300), at in 0..300_usize, sound in any::<bool>()) {
            let _ = validate(&noise);
            let mut bytes = batch(3, Compression::None);
            let end = bytes.len().min(at + noise.len());
            if at < end {
                bytes[at..end].copy_from_slice(&noise[..end - at]);
            }
            if sound {
                resum(&mut bytes);
            }
            let _ = validate(&bytes);
        }
    }
}
