//! Settling: unsettled batches leave the journal for their partition's segment, in rounds. Lives in the [`ShardLog`].
//!
//! A round writes whole blocks of each partition's stream of batches, syncs each file once, carries small remainders of the oldest journal
//! files forward, then writes a checkpoint; with that durable the oldest files are used again. A block once written is never written
//! again: the rest of the stream, less than a block, stays in the journal and in memory, as does the batch that straddles it.
//! Until the checkpoint is durable nothing in the journal is given up, so a round may end anywhere.

use std::collections::VecDeque;

use super::buffer::{block_down, block_up};
use super::checkpoint::{Checkpoint, NAMES, PartitionState, ProducerState, SegmentState};
use super::ops::Op;
use super::segment::Segment;
use super::{LogSettings, PartitionIx, ShardLog};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel};
use crate::limits::BLOCK_BYTES;
use crate::partition::Partition;
use crate::time::Time;

/// Partitions being settled at once.
const JOBS_MAX: usize = 16;
/// Bytes of one write to a segment.
const WRITE_BYTES_MAX: u64 = 4 << 20;
/// A partition with fewer unsettled bytes is carried rather than written, unless that would carry too much.
const SMALL_BYTES: u64 = 64 << 10;
/// Bytes reserved on disk ahead, at least: thousands of partitions with little in them must not take gigabytes.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
/// Bytes reserved on disk ahead, at most.
const RESERVE_BYTES_MAX: u64 = 32 << 20;
/// A segment's index file is written after this many bytes: what a crash leaves unindexed.
const INDEX_SAVE_BYTES: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Writing,
    Carrying,
    /// Carried copies are on their way; done when commits below this ring number are complete.
    Waiting(u64),
    Checkpoint,
}

/// The round under way and what decides about the next.
#[derive(Debug)]
pub(super) struct Settle {
    phase: Phase,
    queue: VecDeque<PartitionIx>,
    active: usize,
    /// Batches to carry: partition and offset.
    carries: VecDeque<(PartitionIx, i64)>,
    pub(super) checkpoint_wanted: bool,
    /// Try again although the last round achieved nothing.
    pub(super) retry: bool,
    /// Rounds begin at this many unsettled bytes.
    at_bytes: u64,
    /// State after the last round: only growth since then is worth another.
    unsettled_then: u64,
    files_then: usize,
    /// Bytes settled ever, when the round under way began.
    settled_then: u64,
    /// The round takes batches of commits below this one, and its checkpoint waits until those are durable.
    below: u64,
    /// Close segments to get rid of large remainders: the last round could not make room.
    force: bool,
    in_checkpoint: Option<InCheckpoint>,
    /// The disk was full: the timer writes it again.
    checkpoint_failed: bool,
    /// The last round could not write all it wanted to, because the disk was full.
    no_space: bool,
    /// The same of the round under way.
    no_space_now: bool,
    /// It has been logged that the disk is full.
    pub(super) full_told: bool,
    /// Some segment is to be closed because of its age.
    pub(super) rolls_wanted: bool,
}

/// What a checkpoint gives up once it is durable.
#[derive(Debug)]
struct InCheckpoint {
    releases: Vec<(u64, u32)>,
    files: usize,
    tail_seq: u64,
    /// Segments that lie below the log start it holds.
    trimmed: Vec<(PartitionIx, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobStep {
    Open,
    /// What a crash left behind the end is cut off.
    Cut,
    Reserve,
    Write {
        to: u64,
    },
    Sync,
    Truncate,
}

/// A partition being settled.
#[derive(Debug)]
pub struct SettleJob {
    file: Option<FileHandle>,
    step: JobStep,
    /// Bytes of the segment written so far; all of them at the end.
    written: u64,
    end: u64,
    /// Where the last batch taken ends, and the offset behind it.
    stream_end: u64,
    offset_end: i64,
    roll: bool,
}

impl Settle {
    pub(super) fn new(settings: &LogSettings, journal_bytes: u64) -> Settle {
        Settle {
            phase: Phase::Idle,
            queue: VecDeque::new(),
            active: 0,
            carries: VecDeque::new(),
            checkpoint_wanted: false,
            retry: false,
            at_bytes: settings.settle_bytes.min(journal_bytes / 2).min(settings.cache_bytes / 2),
            unsettled_then: 0,
            files_then: 0,
            settled_then: 0,
            force: false,
            below: 0,
            in_checkpoint: None,
            checkpoint_failed: false,
            no_space: false,
            no_space_now: false,
            full_told: false,
            rolls_wanted: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && !self.checkpoint_wanted
    }
}

impl ShardLog {
    /// Goes on with the round under way, or begins one if it is time.
    pub(super) fn settle_on(&mut self, now: Time, fx: &mut Effects) {
        // Before recovery is over nothing is known to be superfluous, nor is anything to be settled.
        if self.journal.failed.is_some() || !self.ready {
            return;
        }
        loop {
            let phase = self.settle.phase;
            match phase {
                Phase::Idle => self.begin_round(fx),
                Phase::Writing => self.start_jobs(now, fx),
                Phase::Carrying => self.carry_on(now, fx),
                Phase::Waiting(ring) => {
                    // In a full journal (or on a full disk) the copies may find no place; the originals are still there.
                    let hopeless = !self.journal.is_under_way();
                    if self.journal.completed_ring < ring && !hopeless {
                        return;
                    }
                    if !self.journal.is_durable_below(self.settle.below) {
                        return;
                    }
                    self.write_checkpoint(fx);
                }
                Phase::Checkpoint => return,
            }
            if self.settle.phase == phase {
                return;
            }
        }
    }

    fn begin_round(&mut self, fx: &mut Effects) {
        self.evict();
        let files = self.journal.order.len();
        let s = &mut self.settle;
        let retry = std::mem::take(&mut s.retry);
        let grown = self.unsettled_bytes >= s.unsettled_then + s.at_bytes / 4 || retry;
        let full = self.unsettled_bytes >= s.at_bytes && grown;
        let lapped = self.journal.used_percent() >= 50 && (files > s.files_then || retry);
        let crowded = self.journal.memory_bytes > self.settings.cache_bytes && (grown || files > s.files_then);
        let rolls = std::mem::take(&mut s.rolls_wanted);
        if !self.ready || !(full || lapped || crowded || rolls || s.checkpoint_wanted) {
            return;
        }
        self.metrics.settle_rounds += 1;
        self.settle.settled_then = self.metrics.settled_bytes;
        if full || lapped || crowded || rolls {
            let small: u64 =
                self.partitions.iter().flatten().map(|p| p.unsettled_bytes).filter(|b| *b < SMALL_BYTES).sum();
            let bytes_min = match small > self.settle.at_bytes / 4 {
                true => BLOCK_BYTES,
                false => SMALL_BYTES.min(self.settle.at_bytes / 16),
            };
            let all = self.partitions.iter().enumerate();
            let chosen = all.filter(|(_, p)| {
                p.as_ref().is_some_and(|p| p.unsettled_bytes >= bytes_min || p.roll_wanted || self.is_forced(p))
            });
            self.settle.queue = chosen.map(|(i, _)| PartitionIx(i as u32)).collect();
        }
        // A batch that a block of a segment ends in stays in the journal with its rest. After a crash it has to be there again, as it was: so
        // what was written without DSYNC is made durable before a checkpoint builds on it.
        self.settle.below = self.journal.completed_ring;
        self.journal.want_sync(&mut self.ops, fx);
        self.settle.phase = Phase::Writing;
    }

    /// Nothing could be carried, and this partition is one of those that hold the oldest file, however little it has there. Not only by its
    /// first unsettled batch: that may be a copy carried forward, with what was appended behind it still in the oldest file.
    fn is_forced(&self, p: &Partition) -> bool {
        let oldest = self.journal.order.front();
        let unsettled = || p.tail.range(p.tail_index(p.settled_end)..);
        self.settle.force && unsettled().any(|e| self.journal.commit(e.ring).is_some_and(|c| Some(&c.slot) == oldest))
    }

    fn start_jobs(&mut self, now: Time, fx: &mut Effects) {
        while self.settle.active < JOBS_MAX
            && let Some(ix) = self.settle.queue.pop_front()
        {
            if self.start_job(now, ix, fx) {
                self.settle.active += 1;
            }
        }
        if self.settle.active == 0 {
            self.choose_carries();
            self.settle.phase = Phase::Carrying;
        }
    }

    /// Begins to settle a partition. `false`: there is nothing to do.
    fn start_job(&mut self, now: Time, ix: PartitionIx, fx: &mut Effects) -> bool {
        let completed = self.settle.below;
        let force = self.partition(ix).is_some_and(|p| self.is_forced(p));
        if self.partition(ix).is_some_and(|p| !p.unwritable && p.job.is_none()) {
            self.settle_written(now, ix, fx);
        }
        // What is on its way straight to the segment ends first: the next round settles the rest.
        if self.journal.has_pieces(ix) {
            return false;
        }
        let Some(p) = self.partition_mut(ix).filter(|p| !p.unwritable && p.job.is_none()) else { return false };
        if p.direct.as_ref().is_some_and(|d| d.is_busy()) {
            return false;
        }
        let Some(job) = plan(p, completed, force) else {
            p.roll_wanted = false;
            return false;
        };
        if p.segments.is_empty() {
            let since = if p.segment_since_ms > 0 { p.segment_since_ms } else { now.wall_ms };
            p.segments.push_back(Segment::new(p.settled_end, since));
        }
        let path = p.segment_path(p.segments.back().expect("just made").base) + ".log";
        p.job = Some(Box::new(job));
        self.ops.issue(Op::Settle(ix), DiskOp::Open { path, create: true, direct: true }, fx);
        true
    }

    /// Settles what was written straight to the segment.
    fn settle_written(&mut self, now: Time, ix: PartitionIx, fx: &mut Effects) {
        let Some(p) = self.partition(ix) else { return };
        let mut position = p.settled_pos;
        let mut offset_end = p.settled_end;
        for entry in p.tail.range(p.tail_index(p.settled_end)..) {
            let end = position + u64::from(entry.len);
            if entry.ring >= self.settle.below || end > p.written_pos {
                break;
            }
            position = end;
            offset_end = entry.last_offset + 1;
        }
        if offset_end == p.settled_end {
            return;
        }
        let (written, stream_end) = (p.written_pos, position);
        let job =
            SettleJob { file: None, step: JobStep::Sync, written, end: written, stream_end, offset_end, roll: false };
        self.settled(ix, &job, now, fx);
    }

    /// A step of settling ended.
    pub(super) fn settle_step(
        &mut self,
        now: Time,
        ix: PartitionIx,
        result: Result<DiskOutput, DiskError>,
        fx: &mut Effects,
    ) {
        let Some(p) = self.partitions[ix.0 as usize].as_mut() else { unreachable!("a partition with a job is kept") };
        let mut job = p.job.take().expect("a step belongs to a job");
        if p.removed {
            self.settle.active -= 1;
            if self.is_at_rest(ix) {
                self.remove_files(ix, fx);
            }
            return;
        }
        let output = match result {
            Ok(output) => output,
            // There may be enough for what is to be written now.
            Err(e) if job.step == JobStep::Reserve && e.kind == DiskErrorKind::NoSpace => {
                if let Some(segment) = p.segments.back_mut() {
                    segment.reserved = job.written;
                }
                DiskOutput::Done
            }
            Err(e) => {
                self.settle.active -= 1;
                let name = p.name.clone();
                if e.kind == DiskErrorKind::NoSpace {
                    (self.settle.no_space, self.settle.no_space_now) = (true, true);
                    // Said once: every partition would say the same until there is space again.
                    if !std::mem::replace(&mut self.settle.full_told, true) {
                        let line = format!(
                            "partition {name} cannot be settled, the disk is full: {}. Its records stay in the journal",
                            e.message
                        );
                        fx.push(Effect::Log { level: LogLevel::Warn, line });
                    }
                } else {
                    p.unwritable = true;
                    let path = p.segment_path(p.segments.back().map_or(0, |s| s.base));
                    let reason = format!(
                        "writing segment {path}.log failed: {}. What was acknowledged is safe in the journal. Check the device, then restart the broker",
                        e.message
                    );
                    self.partition_failed(ix, reason, fx);
                }
                return;
            }
        };
        let segment = p.segments.back_mut().expect("the job made it");
        let mut stale = false;
        if let DiskOutput::Opened { file, len } = &output {
            job.file = Some(file.clone());
            stale = !std::mem::replace(&mut segment.cut, true) && *len > p.written_pos;
        }
        let file = job.file.clone().expect("opened first");
        let next = match job.step {
            JobStep::Open if stale => (JobStep::Cut, DiskOp::Truncate { file, len: job.written }),
            JobStep::Open | JobStep::Cut if segment.reserved < job.end => {
                let len = ((job.end - job.written) * 4).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
                let (offset, end) =
                    (block_down(segment.reserved.max(segment.len)), job.end.max(segment.reserved + len));
                segment.reserved = end;
                (JobStep::Reserve, DiskOp::Preallocate { file, offset, len: end - offset })
            }
            JobStep::Open | JobStep::Cut | JobStep::Reserve => self.next_write(ix, &mut job, file),
            JobStep::Write { to } => {
                self.metrics.settled_bytes += to - job.written;
                job.written = to;
                self.next_write(ix, &mut job, file)
            }
            JobStep::Sync if job.roll => (JobStep::Truncate, DiskOp::Truncate { file, len: job.stream_end }),
            JobStep::Sync | JobStep::Truncate => {
                self.settle.active -= 1;
                return self.settled(ix, &job, now, fx);
            }
        };
        job.step = next.0;
        let p = self.partitions[ix.0 as usize].as_mut().expect("looked at above");
        p.job = Some(job);
        self.ops.issue(Op::Settle(ix), next.1, fx);
    }

    /// The next write of a job, or its sync.
    fn next_write(&mut self, ix: PartitionIx, job: &mut SettleJob, file: FileHandle) -> (JobStep, DiskOp) {
        if job.written >= job.end {
            return (JobStep::Sync, DiskOp::Sync { file });
        }
        let to = job.end.min(job.written + WRITE_BYTES_MAX);
        let len = (to - job.written) as usize;
        let mut buffer = self.journal.buffers().take(len);
        let p = self.partitions[ix.0 as usize].as_ref().expect("a partition with a job is kept");
        let mut position = p.settled_pos;
        for entry in p.tail.range(p.tail_index(p.settled_end)..) {
            let end = position + u64::from(entry.len);
            if entry.base_offset >= job.offset_end || position >= to {
                break;
            }
            if end > job.written {
                let bytes = self.journal.slice(entry);
                let from = job.written.saturating_sub(position) as usize;
                let until = (to.min(end) - position) as usize;
                buffer.extend_from_slice(&bytes[from..until]);
            }
            position = end;
        }
        // Only the last block of a segment that is closed is not full.
        assert!(buffer.len() == len || (job.roll && to == job.end));
        buffer.resize(len, 0);
        let data = buffer.split().freeze();
        self.journal.buffers().retire(buffer);
        (JobStep::Write { to }, DiskOp::Write { file, offset: job.written, data, dsync: false })
    }

    /// All of a job is on stable storage.
    fn settled(&mut self, ix: PartitionIx, job: &SettleJob, now: Time, fx: &mut Effects) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a job is kept");
        let segment = p.segments.back_mut().expect("the job made it");
        let mut position = p.settled_pos;
        let mut settled_bytes = 0;
        let first = p.tail.partition_point(|e| e.base_offset < p.settled_end);
        for entry in p.tail.range(first..) {
            let end = position + u64::from(entry.len);
            if entry.base_offset >= job.offset_end || end > job.end.min(job.stream_end) {
                break;
            }
            segment.push(entry.base_offset, entry.last_offset, u64::from(entry.len), entry.max_timestamp);
            p.settled_end = entry.last_offset + 1;
            settled_bytes += u64::from(entry.len);
            position = end;
        }
        p.settled_pos = position;
        p.written_pos = job.end;
        p.unsettled_bytes -= settled_bytes;
        self.unsettled_bytes -= settled_bytes;
        if job.roll || segment.len - segment.index_saved_len >= INDEX_SAVE_BYTES {
            segment.index_saved_len = segment.len;
            let (base, data) = (segment.base, segment.index_bytes().into());
            let what = DiskOp::ReplaceFile { path: p.segment_path(base) + ".idx", data };
            self.ops.issue(Op::Nothing("write an index"), what, fx);
        }
        if job.roll {
            p.roll_wanted = false;
            p.settled_pos = 0;
            p.written_pos = 0;
            p.segment_since_ms = now.wall_ms;
            p.segments.push_back(Segment::new(p.settled_end, now.wall_ms));
            p.segment_known_from = self.checkpoint_sequence + 1;
            self.direct_open -= usize::from(p.direct.take().is_some());
            // There may be more for the next segment.
            let p = self.partitions[ix.0 as usize].as_ref().expect("as above");
            if p.unsettled_bytes >= SMALL_BYTES || self.is_forced(p) {
                self.settle.queue.push_back(ix);
            }
        }
    }

    /// Chooses what to copy forward so that the oldest journal file can be used again.
    fn choose_carries(&mut self) {
        self.settle.carries.clear();
        if self.journal.used_percent() < 50 && self.journal.memory_bytes <= self.settings.cache_bytes {
            return;
        }
        if self.journal.order.len() < 2 {
            return;
        }
        let oldest = self.journal.order[0];
        let completed = self.journal.completed_ring;
        let mut chosen = Vec::new();
        let rings = self.journal.first_ring..completed;
        for (ring, commit) in rings.zip(&self.journal.commits).filter(|(_, c)| c.slot == oldest && c.live > 0) {
            for (ix, end) in &commit.entries {
                let Some(p) = self.partitions[ix.0 as usize].as_ref().filter(|p| !p.removed) else { continue };
                let there = p
                    .tail
                    .range(..p.tail_index(*end))
                    .rev()
                    .take_while(|e| e.ring == ring && e.base_offset >= p.settled_end);
                chosen.extend(there.map(|e| (*ix, e.base_offset)));
            }
        }
        // A partition may be named more than once in a commit; its batches go in order.
        chosen.sort_unstable();
        chosen.dedup();
        self.settle.carries = chosen.into();
    }

    fn carry_on(&mut self, now: Time, fx: &mut Effects) {
        let completed = self.journal.completed_ring;
        while let Some((ix, base_offset)) = self.settle.carries.front().copied() {
            let wanted = self.partition(ix).is_some_and(|p| {
                let entry = p.tail.get(p.tail_index(base_offset));
                entry
                    .is_some_and(|e| e.base_offset == base_offset && base_offset >= p.settled_end && e.ring < completed)
            });
            if wanted && !self.carry(now, ix, base_offset) {
                // The journal has no room at this moment: go on when commits have completed. When none is under way none will, and only what
                // this round has settled can make room: the originals stay where they are.
                self.submit(now, fx);
                if self.journal.is_under_way() && !self.stopping {
                    return;
                }
                self.settle.carries.clear();
                break;
            }
            self.settle.carries.pop_front();
        }
        let ring = self.journal.building_ring();
        let any = self.journal.has_unsealed();
        self.submit(now, fx);
        self.settle.phase = Phase::Waiting(if any { ring + 1 } else { ring });
    }

    /// Writes down where everything is. What it makes superfluous is given up when it is durable.
    fn write_checkpoint(&mut self, fx: &mut Effects) {
        self.settle.phase = Phase::Checkpoint;
        self.settle.checkpoint_wanted = false;
        let mut releases = Vec::new();
        let mut trimmed = Vec::new();
        for (i, p) in self.partitions.iter_mut().enumerate() {
            let Some(p) = p.as_mut().filter(|p| !p.removed) else { continue };
            let (from, to) = (p.tail_index(p.released_end), p.tail_index(p.settled_end));
            releases.extend(p.tail.range(from..to).map(|e| (e.ring, 1)));
            p.released_end = p.settled_end;
            let below = (1..p.segments.len()).take_while(|next| p.segments[*next].base <= p.log_start);
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
    pub(super) fn is_clogged(&self) -> bool {
        self.settle.no_space || self.settle.checkpoint_failed || self.journal.lacks_file
    }

    /// Whether a checkpoint waits for space.
    pub(super) fn checkpoint_failed(&self) -> bool {
        self.settle.checkpoint_failed
    }

    /// Writes a checkpoint again for which there was no space.
    pub(super) fn retry_checkpoint(&mut self, fx: &mut Effects) {
        if std::mem::take(&mut self.settle.checkpoint_failed) {
            let tail_seq = self.settle.in_checkpoint.as_ref().map_or(self.journal.first_seq, |c| c.tail_seq);
            let what = self.checkpoint_op(tail_seq);
            self.ops.issue(Op::Checkpoint, what, fx);
        }
    }

    /// The operation that writes a checkpoint of this moment.
    pub(super) fn checkpoint_op(&mut self, tail_seq: u64) -> DiskOp {
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
    pub(super) fn checkpoint_done(&mut self, now: Time, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
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

    /// Lets go of cached commits, oldest first, while they take more memory than they should.
    pub(super) fn evict(&mut self) {
        while self.journal.memory_bytes > self.settings.cache_bytes {
            let Some(commit) = self.journal.evict() else { return };
            for (ix, end) in &commit.entries {
                if let Some(p) = self.partitions[ix.0 as usize].as_mut() {
                    p.forget_tail(*end);
                }
            }
            self.journal.recycle(commit.entries);
        }
    }
}

/// What can be written of a partition now.
fn plan(p: &Partition, completed: u64, force: bool) -> Option<SettleJob> {
    let mut position = p.settled_pos;
    let mut offset_end = p.settled_end;
    let mut roll = p.roll_wanted;
    for entry in p.tail.range(p.tail_index(p.settled_end)..) {
        if entry.ring >= completed {
            break;
        }
        let end = position + u64::from(entry.len);
        if end > p.config.segment_bytes && position > 0 && position >= p.written_pos {
            roll = true;
            break;
        }
        position = end;
        offset_end = entry.last_offset + 1;
    }
    if position < p.written_pos {
        // The batch whose beginning is written is not there yet: it is being taken over from an older generation. To close the segment before it would
        // cut off what the last checkpoint counts as written, and a crash before the next one would leave a hole there.
        return None;
    }
    if force && position - block_down(position) > 0 && position > p.written_pos {
        roll = true;
    }
    roll &= position > 0;
    let end = if roll { block_up(position) } else { block_down(position) };
    if end <= p.written_pos && !roll {
        return None;
    }
    Some(SettleJob {
        file: None,
        step: JobStep::Open,
        written: p.written_pos,
        end: end.max(p.written_pos),
        stream_end: position,
        offset_end,
        roll,
    })
}

fn state(p: &Partition) -> PartitionState {
    let durable = p.high_watermark;
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
        producers: p
            .producers
            .sorted()
            .into_iter()
            .filter_map(|(id, producer)| {
                let batches: Vec<_> = producer
                    .batches
                    .iter()
                    .filter(|b| b.last_offset < durable)
                    .map(|b| (b.first_sequence, b.last_sequence, b.base_offset, b.last_offset, b.timestamp_ms))
                    .collect();
                let known = ProducerState { id, epoch: producer.epoch, last_seen_ms: producer.last_seen_ms, batches };
                (!known.batches.is_empty()).then_some(known)
            })
            .collect(),
    }
}
