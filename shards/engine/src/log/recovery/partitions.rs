//! What was found of each partition becomes the partition: its segments, its tail, its producers; or the reason why it cannot be used.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use floe_wire::ids::TopicId;

use super::ShardLog;
use super::import::Import;
use super::rebuild::{Doubt, FoundDirect, Gathered, Place};
use crate::event::{Effect, Effects, FileHandle, LogLevel};
use crate::log::batch::note_epoch;
use crate::log::checkpoint::PartitionState;
use crate::log::frame::{EntryHeader, EntryKind};
use crate::log::scan::Held;
use crate::log::segment::Segment;
use crate::log::{BatchInfo, PartitionIx, TailEntry};
use crate::partition::Partition;
use crate::producers::{Aborted, ProducedBatch, Producer};
use crate::time::Time;

const HELP: &str = "Acknowledged records are lost or in doubt, so the partition answers with a storage error. Restore the data directory from a copy, or accept the \
                    loss (see accept-loss in docs/OPERATIONS.md), or delete the topic; `floe dump-log` shows what is left";

const END_UNKNOWN: &str = "its checkpoints are damaged, and nothing of it is left in the journal and in its folder. If it had records they have all been deleted, and at which \
                           offset it ended is not known, so the partition answers with a storage error. Restore the data directory from a copy, or delete the topic; or begin \
                           again behind what is left: with the first offset if there is nothing (see accept-loss in docs/OPERATIONS.md)";

impl ShardLog {
    /// Gives every partition what was found of it.
    pub(super) fn finish_rebuild(&mut self, now: Time, fx: &mut Effects) {
        let mut recovery = self.recovery.take().expect("recovery runs");
        let mut gathered = std::mem::take(&mut recovery.gathered);
        let mut verdicts = Vec::with_capacity(gathered.len());
        for (i, g) in gathered.iter_mut().enumerate() {
            verdicts.push(self.give_back(now, PartitionIx(i as u32), g, &mut recovery.imports));
        }
        for doubt in &recovery.doubts {
            self.suspect(doubt, &gathered, &mut verdicts, fx);
        }
        for (i, verdict) in verdicts.into_iter().enumerate() {
            let p = self.partitions[i].as_mut().expect("nothing has been removed yet");
            p.accept_loss = recovery.accepted.iter().any(|name| *name == p.name || name == "*");
            let Some(reason) = verdict.failure else {
                // Soon: until then nothing can be removed.
                p.roll_wanted = !p.may_lose_segments();
                self.settle.rolls_wanted |= p.roll_wanted;
                continue;
            };
            if p.accept_loss {
                p.lost = None;
                let line = format!("partition {}: its loss is accepted, it serves what is left: {reason}", p.name);
                fx.push(Effect::Log { level: LogLevel::Warn, line });
            } else {
                p.lost = Some(reason.clone());
                self.partition_failed(PartitionIx(i as u32), reason, fx);
            }
        }
        // Commits of which nothing is needed need not be in memory.
        for commit in self.journal.commits.iter_mut().filter(|c| c.live == 0) {
            self.journal.memory_bytes -= commit.memory_bytes();
            commit.bytes = Bytes::new();
            commit.regions = Vec::new();
        }
        let old = recovery.sources.drain(1..).flat_map(|source| source.files);
        let old: Vec<FileHandle> = old.filter_map(|file| file.file).collect();
        let files = std::mem::take(&mut recovery.sources[0].files);
        self.recovery = Some(recovery);
        self.open_slots(files, fx);
        self.sync_journal(old, fx);
    }

    /// Gives a partition what was found of it.
    fn give_back(&mut self, now: Time, ix: PartitionIx, g: &mut Gathered, imports: &mut VecDeque<Import>) -> Verdict {
        let p = self.partitions[ix.0 as usize].as_mut().expect("nothing has been removed yet");
        restore(p, g.state.take(), g.log_start);
        for info in &g.rescanned.produced {
            p.producers.replay(info, now.wall_ms);
        }
        g.entries.sort_by(|a, b| (a.info.base_offset, b.age).cmp(&(b.info.base_offset, a.age)));
        let mut stream = Stream::begin(p, g, now);
        let mut failure = p.lost.take().or(g.lost.take());
        // Compaction alone never leaves a folder empty.
        if g.unknown && p.segments.is_empty() && p.config.delete {
            failure = failure.or(Some(END_UNKNOWN.to_owned()));
        }
        let mut expected = p.settled_end;
        let mut whole_end = None;
        for entry in &g.entries {
            let base_offset = entry.info.base_offset;
            let last_offset = base_offset + i64::from(entry.info.last_offset_delta);
            if last_offset < expected {
                continue;
            }
            let missing = base_offset != expected && !p.gaps.contains(&(expected, base_offset));
            stream.next(entry.info.base_offset, entry.info.bytes, missing);
            if missing {
                // What lies behind is kept: it counts when the operator accepts the loss.
                p.gaps.push((expected, base_offset));
                whole_end.get_or_insert(expected);
                let damaged = g.damaged.iter().find(|(offset, _)| (expected..base_offset).contains(offset));
                let place = damaged.map_or(String::new(), |(_, place)| format!(" (damaged: {place})"));
                failure = failure.or(Some(format!(
                    "the acknowledged records from offset {expected} up to {base_offset} are missing in the journal{place}. {HELP}"
                )));
            }
            match &entry.place {
                Place::Own { ring, part, at } => {
                    let tail = TailEntry {
                        base_offset,
                        last_offset,
                        max_timestamp: entry.info.max_timestamp,
                        ring: *ring,
                        part: *part,
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
        let straddler = g.entries.iter().any(|e| e.info.base_offset == p.settled_end);
        stream.end(p, straddler);
        leave_behind(p, &g.directs);
        p.memory_from = p.log_end;
        p.log_start = p.log_start.min(expected);
        p.producers.truncate(expected);
        p.producers.forget_aborted(p.log_start);
        p.show_to(p.log_end);
        if let Some((offset, place)) = g.damaged.iter().find(|(offset, _)| *offset >= expected) {
            failure =
                failure.or(Some(format!("the acknowledged batch with offset {offset} is damaged in {place}. {HELP}")));
        }
        if let Some(suspect) = g.rescanned.suspect.filter(|offset| *offset >= expected) {
            let path = p.segment_path(p.segments.back().map_or(0, |s| s.base));
            failure = failure.or(Some(format!(
                "records from offset {expected} to {suspect} at least are damaged in {path}.log or before. {HELP}"
            )));
        }
        Verdict { failure, whole_end: whole_end.unwrap_or(expected) }
    }

    /// Finds whose something is that was acknowledged and cannot be read. Whoever had a batch appended behind it knows by itself whether anything is missing: a gap
    /// shows it. (A copy carried forward shows nothing, it may be older than what was lost.) Of the others it may be anybody's, unless its offset can be read: then it is one of those whose next batch it would be, and of these the one that
    /// what is left of the header resembles most.
    fn suspect(&self, doubt: &Doubt, gathered: &[Gathered], verdicts: &mut [Verdict], fx: &mut Effects) {
        let concerned = |i: usize| {
            let g = &gathered[i];
            let last = g.last_appended.iter().find(|(source, _)| *source == doubt.source);
            (doubt.source == 0 || g.sources.contains(&doubt.source))
                && last.is_none_or(|(_, last)| *last < (doubt.seq, doubt.at))
        };
        let all = 0..gathered.len();
        let mut suspects: Vec<usize> = match &doubt.held {
            Some(Held::LogStart) => {
                let line = format!(
                    "{}: the note of a log start that moved is damaged. Records deleted there may be back: delete them again",
                    doubt.place
                );
                return fx.push(Effect::Log { level: LogLevel::Warn, line });
            }
            Some(Held::Rest) => return,
            None => all.filter(|i| concerned(*i)).collect(),
            Some(Held::Batch { header, .. }) => {
                // One that knows already that exactly this is missing explains it as well.
                let lacks = |i: usize| {
                    self.partitions[i].as_ref().is_some_and(|p| p.gaps.iter().any(|gap| gap.0 == header.base_offset))
                };
                all.filter(|i| verdicts[*i].whole_end == header.base_offset && (concerned(*i) || lacks(*i))).collect()
            }
        };
        if let Some(Held::Batch { header, found }) = &doubt.held {
            let unlike = |i: &usize| {
                let (topic, partition) = self.partitions[*i].as_ref().map_or((TopicId::default(), -1), |p| p.key());
                let kinds = match header.kind {
                    EntryKind::Direct => [EntryKind::Direct; 2],
                    _ => [EntryKind::Batch, EntryKind::Carried],
                };
                let bytes = kinds.map(|kind| EntryHeader { topic, partition, kind, ..*header }.bytes());
                bytes.map(|b| b.iter().zip(found).filter(|(a, b)| a != b).count()).into_iter().min()
            };
            let least = suspects.iter().map(unlike).min();
            suspects.retain(|i| Some(unlike(i)) == least);
        }
        for i in suspects {
            let place = &doubt.place;
            verdicts[i].failure.get_or_insert_with(|| {
                format!(
                    "{place} cannot be read, and acknowledged records of this partition may have been there. {HELP}"
                )
            });
        }
    }
}

/// What of a partition's last segment was written straight to it, compared with the batches that count: they have to stand there.
struct Stream {
    /// The last segment is written up to here.
    written: u64,
    /// Where batches stand in it, by their base offset.
    places: BTreeMap<i64, u64>,
    position: u64,
    /// A batch does not stand where the ones before it end, or is missing before the end of what is written.
    torn: bool,
}

impl Stream {
    fn begin(p: &mut Partition, g: &Gathered, now: Time) -> Stream {
        // The first segment may have been written to before any checkpoint knew it.
        if p.segments.is_empty() && g.directs.iter().any(|d| d.body.segment == p.settled_end) {
            p.segments.push_back(Segment::new(p.settled_end, now.wall_ms));
        }
        let segment = p.segments.back().map(|s| s.base);
        let mine = g.directs.iter().map(|d| &d.body).filter(|d| Some(d.segment) == segment);
        let places = mine.filter(|d| d.base_offset >= p.settled_end).map(|d| (d.base_offset, d.position)).collect();
        let written = g.rests.iter().filter(|r| Some(r.segment) == segment).map(|r| r.written).max().unwrap_or(0);
        let written = written.max(p.written_pos);
        Stream { written, places, position: p.settled_pos, torn: false }
    }

    fn next(&mut self, base_offset: i64, bytes: u64, missing: bool) {
        self.torn |= missing && self.position < self.written;
        self.torn |= self.places.get(&base_offset).is_some_and(|place| *place != self.position);
        self.position += bytes;
    }

    /// `straddler`: the first batch that is not settled is there.
    fn end(self, p: &mut Partition, straddler: bool) {
        let lost = p.written_pos > p.settled_pos && !straddler;
        if self.torn || lost || self.position < self.written {
            abandon_block(p);
        } else {
            p.written_pos = self.written;
        }
    }
}

/// What recovery found of a partition.
struct Verdict {
    failure: Option<String>,
    /// Up to here nothing is missing.
    whole_end: i64,
}

/// Takes over a checkpoint's state.
fn restore(p: &mut Partition, state: Option<PartitionState>, log_start: i64) {
    let state = state.unwrap_or_default();
    p.log_start = state.log_start.max(log_start);
    p.cleaned_to = state.cleaned_to;
    p.settled_end = state.settled_end;
    p.settled_pos = state.settled_pos;
    p.written_pos = state.written_pos;
    p.released_end = state.settled_end;
    p.log_end = state.settled_end;
    p.segment_since_ms = state.segment_since_ms;
    p.lost = state.failed;
    p.gaps = state.gaps;
    p.leader_epochs = state.leader_epochs;
    for s in &state.segments {
        let mut segment = Segment::new(s.base, s.created_ms);
        segment.version = s.version;
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
        let known = Producer {
            epoch: producer.epoch,
            batches: batches.collect(),
            last_seen_ms: producer.last_seen_ms,
            txn_first_offset: producer.txn_first_offset,
            coordinator_epoch: producer.coordinator_epoch,
            ended_ms: producer.ended_ms,
        };
        p.producers.restore(producer.id, known);
    }
    let aborted = state.aborted.into_iter().map(|a| Aborted {
        producer_id: a.producer_id,
        first_offset: a.first_offset,
        last_offset: a.last_offset,
        last_stable: a.last_stable,
    });
    p.producers.restore_aborted(aborted);
}

/// The segment's last blocks hold the beginning of a batch that is lost. What follows cannot be written there: the blocks hold settled batches too, or
/// count as written. It begins a segment of its own.
fn abandon_block(p: &mut Partition) {
    if p.settled_pos > 0 {
        p.segments.push_back(Segment::new(p.settled_end, p.segment_since_ms));
    }
    p.settled_pos = 0;
    p.written_pos = 0;
}

/// Batches that were written straight to a segment which is not the last any more, and are not settled, are read from there by every start before they are.
fn leave_behind(p: &mut Partition, directs: &[FoundDirect]) {
    let last = p.segments.back().map(|s| s.base);
    let elsewhere = directs.iter().map(|d| &d.body).filter(|d| Some(d.segment) != last);
    let unsettled = elsewhere.map(|d| d.last_offset() + 1).filter(|end| *end > p.settled_end);
    p.left_behind_end = unsettled.max().unwrap_or(0);
}

/// Puts a batch into the tail and into what is known of its producer.
pub(super) fn enter(p: &mut Partition, now: Time, info: &BatchInfo, entry: TailEntry) {
    p.unsettled_bytes += info.bytes;
    note_epoch(&mut p.leader_epochs, info.leader_epoch);
    if p.segment_since_ms == 0 {
        p.segment_since_ms = now.wall_ms;
    }
    p.producers.replay(info, now.wall_ms);
    p.tail.push_back(entry);
}
