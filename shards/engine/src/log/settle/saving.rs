//! The end of a round: a checkpoint of where everything is, and what is given up once it is durable.

use super::Phase;
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, LogLevel};
use crate::log::checkpoint::{AbortedState, Checkpoint, NAMES, PartitionState, ProducerState, SegmentState};
use crate::log::ops::Op;
use crate::log::{PartitionIx, ShardLog};
use crate::partition::Partition;
use crate::producers::{Aborted, Producer};
use crate::time::Time;

/// What a checkpoint gives up once it is durable.
#[derive(Debug)]
pub(super) struct InCheckpoint {
    releases: Vec<(u64, u32)>,
    files: usize,
    tail_seq: u64,
    /// Segments that lie below the log start it holds.
    trimmed: Vec<(PartitionIx, i64)>,
}

impl ShardLog {
    /// Writes down where everything is. What it makes superfluous is given up when it is durable.
    pub(super) fn write_checkpoint(&mut self, fx: &mut Effects) {
        self.settle.phase = Phase::Checkpoint;
        self.settle.checkpoint_wanted = false;
        let mut releases = Vec::new();
        let mut trimmed = Vec::new();
        for (i, p) in self.partitions.iter_mut().enumerate() {
            let Some(p) = p.as_mut().filter(|p| !p.removed) else { continue };
            let (from, to) = (p.tail_index(p.released_end), p.tail_index(p.settled_end));
            releases.extend(p.tail.range(from..to).map(|e| (e.ring, 1)));
            p.released_end = p.settled_end;
            p.producers.settled(p.settled_end);
            let segments = if p.may_lose_segments() { p.segments.len() } else { 0 };
            let below = (1..segments).take_while(|next| p.segments[*next].base <= p.log_start);
            trimmed.extend(below.map(|next| (PartitionIx(i as u32), p.segments[next - 1].base)));
        }
        let completed = self.journal.completed_ring;
        let first = self.journal.first_ring;
        for (i, commit) in self.journal.commits.iter_mut().enumerate() {
            if commit.starts > 0 && first + (i as u64) < completed {
                releases.push((first + i as u64, std::mem::take(&mut commit.starts)));
            }
        }
        let mut by_slot = vec![0; self.journal.slots.len()];
        for (ring, count) in &releases {
            let commit = self.journal.commit(*ring).expect("a live commit is in memory");
            by_slot[commit.slot as usize] += u64::from(*count);
        }
        let (files, tail_seq) = self.journal.tail_after(&by_slot);
        let what = self.checkpoint_op(tail_seq);
        self.settle.in_checkpoint = Some(InCheckpoint { releases, files, tail_seq, trimmed });
        self.ops.issue(Op::Checkpoint, what, fx);
    }

    /// Whether nothing makes room for appends, because the disk is full (or a journal file cannot be made for another reason). Stays so until a try
    /// has succeeded: whoever waited for room meanwhile would wait for as long as the disk is full.
    pub(in crate::log) fn is_clogged(&self) -> bool {
        self.settle.no_space || self.settle.checkpoint_failed || self.journal.lacks_space()
    }

    /// Whether a checkpoint waits for space.
    pub(in crate::log) fn checkpoint_failed(&self) -> bool {
        self.settle.checkpoint_failed
    }

    /// Writes a checkpoint again for which there was no space.
    pub(in crate::log) fn retry_checkpoint(&mut self, fx: &mut Effects) {
        if std::mem::take(&mut self.settle.checkpoint_failed) {
            let tail_seq = self.settle.in_checkpoint.as_ref().map_or(self.journal.first_seq, |c| c.tail_seq);
            let what = self.checkpoint_op(tail_seq);
            self.ops.issue(Op::Checkpoint, what, fx);
        }
    }

    /// The operation that writes a checkpoint of this moment.
    pub(in crate::log) fn checkpoint_op(&mut self, tail_seq: u64) -> DiskOp {
        self.checkpoint_sequence += 1;
        self.runs.retain(|run| run.last_seq >= tail_seq);
        let content = Checkpoint {
            sequence: self.checkpoint_sequence,
            key: self.journal.id.key,
            incarnation: self.journal.incarnation,
            first_seq: self.journal.first_seq,
            accepted_seq: self.journal.accepted_seq,
            tail_seq,
            durable_seq: self.journal.durable_seq(),
            runs: self.runs.clone(),
            drained: self.drained,
            partitions: self.partitions.iter().flatten().filter(|p| !p.removed).map(|p| state(p)).collect(),
        };
        let name = NAMES[(self.checkpoint_sequence % 2) as usize];
        DiskOp::ReplaceFile { path: format!("{}/{name}", self.journal.folder), data: content.to_bytes() }
    }

    /// The checkpoint under way ended.
    pub(in crate::log) fn checkpoint_done(
        &mut self,
        now: Time,
        result: Result<DiskOutput, DiskError>,
        fx: &mut Effects,
    ) {
        if let Err(e) = result {
            if e.kind == DiskErrorKind::NoSpace {
                if !std::mem::replace(&mut self.settle.full_told, true) {
                    let what = "the disk is full, no checkpoint could be written";
                    let line = format!("shard {}: {what}: {}", self.shard, e.message);
                    fx.push(Effect::Log { level: LogLevel::Warn, line });
                }
                if self.stopping {
                    // The checkpoint before and the journal say all that this one would.
                    self.settle.in_checkpoint = None;
                    self.settle.checkpoint_wanted = false;
                    self.settle.phase = Phase::Idle;
                    return;
                }
                // Written again by the timer; nothing is given up before.
                self.settle.checkpoint_failed = true;
                return;
            }
            return self.journal_failed(format!("writing a checkpoint failed: {}", e.message), fx);
        }
        self.metrics.checkpoints += 1;
        self.durable_checkpoint = self.checkpoint_sequence;
        self.settle.full_told = false;
        if self.checkpoint_of_boot(now, fx) {
            return;
        }
        let done = self.settle.in_checkpoint.take().expect("a checkpoint gives something up");
        self.settle.no_space = std::mem::take(&mut self.settle.no_space_now);
        for (ring, count) in done.releases {
            self.journal.release(ring, count);
        }
        self.journal.free_oldest(done.files);
        for (ix, base) in done.trimmed {
            self.drop_segment(ix, base, fx);
        }
        self.compaction_kept(fx);
        self.evict();
        // Little was settled, and the copies carried forward took what was freed: remainders fill the journal.
        let little = self.metrics.settled_bytes - self.settle.settled_then < self.settle.at_bytes / 2;
        let full = self.journal.files_free() <= 1;
        let stuck = little && (full || (done.files == 0 && self.journal.used_percent() >= 75));
        // Once at once: what clients send meanwhile finds no room. If that does not help either, the timer tries again.
        self.settle.retry |= stuck && !self.settle.force;
        self.settle.force = stuck;
        self.settle.unsettled_then = self.unsettled_bytes;
        self.settle.files_then = self.journal.order.len();
        self.settle.phase = Phase::Idle;
    }
}

fn state(p: &Partition) -> PartitionState {
    let durable = p.high_watermark;
    let aborted = p.producers.transactions().aborted().iter();
    PartitionState {
        topic: p.topic.0,
        partition: p.number,
        log_start: p.log_start,
        cleaned_to: p.cleaned_to,
        settled_end: p.settled_end,
        settled_pos: p.settled_pos,
        written_pos: p.written_pos,
        segment_since_ms: p.segment_since_ms,
        leader_epochs: p.leader_epochs,
        failed: p.lost.clone(),
        gaps: p.gaps.iter().filter(|(_, to)| *to > p.log_start).copied().collect(),
        segments: p
            .segments
            .iter()
            .map(|s| SegmentState {
                base: s.base,
                version: s.version,
                len: s.len,
                max_timestamp: s.max_timestamp,
                max_timestamp_offset: s.max_timestamp_offset,
                created_ms: s.created_ms,
            })
            .collect(),
        producers: p.producers.as_of(p.settled_end, durable).into_iter().map(producer_state).collect(),
        aborted: aborted.take_while(|a| a.last_offset < p.settled_end).map(aborted_state).collect(),
    }
}

fn producer_state((id, producer): (i64, Producer)) -> ProducerState {
    let batches = producer.batches.iter();
    ProducerState {
        id,
        epoch: producer.epoch,
        last_seen_ms: producer.last_seen_ms,
        txn_first_offset: producer.txn_first_offset,
        coordinator_epoch: producer.coordinator_epoch,
        ended_ms: producer.ended_ms,
        batches: batches
            .map(|b| (b.first_sequence, b.last_sequence, b.base_offset, b.last_offset, b.timestamp_ms))
            .collect(),
    }
}

fn aborted_state(aborted: &Aborted) -> AbortedState {
    let Aborted { producer_id, first_offset, last_offset, last_stable } = *aborted;
    AbortedState { producer_id, first_offset, last_offset, last_stable }
}
