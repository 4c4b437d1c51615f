//! Whether what a producer sent for one partition can be appended, and as what: the rules of topic and request on top of those that
//! `floe_wire::batch` has for the bytes. Runs on the shard of the connection; docs/decisions/0004-produce-checks.md says what is not looked into.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::batch::{self, BatchError, BatchHeader, BuildError, Validated};
use floe_wire::compression::{Codec, CodecError};
use floe_wire::limits::DECOMPRESSED_BYTES_MAX;

use crate::config::TopicSettings;
use crate::limits::RECORD_ERRORS_MAX;
use crate::log::BatchInfo;
use crate::requests::codes;

/// Why a partition's records are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka's error code.
    pub code: i16,
    /// Why, for people.
    pub message: Cow<'static, str>,
    /// The records that are to blame, by their place in the batch; the first [`RECORD_ERRORS_MAX`] of them.
    pub records: Vec<(i32, String)>,
}

impl Refused {
    /// For a reason that no single record is to blame for.
    pub fn new(code: i16, message: impl Into<Cow<'static, str>>) -> Refused {
        Refused { code, message: message.into(), records: Vec::new() }
    }
}

/// Produce requests below this version cannot carry zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// A record without a timestamp.
const NO_TIMESTAMP: i64 = -1;

/// Judges the bytes of one partition of a produce request of version `version`. Gives the batch to append: the one that came, or with
/// `compression.type` other than `producer` the same records in that codec.
pub fn judge(
    bytes: Bytes,
    settings: &TopicSettings,
    version: i16,
    wall_ms: i64,
) -> Result<(Bytes, BatchInfo), Refused> {
    let bytes_max = usize::try_from(settings.message_bytes_max).unwrap_or(usize::MAX);
    let validated = batch::validate(&bytes, bytes_max).map_err(|error| refused(&error))?;
    let header = validated.header;
    let invalid = |why: &'static str| Err(Refused::new(codes::INVALID_RECORD, why));
    if header.codec() == Some(Codec::Zstd) && version < ZSTD_SINCE {
        let why = "Zstandard needs Produce version 7 or newer.";
        return Err(Refused::new(codes::UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    if header.base_offset != 0 {
        return invalid("The base offset of a batch that is produced must be 0.");
    }
    if header.has_delete_horizon() {
        return invalid("A delete horizon is the broker's own mark.");
    }
    if header.is_transactional() && header.producer_id < 0 {
        return invalid("A batch of a transaction has a producer id.");
    }
    if header.is_log_append_time() {
        let why = "Invalid timestamp type: a producer must not set LogAppendTime.";
        return Err(Refused::new(codes::INVALID_TIMESTAMP, why));
    }
    if !settings.log.log_append_time {
        check_timestamps(&bytes, &validated, settings, wall_ms)?;
    }
    match settings.recompress_to.filter(|codec| header.codec() != Some(*codec)) {
        None => Ok((bytes, BatchInfo::of(&header))),
        Some(codec) => recompress(&bytes, codec, bytes_max),
    }
}

fn recompress(bytes: &[u8], codec: Codec, bytes_max: usize) -> Result<(Bytes, BatchInfo), Refused> {
    let bytes = batch::recompress(bytes, codec, DECOMPRESSED_BYTES_MAX).map_err(|error| match error {
        BuildError::Batch(error) => refused(&error),
        BuildError::Codec(error) => refused(&BatchError::Compression(error)),
    })?;
    if bytes.len() > bytes_max {
        let bytes = bytes.len();
        return Err(refused(&BatchError::TooLarge { bytes, bytes_max }));
    }
    let header = BatchHeader::decode(&bytes).expect("made just now");
    Ok((bytes, BatchInfo::of(&header)))
}

/// Whether every record of a batch for a compacted topic has a key: without one it could never be told whether it is the last of its kind. Compressed
/// records are looked into for it, as nothing else is there to say so.
pub fn check_keys(bytes: &[u8], settings: &TopicSettings, topic: &str, partition: i32) -> Result<(), Refused> {
    if settings.log.compact.is_none() {
        return Ok(());
    }
    let mut scratch = Vec::new();
    let records = batch::raw_records(bytes, &mut scratch, DECOMPRESSED_BYTES_MAX).map_err(|error| refused(&error))?;
    let mut without = Vec::new();
    let mut count = 0;
    for (record, at) in records.zip(0..) {
        if record.map_err(|error| refused(&error))?.key.is_none() {
            count += 1;
            if without.len() < RECORD_ERRORS_MAX {
                let why = format!(
                    "Compacted topic cannot accept message without key in topic partition {topic}-{partition}."
                );
                without.push((at, why));
            }
        }
    }
    if count == 0 {
        return Ok(());
    }
    let message =
        format!("One or more records have been rejected due to {count} record errors in total: {}", without[0].1);
    Err(Refused { code: codes::INVALID_RECORD, message: message.into(), records: without })
}

/// `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
fn check_timestamps(
    bytes: &[u8],
    validated: &Validated,
    settings: &TopicSettings,
    wall_ms: i64,
) -> Result<(), Refused> {
    let oldest = wall_ms.saturating_sub(settings.timestamp_before_ms_max);
    let newest = wall_ms.saturating_add(settings.timestamp_after_ms_max);
    let (min, max) = (validated.timestamp_min, validated.timestamp_max);
    if oldest <= min && max <= newest {
        return Ok(());
    }
    let fits = |timestamp: i64| timestamp == NO_TIMESTAMP || (oldest..=newest).contains(&timestamp);
    let mut blamed = Vec::new();
    if validated.header.codec() == Some(Codec::None) {
        let mut scratch = Vec::new();
        let records = batch::records(bytes, &mut scratch).map_err(|error| refused(&error))?;
        let wrong = records.flatten().zip(0..).filter(|(record, _)| !fits(record.timestamp));
        let say =
            |timestamp| format!("Timestamp {timestamp} is out of range: it must lie within [{oldest}, {newest}].");
        blamed.extend(wrong.take(RECORD_ERRORS_MAX).map(|(record, at)| (at, say(record.timestamp))));
        if blamed.is_empty() {
            return Ok(());
        }
    } else if fits(min) && fits(max) {
        return Ok(());
    }
    let message = format!("Timestamps must lie between {oldest} and {newest}.");
    Err(Refused { code: codes::INVALID_TIMESTAMP, message: message.into(), records: blamed })
}

/// Kafka's code for bytes that are no batch.
fn refused(error: &BatchError) -> Refused {
    let code = match error {
        BatchError::Truncated { .. }
        | BatchError::Trailing(_)
        | BatchError::Magic(_)
        | BatchError::Count { .. }
        | BatchError::Producer
        | BatchError::Control
        | BatchError::Record(_) => codes::INVALID_RECORD,
        BatchError::Length(_) | BatchError::Crc | BatchError::Compression(CodecError::Damaged) => {
            codes::CORRUPT_MESSAGE
        }
        BatchError::TooLarge { .. } | BatchError::Compression(CodecError::TooLarge(_)) => codes::MESSAGE_TOO_LARGE,
        BatchError::Codec(_) => codes::UNSUPPORTED_COMPRESSION_TYPE,
    };
    let message = match error {
        BatchError::Trailing(_) => "A partition takes exactly one batch per request.".into(),
        BatchError::TooLarge { bytes, bytes_max } => {
            format!("The batch has {bytes} bytes, more than max.message.bytes={bytes_max}.")
        }
        error => format!("The batch cannot be taken: {error}."),
    };
    let records = match error {
        BatchError::Record(at) => vec![(*at, "The record does not fit its batch.".to_owned())],
        _ => Vec::new(),
    };
    Refused { code, message: message.into(), records }
}

#[cfg(test)]
mod tests;
