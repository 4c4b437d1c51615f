//! One shard's storage: the journal every append goes to, the memory that serves its tail, the segments it settles into, and how all of it
//! comes back after a crash.
//!
//! Invariants:
//! - An append is acknowledged, and shown to readers, when its commit has reached the tier of its topic; commits complete in order.
//! - A block that holds acknowledged bytes is never written again before those bytes lie, synced, somewhere else and a checkpoint says so.
//! - After a failed journal write or sync nothing more is appended: what is on disk is no longer known.

mod api;
mod append;
mod batch;
mod buffer;
mod checkpoint;
mod cold;
mod compact;
mod direct;
mod end;
mod frame;
pub mod inspect;
mod journal;
mod ops;
mod read;
mod recovery;
mod retention;
mod scan;
mod segment;
mod settle;
mod sums;
#[cfg(test)]
mod tests;

pub use api::*;
pub use direct::{DirectFile, DirectOff};
pub(crate) use end::read as end_of_txn;
pub use segment::{IndexEntry, Segment, file_name as segment_file_name};
pub use settle::SettleJob;

use std::collections::VecDeque;
use std::time::Duration;

use floe_wire::ids::TopicId;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::event::{Boot, DiskError, DiskOp, DiskOutput, Effect, Effects, LogLevel, OpId};
use crate::partition::Partition;
use crate::space::SpaceTaken;
use crate::time::{Deadline, Time};
use checkpoint::Run;
use cold::{Cold, Reads};
use compact::Cleaner;
use journal::Journal;
use ops::{Op, Ops};
use recovery::Recovery;
use settle::Settle;

/// The highest byte of every [`OpId`] that the log gives out.
pub const OP_TAG: u8 = 0x01;

/// A batch in memory: where it stands in which commit.
#[derive(Clone, Copy, Debug)]
pub struct TailEntry {
    /// Offset of its first record.
    pub(crate) base_offset: i64,
    /// Offset of its last record.
    pub(crate) last_offset: i64,
    /// Its highest timestamp.
    pub(crate) max_timestamp: i64,
    /// Its commit.
    pub(crate) ring: u64,
    /// Which of the commit's memories: 0 is the commit as it is in the journal, others are pieces of partitions' streams.
    pub(crate) part: u32,
    /// Where in it it begins.
    pub(crate) at: u32,
    /// Its bytes.
    pub(crate) len: u32,
}

/// The log of one shard.
#[derive(Debug)]
pub struct ShardLog {
    settings: LogSettings,
    shard: u16,
    shards: u16,
    seed: [u8; 32],
    ops: Ops,
    journal: Journal,
    partitions: Vec<Option<Box<Partition>>>,
    by_key: HashMap<(TopicId, i32), PartitionIx, FxBuildHasher>,
    events: VecDeque<LogEvent>,
    metrics: LogMetrics,
    /// While it runs.
    recovery: Option<Box<Recovery>>,
    ready: bool,
    /// Folders of older generations, all of whose content has been taken over by this shard.
    old_generations: Vec<String>,
    drained: bool,
    /// Commits of earlier incarnations that count.
    runs: Vec<Run>,
    checkpoint_sequence: u64,
    /// The newest one that is durable.
    durable_checkpoint: u64,
    /// Partitions whose segment large batches want to be written to straight, and how large they are.
    direct_wanted: Vec<(PartitionIx, u64)>,
    /// Segments held open for that.
    direct_open: usize,
    settle: Settle,
    cleaner: Cleaner,
    unsettled_bytes: u64,
    /// Open and aborted ones that partitions remember; counted anew with each housekeeping, as they also go with partitions and with compaction.
    transactions: usize,
    cold: HashMap<ReadTicket, Cold, FxBuildHasher>,
    reads: Reads,
    last_ticket: u64,
    /// Segments open for reading, the first opened first.
    open_segments: VecDeque<(PartitionIx, i64)>,
    next_housekeeping: Deadline,
    /// When records are looked at for their age and size again.
    next_retention: Deadline,
    commit_deadline: Option<Deadline>,
    stopping: bool,
}

/// How often the log looks after the age of segments, expired producers and rounds put off, at least.
const HOUSEKEEPING_MS_MAX: u64 = 1000;

impl ShardLog {
    /// An empty log; [`ShardLog::start`] makes it usable.
    pub fn new(boot: &Boot, settings: LogSettings) -> ShardLog {
        ShardLog::of_shard(boot.shard.0, boot.shards, boot.seed, settings)
    }

    fn of_shard(shard: u16, shards: u16, seed: [u8; 32], settings: LogSettings) -> ShardLog {
        let journal = Journal::new(&settings);
        ShardLog {
            shard,
            shards,
            seed,
            ops: Ops::default(),
            settle: Settle::new(&settings, journal.capacity_bytes()),
            cleaner: Cleaner::default(),
            journal,
            reads: Reads::in_pieces_of(settings.cold_read_bytes),
            settings,
            partitions: Vec::new(),
            by_key: HashMap::default(),
            events: VecDeque::new(),
            metrics: LogMetrics::default(),
            recovery: None,
            ready: false,
            old_generations: Vec::new(),
            drained: true,
            runs: Vec::new(),
            checkpoint_sequence: 0,
            durable_checkpoint: 0,
            direct_wanted: Vec::new(),
            direct_open: 0,
            unsettled_bytes: 0,
            transactions: 0,
            cold: HashMap::default(),
            last_ticket: 0,
            open_segments: VecDeque::new(),
            next_housekeeping: Deadline(0),
            next_retention: Deadline(0),
            commit_deadline: None,
            stopping: false,
        }
    }

    /// Recovers these partitions (topic, partition, topic name for log lines, settings); [`LogEvent::Recovered`] comes when done.
    pub fn start(&mut self, now: Time, partitions: Vec<(TopicId, i32, String, LogConfig)>, fx: &mut Effects) {
        self.next_housekeeping = now.after(Duration::from_millis(HOUSEKEEPING_MS_MAX));
        self.next_retention = now.after(Duration::from_millis(self.settings.retention_check_ms));
        for (topic, partition, name, config) in partitions {
            self.create(now, topic, partition, name, config);
        }
        self.recover(fx);
    }

    /// A new partition, usable at once (once recovered).
    pub fn create(
        &mut self,
        _now: Time,
        topic: TopicId,
        partition: i32,
        name: String,
        config: LogConfig,
    ) -> PartitionIx {
        if let Some(ix) = self.by_key.get(&(topic, partition)) {
            return *ix;
        }
        let ix = PartitionIx(self.partitions.len() as u32);
        self.partitions.push(Some(Box::new(Partition::new(topic, partition, name, config))));
        self.by_key.insert((topic, partition), ix);
        ix
    }

    /// New settings.
    pub fn configure(&mut self, ix: PartitionIx, config: LogConfig) {
        if let Some(p) = self.partition_mut(ix) {
            if config.tier == Tier::Memory && p.config.tier != Tier::Memory {
                p.memory_from = p.log_end;
            }
            p.config = config;
        }
    }

    /// The topic was deleted: forgets the partition and deletes its files.
    pub fn remove(&mut self, _now: Time, ix: PartitionIx, fx: &mut Effects) {
        let Some(p) = self.partitions.get_mut(ix.0 as usize).and_then(Option::as_mut) else { return };
        self.by_key.remove(&p.key());
        p.removed = true;
        self.unsettled_bytes -= p.unsettled_bytes;
        p.unsettled_bytes = 0;
        let from = p.tail_index(p.released_end);
        for entry in p.tail.drain(..).skip(from) {
            self.journal.release(entry.ring, 1);
        }
        // A step of settling or compaction that is under way could create a file again behind the removal: it ends first.
        if self.is_at_rest(ix) {
            self.remove_files(ix, fx);
        }
    }

    /// Whether nothing is under way that makes files in a partition's folder.
    fn is_at_rest(&self, ix: PartitionIx) -> bool {
        let p = self.partitions[ix.0 as usize].as_ref();
        p.is_some_and(|p| p.job.is_none() && p.direct.as_ref().is_none_or(|d| !d.is_busy())) && !self.is_compacting(ix)
    }

    fn remove_files(&mut self, ix: PartitionIx, fx: &mut Effects) {
        if let Some(p) = self.partitions[ix.0 as usize].take() {
            self.direct_open -= usize::from(p.direct.is_some());
            let path = format!("partitions/{}", folder_name(p.topic, p.number));
            self.ops.issue(Op::Nothing("remove a deleted topic's files"), DiskOp::Remove { path }, fx);
        }
    }

    /// Where a partition is.
    pub fn find(&self, topic: TopicId, partition: i32) -> Option<PartitionIx> {
        self.by_key.get(&(topic, partition)).copied()
    }

    /// A partition's state; `None` after [`ShardLog::remove`].
    pub fn partition(&self, ix: PartitionIx) -> Option<&Partition> {
        self.partitions.get(ix.0 as usize)?.as_deref().filter(|p| !p.removed)
    }

    fn partition_mut(&mut self, ix: PartitionIx) -> Option<&mut Partition> {
        self.partitions.get_mut(ix.0 as usize)?.as_deref_mut().filter(|p| !p.removed)
    }

    /// Every partition there is.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionIx, &Partition)> {
        let all = self.partitions.iter().enumerate();
        all.filter_map(|(i, p)| p.as_deref().filter(|p| !p.removed).map(|p| (PartitionIx(i as u32), p)))
    }

    /// A disk operation tagged [`OP_TAG`] ended.
    pub fn handle_disk(&mut self, now: Time, op: OpId, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        let Some(op) = self.ops.ended(op) else { return };
        match op {
            Op::Commit(ring) => match result {
                Ok(_) => {
                    let before = self.journal.completed_ring;
                    self.journal.written(now, ring, &mut self.ops, &mut self.metrics, fx);
                    self.completed(before);
                    self.submit(now, fx);
                }
                Err(e) => self.journal_failed(format!("writing the journal failed: {}", e.message), fx),
            },
            Op::JournalSync => match result {
                Ok(_) => {
                    let before = self.journal.completed_ring;
                    self.journal.synced(&mut self.ops, fx);
                    self.completed(before);
                }
                Err(e) => self.journal_failed(format!("syncing the journal failed: {}", e.message), fx),
            },
            Op::SlotOpened(slot) => match result {
                Ok(DiskOutput::Opened { file, .. }) => self.journal.slot_opened(slot, file, &mut self.ops, fx),
                Ok(_) => unreachable!("an open gives a file"),
                Err(e) => self.slot_failed(slot, &e, fx),
            },
            Op::SlotCached(slot) => self.journal.slot_cached(slot, result),
            Op::SlotZeroed(slot) => match result {
                Ok(_) => {
                    self.journal.slot_zeroed(slot);
                    self.recovery_slot_ready(now, fx);
                }
                Err(e) => self.slot_failed(slot, &e, fx),
            },
            Op::Piece(ring, i) => self.piece_ended(now, ring, i, result, fx),
            Op::Direct(ix) => self.direct_step(ix, result, fx),
            Op::Settle(ix) => self.settle_step(now, ix, result, fx),
            Op::SettleSync => self.settle_synced(now, result, fx),
            Op::Checkpoint => self.checkpoint_done(now, result, fx),
            Op::Compact => self.compact_step(now, result, fx),
            Op::Cold(ticket) => self.cold_step(ticket, Some(result), fx),
            Op::ColdRead(ticket, bytes) => {
                self.reads.ended(bytes, &mut self.ops, fx);
                self.cold_step(ticket, Some(result), fx);
            }
            Op::Ahead(id) => {
                if let Some((ticket, result)) = self.reads.ahead_ended(id, result, &mut self.ops, fx) {
                    self.cold_step(ticket, Some(result), fx);
                }
            }
            Op::Recovery(step) => self.recovery_step(now, step, result, fx),
            Op::Nothing(what) => {
                if let Err(e) = result {
                    fx.push(Effect::Log {
                        level: LogLevel::Warn,
                        line: format!("shard {}: could not {what}: {}", self.shard, e.message),
                    });
                }
            }
        }
        self.settle_on(now, fx);
        if self.recovery.is_some() && self.ready {
            self.import_on(now, fx);
            self.settle_on(now, fx);
        }
        self.stop_on(fx);
    }

    fn slot_failed(&mut self, slot: u32, error: &DiskError, fx: &mut Effects) {
        // The journal goes on with the files it has, and tries again later. The first one it cannot do without.
        self.journal.slot_failed(slot);
        let line = format!("shard {}: journal file {slot} could not be made: {}", self.shard, error.message);
        if !std::mem::replace(&mut self.settle.full_told, true) {
            fx.push(Effect::Log { level: LogLevel::Warn, line: line.clone() });
        }
        if self.recovery.is_some() && !self.journal.has_file() {
            self.recovery_failed(line, fx);
        }
    }

    fn journal_failed(&mut self, reason: String, fx: &mut Effects) {
        if self.journal.failed.is_some() {
            return;
        }
        let line = format!(
            "shard {}: {reason}. Nothing more is appended on this shard, because what is on disk is not known; what was acknowledged is still served. \
             Check the device (dmesg, smartctl), then restart the broker: it recovers what is whole.",
            self.shard
        );
        fx.push(Effect::Log { level: LogLevel::Error, line });
        self.journal.failed = Some(reason.clone());
        if self.recovery.is_some() {
            self.recovery_failed(reason.clone(), fx);
        }
        self.events.push_back(LogEvent::JournalFailed { reason });
    }

    fn partition_failed(&mut self, ix: PartitionIx, reason: String, fx: &mut Effects) {
        let shard = self.shard;
        let Some(p) = self.partition_mut(ix) else { return };
        if p.failed.is_some() {
            return;
        }
        fx.push(Effect::Log {
            level: LogLevel::Error,
            line: format!("shard {shard}: partition {} fails: {reason}", p.name),
        });
        p.failed = Some(reason.clone());
        self.events.push_back(LogEvent::Failed { ix, reason });
        self.settle.checkpoint_wanted = true;
    }

    /// Submits what was appended as a commit.
    pub fn end_of_round(&mut self, now: Time, fx: &mut Effects) {
        self.commit_deadline = None;
        if let Some(since) = self.journal.waiting_since().filter(|_| self.settings.commit_wait_us > 0 && !self.stopping)
        {
            let deadline = Deadline(since + self.settings.commit_wait_us * 1000);
            if !now.reached(deadline) {
                self.commit_deadline = Some(deadline);
                return;
            }
        }
        self.submit(now, fx);
        self.settle_on(now, fx);
        self.stop_on(fx);
    }

    fn submit(&mut self, now: Time, fx: &mut Effects) {
        // Before recovery has looked there is no folder to make a file in, and nothing to write.
        if !self.ready {
            return;
        }
        if self.journal.can_submit() {
            self.journal.seal();
        }
        self.journal.submit(now, &mut self.ops, &mut self.metrics, fx);
        self.journal.prepare_ahead(&mut self.ops, fx);
        if !self.direct_wanted.is_empty() && !self.stopping {
            self.prepare_direct(now, fx);
        }
    }

    /// A deadline may have come.
    pub fn timer(&mut self, now: Time, fx: &mut Effects) {
        if self.commit_deadline.is_some_and(|d| now.reached(d)) {
            self.end_of_round(now, fx);
        }
        if self.ready && now.reached(self.next_housekeeping) {
            let every = self.settings.retention_check_ms.clamp(1, HOUSEKEEPING_MS_MAX);
            self.next_housekeeping = now.after(Duration::from_millis(every));
            self.housekeeping(now);
            // What found no room in the journal is tried again with the next housekeeping.
            if now.reached(self.next_retention) && self.retain(now) {
                self.next_retention = now.after(Duration::from_millis(self.settings.retention_check_ms));
            }
            self.settle.retry = true;
            self.journal.retry_slots(&mut self.ops, fx);
            self.move_failed(now, fx);
            self.close_idle_direct();
            self.reads.forget_old();
            self.retry_checkpoint(fx);
            self.compact_on(now, fx);
            self.settle_on(now, fx);
        }
    }

    /// When [`ShardLog::timer`] is wanted.
    pub fn next_deadline(&self) -> Option<Deadline> {
        let housekeeping = self.ready.then_some(self.next_housekeeping);
        [housekeeping, self.commit_deadline].into_iter().flatten().min()
    }

    /// The next thing to tell; call until `None` after each other call that takes `fx`.
    pub fn poll_event(&mut self) -> Option<LogEvent> {
        self.events.pop_front()
    }

    /// All shards have drained older generations: removes their files (on one shard).
    pub fn drop_old_generations(&mut self, fx: &mut Effects) {
        for path in std::mem::take(&mut self.old_generations) {
            fx.push(Effect::Log {
                level: LogLevel::Info,
                line: format!("every shard has taken over its partitions: removing {path}"),
            });
            self.ops.issue(Op::Nothing("remove an old journal"), DiskOp::Remove { path }, fx);
        }
    }

    /// Makes everything durable, then [`LogEvent::Stopped`].
    pub fn shutdown(&mut self, now: Time, fx: &mut Effects) {
        self.stopping = true;
        self.submit(now, fx);
        self.journal.want_sync(&mut self.ops, fx);
        self.settle.checkpoint_wanted = self.ready && self.journal.failed.is_none();
        self.settle_on(now, fx);
        self.stop_on(fx);
    }

    fn stop_on(&mut self, fx: &mut Effects) {
        if !self.stopping {
            return;
        }
        if self.journal.failed.is_none() && self.ready {
            self.journal.want_sync(&mut self.ops, fx);
            if self.checkpoint_failed() {
                self.retry_checkpoint(fx);
            }
            // With a full disk a commit may find no place: it was never acknowledged, and waiting would not help.
            if !self.settle.is_idle() || (!self.journal.is_idle() && self.ops.len() > 0) {
                return;
            }
        }
        if self.ops.len() == 0 {
            self.stopping = false;
            self.ready = false;
            self.events.push_back(LogEvent::Stopped);
        }
    }

    /// How full the log is.
    pub fn pressure(&self) -> Pressure {
        // Waiting helps only while something is under way that makes room. On a full disk nothing is: appends are refused, and what would free
        // space (a topic's deletion) has to be heard.
        let is_coming = self.makes_room() && self.ops.is_making_room();
        Pressure {
            memory_bytes: self.journal.memory_bytes,
            stalled: is_coming && (self.holds_too_much() || self.journal.is_tight()),
        }
    }

    /// Whether a full journal or memory will have room again by itself.
    pub fn makes_room(&self) -> bool {
        self.journal.failed.is_none() && !self.is_clogged()
    }

    /// Whether commits take more memory than reading goes on with.
    fn holds_too_much(&self) -> bool {
        self.journal.memory_bytes > self.settings.cache_bytes + self.settings.cache_bytes / 4
    }

    /// What it has taken of the disk, and will.
    pub fn space_taken(&self) -> SpaceTaken {
        SpaceTaken {
            asked_bytes: self.ops.asked_bytes,
            under_way_bytes: self.ops.under_way_bytes,
            unsettled_bytes: self.unsettled_bytes,
        }
    }

    /// Counters, at this moment.
    pub fn metrics(&mut self) -> &LogMetrics {
        self.metrics.unsettled_bytes = self.unsettled_bytes;
        self.metrics.memory_bytes = self.journal.memory_bytes;
        &self.metrics
    }

    /// Why nothing can be appended on this shard, if so.
    pub fn journal_failure(&self) -> Option<&str> {
        self.journal.failed.as_deref()
    }
}
