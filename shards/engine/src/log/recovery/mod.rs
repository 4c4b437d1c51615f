//! How a shard's log comes back: read the journals and checkpoints, decide what counts (`replay`), give every partition its segments and its tail
//! again, write the checkpoint that begins this incarnation, take over what older generations hold. Lives from [`ShardLog::start`] to
//! [`LogEvent::Recovered`].
//!
//! A journal folder is `journal/g<generation>x<shards>/s<shard>`. A start with another number of shards begins a new generation; the
//! older ones are read by every shard for the partitions that are now its own, copied into its own journal, and removed when every shard has
//! said so. A crash at any point in this repeats it: a batch has its offset, and what is there already is not taken again.

mod fetch;
mod import;
mod partitions;
mod rebuild;
mod replay;
mod rescan;
mod sources;
mod unreadable;

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::ShardLog;
use super::buffer::block_down;
use super::ops::Op;
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, FileHandle};
use crate::time::Time;
use fetch::Fetch;
use import::Import;
use rebuild::{Doubt, Gathered};
use rescan::Scans;
use sources::{Source, SourceFile};

/// In it, a line for each partition (`topic-partition`, or `*`) or unreadable journal file (its path) whose loss the operator accepts.
const ACCEPT_LOSS: &str = "accept-loss";
const ACCEPT_LOSS_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
enum Task {
    Accepted,
    ListJournal,
    ListSource(usize),
    Checkpoint(usize, usize),
    OpenFile(usize, usize),
    ReadFile(usize, usize),
    /// A part (offset, length) of a file that cannot be read whole.
    ReadPart(usize, usize, u64, u64),
    Sync,
    /// A step of looking through a partition's segments.
    Scan(usize),
    /// A segment is opened, and read, for a batch that was written to it straight.
    OpenFetch(usize),
    ReadFetch(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Journals and checkpoints are being read.
    Gathering,
    /// A checkpoint is damaged: the segments are being looked through.
    Scanning,
    /// Batches that were written straight to segments are being read there.
    Fetching,
    /// What was read of the own journal is being made durable.
    Syncing,
    /// The first journal file is being made.
    FirstFile,
    /// The checkpoint that begins this incarnation is being written.
    Beginning,
    /// Batches of older generations are being copied.
    Importing,
    /// The two checkpoints that say so are being written: the files of older generations go then, and with one of the two damaged the other has to know.
    Ending,
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
    /// Only the first of the two checkpoints has been told yet that they are drained.
    one_told: bool,
    /// What was found of each partition, until it is given back.
    gathered: Vec<Gathered>,
    /// What cannot be read and may have been anybody's.
    doubts: Vec<Doubt>,
    /// Partitions and journal files whose loss the operator accepts.
    accepted: Vec<String>,
    scans: Scans,
    fetches: Vec<Fetch>,
}

impl ShardLog {
    /// Begins recovery.
    pub(super) fn recover(&mut self, fx: &mut Effects) {
        self.recovery = Some(Box::new(Recovery {
            stage: Stage::Gathering,
            tasks: HashMap::default(),
            last_task: 0,
            one_told: false,
            sources: Vec::new(),
            imports: VecDeque::new(),
            drains: false,
            gathered: Vec::new(),
            doubts: Vec::new(),
            accepted: Vec::new(),
            scans: Scans::default(),
            fetches: Vec::new(),
        }));
        self.ask(Task::ListJournal, DiskOp::List { path: "journal".into() }, fx);
        let accepted = DiskOp::ReadFile { path: ACCEPT_LOSS.into(), bytes_max: ACCEPT_LOSS_BYTES_MAX };
        self.ask(Task::Accepted, accepted, fx);
    }

    fn ask(&mut self, task: Task, what: DiskOp, fx: &mut Effects) {
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
            (Task::Accepted, Ok(DiskOutput::Data(bytes))) => {
                let text = String::from_utf8_lossy(&bytes);
                recovery.accepted = text.lines().map(|line| line.trim().to_owned()).collect();
            }
            (Task::Accepted, Err(e)) if e.kind == DiskErrorKind::NotFound => {}
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
                entry.len = block_down(len);
                entry.file = Some(file.clone());
                let len = entry.len;
                if len > 0 {
                    self.ask(Task::ReadFile(s, f), DiskOp::Read { file, offset: 0, len, piece: DiskOp::WHOLE }, fx);
                }
            }
            (Task::ReadFile(s, f), Ok(DiskOutput::Data(bytes))) => recovery.sources[s].files[f].bytes = bytes,
            (Task::ReadFile(s, f), Err(e)) if e.kind == DiskErrorKind::Io => self.read_in_parts(s, f, e, fx),
            (Task::ReadPart(s, f, offset, len), Ok(DiskOutput::Data(bytes))) => {
                self.part_read((s, f), (offset, len), Ok(&bytes), fx)
            }
            (Task::ReadPart(s, f, offset, len), Err(e)) if e.kind == DiskErrorKind::Io => {
                self.part_read((s, f), (offset, len), Err(e), fx);
            }
            (Task::Sync, Ok(_)) => {}
            (Task::Scan(i), result) => {
                let output = match result {
                    Ok(output) => output,
                    Err(e) if e.kind != DiskErrorKind::NoSpace && self.scan_ends_here(i, e.kind) => {
                        DiskOutput::Data(Bytes::new())
                    }
                    Err(e) => return self.recovery_failed(e.message, fx),
                };
                if let Some((ix, state, rescanned)) = self.scan_step(i, output, fx) {
                    let g = &mut self.recovery.as_mut().expect("recovery runs").gathered[ix.0 as usize];
                    g.state = Some(state);
                    g.rescanned = rescanned;
                    if self.scan_on(fx) {
                        self.fetch_direct(now, fx);
                    }
                }
                return;
            }
            (Task::OpenFetch(i), Ok(DiskOutput::Opened { file, .. })) => self.read_fetch(i, file, fx),
            (Task::ReadFetch(i), Ok(DiskOutput::Data(bytes))) => self.fetched(i, Some(&bytes)),
            (Task::OpenFetch(i), Err(e)) if e.kind == DiskErrorKind::NotFound => self.fetched(i, None),
            (Task::ReadFetch(i), Err(e)) => {
                if !self.fetch_failed(i, e, fx) {
                    return;
                }
            }
            (_, Err(e)) => return self.recovery_failed(e.message, fx),
            (task, Ok(output)) => unreachable!("{task:?} gave {output:?}"),
        }
        let recovery = self.recovery.as_ref().expect("not ended here");
        let (stage, all_done) = (recovery.stage, recovery.tasks.is_empty());
        if all_done && stage == Stage::Gathering && self.settle_unreadable(fx) {
            self.rebuild(now, fx);
        } else if all_done && stage == Stage::Fetching {
            self.finish_rebuild(now, fx);
        } else if all_done && stage == Stage::Syncing {
            self.begin_incarnation(fx);
        }
    }

    /// What was read may be in a cache only: a process that was killed leaves writes without DSYNC there, and half of a commit under way.
    /// From here on it counts (it is shown, and the checkpoint says that it must be there), so it has to survive a loss of power. The journals of older
    /// generations (`old`) as well: a commit holds batches of several partitions, and other shards may take over theirs only after that loss. What
    /// belongs together (the end of a transaction and its markers) is then there for all of them or for none.
    fn sync_journal(&mut self, old: Vec<FileHandle>, fx: &mut Effects) {
        let used: Vec<u32> = self.journal.order.iter().copied().collect();
        let own = used.iter().filter_map(|slot| self.journal.slots[*slot as usize].file.clone());
        let files: Vec<FileHandle> = own.chain(old).collect();
        if files.is_empty() {
            return self.begin_incarnation(fx);
        }
        self.recovery.as_mut().expect("recovery runs").stage = Stage::Syncing;
        for file in files {
            self.ask(Task::Sync, DiskOp::Sync { file }, fx);
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
}
