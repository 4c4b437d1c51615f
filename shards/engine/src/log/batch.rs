//! Record batches as storage sees them: whether what comes back from disk is what went there, and which record a timestamp means. What a batch
//! is, `floe_wire::batch` says.

use floe_wire::batch::{BatchHeader, records};

pub(super) use floe_wire::batch::{HEADER_BYTES, stamp, stamp_log_append_time};

use super::{BatchInfo, Found, end};

/// The header of the batch at the start of `bytes`, which may be cut anywhere behind the header.
pub(super) fn header(bytes: &[u8]) -> Option<BatchInfo> {
    BatchHeader::decode(bytes).ok().map(|header| info(&header, bytes))
}

fn info(header: &BatchHeader, bytes: &[u8]) -> BatchInfo {
    let end = if header.is_control() { end::read(bytes) } else { None };
    BatchInfo { end, ..BatchInfo::of(header) }
}

/// The header of a whole batch whose checksum holds; `None` when it is not that.
pub(super) fn whole(batch: &[u8]) -> Option<BatchInfo> {
    let header = BatchHeader::decode(batch).ok()?;
    (header.total_bytes() == batch.len() && header.crc_holds(batch)).then(|| info(&header, batch))
}

/// The checksum that a batch carries.
pub(super) fn crc(batch: &[u8]) -> u32 {
    u32::from_be_bytes(batch[17..21].try_into().expect("4 bytes"))
}

/// Widens the range of the leader epochs of a partition's batches.
pub(super) fn note_epoch(epochs: &mut Option<(i32, i32)>, epoch: i32) {
    *epochs = Some(epochs.map_or((epoch, epoch), |(lowest, highest)| (lowest.min(epoch), highest.max(epoch))));
}

/// The first record of a whole batch at or past `not_below` whose timestamp is at least this. Compressed records are decompressed for it, within
/// the cap that produce has as well.
pub(super) fn first_at_or_after(bytes: &[u8], timestamp_ms: i64, not_below: i64) -> Option<Found> {
    let header = BatchHeader::decode(bytes).ok()?;
    if header.max_timestamp < timestamp_ms || header.last_offset() < not_below || header.records_count == 0 {
        return None;
    }
    // All records of a batch with append time have that time; which are left, only the records say.
    if header.is_log_append_time() && header.records_count == header.last_offset_delta.saturating_add(1) {
        return Some(Found { offset: header.base_offset.max(not_below), timestamp_ms: header.max_timestamp });
    }
    let mut scratch = Vec::new();
    let Ok(all) = records(bytes, &mut scratch) else { return Some(coarse(&header, timestamp_ms, not_below)) };
    for record in all {
        match record {
            Ok(r) if r.timestamp >= timestamp_ms && r.offset >= not_below => {
                return Some(Found { offset: r.offset, timestamp_ms: r.timestamp });
            }
            Ok(_) => {}
            Err(_) => return Some(coarse(&header, timestamp_ms, not_below)),
        }
    }
    None
}

/// For a batch whose records cannot be read (a client may have compressed nonsense, and nobody looked into it): its start, which is never later
/// than the record asked for.
fn coarse(header: &BatchHeader, timestamp_ms: i64, not_below: i64) -> Found {
    let from_base = header.base_timestamp >= timestamp_ms;
    let timestamp_ms = if from_base { header.base_timestamp } else { header.max_timestamp };
    Found { offset: header.base_offset.max(not_below), timestamp_ms }
}

#[cfg(test)]
mod tests {
    use floe_wire::batch::{BatchBuilder, BatchRecord};
    use floe_wire::compression::Codec;

    use super::*;

    #[test]
    fn finds_the_record_in_every_codec() {
        for codec in Codec::ALL {
            let mut builder = BatchBuilder::new(codec);
            for timestamp in [100, 90, 120, 110, 130] {
                builder.push(BatchRecord { timestamp, key: None, value: Some(b"value"), headers: &[] });
            }
            let mut batch = builder.finish().to_vec();
            stamp(&mut batch, 1000, 0);
            let rows = [
                (0, 0, Some((1000, 100))),
                (100, 0, Some((1000, 100))),
                (101, 0, Some((1002, 120))),
                (90, 1001, Some((1001, 90))),
                (95, 1001, Some((1002, 120))),
                (121, 0, Some((1004, 130))),
                (131, 0, None),
                (0, 1005, None),
            ];
            for (timestamp, not_below, expected) in rows {
                let found = first_at_or_after(&batch, timestamp, not_below).map(|f| (f.offset, f.timestamp_ms));
                assert_eq!(found, expected, "{codec:?}, {timestamp} from {not_below}");
            }
            stamp_log_append_time(&mut batch, 500);
            assert_eq!(first_at_or_after(&batch, 200, 1003), Some(Found { offset: 1003, timestamp_ms: 500 }));
        }
    }

    #[test]
    fn compressed_nonsense_gives_the_start_of_the_batch() {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.push(BatchRecord { timestamp: 100, key: None, value: Some(b"value"), headers: &[] });
        let mut batch = builder.finish().to_vec();
        batch[HEADER_BYTES..].fill(7);
        assert_eq!(first_at_or_after(&batch, 50, 0), Some(Found { offset: 0, timestamp_ms: 100 }));
    }
}
