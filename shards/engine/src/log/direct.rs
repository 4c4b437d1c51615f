//! Large batches on their way straight to their segment, past the journal: which ones go there, and the segments kept ready for them. Lives
//! in the [`ShardLog`]; the bytes on their way are in `journal/groups.rs`.
//!
//! Invariants:
//! - A segment is written to straight only when a durable checkpoint knows it (or it is the partition's first), when it has been cut behind what
//!   counts, and when the space is reserved: recovery finds it, meets nothing stale in it, and a full disk refuses before, not after.
//! - Straight writes and a settling job never work on one partition at the same time.
//! - `written_pos` moves when the commit is complete, and such a commit is always durable.

use bytes::Bytes;

use super::buffer::{block_down, block_up};
use super::journal::{DIRECT_NEED_BYTES, Target};
use super::ops::Op;
use super::segment::Segment;
use super::{AppendError, BatchInfo, PartitionIx, ShardLog};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel};
use crate::limits::{DIRECT_FILES_MAX, DIRECT_HEAD_BYTES_MAX};
use crate::time::Time;

/// Space reserved ahead, in batches. More is reserved when half of it is used: a file system that is busy with writes takes its time.
const RESERVE_BATCHES: u64 = 64;
/// Space reserved ahead at once, at most.
const RESERVE_BYTES_MAX: u64 = 128 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Opening,
    /// What a crash left behind the end is being cut off.
    Cutting,
    /// The first space is being reserved.
    Reserving {
        to: u64,
    },
    Ready,
    /// More space is being reserved; what there is can be used.
    Extending {
        to: u64,
    },
}

/// Whether a partition's large batches take the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectOff {
    /// They go straight to the segment.
    No,
    /// There was no space: the timer tries again.
    ForNow,
    /// The segment could not be written. Settling will try it again, and says what comes of it.
    ForGood,
}

/// A segment held open to be written to straight.
#[derive(Debug)]
pub struct DirectFile {
    segment: i64,
    file: Option<FileHandle>,
    step: Step,
    /// Space reserved up to here.
    reserved: u64,
    /// Bytes of the batch that asked last.
    batch_bytes: u64,
    /// Written to since the last look.
    used: bool,
}

impl DirectFile {
    /// Whether settling has to wait.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.step, Step::Opening | Step::Cutting | Step::Reserving { .. })
    }

    /// Whether batches can go there.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_opening()
    }

    /// Whether an operation is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.step != Step::Ready
    }
}

impl ShardLog {
    /// Whether a batch goes straight to its segment. If it would but for the segment not being ready, that is asked for.
    pub(super) fn goes_direct(&mut self, ix: PartitionIx, bytes: usize) -> bool {
        let threshold = self.settings.direct_bytes;
        if threshold == 0 {
            return false;
        }
        let large = bytes as u64 >= threshold;
        if !(large || self.journal.has_open_piece(ix)) || !self.journal.could_hold(bytes) {
            return false;
        }
        let planned = self.journal.planned(ix);
        let durable_checkpoint = self.durable_checkpoint;
        let Some(p) = self.partition_mut(ix).filter(|p| !p.unwritable && p.job.is_none() && !p.roll_wanted) else {
            return false;
        };
        if p.direct_off != DirectOff::No {
            return false;
        }
        if p.segment_known_from > durable_checkpoint {
            return false;
        }
        let position = p.stream_pos();
        let end = position + bytes as u64;
        if end > p.config.segment_bytes && position > 0 {
            p.roll_wanted = true;
            self.settle.rolls_wanted = true;
            return false;
        }
        let segment = p.segments.back().map_or(p.settled_end, |s| s.base);
        let head = position - planned.unwrap_or(p.written_pos);
        let direct = p.direct.as_mut().filter(|d| d.segment == segment);
        let (ready, enough) = match direct {
            Some(d) => {
                (d.used, d.batch_bytes) = (true, bytes as u64);
                let ahead = (bytes as u64 * RESERVE_BATCHES).min(RESERVE_BYTES_MAX) / 2;
                (!d.is_opening() && block_up(end) <= d.reserved, d.is_busy() || block_up(end) + ahead <= d.reserved)
            }
            None => (false, false),
        };
        if !enough && !p.direct_wanted {
            p.direct_wanted = true;
            self.direct_wanted.push((ix, bytes as u64));
        }
        let behind = ready && head > DIRECT_HEAD_BYTES_MAX;
        // What a fast producer sends while the rest is settled must not go the same way again and again.
        self.settle.direct_behind |= behind;
        ready && !behind
    }

    /// Makes room for a batch that goes straight to its segment, and the piece it goes into.
    pub(super) fn make_direct_room(&mut self, now: Time, ix: PartitionIx, bytes: usize) -> Result<(), AppendError> {
        if self.journal.pieces_full(bytes) && !self.journal.seal() {
            return Err(AppendError::Full);
        }
        self.journal.make_room(now, DIRECT_NEED_BYTES, true)?;
        if self.journal.piece_can_grow(ix, bytes) {
            return Ok(());
        }
        let planned = self.journal.close_piece_of(ix).or_else(|| self.journal.planned(ix));
        let p = self.partitions[ix.0 as usize].as_ref().expect("the caller has it");
        let start = planned.unwrap_or(p.written_pos);
        let mut head: Vec<Bytes> = Vec::new();
        let mut position = p.stream_pos();
        for entry in p.tail.iter().rev() {
            if position <= start {
                break;
            }
            position -= u64::from(entry.len);
            let bytes = self.journal.slice(entry);
            head.push(bytes.slice(start.saturating_sub(position) as usize..));
        }
        head.reverse();
        let direct = p.direct.as_ref().expect("it is ready");
        let target = Target {
            ix,
            topic: p.topic,
            partition: p.number,
            file: direct.file.clone().expect("it is ready"),
            segment: direct.segment,
            start,
        };
        self.journal.begin_piece(target, p.log_end, &head, bytes);
        Ok(())
    }

    /// Makes segments ready that were asked for.
    pub(super) fn prepare_direct(&mut self, now: Time, fx: &mut Effects) {
        for (ix, bytes) in std::mem::take(&mut self.direct_wanted) {
            let open = self.direct_open;
            let Some(p) = self.partition_mut(ix) else { continue };
            p.direct_wanted = false;
            let off = p.unwritable || p.direct_off != DirectOff::No;
            if off || p.job.is_some() || p.roll_wanted || p.direct.as_ref().is_some_and(|d| d.is_busy()) {
                continue;
            }
            let segment = p.segments.back().map_or(p.settled_end, |s| s.base);
            if p.direct.as_ref().is_some_and(|d| d.segment == segment) {
                self.reserve_direct(ix, fx);
                continue;
            }
            if p.direct.is_none() && open >= DIRECT_FILES_MAX {
                continue;
            }
            if p.segments.is_empty() {
                let since = if p.segment_since_ms > 0 { p.segment_since_ms } else { now.wall_ms };
                p.segments.push_back(Segment::new(segment, since));
            }
            let added = p.direct.is_none();
            p.direct = Some(Box::new(DirectFile {
                segment,
                file: None,
                step: Step::Opening,
                reserved: 0,
                batch_bytes: bytes,
                used: true,
            }));
            let path = p.segment_path(segment) + ".log";
            self.direct_open += usize::from(added);
            self.ops.issue(Op::Direct(ix), DiskOp::Open { path, create: true, direct: true }, fx);
        }
    }

    /// Reserves the next space of a segment that is open.
    fn reserve_direct(&mut self, ix: PartitionIx, fx: &mut Effects) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("the caller has it");
        let stream_pos = p.stream_pos();
        let d = p.direct.as_mut().expect("the caller has looked");
        let offset = d.reserved.max(block_down(p.written_pos));
        let len = block_up((d.batch_bytes * RESERVE_BATCHES).min(RESERVE_BYTES_MAX).max(d.batch_bytes * 2));
        let to = block_up(stream_pos.max(offset)) + len;
        d.step = if d.is_opening() { Step::Reserving { to } } else { Step::Extending { to } };
        let file = d.file.clone().expect("it is open");
        self.ops.issue(Op::Direct(ix), DiskOp::Preallocate { file, offset, len: to - offset, grow: false }, fx);
    }

    /// A step of making a segment ready ended.
    pub(super) fn direct_step(&mut self, ix: PartitionIx, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition with a step under way is kept");
        self.settle.rolls_wanted |= p.roll_wanted;
        let off = p.direct_off != DirectOff::No;
        let output = match result {
            Ok(output) if !p.removed && !off => output,
            other => {
                // Without it everything goes through the journal, as without this way; what is wrong with the segment, settling will find.
                let opening = off || p.direct.as_ref().is_some_and(|d| d.is_opening());
                match p.direct.as_mut().filter(|_| !opening) {
                    Some(d) => d.step = Step::Ready,
                    None => {
                        p.direct = None;
                        self.direct_open -= 1;
                    }
                }
                if p.removed {
                    if self.is_at_rest(ix) {
                        self.remove_files(ix, fx);
                    }
                } else if let Err(e) = other
                    && e.kind != DiskErrorKind::NoSpace
                {
                    let name = p.name.clone();
                    let line =
                        format!("partition {name}: its segment cannot be made ready for large batches: {}", e.message);
                    fx.push(Effect::Log { level: LogLevel::Warn, line });
                }
                return;
            }
        };
        let written_pos = p.written_pos;
        let segment = p.segments.back_mut().expect("it was made before");
        let d = p.direct.as_mut().expect("a step belongs to it");
        match (d.step, output) {
            (Step::Opening, DiskOutput::Opened { file, len }) => {
                d.file = Some(file.clone());
                if !std::mem::replace(&mut segment.cut, true) && len > written_pos {
                    d.step = Step::Cutting;
                    self.ops.issue(Op::Direct(ix), DiskOp::Truncate { file, len: written_pos }, fx);
                } else {
                    self.reserve_direct(ix, fx);
                }
            }
            (Step::Cutting, _) => self.reserve_direct(ix, fx),
            (Step::Reserving { to } | Step::Extending { to }, _) => {
                d.reserved = d.reserved.max(to);
                segment.reserved = segment.reserved.max(to);
                d.step = Step::Ready;
            }
            (step, output) => unreachable!("{step:?} gave {output:?}"),
        }
    }

    /// Closes segments that were not written to straight since the last look, and lets those be tried again for which there was no space.
    pub(super) fn close_idle_direct(&mut self) {
        for (i, p) in self.partitions.iter_mut().enumerate() {
            let Some(p) = p else { continue };
            let on_its_way = || self.journal.has_pieces(PartitionIx(i as u32));
            if p.direct_off == DirectOff::ForNow && p.direct.is_none() && !on_its_way() {
                p.direct_off = DirectOff::No;
            }
            let Some(d) = &mut p.direct else { continue };
            if !d.is_busy() && !std::mem::take(&mut d.used) {
                p.direct = None;
                self.direct_open -= 1;
            }
        }
    }

    /// A piece was written, or not.
    pub(super) fn piece_ended(
        &mut self,
        now: Time,
        ring: u64,
        i: u32,
        result: Result<DiskOutput, DiskError>,
        fx: &mut Effects,
    ) {
        match result {
            Ok(_) => {
                self.journal.piece_written(ring);
                self.submit(now, fx);
            }
            Err(e) => {
                self.journal.piece_failed(ring, i);
                let target =
                    &self.journal.commit(ring).expect("a commit that waits is in memory").pieces[i as usize].target;
                let (ix, key) = (target.ix, (target.topic, target.partition));
                let no_space = e.kind == DiskErrorKind::NoSpace;
                let p = self.partitions[ix.0 as usize].as_mut().filter(|p| p.key() == key);
                if let Some(p) = p {
                    let off = if no_space { DirectOff::ForNow } else { DirectOff::ForGood };
                    let told = p.direct_off == off || (no_space && std::mem::replace(&mut self.settle.full_told, true));
                    if p.direct_off != DirectOff::ForGood {
                        p.direct_off = off;
                    }
                    // What was written behind the failed piece has to be cut off, and the space taken again.
                    if let Some(segment) = p.segments.back_mut() {
                        (segment.cut, segment.reserved) = (false, 0);
                    }
                    if p.direct.as_ref().is_some_and(|d| !d.is_busy()) {
                        p.direct = None;
                        self.direct_open -= 1;
                    }
                    if !told {
                        let line = format!(
                            "partition {}: writing large batches to their segment failed: {}. They go through the journal",
                            p.name, e.message
                        );
                        fx.push(Effect::Log { level: LogLevel::Warn, line });
                    }
                }
                self.move_failed(now, fx);
            }
        }
    }

    /// Brings batches into the journal that could not be written to their segment.
    pub(super) fn move_failed(&mut self, now: Time, fx: &mut Effects) {
        if self.journal.waits_to_move() && self.journal.move_failed() {
            self.submit(now, fx);
        }
    }

    /// Appends a batch straight to its segment; [`ShardLog::make_direct_room`] has made room. Gives part and place in the commit's memory.
    pub(super) fn push_direct(
        &mut self,
        ix: PartitionIx,
        bytes: &[u8],
        info: &BatchInfo,
        leader_epoch: i32,
        append_time_ms: Option<i64>,
    ) -> (u32, u32) {
        let p = self.partitions[ix.0 as usize].as_ref().expect("the caller has it");
        let (base_offset, tier) = (p.log_end, p.config.tier);
        self.metrics.direct_batches += 1;
        self.journal.push_direct(bytes, info, base_offset, leader_epoch, append_time_ms, tier)
    }
}
