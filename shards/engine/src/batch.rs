//! Whether a batch that a producer sent can be appended: the checks on its header, by Kafka's rules.

use crate::config::TopicSettings;
use crate::log::BatchInfo;
use crate::requests::codes;

/// Bytes before the records.
const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count.
const LENGTH_SKIPS: usize = 12;
/// The CRC covers everything from here on.
const CRC_FROM: usize = 21;
const CODEC: i16 = 0x07;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// The highest codec there is: zstd.
const CODEC_MAX: i16 = 4;

/// Judges the bytes of one partition of a produce request: exactly one batch of format 2. Gives Kafka's error code and words when it cannot be taken.
pub fn judge(bytes: &[u8], settings: &TopicSettings, wall_ms: i64) -> Result<BatchInfo, (i16, String)> {
    let no = |code: i16, why: &str| Err((code, why.to_owned()));
    if bytes.len() < HEADER_BYTES {
        return no(codes::CORRUPT_MESSAGE, "The batch is shorter than a batch's header.");
    }
    if bytes[16] != 2 {
        return no(codes::INVALID_RECORD, "Only record batches of format 2 are taken.");
    }
    let (i16_at, i32_at, i64_at) = (
        |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]),
        |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes")),
        |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes")),
    );
    let claimed = usize::try_from(i32_at(8)).unwrap_or(0).saturating_add(LENGTH_SKIPS);
    if claimed < HEADER_BYTES || claimed > bytes.len() {
        return no(codes::CORRUPT_MESSAGE, "The batch's length is not that of its bytes.");
    }
    if claimed < bytes.len() {
        return no(codes::INVALID_RECORD, "A partition takes exactly one batch per request.");
    }
    if bytes.len() as u64 > settings.message_bytes_max {
        let max = settings.message_bytes_max;
        let message = format!("The batch has {} bytes, more than max.message.bytes={max}.", bytes.len());
        return Err((codes::MESSAGE_TOO_LARGE, message));
    }
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[CRC_FROM..]) as u32;
    if crc != i32_at(17) as u32 {
        return no(codes::CORRUPT_MESSAGE, "The batch's checksum does not hold.");
    }
    let info = BatchInfo {
        base_offset: i64_at(0),
        last_offset_delta: i32_at(23),
        record_count: i32_at(57),
        base_timestamp: i64_at(27),
        max_timestamp: i64_at(35),
        producer_id: i64_at(43),
        producer_epoch: i16_at(51),
        base_sequence: i32_at(53),
        attributes: i16_at(21),
        bytes: bytes.len() as u64,
    };
    if info.record_count < 1 || info.last_offset_delta != info.record_count - 1 {
        return no(codes::INVALID_RECORD, "The batch's count of records and its last offset contradict each other.");
    }
    if info.attributes & CODEC > CODEC_MAX {
        return no(codes::UNSUPPORTED_COMPRESSION_TYPE, "The batch's codec is not known.");
    }
    if info.attributes & CONTROL != 0 {
        return no(codes::INVALID_RECORD, "Clients cannot write control batches.");
    }
    if info.attributes & TRANSACTIONAL != 0 {
        return no(codes::INVALID_TXN_STATE, "Transactions are not there yet.");
    }
    if info.producer_id >= 0 && (info.base_sequence < 0 || info.producer_epoch < 0) {
        return no(codes::INVALID_RECORD, "A batch with a producer id needs a sequence and an epoch.");
    }
    let (oldest, newest) = (
        wall_ms.saturating_sub(settings.timestamp_before_ms_max),
        wall_ms.saturating_add(settings.timestamp_after_ms_max),
    );
    if !settings.log.log_append_time && (info.base_timestamp < oldest || info.max_timestamp > newest) {
        let message = format!("Timestamps must lie between {oldest} and {newest}.");
        return Err((codes::INVALID_TIMESTAMP, message));
    }
    Ok(info)
}
