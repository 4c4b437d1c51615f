//! Settling: unsettled batches leave the journal for their partition's segment, in rounds. Lives in the [`ShardLog`].
//!
//! A round writes whole blocks of each partition's stream of batches, syncs each file once, carries small remainders of the oldest journal
//! files forward, then writes a checkpoint; with that durable the oldest files are used again. A block once written is never written
//! again: the rest of the stream, less than a block, stays in the journal and in memory, as does the batch that straddles it.
//! Until the checkpoint is durable nothing in the journal is given up, so a round may end anywhere.

mod job;
mod saving;

use std::collections::VecDeque;

pub use job::SettleJob;

use super::{LogSettings, PartitionIx, ShardLog};
use crate::event::Effects;
use crate::limits::{BLOCK_BYTES, SETTLE_FILES_MAX};
use crate::partition::Partition;
use crate::time::Time;
use saving::InCheckpoint;

/// Partitions being settled at once.
const JOBS_MAX: usize = 16;
/// Where each has much to write: so many at once, and so many bytes by one write, the further behind the more. What is under way is copied in one go,
/// and commits wait behind it in the device's queue.
const PACES: [(usize, u64); 4] = [(2, 256 << 10), (2, 512 << 10), (3, 768 << 10), (4, 1 << 20)];
/// Fewer partitions are synced one by one.
const SYNC_TOGETHER_MIN: usize = 4;
/// Partitions with more to write than this on average are synced one by one: then their syncs cost little beside the writing.
const SYNC_ALONE_BYTES: u64 = 256 << 10;
/// Files written and not yet synced, at most: they are open.
const UNSYNCED_MAX: usize = 1024;
/// A partition with fewer unsettled bytes is carried rather than written, unless that would carry too much.
const SMALL_BYTES: u64 = 64 << 10;
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
    /// Many partitions are in this round: they are synced together.
    wide: bool,
    /// Partitions of this round have much to write.
    large: bool,
    /// Written, to be synced together.
    unsynced: Vec<PartitionIx>,
    /// Being synced together.
    syncing: Vec<PartitionIx>,
    /// Segments kept open for the next round, or more than there are: counted when a round begins.
    files_kept: usize,
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
    /// A large batch could not go straight to its segment because too much came through the journal before it: that is settled at once.
    pub(super) direct_behind: bool,
    /// The round under way is for that, as fast as it can be.
    catches_up: bool,
}

impl Settle {
    pub(super) fn new(settings: &LogSettings, journal_bytes: u64) -> Settle {
        Settle {
            phase: Phase::Idle,
            queue: VecDeque::new(),
            active: 0,
            wide: false,
            large: false,
            unsynced: Vec::new(),
            syncing: Vec::new(),
            files_kept: 0,
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
            direct_behind: false,
            catches_up: false,
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
        let chosen = full || lapped || crowded || rolls || s.direct_behind;
        if !self.ready || !(chosen || s.checkpoint_wanted) {
            return;
        }
        s.catches_up = std::mem::take(&mut s.direct_behind);
        self.metrics.settle_rounds += 1;
        self.settle.settled_then = self.metrics.settled_bytes;
        if chosen {
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
            self.count_kept_files();
            let partitions = self.settle.queue.len();
            self.settle.large = self.unsettled_bytes > SYNC_ALONE_BYTES * partitions as u64;
            self.settle.wide = partitions >= SYNC_TOGETHER_MIN && !self.settle.large;
        }
        // A batch that a block of a segment ends in stays in the journal with its rest. After a crash it has to be there again, as it was: so
        // what was written without DSYNC is made durable before a checkpoint builds on it.
        self.settle.below = self.journal.completed_ring;
        self.journal.want_sync(&mut self.ops, fx);
        self.settle.phase = Phase::Writing;
    }

    /// Lets go of the open segments of partitions that are not in this round, if there are many.
    fn count_kept_files(&mut self) {
        let count = |all: &[Option<Box<Partition>>]| all.iter().flatten().filter(|p| p.is_kept_open()).count();
        self.settle.files_kept = count(&self.partitions);
        if self.settle.files_kept < SETTLE_FILES_MAX {
            return;
        }
        let mut chosen = self.settle.queue.iter().peekable();
        for (ix, p) in self.partitions.iter_mut().enumerate() {
            let in_round = chosen.next_if(|next| next.0 as usize == ix).is_some();
            if let Some(segment) = p.as_mut().filter(|_| !in_round).and_then(|p| p.segments.back_mut()) {
                segment.writer = None;
            }
        }
        self.settle.files_kept = count(&self.partitions);
    }

    /// Nothing could be carried, and this partition is one of those that hold the oldest file, however little it has there. Not only by its
    /// first unsettled batch: that may be a copy carried forward, with what was appended behind it still in the oldest file.
    fn is_forced(&self, p: &Partition) -> bool {
        let oldest = self.journal.order.front();
        let unsettled = || p.tail.range(p.tail_index(p.settled_end)..);
        self.settle.force && unsettled().any(|e| self.journal.commit(e.ring).is_some_and(|c| Some(&c.slot) == oldest))
    }

    /// How many partitions with much to write are settled at once, and by how large writes: the more has come than rounds keep up with, the
    /// sooner appends will wait for room.
    fn settle_pace(&self) -> (usize, u64) {
        let hurry = self.settle.force || self.settle.catches_up || self.settle.direct_behind;
        if hurry || self.stopping || self.journal.used_percent() >= 60 {
            return PACES[PACES.len() - 1];
        }
        // An eighth more than begins a round is being behind.
        let beyond = self.unsettled_bytes.saturating_sub(self.settle.at_bytes);
        let step = self.settle.at_bytes / 8 / (PACES.len() as u64 - 1);
        PACES[((beyond / step.max(1)) as usize).min(PACES.len() - 1)]
    }

    fn start_jobs(&mut self, now: Time, fx: &mut Effects) {
        let jobs_max = if self.settle.large { self.settle_pace().0 } else { JOBS_MAX };
        while self.settle.active < jobs_max
            && self.settle.active + self.settle.unsynced.len() < UNSYNCED_MAX
            && let Some(ix) = self.settle.queue.pop_front()
        {
            self.start_job(now, ix, fx);
        }
        self.sync_written(fx);
        if self.settle.active == 0 && self.settle.syncing.is_empty() {
            self.choose_carries();
            self.settle.phase = Phase::Carrying;
        }
    }

    /// Chooses what to copy forward so that the oldest journal file can be used again, and the oldest commits need not stay in memory.
    fn choose_carries(&mut self) {
        self.settle.carries.clear();
        let tight = self.journal.used_percent() >= 50;
        if !tight && self.journal.memory_bytes <= self.settings.cache_bytes {
            return;
        }
        let oldest = self.journal.order.front().filter(|_| self.journal.order.len() > 1);
        // Where the journal has little room, what is copied for the sake of memory would take it.
        let target = if tight { u64::MAX } else { self.settings.cache_bytes / 4 * 3 };
        let mut memory = self.journal.memory_bytes;
        let (mut chosen, mut bytes, mut freed, mut enough) = (Vec::new(), 0, 0, 0);
        let rings = self.journal.first_ring..self.journal.completed_ring;
        for (ring, commit) in rings.zip(&self.journal.commits) {
            let is_oldest = oldest.is_some_and(|slot| *slot == commit.slot);
            if !is_oldest && memory <= target {
                continue;
            }
            for (ix, end) in commit.entries.iter().filter(|_| commit.live > 0) {
                let Some(p) = self.partitions[ix.0 as usize].as_ref().filter(|p| !p.removed) else { continue };
                let there = p
                    .tail
                    .range(..p.tail_index(*end))
                    .rev()
                    .take_while(|e| e.ring == ring && e.base_offset >= p.settled_end);
                for e in there {
                    bytes += u64::from(e.len);
                    chosen.push((*ix, e.base_offset));
                }
            }
            memory -= commit.memory_bytes();
            freed += commit.memory_bytes();
            // Large batches leave so little in the journal that its oldest file may be the current one for gigabytes. For memory alone nothing is
            // copied that takes half as much again.
            if is_oldest || bytes <= freed / 2 {
                enough = chosen.len();
            }
        }
        chosen.truncate(enough);
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
