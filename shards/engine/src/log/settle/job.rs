//! One partition's part in a round: the steps from opening its segment to knowing that what was written is on stable storage.

use super::{SMALL_BYTES, UNSYNCED_MAX};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel};
use crate::limits::{DIRECT_HEAD_BYTES_MAX, SETTLE_FILES_MAX};
use crate::log::buffer::{block_down, block_up};
use crate::log::ops::Op;
use crate::log::segment::Segment;
use crate::log::{PartitionIx, ShardLog};
use crate::partition::Partition;
use crate::time::Time;

/// Bytes reserved on disk ahead, at least: thousands of partitions with little in them must not take gigabytes.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
/// Bytes reserved on disk ahead, at most.
const RESERVE_BYTES_MAX: u64 = 32 << 20;
/// With less than this to be written reserving makes the segment longer, so that the ring writes to it by itself (decision 13). A large write would gain nothing:
/// what it costs is its bytes.
const GROWING_BYTES: u64 = 256 << 10;
/// A segment's index file is written after this many bytes: what a crash leaves unindexed.
const INDEX_SAVE_BYTES: u64 = 16 << 20;

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

impl ShardLog {
    /// Begins to settle a partition, if there is anything to do.
    pub(super) fn start_job(&mut self, now: Time, ix: PartitionIx, fx: &mut Effects) {
        let completed = self.settle.below;
        let force = self.partition(ix).is_some_and(|p| self.is_forced(p));
        if self.partition(ix).is_some_and(|p| !p.unwritable && p.job.is_none()) {
            self.settle_written(now, ix, fx);
        }
        // What is on its way straight to the segment ends first: the next round settles the rest.
        if self.journal.has_pieces(ix) {
            return;
        }
        let Some(p) = self.partition_mut(ix).filter(|p| !p.unwritable && p.job.is_none()) else { return };
        if p.direct.as_ref().is_some_and(|d| d.is_busy()) {
            return;
        }
        // The next large batch takes it along. A job of its own would send all that comes meanwhile through the journal, and that would need the next one.
        let taken_along =
            p.direct.as_ref().is_some_and(|d| d.is_ready()) && p.unsettled_bytes <= DIRECT_HEAD_BYTES_MAX / 2;
        if taken_along && !force && !p.roll_wanted {
            return;
        }
        let Some(job) = plan(p, completed, force) else {
            p.roll_wanted = false;
            return;
        };
        if p.segments.is_empty() {
            let since = if p.segment_since_ms > 0 { p.segment_since_ms } else { now.wall_ms };
            p.segments.push_back(Segment::new(p.settled_end, since));
        }
        let mut job = Box::new(job);
        let segment = p.segments.back().expect("just made");
        job.file.clone_from(&segment.writer);
        let next = match job.file.clone() {
            Some(file) => self.reserve_or_write(ix, &mut job, file),
            None => {
                let path = p.segment_path(segment.base) + ".log";
                (JobStep::Open, DiskOp::Open { path, create: true, direct: true })
            }
        };
        self.settle.active += 1;
        self.issue_step(ix, job, next, fx);
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
    pub(in crate::log) fn settle_step(
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
            self.job_of_removed(ix, fx);
            return self.sync_written(fx);
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
                self.job_failed(ix, &e, fx);
                return self.sync_written(fx);
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
            JobStep::Open | JobStep::Cut => self.reserve_or_write(ix, &mut job, file),
            JobStep::Reserve => self.next_write(ix, &mut job, file),
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
        self.issue_step(ix, job, next, fx);
    }

    /// With the segment open: reserves space ahead, or begins to write.
    fn reserve_or_write(&mut self, ix: PartitionIx, job: &mut SettleJob, file: FileHandle) -> (JobStep, DiskOp) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a job is kept");
        let segment = p.segments.back_mut().expect("the job made it");
        if segment.reserved >= job.end {
            return self.next_write(ix, job, file);
        }
        let bytes = job.end - job.written;
        let len = (bytes * 4).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let (offset, end) = (block_down(segment.reserved.max(segment.len)), job.end.max(segment.reserved + len));
        segment.reserved = end;
        (JobStep::Reserve, DiskOp::Preallocate { file, offset, len: end - offset, grow: bytes < GROWING_BYTES })
    }

    fn issue_step(&mut self, ix: PartitionIx, mut job: Box<SettleJob>, next: (JobStep, DiskOp), fx: &mut Effects) {
        job.step = next.0;
        let together = job.step == JobStep::Sync && self.settle.wide && !job.roll;
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a job is kept");
        p.job = Some(job);
        if together {
            self.settle.active -= 1;
            self.settle.unsynced.push(ix);
            return self.sync_written(fx);
        }
        self.ops.issue(Op::Settle(ix), next.1, fx);
    }

    /// The partition was removed while its job was under way: now its files can go.
    fn job_of_removed(&mut self, ix: PartitionIx, fx: &mut Effects) {
        if self.is_at_rest(ix) {
            self.remove_files(ix, fx);
        }
    }

    /// A step of a job went wrong. Its records stay in the journal.
    fn job_failed(&mut self, ix: PartitionIx, e: &DiskError, fx: &mut Effects) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a job is kept");
        if e.kind == DiskErrorKind::NoSpace {
            (self.settle.no_space, self.settle.no_space_now) = (true, true);
            // Said once: every partition would say the same until there is space again.
            if !std::mem::replace(&mut self.settle.full_told, true) {
                let line = format!(
                    "partition {} cannot be settled, the disk is full: {}. Its records stay in the journal",
                    p.name, e.message
                );
                fx.push(Effect::Log { level: LogLevel::Warn, line });
            }
            return;
        }
        p.unwritable = true;
        let path = p.segment_path(p.segments.back().map_or(0, |s| s.base));
        let reason = format!(
            "writing segment {path}.log failed: {}. What was acknowledged is safe in the journal. Check the device, then restart the broker",
            e.message
        );
        self.partition_failed(ix, reason, fx);
    }

    /// Syncs what was written of many partitions when enough has come together, or nothing more comes.
    pub(super) fn sync_written(&mut self, fx: &mut Effects) {
        let s = &mut self.settle;
        // With a failed journal no more jobs begin.
        let last = s.active == 0 && (s.queue.is_empty() || self.journal.failed.is_some());
        let enough = last || s.unsynced.len() + s.active >= UNSYNCED_MAX;
        if !s.syncing.is_empty() || s.unsynced.is_empty() || !enough {
            return;
        }
        s.syncing = std::mem::take(&mut s.unsynced);
        let file = |ix: &PartitionIx| {
            let job = self.partitions[ix.0 as usize].as_ref().and_then(|p| p.job.as_ref());
            job.and_then(|job| job.file.clone()).expect("written to before")
        };
        let files = self.settle.syncing.iter().map(file).collect();
        self.ops.issue(Op::SettleSync, DiskOp::SyncAll { files }, fx);
    }

    /// What was written of many partitions is on stable storage, or it is not known what of it is.
    pub(in crate::log) fn settle_synced(&mut self, now: Time, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        for ix in std::mem::take(&mut self.settle.syncing) {
            let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a job is kept");
            let job = p.job.take().expect("the job waits for this");
            match &result {
                _ if p.removed => self.job_of_removed(ix, fx),
                Ok(_) => self.settled(ix, &job, now, fx),
                Err(e) => self.job_failed(ix, e, fx),
            }
        }
        self.sync_written(fx);
    }

    /// The next write of a job, or its sync.
    fn next_write(&mut self, ix: PartitionIx, job: &mut SettleJob, file: FileHandle) -> (JobStep, DiskOp) {
        if job.written >= job.end {
            return (JobStep::Sync, DiskOp::Sync { file });
        }
        let to = job.end.min(job.written + self.settle_pace().1);
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
        let segment = p.segments.back_mut().expect("the job made it");
        if !job.roll && segment.writer.is_none() && self.settle.files_kept < SETTLE_FILES_MAX {
            segment.writer.clone_from(&job.file);
            self.settle.files_kept += usize::from(job.file.is_some());
        }
        if job.roll {
            segment.writer = None;
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
