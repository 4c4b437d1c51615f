//! One run of the cleaner over one partition: look at what is in its folder, note the last offset of every key in the part that is not compacted yet,
//! then write its segments anew without what newer records stand for. Lives in the [`super::Cleaner`].
//!
//! Decides which operation comes next, one at a time; each ends with at most [`COMPACTION_STEP_BYTES`] of records looked at (or one batch,
//! where a single one is larger).

use std::collections::VecDeque;

use super::keys::Keys;
use super::leave::{Left, Rules, Scratch, enter, leave};
use super::output::Output;
use super::plan::Plan;
use super::txns::{Fate, Txns};
use crate::event::{DirEntry, DiskOp, DiskOutput, FileHandle};
use crate::limits::{BLOCK_BYTES, COMPACTION_STEP_BYTES};
use crate::log::buffer::Buffers;
use crate::log::checkpoint::CHECKPOINT_BYTES_MAX;
use crate::log::read::segment_end;
use crate::log::segment::file_name_parts;
use crate::log::sums::Sums;
use crate::log::{BatchInfo, Compaction, PartitionIx, batch};
use crate::partition::Partition;
use crate::time::Time;

/// What is under way.
#[derive(Clone, Copy, Debug)]
enum Asked {
    List,
    Index,
    Open,
    Read { from: u64 },
    Output,
}

/// What a job wants.
#[derive(Debug)]
pub(super) enum Want {
    /// This operation.
    Do(DiskOp),
    /// The new segment is whole: to be put in the place of the old ones.
    Swap,
    /// Nothing, it is through.
    End,
}

/// Why a job cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    /// The partition was changed or is to be left alone: another time.
    Changed,
    /// What it reads is damaged: never in this process.
    Damaged(String),
}

/// A segment being read.
#[derive(Debug)]
struct Source {
    base: i64,
    version: u32,
    file: Option<FileHandle>,
    /// Its index has been looked at for its sums, which only compaction has written.
    index_seen: bool,
    sums: Option<Sums>,
    position: u64,
    len: u64,
    /// The offset that follows.
    expected: i64,
    end: i64,
}

impl Source {
    /// Nothing more is to be read of it. What was taken for the keys is to be known to be in its place.
    fn is_over(&self, mapping: bool, end: i64) -> bool {
        let is_known = self.sums.as_ref().is_none_or(Sums::is_between_chunks);
        self.position >= self.len || (mapping && self.expected >= end && is_known)
    }
}

/// A run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ix: PartitionIx,
    asked: Option<Asked>,
    /// Segments to be read for what is done now, by base and version.
    queue: VecDeque<(i64, u32)>,
    source: Option<Source>,
    /// Bytes of the next read.
    window: u64,
    /// Until the keys are known.
    mapping: bool,
    keys: Keys,
    first_dirty: i64,
    /// Behind what the keys cover.
    pub(super) end: i64,
    settings: Compaction,
    now_ms: i64,
    groups: VecDeque<Vec<(i64, u32)>>,
    pub(super) output: Option<Output>,
    version: u32,
    scratch: Scratch,
    /// Of the pass under way, once it has met a batch.
    txns: Option<Txns>,
    /// Bytes read of segments, for the counters.
    pub(super) read_bytes: u64,
}

impl Job {
    /// Begins a run. The table of keys holds at most `bytes_max` bytes.
    pub(super) fn new(ix: PartitionIx, plan: &Plan, settings: Compaction, keys: Keys, now: Time) -> Job {
        Job {
            ix,
            asked: None,
            queue: plan.dirty.clone(),
            source: None,
            window: COMPACTION_STEP_BYTES,
            mapping: true,
            keys,
            first_dirty: plan.first_dirty,
            end: plan.limit,
            settings,
            now_ms: now.wall_ms,
            groups: VecDeque::new(),
            output: None,
            version: 0,
            scratch: Scratch::default(),
            txns: None,
            read_bytes: 0,
        }
    }

    /// Takes in what an operation gave; of a listing, the files that belong to nobody.
    pub(super) fn take(&mut self, p: &Partition, output: DiskOutput) -> Result<Vec<String>, Stop> {
        match (self.asked.take(), output) {
            (Some(Asked::List), DiskOutput::Entries(entries)) => return Ok(self.orphans(p, &entries)),
            (Some(Asked::Index), DiskOutput::Data(bytes)) => {
                let source = self.source.as_mut().expect("it was read for it");
                (source.index_seen, source.sums) = (true, Sums::read(&bytes));
            }
            (Some(Asked::Open), DiskOutput::Opened { file, .. }) => {
                self.source.as_mut().expect("it was opened for it").file = Some(file);
            }
            (Some(Asked::Read { from }), DiskOutput::Data(blocks)) => {
                let skip = (from % BLOCK_BYTES) as usize;
                self.window(p, blocks.get(skip..).unwrap_or_default())?;
            }
            (Some(Asked::Output), DiskOutput::Opened { file, .. }) => self.out().did(Some(file)),
            (Some(Asked::Output), DiskOutput::Done) => self.out().did(None),
            (asked, output) => unreachable!("{asked:?} gave {output:?}"),
        }
        Ok(Vec::new())
    }

    /// Whether what is under way may fail: an index is only a hint.
    pub(super) fn does_without(&self) -> bool {
        matches!(self.asked, Some(Asked::Index))
    }

    fn out(&mut self) -> &mut Output {
        self.output.as_mut().expect("an operation of it ended")
    }

    /// What comes next.
    pub(super) fn ask(&mut self, p: &Partition, buffers: &mut Buffers) -> Result<Want, Stop> {
        if self.version == 0 {
            self.asked = Some(Asked::List);
            let path = format!("partitions/{}", crate::log::folder_name(p.topic, p.number));
            return Ok(Want::Do(DiskOp::List { path }));
        }
        loop {
            let has_all = self.source.is_none() && self.queue.is_empty();
            if let Some(output) = &mut self.output {
                if let Some(what) = output.ask(p, has_all, buffers) {
                    self.asked = Some(Asked::Output);
                    return Ok(Want::Do(what));
                }
                if output.is_done() {
                    return Ok(Want::Swap);
                }
            } else if has_all && !self.begin_group(p)? {
                return Ok(Want::End);
            }
            if let Some(what) = self.read_on(p)? {
                return Ok(Want::Do(what));
            }
        }
    }

    /// The keys are known, or a group is done: begins the next one. `false`: there is none.
    fn begin_group(&mut self, p: &Partition) -> Result<bool, Stop> {
        if std::mem::take(&mut self.mapping) {
            self.groups = groups(p, self.end);
            self.txns = None;
        }
        let Some(sources) = self.groups.pop_front() else { return Ok(false) };
        let all = || sources.iter().map(|(base, version)| find(p, *base, *version));
        let created_ms = all().next().expect("a group has a segment")?.created_ms;
        let bytes = all().map(|s| s.map(|s| s.len)).sum::<Result<u64, Stop>>()?;
        let end = segment_end(p, sources[sources.len() - 1].0);
        self.queue = sources.iter().copied().collect();
        self.output = Some(Output::new(sources, self.version, created_ms, end, bytes));
        Ok(true)
    }

    /// Goes on reading; `None`: a segment ended.
    fn read_on(&mut self, p: &Partition) -> Result<Option<DiskOp>, Stop> {
        if self.source.is_none() {
            let Some((base, version)) = self.queue.pop_front() else { return Ok(None) };
            let segment = find(p, base, version)?;
            let (len, end) = (segment.len, segment_end(p, base));
            let (index_seen, file, sums) = (version == 0, None, None);
            self.source = Some(Source { base, version, file, index_seen, sums, position: 0, len, expected: base, end });
        }
        let source = self.source.as_ref().expect("just made");
        // Retention may have removed it, another run cannot have touched it.
        find(p, source.base, source.version)?;
        if source.is_over(self.mapping, self.end) {
            self.source = None;
            return Ok(None);
        }
        if !source.index_seen {
            self.asked = Some(Asked::Index);
            let path = p.segment_path_at(source.base, source.version) + ".idx";
            return Ok(Some(DiskOp::ReadFile { path, bytes_max: CHECKPOINT_BYTES_MAX }));
        }
        let Some(file) = source.file.clone() else {
            self.asked = Some(Asked::Open);
            let path = p.segment_path_of(find(p, source.base, source.version)?) + ".log";
            return Ok(Some(DiskOp::Open { path, create: false, direct: true }));
        };
        let from = source.position;
        let begin = from - from % BLOCK_BYTES;
        let end = (from + self.window).min(source.len).next_multiple_of(BLOCK_BYTES);
        self.asked = Some(Asked::Read { from });
        Ok(Some(DiskOp::Read { file, offset: begin, len: end - begin, piece: DiskOp::WHOLE }))
    }

    /// Looks at the batches in what was read.
    fn window(&mut self, p: &Partition, bytes: &[u8]) -> Result<(), Stop> {
        let mut seen = 0;
        let mut looked_at = 0;
        loop {
            let source = self.source.as_ref().expect("it is being read");
            let rest = &bytes[seen.min(bytes.len())..];
            let left = source.len - source.position;
            if source.is_over(self.mapping, self.end) || looked_at as u64 >= COMPACTION_STEP_BYTES {
                break;
            }
            let info = match batch::header(rest).filter(|info| info.bytes <= left) {
                Some(info) if info.bytes <= rest.len() as u64 => info,
                // Cut off: the next read begins with it.
                _ if seen > 0 => break,
                Some(info) if info.bytes > self.window => {
                    self.window = info.bytes;
                    return Ok(());
                }
                _ => return Err(damaged(p, source, "no whole batch begins here")),
            };
            let one = &rest[..info.bytes as usize];
            let last_offset = info.last_offset();
            check(p, source, one, &info, last_offset)?;
            let sums = self.source.as_mut().and_then(|source| source.sums.as_mut());
            if sums.is_some_and(|sums| !sums.take(one)) {
                let source = self.source.as_ref().expect("as above");
                return Err(damaged(p, source, "the batches up to here do not hold the checksum of their offsets"));
            }
            let from = if self.mapping { self.first_dirty } else { 0 };
            let fate = self.txns.get_or_insert_with(|| Txns::new(p, from)).next(&info, last_offset);
            let records = match self.mapping {
                true => self.map(one, &info, fate),
                false => self.leave(p, one, &info, (fate, last_offset)),
            };
            looked_at += records.max(one.len());
            let source = self.source.as_mut().expect("as above");
            source.position += info.bytes;
            source.expected = last_offset + 1;
            seen += one.len();
        }
        self.read_bytes += seen as u64;
        // What expands to much is read in small pieces, so that little is read twice.
        self.window = match looked_at as u64 {
            much if much > COMPACTION_STEP_BYTES => (seen as u64).clamp(BLOCK_BYTES, COMPACTION_STEP_BYTES),
            _ => (self.window * 2).min(COMPACTION_STEP_BYTES),
        };
        Ok(())
    }

    fn map(&mut self, one: &[u8], info: &BatchInfo, fate: Fate) -> usize {
        // What lies behind the end is read for the sums only.
        if fate != Fate::Records || info.base_offset >= self.end {
            return 0;
        }
        let (looked_at, no_room) = enter(&mut self.keys, one, info, self.first_dirty, &mut self.scratch);
        if let Some(offset) = no_room {
            // The rest has its turn with the next run.
            self.end = offset;
            self.queue.clear();
        }
        looked_at
    }

    fn leave(&mut self, p: &Partition, one: &[u8], info: &BatchInfo, (fate, last_offset): (Fate, i64)) -> usize {
        let rules = Rules {
            keys: &self.keys,
            end: self.end,
            now_ms: self.now_ms,
            delete_retention_ms: self.settings.delete_retention_ms,
        };
        let is_last = p.producers.get(info.producer_id).is_some_and(|producer| match producer.batches.back() {
            Some(last) => last.base_offset == info.base_offset,
            // Only an end is left of it, which says which epochs are over.
            None => info.is_control() && info.producer_epoch == producer.epoch,
        });
        let output = self.output.as_mut().expect("something is being written");
        let from = output.pending.len();
        let (left, looked_at) = leave(&rules, one, info, (fate, is_last), &mut self.scratch, &mut output.pending);
        if left == Left::Same {
            output.pending.extend_from_slice(one);
        } else {
            output.is_less = true;
        }
        if left != Left::Nothing {
            let made = batch::header(&output.pending[from..]).expect("a whole batch was written");
            output.took(from, last_offset, made.max_timestamp);
        }
        looked_at
    }

    /// Files of segments that nothing refers to: what runs left that a crash cut short. The version of this run's segments is above all.
    fn orphans(&mut self, p: &Partition, entries: &[DirEntry]) -> Vec<String> {
        let mut orphans = Vec::new();
        self.version = p.segments.iter().map(|s| s.version).max().unwrap_or(0) + 1;
        for entry in entries {
            let Some((base, version)) = file_name_parts(&entry.name) else { continue };
            self.version = self.version.max(version + 1);
            let over = p.segments.iter().rev().find(|s| s.base <= base);
            let is_used = over.is_some_and(|s| (s.base, s.version) == (base, version));
            // What retention removes is not there to be looked at; what is not compacted belongs to settling.
            let is_replaced = version > 0 || over.is_some_and(|s| s.version > 0);
            if is_replaced && !is_used {
                orphans.push(format!("partitions/{}/{}", crate::log::folder_name(p.topic, p.number), entry.name));
            }
        }
        orphans
    }
}

/// What is read was checked when it was written; what does not hold now is damaged.
fn check(p: &Partition, source: &Source, one: &[u8], info: &BatchInfo, last_offset: i64) -> Result<(), Stop> {
    let follows = match source.version {
        0 => info.base_offset == source.expected || p.gaps.contains(&(source.expected, info.base_offset)),
        _ => info.base_offset >= source.expected,
    };
    let possible = p.leader_epochs.is_some_and(|(lowest, highest)| (lowest..=highest).contains(&info.leader_epoch));
    if !follows
        || !possible
        || last_offset < info.base_offset
        || last_offset >= source.end
        || batch::whole(one).is_none()
    {
        return Err(damaged(p, source, "a batch does not hold its checksum or its place"));
    }
    Ok(())
}

fn damaged(p: &Partition, source: &Source, what: &str) -> Stop {
    let path = p.segment_path_at(source.base, source.version);
    Stop::Damaged(format!("segment {path}.log is damaged at byte {}: {what}", source.position))
}

fn find(p: &Partition, base: i64, version: u32) -> Result<&crate::log::Segment, Stop> {
    p.segments.iter().find(|s| (s.base, s.version) == (base, version)).ok_or(Stop::Changed)
}

/// The closed segments that hold anything below `end`, those together that make one of the size a segment should have.
fn groups(p: &Partition, end: i64) -> VecDeque<Vec<(i64, u32)>> {
    let mut groups: VecDeque<Vec<(i64, u32)>> = VecDeque::new();
    let mut bytes = u64::MAX;
    let closed = p.segments.range(..p.segments.len().saturating_sub(1));
    for segment in closed.filter(|s| s.base < end && segment_end(p, s.base) > p.log_start) {
        bytes = bytes.saturating_add(segment.len);
        if bytes > p.config.segment_bytes {
            groups.push_back(Vec::new());
            bytes = segment.len;
        }
        groups.back_mut().expect("just made").push((segment.base, segment.version));
    }
    groups
}
