//! What was found of each partition becomes the partition: its segments, its tail, its producers; or the reason why it cannot be used.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ShardLog;
use super::import::Import;
use super::rebuild::{Gathered, Place};
use crate::event::Effects;
use crate::log::checkpoint::PartitionState;
use crate::log::segment::Segment;
use crate::log::{BatchInfo, PartitionIx, TailEntry};
use crate::partition::Partition;
use crate::producers::{ProducedBatch, Producer, sequence_after};
use crate::time::Time;

const HELP: &str = "Acknowledged records are lost or in doubt, so the partition answers with a storage error. Restore the data directory from a copy, or delete the \
                    topic; `floe dump-log` shows what is left";

impl ShardLog {
    /// Gives every partition what was found of it.
    pub(super) fn finish_rebuild(&mut self, now: Time, fx: &mut Effects) {
        let mut recovery = self.recovery.take().expect("recovery runs");
        let unknown = std::mem::take(&mut recovery.unknown);
        for (i, g) in std::mem::take(&mut recovery.gathered).into_iter().enumerate() {
            self.give_back(now, PartitionIx(i as u32), g, &unknown, &mut recovery.imports, fx);
        }
        // Commits of which nothing is needed need not be in memory.
        for commit in self.journal.commits.iter_mut().filter(|c| c.live == 0) {
            self.journal.memory_bytes -= commit.bytes.len() as u64;
            commit.bytes = Bytes::new();
        }
        recovery.sources.truncate(1);
        let files = std::mem::take(&mut recovery.sources[0].files);
        self.recovery = Some(recovery);
        self.open_slots(files, fx);
        self.sync_journal(fx);
    }

    /// Gives a partition what was found of it.
    fn give_back(
        &mut self,
        now: Time,
        ix: PartitionIx,
        mut g: Gathered,
        unknown: &[(usize, u64, String)],
        imports: &mut VecDeque<Import>,
        fx: &mut Effects,
    ) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("nothing has been removed yet");
        restore(p, g.state.take(), g.log_start);
        for info in &g.rescanned.produced {
            note_producer(p, now, info);
        }
        g.entries.sort_by(|a, b| (a.info.base_offset, b.age).cmp(&(b.info.base_offset, a.age)));
        let mut failure = p.lost.take();
        let mut gap = None;
        let mut expected = p.settled_end;
        for entry in &g.entries {
            let last_offset = entry.info.base_offset + i64::from(entry.info.last_offset_delta);
            if last_offset < expected {
                continue;
            }
            if entry.info.base_offset != expected {
                gap = Some(format!(
                    "the records from offset {expected} up to {} are missing in the journal. {HELP}",
                    entry.info.base_offset
                ));
                break;
            }
            match &entry.place {
                Place::Own { ring, at } => {
                    let tail = TailEntry {
                        base_offset: expected,
                        last_offset,
                        max_timestamp: entry.info.max_timestamp,
                        ring: *ring,
                        at: *at,
                        len: entry.info.bytes as u32,
                    };
                    enter(p, now, &entry.info, tail);
                    self.unsettled_bytes += entry.info.bytes;
                    let commit = self.journal.commit_mut(*ring).expect("it was read from there");
                    commit.live += 1;
                    commit.entries.push((ix, last_offset + 1));
                    let slot = commit.slot as usize;
                    self.journal.slots[slot].live += 1;
                    p.log_end = last_offset + 1;
                }
                Place::Old(bytes) => imports.push_back(Import { ix, info: entry.info, bytes: bytes.clone() }),
            }
            expected = last_offset + 1;
        }
        p.high_watermark = p.log_end;
        p.memory_from = p.log_end;
        p.log_start = p.log_start.min(expected);
        p.producers.truncate(expected);
        if let Some((offset, place)) = g.damaged.iter().find(|(offset, _)| *offset >= expected) {
            failure =
                failure.or(Some(format!("the acknowledged batch with offset {offset} is damaged in {place}. {HELP}")));
        }
        failure = failure.or(gap);
        if let Some(suspect) = g.rescanned.suspect.filter(|offset| *offset >= expected) {
            let path = p.segment_path(p.segments.back().map_or(0, |s| s.base));
            failure = failure.or(Some(format!(
                "records from offset {expected} to {suspect} at least are damaged in {path}.log or before. {HELP}"
            )));
        }
        for (s, seq, folder) in unknown {
            let concerned = *s == 0 || g.sources.contains(s);
            if concerned && g.last_seen.get(s).is_none_or(|last| last < seq) {
                let reason = format!(
                    "commit {seq} of {folder} cannot be read, and records of this partition may have been in it. {HELP}"
                );
                failure = failure.or(Some(reason));
            }
        }
        if let Some(reason) = failure {
            p.lost = Some(reason.clone());
            self.partition_failed(ix, reason, fx);
        }
    }
}

/// Takes over a checkpoint's state.
fn restore(p: &mut Partition, state: Option<PartitionState>, log_start: i64) {
    let state = state.unwrap_or_default();
    p.log_start = state.log_start.max(log_start);
    p.settled_end = state.settled_end;
    p.settled_pos = state.settled_pos;
    p.written_pos = state.written_pos;
    p.released_end = state.settled_end;
    p.log_end = state.settled_end;
    p.segment_since_ms = state.segment_since_ms;
    p.lost = state.failed;
    for s in &state.segments {
        let mut segment = Segment::new(s.base, s.created_ms);
        segment.len = s.len;
        segment.max_timestamp = s.max_timestamp;
        segment.max_timestamp_offset = s.max_timestamp_offset;
        segment.index_loaded = false;
        segment.index_saved_len = s.len;
        p.segments.push_back(segment);
    }
    for producer in state.producers {
        let batches =
            producer.batches.iter().map(|(first_sequence, last_sequence, base_offset, last_offset, timestamp_ms)| {
                ProducedBatch {
                    first_sequence: *first_sequence,
                    last_sequence: *last_sequence,
                    base_offset: *base_offset,
                    last_offset: *last_offset,
                    timestamp_ms: *timestamp_ms,
                }
            });
        let known = Producer { epoch: producer.epoch, batches: batches.collect(), last_seen_ms: producer.last_seen_ms };
        p.producers.restore(producer.id, known);
    }
}

/// Puts a batch into the tail and into what is known of its producer.
pub(super) fn enter(p: &mut Partition, now: Time, info: &BatchInfo, entry: TailEntry) {
    p.unsettled_bytes += info.bytes;
    if p.segment_since_ms == 0 {
        p.segment_since_ms = now.wall_ms;
    }
    note_producer(p, now, info);
    p.tail.push_back(entry);
}

/// Enters a batch met again into what is known of its producer.
fn note_producer(p: &mut Partition, now: Time, info: &BatchInfo) {
    if info.producer_id >= 0 {
        let produced = ProducedBatch {
            first_sequence: info.base_sequence,
            last_sequence: sequence_after(info.base_sequence, info.last_offset_delta),
            base_offset: info.base_offset,
            last_offset: info.base_offset + i64::from(info.last_offset_delta),
            timestamp_ms: info.max_timestamp,
        };
        p.producers.enter(info.producer_id, info.producer_epoch, produced, now.wall_ms);
    }
}
