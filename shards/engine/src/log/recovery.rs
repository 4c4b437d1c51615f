//! How a shard's log comes back: read the journals and checkpoints, decide what counts (`replay`), give every partition its segments and its tail
//! again, write the checkpoint that begins this incarnation, take over what older generations hold. Lives from [`ShardLog::start`] to
//! [`LogEvent::Recovered`].
//!
//! A journal folder is `journal/g<generation>x<shards>/s<shard>`. A start with another number of shards begins a new generation; the
//! older ones are read by every shard for the partitions that are now its own, copied into its own journal, and removed when every shard has
//! said so. A crash at any point in this repeats it: a batch has its offset, and what is there already is not taken again.

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, NAMES, PartitionState};
use super::frame::{CommitHeader, EntryHeader, EntryKind, FoundCommit, JournalId, scan};
use super::journal::{Commit, Slot, SlotState};
use super::ops::Op;
use super::replay::{Candidate, Known, select};
use super::rescan::{Rescanned, Scans};
use super::segment::Segment;
use super::{BatchInfo, LogEvent, PartitionIx, ShardLog, TailEntry, batch};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle, LogLevel};
use crate::partition::Partition;
use crate::producers::{ProducedBatch, Producer, sequence_after};
use crate::time::Time;

/// One shard's journal of one generation, as read.
#[derive(Debug)]
struct Source {
    generation: u32,
    shard: u16,
    folder: String,
    /// Content, or why it could not be read.
    checkpoints: [Option<Result<Bytes, String>>; 2],
    files: Vec<SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    slot: u32,
    len: u64,
    file: Option<FileHandle>,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    ListJournal,
    ListSource(usize),
    Checkpoint(usize, usize),
    OpenFile(usize, usize),
    ReadFile(usize, usize),
    Sync,
    /// A step of looking through a partition's segments.
    Scan(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Journals and checkpoints are being read.
    Gathering,
    /// A checkpoint is damaged: the segments are being looked through.
    Scanning,
    /// What was read of the own journal is being made durable.
    Syncing,
    /// The first journal file is being made.
    FirstFile,
    /// The checkpoint that begins this incarnation is being written.
    Beginning,
    /// Batches of older generations are being copied.
    Importing,
    /// The checkpoint that says so is being written.
    Ending,
}

/// A batch of an older generation.
#[derive(Debug)]
struct Import {
    ix: PartitionIx,
    info: BatchInfo,
    bytes: Bytes,
}

/// Recovery under way.
#[derive(Debug)]
pub(super) struct Recovery {
    stage: Stage,
    tasks: HashMap<u64, Task, FxBuildHasher>,
    last_task: u64,
    /// Own first, then older generations, oldest first.
    sources: Vec<Source>,
    imports: VecDeque<Import>,
    /// Older generations were there.
    drains: bool,
    /// What was found of each partition, until it is given back.
    gathered: Vec<Gathered>,
    /// Acknowledged commits that cannot be read: source, number, folder.
    unknown: Vec<(usize, u64, String)>,
    pub(super) scans: Scans,
}

/// An entry that counts, on its way to its partition.
#[derive(Clone, Debug)]
struct Replayed {
    info: BatchInfo,
    /// Newer sources and commits first among copies of the same batch.
    age: (usize, u64),
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// In this journal.
    Own { ring: u64, at: u32 },
    /// In an older generation.
    Old(Bytes),
}

/// What all sources together say of a partition.
#[derive(Debug, Default)]
struct Gathered {
    state: Option<PartitionState>,
    entries: Vec<Replayed>,
    log_start: i64,
    /// Acknowledged batches that are damaged: base offset and where.
    damaged: Vec<(i64, String)>,
    /// The newest commit, by source, in which it has an entry.
    last_seen: HashMap<usize, u64, FxBuildHasher>,
    sources: Vec<usize>,
    /// What its segments hold beyond the checkpoint.
    rescanned: Rescanned,
}

impl ShardLog {
    /// Begins recovery.
    pub(super) fn recover(&mut self, fx: &mut Effects) {
        self.recovery = Some(Box::new(Recovery {
            stage: Stage::Gathering,
            tasks: HashMap::default(),
            last_task: 0,
            sources: Vec::new(),
            imports: VecDeque::new(),
            drains: false,
            gathered: Vec::new(),
            unknown: Vec::new(),
            scans: Scans::default(),
        }));
        self.ask(Task::ListJournal, DiskOp::List { path: "journal".into() }, fx);
    }

    pub(super) fn ask(&mut self, task: Task, what: DiskOp, fx: &mut Effects) {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        recovery.last_task += 1;
        recovery.tasks.insert(recovery.last_task, task);
        self.ops.issue(Op::Recovery(recovery.last_task), what, fx);
    }

    pub(super) fn recovery_failed(&mut self, reason: String, fx: &mut Effects) {
        self.recovery = None;
        let message = format!("shard {}: the log cannot be opened: {reason}", self.shard);
        fx.push(Effect::Fatal { message });
    }

    /// A step of recovery ended.
    pub(super) fn recovery_step(
        &mut self,
        now: Time,
        step: u64,
        result: Result<DiskOutput, DiskError>,
        fx: &mut Effects,
    ) {
        let Some(recovery) = self.recovery.as_mut() else { return };
        let Some(task) = recovery.tasks.remove(&step) else { return };
        match (task, result) {
            (Task::ListJournal, Ok(DiskOutput::Entries(entries))) => {
                let names: Vec<String> = entries.into_iter().filter(|e| e.is_dir).map(|e| e.name).collect();
                self.list_sources(&names, fx);
            }
            (Task::ListSource(s), Ok(DiskOutput::Entries(entries))) => {
                for entry in entries {
                    self.ask_for(s, &entry.name, entry.len, fx);
                }
            }
            (Task::Checkpoint(s, which), Ok(DiskOutput::Data(bytes))) => {
                recovery.sources[s].checkpoints[which] = Some(Ok(bytes))
            }
            (Task::Checkpoint(s, which), Err(e)) if e.kind != DiskErrorKind::NotFound => {
                recovery.sources[s].checkpoints[which] = Some(Err(e.message));
            }
            (Task::Checkpoint(..), Err(_)) => {}
            (Task::OpenFile(s, f), Ok(DiskOutput::Opened { file, len })) => {
                let entry = &mut recovery.sources[s].files[f];
                entry.len = super::buffer::block_down(len);
                entry.file = Some(file.clone());
                let len = entry.len;
                if len > 0 {
                    self.ask(Task::ReadFile(s, f), DiskOp::Read { file, offset: 0, len }, fx);
                }
            }
            (Task::ReadFile(s, f), Ok(DiskOutput::Data(bytes))) => recovery.sources[s].files[f].bytes = bytes,
            (Task::Sync, Ok(_)) => {}
            (Task::Scan(i), Ok(output)) => {
                if let Some((ix, state, rescanned)) = self.scan_step(i, output, fx) {
                    let g = &mut self.recovery.as_mut().expect("recovery runs").gathered[ix.0 as usize];
                    g.state = Some(state);
                    g.rescanned = rescanned;
                    if self.scan_on(fx) {
                        self.finish_rebuild(now, fx);
                    }
                }
                return;
            }
            (_, Err(e)) => return self.recovery_failed(e.message, fx),
            (task, Ok(output)) => unreachable!("{task:?} gave {output:?}"),
        }
        let recovery = self.recovery.as_ref().expect("not ended here");
        match recovery.stage {
            Stage::Gathering if recovery.tasks.is_empty() => self.rebuild(now, fx),
            Stage::Syncing if recovery.tasks.is_empty() => self.begin_incarnation(fx),
            _ => {}
        }
    }

    /// Decides which generation is this start's, and lists the journals to be read.
    fn list_sources(&mut self, names: &[String], fx: &mut Effects) {
        let mut generations: Vec<(u32, u16, String)> = Vec::new();
        for name in names {
            let parsed = name.strip_prefix('g').and_then(|n| n.split_once('x'));
            match parsed.and_then(|(g, s)| Some((g.parse().ok()?, s.parse().ok()?))) {
                Some((generation, shards)) => generations.push((generation, shards, name.clone())),
                None => fx.push(Effect::Log {
                    level: LogLevel::Warn,
                    line: format!("journal/{name} is none of the broker's folders; left alone"),
                }),
            }
        }
        generations.sort();
        let own = match generations.last() {
            Some((generation, shards, _)) if *shards == self.shards => *generation,
            Some((generation, ..)) => generation + 1,
            None => 1,
        };
        self.journal.id.generation = own;
        self.journal.id.shard = self.shard;
        self.journal.folder = format!("journal/g{own}x{}/s{}", self.shards, self.shard);
        let mut sources = vec![(own, self.shard, self.journal.folder.clone())];
        for (generation, shards, name) in generations.into_iter().filter(|g| g.0 < own) {
            self.old_generations.push(format!("journal/{name}"));
            sources.extend((0..shards).map(|shard| (generation, shard, format!("journal/{name}/s{shard}"))));
        }
        let recovery = self.recovery.as_mut().expect("recovery runs");
        recovery.drains = sources.len() > 1;
        let sources = sources.into_iter();
        recovery.sources = sources
            .map(|(generation, shard, folder)| Source {
                generation,
                shard,
                folder,
                checkpoints: [None, None],
                files: Vec::new(),
            })
            .collect();
        for s in 0..recovery.sources.len() {
            let path = self.recovery.as_ref().expect("recovery runs").sources[s].folder.clone();
            self.ask(Task::ListSource(s), DiskOp::List { path }, fx);
        }
    }

    fn ask_for(&mut self, s: usize, name: &str, len: u64, fx: &mut Effects) {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        let path = format!("{}/{name}", recovery.sources[s].folder);
        if let Some(which) = NAMES.iter().position(|n| *n == name) {
            return self.ask(
                Task::Checkpoint(s, which),
                DiskOp::ReadFile { path, bytes_max: CHECKPOINT_BYTES_MAX },
                fx,
            );
        }
        let Some(slot) = name.strip_prefix('j').and_then(|n| n.parse().ok()) else { return };
        let files = &mut recovery.sources[s].files;
        files.push(SourceFile { slot, len, file: None, bytes: Bytes::new() });
        let f = files.len() - 1;
        self.ask(Task::OpenFile(s, f), DiskOp::Open { path, create: false, direct: true }, fx);
    }

    /// Everything has been read: makes the log of it.
    fn rebuild(&mut self, now: Time, fx: &mut Effects) {
        let mut recovery = self.recovery.take().expect("recovery runs");
        let mut gathered: Vec<Gathered> = (0..self.partitions.len()).map(|_| Gathered::default()).collect();
        let mut unknown: Vec<(usize, u64, String)> = Vec::new();
        let mut commits = VecDeque::new();
        let mut max_seq = 0;
        let mut drained = false;
        let mut all_exact = true;
        let superseded = superseded_below(&recovery.sources);
        for (s, source) in recovery.sources.iter().enumerate() {
            if s > 0 && drained {
                break;
            }
            if s > 0 && source.generation < superseded {
                continue;
            }
            let (checkpoint, exact) = match newest_checkpoint(source) {
                Ok(found) => found,
                Err(reason) => return self.recovery_failed(reason, fx),
            };
            all_exact &= exact;
            if !exact {
                let line = format!(
                    "{}: a checkpoint is damaged; its place is taken by the one before, the journal, and the segments, which are read through now",
                    source.folder
                );
                fx.push(Effect::Log { level: LogLevel::Warn, line });
            }
            if s == 0 {
                drained = checkpoint.as_ref().is_some_and(|c| c.drained);
            }
            let key = checkpoint.as_ref().map(|c| c.key);
            let found = find_commits(source, key);
            let candidates: Vec<Candidate> = found.iter().map(|(_, c)| candidate(c)).collect();
            let mut known = Known::of(checkpoint.as_ref(), exact);
            known.exact &= checkpoint.is_some() || found.is_empty();
            let selection = select(&candidates, &known);
            unknown.extend(selection.lost.iter().map(|seq| (s, *seq, source.folder.clone())));
            for state in checkpoint.iter().flat_map(|c| &c.partitions) {
                if let Some(ix) = self.find(floe_wire::ids::TopicId(state.topic), state.partition) {
                    let g = &mut gathered[ix.0 as usize];
                    g.sources.push(s);
                    if g.state.as_ref().is_none_or(|old| (state.settled_end, s == 0) > (old.settled_end, false)) {
                        g.state = Some(state.clone());
                    }
                }
            }
            if s == 0 {
                max_seq = found.iter().map(|(_, c)| c.header.seq).max().unwrap_or(0);
                max_seq = max_seq.max(checkpoint.as_ref().map_or(0, |c| c.durable_seq.max(c.first_seq)));
                let newest = found.iter().map(|(_, c)| c.header.incarnation).max().unwrap_or(0);
                self.journal.incarnation = newest.max(checkpoint.as_ref().map_or(0, |c| c.incarnation)) + 1;
                self.checkpoint_sequence = checkpoint.as_ref().map_or(0, |c| c.sequence) + if exact { 0 } else { 2 };
                let seeded =
                    u64::from_le_bytes(self.seed[..8].try_into().expect("8 bytes")) ^ (u64::from(self.shard) << 48);
                self.journal.id.key = key.or(found.first().map(|(_, c)| c.header.journal.key)).unwrap_or(seeded);
                self.runs = selection.runs.clone();
                self.take_slots(source, &found, &selection.accepted, checkpoint.as_ref().map_or(0, |c| c.tail_seq));
            }
            for i in selection.accepted {
                let (f, commit) = &found[i];
                let ring = self.journal.first_ring + commits.len() as u64;
                let file = &source.files[*f];
                let end = commit.offset + commit.header.padded_bytes();
                let bytes = file.bytes.slice(commit.offset as usize..end as usize);
                for entry in &commit.body.entries {
                    self.gather(
                        &mut gathered,
                        s,
                        entry.header,
                        entry.whole,
                        &bytes,
                        entry.batch_at,
                        ring,
                        &source.folder,
                        file.slot,
                        commit.offset,
                    );
                }
                if s == 0 {
                    commits.push_back(Commit::recovered(commit.header.seq, bytes, file.slot, commit.offset));
                }
            }
        }
        let accepted_seq = commits.back().map_or(0, |c: &Commit| c.seq);
        self.journal.resume(commits, max_seq + 1, accepted_seq);
        self.drained = !recovery.drains || drained;
        recovery.drains &= !drained;
        for (i, g) in gathered.iter().enumerate().filter(|_| !all_exact) {
            recovery.scans.push(PartitionIx(i as u32), g.state.clone());
        }
        recovery.gathered = gathered;
        recovery.unknown = unknown;
        recovery.stage = Stage::Scanning;
        self.recovery = Some(recovery);
        if self.scan_on(fx) {
            self.finish_rebuild(now, fx);
        }
    }

    /// Gives every partition what was found of it.
    fn finish_rebuild(&mut self, now: Time, fx: &mut Effects) {
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

    /// What was read may be in a cache only: a process that was killed leaves writes without DSYNC there, and half of a commit under way.
    /// From here on it counts (it is shown, and the checkpoint says that it must be there), so it has to survive a loss of power.
    fn sync_journal(&mut self, fx: &mut Effects) {
        let used: Vec<u32> = self.journal.order.iter().copied().collect();
        let files: Vec<FileHandle> =
            used.iter().filter_map(|slot| self.journal.slots[*slot as usize].file.clone()).collect();
        if files.is_empty() {
            return self.begin_incarnation(fx);
        }
        self.recovery.as_mut().expect("recovery runs").stage = Stage::Syncing;
        for file in files {
            self.ask(Task::Sync, DiskOp::Sync { file }, fx);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn gather(
        &mut self,
        gathered: &mut [Gathered],
        s: usize,
        header: EntryHeader,
        whole: bool,
        commit: &Bytes,
        at: usize,
        ring: u64,
        folder: &str,
        slot: u32,
        offset: u64,
    ) {
        let Some(ix) = self.find(header.topic, header.partition) else { return };
        let g = &mut gathered[ix.0 as usize];
        g.last_seen.insert(s, header.seq);
        g.sources.push(s);
        if !whole {
            g.damaged.push((header.base_offset, format!("{folder}/j{slot} at byte {}", offset + at as u64)));
            return;
        }
        if header.kind == EntryKind::LogStart {
            g.log_start = g.log_start.max(header.base_offset);
            return;
        }
        let bytes = commit.slice(at..at + header.length as usize);
        let info = batch::header(&bytes).expect("a whole batch has a header");
        let place = if s == 0 { Place::Own { ring, at: at as u32 } } else { Place::Old(bytes) };
        // Own copies are the newest: they were made of the others.
        let age = (if s == 0 { usize::MAX } else { s }, header.seq);
        g.entries.push(Replayed { info, age, place });
    }

    /// Puts the journal's files in their order: those with commits that count, oldest first, the last of them to be gone on with.
    fn take_slots(&mut self, source: &Source, found: &[(usize, FoundCommit)], accepted: &[usize], tail_seq: u64) {
        let count = source.files.iter().map(|f| f.slot + 1).max().unwrap_or(0);
        for slot in 0..count {
            let len = source.files.iter().find(|f| f.slot == slot).map_or(0, |f| f.bytes.len() as u64);
            self.journal.slots.push(Slot { file: None, len, state: SlotState::Preparing, live: 0, first_seq: 0 });
        }
        for i in accepted {
            let (f, commit) = &found[*i];
            let slot = source.files[*f].slot;
            if self.journal.order.back() != Some(&slot) {
                self.journal.order.push_back(slot);
                let entry = &mut self.journal.slots[slot as usize];
                entry.state = SlotState::Used;
                entry.first_seq = commit.header.seq;
            }
            self.journal.write_pos = commit.offset + commit.header.padded_bytes();
        }
        // The oldest file began at or before what the checkpoint asks for.
        if let Some(oldest) = self.journal.order.front() {
            let entry = &mut self.journal.slots[*oldest as usize];
            entry.first_seq = entry.first_seq.max(tail_seq);
        }
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

    /// Gives the slots their open files; makes those again that a crash left half made.
    fn open_slots(&mut self, files: Vec<SourceFile>, fx: &mut Effects) {
        for file in files {
            self.journal.slots[file.slot as usize].file = file.file;
        }
        for slot in 0..self.journal.slots.len() as u32 {
            self.journal.mend_slot(slot, &mut self.ops, fx);
        }
        if self.journal.slots.is_empty() {
            self.journal.add_slot(&mut self.ops, fx);
        }
    }

    /// Writes the checkpoint that makes this incarnation known; nothing is appended before.
    fn begin_incarnation(&mut self, fx: &mut Effects) {
        let recovery = self.recovery.as_mut().expect("recovery runs");
        if !self.journal.has_file() {
            recovery.stage = Stage::FirstFile;
            return;
        }
        recovery.stage = Stage::Beginning;
        let tail_seq = self
            .journal
            .order
            .front()
            .map_or(self.journal.first_seq, |slot| self.journal.slots[*slot as usize].first_seq);
        let what = self.checkpoint_op(tail_seq);
        self.ops.issue(Op::Checkpoint, what, fx);
    }

    /// A journal file is ready.
    pub(super) fn recovery_slot_ready(&mut self, _now: Time, fx: &mut Effects) {
        if self.recovery.as_ref().is_some_and(|r| r.stage == Stage::FirstFile) {
            self.begin_incarnation(fx);
        }
    }

    /// Takes a checkpoint that recovery wrote; `false` when it was an ordinary one.
    pub(super) fn checkpoint_of_boot(&mut self, now: Time, fx: &mut Effects) -> bool {
        let Some(recovery) = self.recovery.as_mut().filter(|r| r.stage == Stage::Beginning) else { return false };
        recovery.stage = Stage::Importing;
        self.ready = true;
        self.import_on(now, fx);
        true
    }

    /// Goes on copying what older generations hold; ends recovery when all of it is durable and a checkpoint says so.
    pub(super) fn import_on(&mut self, now: Time, fx: &mut Effects) {
        let Some(mut recovery) = self.recovery.take() else { return };
        if recovery.stage == Stage::Importing {
            while let Some(import) = recovery.imports.front() {
                let p =
                    self.partitions[import.ix.0 as usize].as_ref().expect("nothing is removed before recovery is over");
                let (topic, number) = p.key();
                let ring_and_at = self.import(now, topic, number, import);
                let Some((ring, at)) = ring_and_at else {
                    self.submit(now, fx);
                    self.recovery = Some(recovery);
                    return;
                };
                let info = import.info;
                let last_offset = info.base_offset + i64::from(info.last_offset_delta);
                let entry = TailEntry {
                    base_offset: info.base_offset,
                    last_offset,
                    max_timestamp: info.max_timestamp,
                    ring,
                    at,
                    len: info.bytes as u32,
                };
                let p = self.partitions[import.ix.0 as usize].as_mut().expect("as above");
                enter(p, now, &info, entry);
                p.log_end = last_offset + 1;
                self.unsettled_bytes += info.bytes;
                self.journal.note_entry(import.ix, last_offset + 1);
                recovery.imports.pop_front();
            }
            self.submit(now, fx);
            let all_there = self.journal.completed_ring == self.journal.building_ring() && !self.journal.has_unsealed();
            if recovery.drains {
                if !all_there {
                    self.recovery = Some(recovery);
                    return;
                }
                recovery.stage = Stage::Ending;
                self.drained = true;
                self.settle.checkpoint_wanted = true;
                recovery.last_task = self.checkpoint_sequence;
                self.recovery = Some(recovery);
                return;
            }
        } else if recovery.stage != Stage::Ending || self.settle.checkpoint_wanted || !self.settle.is_idle() {
            self.recovery = Some(recovery);
            return;
        }
        self.next_housekeeping = now.after(std::time::Duration::from_millis(1));
        self.events.push_back(LogEvent::Recovered);
        self.events.push_back(LogEvent::OldGenerationsDrained);
    }

    fn import(
        &mut self,
        now: Time,
        topic: floe_wire::ids::TopicId,
        partition: i32,
        import: &Import,
    ) -> Option<(u64, u32)> {
        self.journal.make_room(now, import.bytes.len(), true).ok()?;
        let header = EntryHeader {
            seq: 0,
            topic,
            partition,
            base_offset: import.info.base_offset,
            length: import.bytes.len() as u32,
            leader_epoch: i32::from_be_bytes(import.bytes[12..16].try_into().expect("4 bytes")),
            kind: EntryKind::Carried,
        };
        let at = self.journal.push(header, &import.bytes, None);
        self.metrics.carried_bytes += import.bytes.len() as u64;
        Some((self.journal.building_ring(), at))
    }
}

const HELP: &str = "Acknowledged records are lost or in doubt, so the partition answers with a storage error. Restore the data directory from a copy, or delete the \
                    topic; `floe dump-log` shows what is left";

/// Generations below this one have been taken over whole by it: every one of its shards has said so. What is still there of them is the
/// rest of a removal that a crash cut short, and must not be taken for damage.
fn superseded_below(sources: &[Source]) -> u32 {
    let drained = |s: &&Source| newest_checkpoint(s).is_ok_and(|(found, _)| found.is_some_and(|c| c.drained));
    let old = sources.iter().skip(1).map(|s| s.generation);
    let whole = old.filter(|g| sources.iter().skip(1).filter(|s| s.generation == *g).all(|s| drained(&s)));
    whole.max().unwrap_or(0)
}

/// The newest checkpoint of a source that is whole, and whether it is certain to be the newest.
fn newest_checkpoint(source: &Source) -> Result<(Option<Checkpoint>, bool), String> {
    let mut newest: Option<Checkpoint> = None;
    let mut exact = true;
    for (name, content) in NAMES.iter().zip(&source.checkpoints) {
        match content.as_ref().map(|c| c.as_ref().map_err(Clone::clone).and_then(|bytes| Checkpoint::from_bytes(bytes)))
        {
            None => {}
            Some(Ok(found)) if newest.as_ref().is_none_or(|n| n.sequence < found.sequence) => newest = Some(found),
            Some(Ok(_)) => {}
            Some(Err(reason)) if reason.starts_with("it is of version") => {
                return Err(format!("{}/{name}: {reason}", source.folder));
            }
            Some(Err(_)) => exact = false,
        }
    }
    Ok((newest, exact))
}

fn find_commits(source: &Source, key: Option<u64>) -> Vec<(usize, FoundCommit)> {
    let belongs = |h: &CommitHeader| {
        let JournalId { key: its_key, generation, shard } = h.journal;
        generation == source.generation && shard == source.shard && key.is_none_or(|key| key == its_key)
    };
    let mut found = Vec::new();
    for (f, file) in source.files.iter().enumerate() {
        // Behind the newest commits of a file stand those of the lap before: its content had been given up when it was written again.
        let mut newest = 0;
        for commit in scan(file.slot, &file.bytes, belongs) {
            if commit.header.seq >= newest {
                newest = commit.header.seq;
                found.push((f, commit));
            }
        }
    }
    found
}

fn candidate(commit: &FoundCommit) -> Candidate {
    Candidate { header: commit.header, whole: commit.body.whole(), complete: commit.body.complete }
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
fn enter(p: &mut Partition, now: Time, info: &BatchInfo, entry: TailEntry) {
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
