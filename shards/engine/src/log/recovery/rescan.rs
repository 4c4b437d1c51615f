//! Recovery without the newest checkpoint: it is damaged, so what was settled after the one before is found by reading the segments themselves.
//! Lives in recovery.
//!
//! A batch in a segment counts when its checksum holds and its offset follows the one before: only what was committed is ever settled. Where
//! this ends, the journal must go on; if it does not, and the file shows that there was more, the partition fails.
//!
//! A process that was killed between a segment's write and its sync leaves batches in the page cache only. So a file in which something counted
//! is synced before the next is looked at: the checkpoint that ends the scan says that all of it is there, and the journal is given up for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::{ShardLog, Task};
use crate::event::{DiskErrorKind, DiskOp, DiskOutput, Effects, FileHandle};
use crate::log::checkpoint::CHECKPOINT_BYTES_MAX;
use crate::log::checkpoint::{PartitionState, SegmentState};
use crate::log::segment::{Segment, file_name_parts, read_cleaned};
use crate::log::sums::Sums;
use crate::log::{BatchInfo, PartitionIx, batch, folder_name};

/// Partitions looked at at once; each holds one window in memory.
const SCANS_MAX: usize = 16;
const WINDOW_BYTES: u64 = 1 << 20;

/// What was found beyond a checkpoint.
#[derive(Debug, Default)]
pub(super) struct Rescanned {
    /// Batches of idempotent producers, in order.
    pub(super) produced: Vec<BatchInfo>,
    /// There was a batch at this offset that is not whole: the journal must have it.
    pub(super) suspect: Option<i64>,
}

/// What of a partition counts in the journal.
#[derive(Debug, Default)]
pub(super) struct Journaled {
    /// Length and checksum of its batches by base offset.
    pub(super) batches: BTreeMap<i64, (u64, u32)>,
    /// Where it ends, if a batch was appended to it in a commit that is there: whatever was appended after that is in the journal, too.
    pub(super) end: Option<i64>,
}

/// A partition being looked at.
#[derive(Debug)]
pub(super) struct Scan {
    ix: PartitionIx,
    journaled: Journaled,
    state: PartitionState,
    found: Rescanned,
    /// Segment files not yet looked at, by base and version; of those with the same base the newest first.
    files: VecDeque<(i64, u32)>,
    /// The index of this one is being read: it says whether compaction had finished it.
    index_of: Option<(i64, u32)>,
    segment: Segment,
    /// The offset behind `segment`, if compaction has written it.
    cleaned_end: Option<i64>,
    file: Option<(FileHandle, u64)>,
    /// Its length, then.
    cleaned_len: u64,
    /// The sums of its batches, unless it was written before there were any.
    sums: Option<Sums>,
    /// Nothing more of `file` counts.
    ended: bool,
    /// Something in `file` counts that may be in the page cache only.
    unsynced: bool,
    expected: i64,
    position: u64,
    window: u64,
    grown: bool,
}

/// All partitions to be looked at.
#[derive(Debug, Default)]
pub(super) struct Scans {
    waiting: VecDeque<(PartitionIx, Option<PartitionState>, Journaled)>,
    active: Vec<Option<Scan>>,
}

impl Scans {
    pub(super) fn push(&mut self, ix: PartitionIx, state: Option<PartitionState>, journaled: Journaled) {
        self.waiting.push_back((ix, state, journaled));
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.active.iter().all(Option::is_none)
    }
}

impl ShardLog {
    fn scans(&mut self) -> &mut Scans {
        &mut self.recovery.as_mut().expect("recovery runs").scans
    }

    /// Begins as many as may run. `true`: all are done.
    pub(super) fn scan_on(&mut self, fx: &mut Effects) -> bool {
        loop {
            let scans = self.scans();
            let free = match scans.active.iter().position(Option::is_none) {
                Some(free) => free,
                None if scans.active.len() < SCANS_MAX => {
                    scans.active.push(None);
                    scans.active.len() - 1
                }
                None => return false,
            };
            let Some((ix, state, journaled)) = scans.waiting.pop_front() else { return scans.is_done() };
            let known = state.is_some();
            let state = state.unwrap_or_default();
            let last = state.segments.last().copied();
            let mut segment = Segment::new(last.map_or(0, |s| s.base), last.map_or(0, |s| s.created_ms));
            if let Some(s) = last {
                segment.len = s.len;
                segment.max_timestamp = s.max_timestamp;
                segment.max_timestamp_offset = s.max_timestamp_offset;
            }
            scans.active[free] = Some(Scan {
                ix,
                journaled,
                expected: if known { state.settled_end } else { -1 },
                position: state.settled_pos,
                state,
                found: Rescanned::default(),
                files: VecDeque::new(),
                index_of: None,
                segment,
                cleaned_end: None,
                file: None,
                cleaned_len: 0,
                sums: None,
                ended: false,
                unsynced: false,
                window: WINDOW_BYTES,
                grown: false,
            });
            let p = self.partition(ix).expect("nothing is removed before recovery is over");
            let path = format!("partitions/{}", folder_name(p.topic, p.number));
            self.ask(Task::Scan(free), DiskOp::List { path }, fx);
        }
    }

    /// A step failed. A segment that cannot be read counts up to there, and the journal must have the rest; `false`: it was something else that failed.
    pub(super) fn scan_ends_here(&mut self, i: usize, kind: DiskErrorKind) -> bool {
        let scan = self.scans().active[i].as_mut().expect("a step belongs to a scan");
        if scan.index_of.is_some() {
            // Not finished, or not known to be: what it was made of counts.
            return true;
        }
        if scan.cleaned_end.is_some() && scan.file.is_none() {
            // Its index is there, it is not: found missing by what comes behind.
            (scan.cleaned_end, scan.segment.version, scan.sums) = (None, 0, None);
            return true;
        }
        let reads =
            kind == DiskErrorKind::Io && scan.file.as_ref().is_some_and(|(_, len)| scan.position < *len) && !scan.ended;
        if reads {
            scan.found.suspect = Some(scan.expected);
        }
        reads
    }

    /// A step of looking at a partition ended. Gives the partition's state when it was the last one.
    pub(super) fn scan_step(
        &mut self,
        i: usize,
        output: DiskOutput,
        fx: &mut Effects,
    ) -> Option<(PartitionIx, PartitionState, Rescanned)> {
        let mut scan = self.scans().active[i].take().expect("a step belongs to a scan");
        match output {
            DiskOutput::Entries(entries) => {
                let data = entries.iter().filter(|e| e.name.ends_with(".log"));
                let names = data.filter_map(|e| file_name_parts(&e.name));
                let from = scan.state.segments.last().map_or(0, |s| s.base);
                let known = scan.expected >= 0;
                // What the checkpoint knows is still there as it was then: compaction leaves it for two checkpoints more.
                scan.files = names.filter(|(base, version)| *base >= from && (!known || *version == 0)).collect();
                scan.files.make_contiguous().sort_unstable_by_key(|(base, version)| (*base, Reverse(*version)));
                if scan.expected < 0 {
                    // Nothing is known: the log begins with its first file.
                    let first = scan.files.front().map_or(0, |(base, _)| *base);
                    scan.expected = first;
                    scan.state.log_start = first;
                    scan.state.settled_end = first;
                    scan.segment = Segment::new(first, 0);
                }
            }
            DiskOutput::Opened { file, len } => {
                let len = if scan.cleaned_end.is_some() { len.min(scan.cleaned_len) } else { len };
                (scan.file, scan.ended) = (Some((file, len)), false);
            }
            DiskOutput::Data(bytes) if scan.index_of.is_some() => scan.index(&bytes),
            DiskOutput::Data(bytes) => scan.window(&bytes),
            DiskOutput::Done => scan.unsynced = false,
        }
        let what = loop {
            match &scan.file {
                Some((file, len)) if scan.position < *len && !scan.ended => {
                    let len = scan.window.min(len - scan.position);
                    break Some(DiskOp::Read { file: file.clone(), offset: scan.position, len, piece: DiskOp::WHOLE });
                }
                Some((file, _)) if scan.unsynced => break Some(DiskOp::Sync { file: file.clone() }),
                Some(_) => {
                    scan.file = None;
                    scan.end_cleaned();
                }
                None if scan.cleaned_end.is_some() => {
                    let p = self.partition(scan.ix).expect("nothing is removed before recovery is over");
                    let path = p.segment_path_of(&scan.segment) + ".log";
                    break Some(DiskOp::Open { path, create: false, direct: false });
                }
                None => match scan.files.pop_front() {
                    None => break None,
                    Some((base, version)) if version > 0 && base == scan.expected => {
                        scan.index_of = Some((base, version));
                        let p = self.partition(scan.ix).expect("nothing is removed before recovery is over");
                        let path = p.segment_path_at(base, version) + ".idx";
                        break Some(DiskOp::ReadFile { path, bytes_max: CHECKPOINT_BYTES_MAX });
                    }
                    Some((base, 0))
                        if base == scan.expected || (base, 0) == (scan.segment.base, scan.segment.version) =>
                    {
                        if base != scan.segment.base {
                            scan.begin_segment(base);
                        }
                        let p = self.partition(scan.ix).expect("nothing is removed before recovery is over");
                        break Some(DiskOp::Open { path: p.segment_path(base) + ".log", create: false, direct: false });
                    }
                    Some((base, _)) => {
                        // A later segment was begun, so everything before it had been settled.
                        if base > scan.expected {
                            scan.found.suspect = Some(scan.found.suspect.map_or(base - 1, |s| s.max(base - 1)));
                        }
                    }
                },
            }
        };
        match what {
            Some(what) => {
                self.scans().active[i] = Some(scan);
                self.ask(Task::Scan(i), what, fx);
                None
            }
            None => Some(scan.finish()),
        }
    }
}

impl Scan {
    /// Takes in what was read at `position`.
    fn window(&mut self, bytes: &[u8]) {
        let file_len = self.file.as_ref().map_or(0, |(_, len)| *len);
        let mut seen = 0;
        loop {
            let rest = &bytes[seen..];
            let here = self.position + seen as u64;
            if rest.len() < batch::HEADER_BYTES {
                if here + (batch::HEADER_BYTES as u64) > file_len || bytes.is_empty() {
                    return self.ended = true;
                }
                break;
            }
            // What stands here was on its way when the process ended, and its commit was not written.
            if self.cleaned_end.is_none() && self.journaled.end.is_some_and(|end| self.expected >= end) {
                self.files.clear();
                return self.ended = true;
            }
            let follows = |info: &BatchInfo| match (self.cleaned_end, info.base_offset) {
                (None, base) => base == self.expected || self.state.gaps.contains(&(self.expected, base)),
                (Some(end), base) => {
                    base >= self.expected && base.saturating_add(i64::from(info.last_offset_delta)) < end
                }
            };
            let info = batch::header(rest).filter(follows);
            let Some(info) = info else {
                if rest[..batch::HEADER_BYTES].iter().any(|b| *b != 0) {
                    self.found.suspect = Some(self.expected);
                }
                return self.ended = true;
            };
            if info.bytes > rest.len() as u64 {
                if here + info.bytes > file_len {
                    return self.ended = true;
                }
                if seen == 0 {
                    self.window = info.bytes;
                }
                break;
            }
            let one = &rest[..info.bytes as usize];
            if batch::whole(one).is_none() || self.sums.as_mut().is_some_and(|sums| !sums.take(one)) {
                self.found.suspect = Some(self.expected);
                return self.ended = true;
            }
            // A large batch may have been written to the segment and its commit not: then the journal says what came in its place, as that has
            // not been settled yet. Nothing behind it counts either.
            let this = (info.bytes, batch::crc(rest));
            let differs = |journaled: &(u64, u32)| *journaled != this;
            if self.cleaned_end.is_none() && self.journaled.batches.get(&info.base_offset).is_some_and(differs) {
                self.files.clear();
                return self.ended = true;
            }
            let last_offset = info.last_offset();
            self.segment.push(info.base_offset, last_offset, info.bytes, info.max_timestamp);
            if info.producer_id >= 0 {
                self.found.produced.push(info);
            }
            self.expected = last_offset + 1;
            batch::note_epoch(&mut self.state.leader_epochs, info.leader_epoch);
            (self.grown, self.unsynced) = (true, true);
            seen += info.bytes as usize;
        }
        self.position += seen as u64;
    }

    /// Takes the index of a segment that compaction has written: without a whole one the segment is not finished, and does not count.
    fn index(&mut self, bytes: &[u8]) {
        let Some((base, version)) = self.index_of.take() else { return };
        if let Some((end, len)) = read_cleaned(bytes).filter(|(end, _)| *end > base) {
            self.begin_segment(base);
            self.segment.version = version;
            (self.cleaned_end, self.cleaned_len, self.sums) = (Some(end), len, Sums::read(bytes));
        }
    }

    /// A segment that compaction has written has been read to its end: on behind it, unless something in it is damaged.
    fn end_cleaned(&mut self) {
        self.sums = None;
        if let Some(end) = self.cleaned_end.take() {
            if self.segment.len == self.cleaned_len {
                self.expected = end;
            } else {
                self.found.suspect = Some(self.found.suspect.map_or(end - 1, |s| s.max(end - 1)));
            }
        }
    }

    fn begin_segment(&mut self, base: i64) {
        self.close_segment();
        self.segment = Segment::new(base, 0);
        self.position = 0;
        self.grown = true;
    }

    fn close_segment(&mut self) {
        let s = &self.segment;
        let state = SegmentState {
            base: s.base,
            version: s.version,
            len: s.len,
            max_timestamp: s.max_timestamp,
            max_timestamp_offset: s.max_timestamp_offset,
            created_ms: s.created_ms,
        };
        match self.state.segments.last_mut() {
            Some(last) if last.base == state.base => *last = state,
            _ if state.len > 0 || state.version > 0 => self.state.segments.push(state),
            _ => {}
        }
    }

    fn finish(mut self) -> (PartitionIx, PartitionState, Rescanned) {
        if self.grown {
            self.close_segment();
            self.state.segments.retain(|s| s.len > 0 || s.version > 0);
            self.state.settled_end = self.expected;
            // How much of the last block is written is not known: the next batch begins a segment of its own.
            self.state.settled_pos = 0;
            self.state.written_pos = 0;
            self.state.segments.push(SegmentState {
                base: self.expected,
                version: 0,
                len: 0,
                max_timestamp: i64::MIN,
                max_timestamp_offset: self.expected,
                created_ms: self.state.segment_since_ms,
            });
        }
        (self.ix, self.state, self.found)
    }
}
