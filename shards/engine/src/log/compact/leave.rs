//! What compaction leaves of one batch, by Kafka's rules. Pure.
//!
//! - Of records with the same key the last one stays, within what the table of keys covers; what lies behind that stays as it is.
//! - A record without a value (a tombstone) stays until its batch's delete horizon: `delete.retention.ms` after it was first compacted, written into
//!   the batch then (KIP-534), so that a consumer that is behind sees the deletion.
//! - A record without a key goes: it came before the topic was compacted.
//! - A batch without records goes as well, unless it is the last of a producer: recovery without a checkpoint reads from it which
//!   sequence comes next.
//! - Records of an aborted transaction go, whatever their keys. The end of a transaction of which nothing is left gets a delete horizon when that is first
//!   seen, and goes when it is reached.
//! - What cannot be read stays as it is.

use floe_wire::batch::{RawRecord, empty, raw_records, rewrite};
use floe_wire::limits::DECOMPRESSED_BYTES_MAX;

use super::keys::Keys;
use super::txns::Fate;
use crate::log::BatchInfo;

const DELETE_HORIZON: i16 = 0x40;

/// By what it is decided.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) keys: &'a Keys,
    /// The offset behind what the table covers.
    pub(super) end: i64,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it: nothing was written.
    Same,
    /// Some of it, written.
    Less,
    /// Nothing.
    Nothing,
}

/// Memory used again from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    plain: Vec<u8>,
    kept: Vec<bool>,
}

/// Decides about a whole batch and writes what is left of it behind `out`, unless that is all. Gives the bytes of records looked at as well.
pub(super) fn leave(
    rules: &Rules<'_>,
    batch: &[u8],
    info: &BatchInfo,
    (fate, is_last_of_producer): (Fate, bool),
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> (Left, usize) {
    if info.base_offset >= rules.end {
        return (Left::Same, 0);
    }
    if info.record_count == 0 {
        return (if is_last_of_producer { Left::Same } else { Left::Nothing }, 0);
    }
    match fate {
        Fate::Aborted => return (nothing(batch, is_last_of_producer, out), 0),
        Fate::EndOfNothing => return (leave_end(rules, batch, info, is_last_of_producer, out), batch.len()),
        // Also control batches of a kind that is not known.
        Fate::End | Fate::Records if info.is_control() => return (Left::Same, 0),
        Fate::End | Fate::Records => {}
    }
    let Scratch { plain, kept } = scratch;
    plain.clear();
    kept.clear();
    let Ok(records) = raw_records(batch, plain, DECOMPRESSED_BYTES_MAX) else { return (Left::Same, 0) };
    let looked_at = records.body_bytes();
    let horizon = (info.attributes & DELETE_HORIZON != 0).then_some(info.base_timestamp);
    let mut new_horizon = None;
    for record in records.clone() {
        let Ok(record) = record else { return (Left::Same, looked_at) };
        let offset = info.base_offset + record.offset_delta;
        let stays = offset >= rules.end || stays(rules, &record, offset, horizon);
        if stays && !record.has_value && offset < rules.end && horizon.is_none() {
            new_horizon = Some(rules.now_ms.saturating_add(rules.delete_retention_ms));
        }
        kept.push(stays);
    }
    if new_horizon.is_none() && kept.iter().all(|stays| *stays) {
        return (Left::Same, looked_at);
    }
    let any = kept.iter().any(|stays| *stays);
    if !any && !is_last_of_producer {
        return (Left::Nothing, looked_at);
    }
    let from = out.len();
    let chosen = records.flatten().zip(kept.iter()).filter(|(_, stays)| **stays).map(|(record, _)| record);
    let written = if any { rewrite(batch, chosen, new_horizon, out).is_ok() } else { empty(batch, out).is_ok() };
    if !written {
        out.truncate(from);
        return (Left::Same, looked_at);
    }
    (Left::Less, looked_at)
}

/// The end of a transaction of which nothing is left.
fn leave_end(rules: &Rules<'_>, batch: &[u8], info: &BatchInfo, is_last_of_producer: bool, out: &mut Vec<u8>) -> Left {
    if info.attributes & DELETE_HORIZON != 0 {
        let is_over = rules.now_ms >= info.base_timestamp;
        return if is_over { nothing(batch, is_last_of_producer, out) } else { Left::Same };
    }
    let horizon = rules.now_ms.saturating_add(rules.delete_retention_ms);
    let (from, mut plain) = (out.len(), Vec::new());
    let records = raw_records(batch, &mut plain, DECOMPRESSED_BYTES_MAX);
    let is_written = records.is_ok_and(|records| rewrite(batch, records.flatten(), Some(horizon), out).is_ok());
    if !is_written {
        out.truncate(from);
        return Left::Same;
    }
    Left::Less
}

/// Nothing of a batch stays, but for what it says of its producer if it is the last.
fn nothing(batch: &[u8], is_last_of_producer: bool, out: &mut Vec<u8>) -> Left {
    if !is_last_of_producer {
        return Left::Nothing;
    }
    empty(batch, out).expect("a whole batch has a header");
    Left::Less
}

fn stays(rules: &Rules<'_>, record: &RawRecord<'_>, offset: i64, horizon: Option<i64>) -> bool {
    let Some(key) = record.key else { return false };
    let is_last = rules.keys.last(key).is_none_or(|last| offset >= last);
    is_last && (record.has_value || horizon.is_none_or(|horizon| rules.now_ms < horizon))
}

/// Enters the records of a whole batch from `from` on into the table. Gives the bytes looked at, and the offset of the first record that has no room.
pub(super) fn enter(
    keys: &mut Keys,
    batch: &[u8],
    info: &BatchInfo,
    from: i64,
    scratch: &mut Scratch,
) -> (usize, Option<i64>) {
    if info.record_count == 0 {
        return (0, None);
    }
    scratch.plain.clear();
    let Ok(records) = raw_records(batch, &mut scratch.plain, DECOMPRESSED_BYTES_MAX) else { return (0, None) };
    let looked_at = records.body_bytes();
    // What cannot be read to its end stays as it is, so none of it may speak for others either.
    if records.clone().any(|record| record.is_err()) {
        return (looked_at, None);
    }
    for record in records.flatten() {
        let offset = info.base_offset + record.offset_delta;
        if let Some(key) = record.key.filter(|_| offset >= from)
            && !keys.enter(key, offset)
        {
            return (looked_at, Some(offset));
        }
    }
    (looked_at, None)
}
