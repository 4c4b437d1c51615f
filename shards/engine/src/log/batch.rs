//! The few fields of a record batch (format v2) that storage needs, read and written in place. Whether a client's batch is valid is
//! `floe_wire::batch`'s question; here the question is whether what comes back from disk is what went there.

use super::{BatchInfo, Found};

/// Bytes of a batch before its records.
pub(super) const HEADER_BYTES: usize = 61;
const LENGTH_AT: usize = 8;
/// Bytes that the length field does not count.
const LENGTH_SKIPS: usize = 12;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here, so offset and epoch can be stamped without touching it.
const CRC_FROM: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
/// Attributes: the codec; 0 is none.
const CODEC: i16 = 7;
/// Attribute: timestamps are append times.
const LOG_APPEND_TIME: i16 = 8;

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

/// Length of the batch at the start of `bytes` as it claims; `None` when that cannot be one.
pub(super) fn claimed_len(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < HEADER_BYTES || bytes[MAGIC_AT] != 2 {
        return None;
    }
    let len = usize::try_from(i32::from_be_bytes(array(bytes, LENGTH_AT))).ok()? + LENGTH_SKIPS;
    (len >= HEADER_BYTES).then_some(len)
}

/// The header of the batch at the start of `bytes`, which may be cut anywhere behind the header.
pub(super) fn header(bytes: &[u8]) -> Option<BatchInfo> {
    let len = claimed_len(bytes)?;
    Some(BatchInfo {
        base_offset: i64::from_be_bytes(array(bytes, 0)),
        last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
        record_count: i32::from_be_bytes(array(bytes, 57)),
        base_timestamp: i64::from_be_bytes(array(bytes, 27)),
        max_timestamp: i64::from_be_bytes(array(bytes, MAX_TIMESTAMP_AT)),
        producer_id: i64::from_be_bytes(array(bytes, 43)),
        producer_epoch: i16::from_be_bytes(array(bytes, 51)),
        base_sequence: i32::from_be_bytes(array(bytes, 53)),
        attributes: i16::from_be_bytes(array(bytes, 21)),
        bytes: len as u64,
    })
}

/// Whether the checksum of this whole batch holds.
pub(super) fn holds(batch: &[u8]) -> bool {
    claimed_len(batch) == Some(batch.len()) && u32::from_be_bytes(array(batch, CRC_AT)) == crc(&batch[CRC_FROM..])
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Gives the batch its offset and leader epoch.
pub(super) fn stamp(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[EPOCH_AT..EPOCH_AT + 4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives the batch the broker's time, which its checksum covers.
pub(super) fn stamp_append_time(batch: &mut [u8], time_ms: i64) {
    let attributes = i16::from_be_bytes(array(batch, 21)) | LOG_APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&time_ms.to_be_bytes());
    let crc = crc(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The first record of a whole batch at or past `not_below` whose timestamp is at least this.
pub(super) fn first_at_or_after(bytes: &[u8], timestamp_ms: i64, not_below: i64) -> Option<Found> {
    let info = header(bytes)?;
    // All records of a batch with append time have that time.
    if info.attributes & LOG_APPEND_TIME != 0 {
        let offset = info.base_offset.max(not_below);
        return (info.max_timestamp >= timestamp_ms).then_some(Found { offset, timestamp_ms: info.max_timestamp });
    }
    if info.max_timestamp < timestamp_ms {
        return None;
    }
    if info.attributes & CODEC == 0
        && let Some(found) = scan_records(&info, bytes, timestamp_ms, not_below)
    {
        return found;
    }
    // Not looking into the records gives the batch's start: never later than the record asked for.
    let timestamp_ms = if info.base_timestamp >= timestamp_ms { info.base_timestamp } else { info.max_timestamp };
    Some(Found { offset: info.base_offset.max(not_below), timestamp_ms })
}

/// Looks through uncompressed records; `None` when they are not what they should be.
fn scan_records(info: &BatchInfo, bytes: &[u8], timestamp_ms: i64, not_below: i64) -> Option<Option<Found>> {
    let mut rest = bytes.get(HEADER_BYTES..info.bytes as usize)?;
    for _ in 0..info.record_count {
        let len = usize::try_from(varint(&mut rest)?).ok()?;
        let (mut record, after) = rest.split_at_checked(len)?;
        rest = after;
        record = record.get(1..)?;
        let timestamp = info.base_timestamp + varint(&mut record)?;
        let offset = info.base_offset + varint(&mut record)?;
        if timestamp >= timestamp_ms && offset >= not_below {
            return Some(Some(Found { offset, timestamp_ms: timestamp }));
        }
    }
    Some(None)
}

/// A zigzag varint, at most 10 bytes.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Gives a batch made by a test its checksum.
#[cfg(test)]
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}
