//! The journal's files: made one by one as they are needed, written in the order of the ring, and used again oldest first. Part of the
//! [`super::Journal`].
//!
//! Files of different lengths stand side by side when the setting was changed. Shorter ones are made longer from the start on, whatever is in them; one that
//! is still too short for a commit is waited for, never passed over.

use super::cached::Cached;
use super::{Journal, Ops};
use crate::event::{DiskOp, Effects, FileHandle};
use crate::log::ops::Op;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum SlotState {
    /// Being opened or zeroed.
    Preparing,
    /// Can be written.
    Free,
    /// Could not be made (the disk was full): the timer tries again.
    Missing,
    /// In the ring.
    Used,
}

/// A journal file.
#[derive(Debug)]
pub(in crate::log) struct Slot {
    pub(in crate::log) file: Option<FileHandle>,
    /// The same through the page cache.
    pub(super) cached: Cached,
    /// Commits find room up to here. Stays while the file is in the ring.
    pub(in crate::log) len: u64,
    /// The file is there up to here: when it is free next, that becomes its length.
    pub(super) zeroed_bytes: u64,
    /// It is being made longer.
    growing: bool,
    /// The start found commits in it, whether they count or not.
    pub(in crate::log) held_commits: bool,
    pub(in crate::log) state: SlotState,
    /// Entries in it that are nowhere else durably.
    pub(in crate::log) live: u64,
    /// The first commit in it; still there in a free file, until that is used again. 0: none that any checkpoint could ask for.
    pub(in crate::log) first_seq: u64,
}

impl Slot {
    /// A file of which `len` bytes are there.
    pub(in crate::log) fn new(len: u64) -> Slot {
        Slot {
            file: None,
            cached: Cached::Never,
            len,
            zeroed_bytes: len,
            growing: false,
            held_commits: false,
            state: SlotState::Preparing,
            live: 0,
            first_seq: 0,
        }
    }
}

impl Journal {
    /// Files that can be had: free, in preparation, not yet made.
    pub(in crate::log) fn files_free(&self) -> usize {
        self.slots_max.max(self.slots.len()) - self.order.len()
    }

    /// Share of the files in use, in percent.
    pub(in crate::log) fn used_percent(&self) -> u64 {
        (self.order.len() * 100 / self.slots_max.max(self.slots.len())) as u64
    }

    /// Space of all files there may be.
    pub(in crate::log) fn capacity_bytes(&self) -> u64 {
        self.slots_max as u64 * self.file_bytes
    }

    /// Files that can be written, with the oldest content first. In this order they are used again: a start with an older checkpoint counts on it that
    /// of the commits given up since then the first are missing, and none between those that are still there.
    pub(super) fn free_slots(&self) -> Vec<u32> {
        let all = 0..self.slots.len() as u32;
        let mut free: Vec<u32> = all.filter(|slot| self.slots[*slot as usize].state == SlotState::Free).collect();
        free.sort_by_key(|slot| self.slots[*slot as usize].first_seq);
        free
    }

    /// The one whose turn it is. A larger one behind it has to wait for its own.
    pub(super) fn next_free(&self) -> Option<u32> {
        self.free_slots().first().copied()
    }

    /// Whether a file lacks that could not be made, or made longer: commits find no room by themselves.
    pub(in crate::log) fn lacks_space(&self) -> bool {
        let is_short = |slot: u32| self.slots[slot as usize].len < self.file_bytes;
        self.lacks_file || (self.growth_failed && self.next_free().is_some_and(is_short))
    }

    /// Prepares the next file ahead of need.
    pub(in crate::log) fn prepare_ahead(&mut self, ops: &mut Ops, fx: &mut Effects) {
        let ready = self.slots.iter().filter(|slot| slot.state != SlotState::Used).count();
        // One in any case once the ring is in use, another one as soon as that is being needed: filling one with zeros takes the disk as
        // long as a fast producer takes to fill one with records.
        let wanted = if self.remaining() < self.file_bytes / 4 * 3 { 2 } else { 1 };
        if ready < wanted && self.slots.len() < self.slots_max && self.failed.is_none() {
            self.add_slot(ops, fx);
        }
    }

    /// Begins to make one more file.
    pub(in crate::log) fn add_slot(&mut self, ops: &mut Ops, fx: &mut Effects) {
        let slot = self.slots.len() as u32;
        self.slots.push(Slot::new(0));
        let path = format!("{}/j{slot}", self.folder);
        ops.issue(Op::SlotOpened(slot), DiskOp::Open { path, create: true, direct: true }, fx);
    }

    pub(in crate::log) fn slot_opened(&mut self, slot: u32, file: FileHandle, ops: &mut Ops, fx: &mut Effects) {
        let len = self.file_bytes;
        let entry = &mut self.slots[slot as usize];
        entry.file = Some(file.clone());
        entry.cached = Cached::Never;
        ops.issue(Op::SlotZeroed(slot), DiskOp::WriteZeros { file, offset: 0, len }, fx);
    }

    /// After recovery: a file that holds nothing that counts is free; one that is missing, or was never whole, is made again. Where commits are in one that is
    /// shorter than it should be (the setting was raised), only what lacks is added: an older checkpoint may ask for what is there.
    pub(in crate::log) fn mend_slot(&mut self, slot: u32, ops: &mut Ops, fx: &mut Effects) {
        let file_bytes = self.file_bytes;
        let entry = &mut self.slots[slot as usize];
        let is_there = entry.file.is_some() && (entry.len >= file_bytes || entry.held_commits);
        if entry.state != SlotState::Used && !is_there {
            return self.make_slot(slot, ops, fx);
        }
        if entry.state != SlotState::Used {
            entry.state = SlotState::Free;
        }
        self.grow_slot(slot, ops, fx);
    }

    fn make_slot(&mut self, slot: u32, ops: &mut Ops, fx: &mut Effects) {
        let path = format!("{}/j{slot}", self.folder);
        let entry = &mut self.slots[slot as usize];
        (entry.len, entry.zeroed_bytes, entry.state) = (0, 0, SlotState::Preparing);
        // Opened again also when it is there: a process that was killed while it made the file may have left a name that is not durable.
        ops.issue(Op::SlotOpened(slot), DiskOp::Open { path, create: true, direct: true }, fx);
    }

    /// Makes a file longer that is shorter than it should be; nothing that is in it changes.
    fn grow_slot(&mut self, slot: u32, ops: &mut Ops, fx: &mut Effects) {
        let file_bytes = self.file_bytes;
        let entry = &mut self.slots[slot as usize];
        if entry.growing || entry.zeroed_bytes >= file_bytes {
            return;
        }
        let Some(file) = entry.file.clone() else { return };
        entry.growing = true;
        let (offset, len) = (entry.zeroed_bytes, file_bytes - entry.zeroed_bytes);
        ops.issue(Op::SlotZeroed(slot), DiskOp::WriteZeros { file, offset, len }, fx);
    }

    /// Whether there is a file to write to.
    pub(in crate::log) fn has_file(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.state, SlotState::Free | SlotState::Used))
    }

    pub(in crate::log) fn slot_failed(&mut self, slot: u32) {
        let entry = &mut self.slots[slot as usize];
        if std::mem::take(&mut entry.growing) {
            // It is used as it is.
            self.growth_failed = true;
        } else {
            entry.state = SlotState::Missing;
            self.lacks_file = true;
        }
    }

    /// Tries again to make what could not be made.
    pub(in crate::log) fn retry_slots(&mut self, ops: &mut Ops, fx: &mut Effects) {
        for slot in 0..self.slots.len() as u32 {
            match self.slots[slot as usize].state {
                SlotState::Missing => self.make_slot(slot, ops, fx),
                SlotState::Free | SlotState::Used => self.grow_slot(slot, ops, fx),
                SlotState::Preparing => {}
            }
        }
    }

    pub(in crate::log) fn slot_zeroed(&mut self, slot: u32) {
        let file_bytes = self.file_bytes;
        let entry = &mut self.slots[slot as usize];
        entry.zeroed_bytes = file_bytes;
        if std::mem::take(&mut entry.growing) {
            self.growth_failed = false;
        } else {
            entry.state = SlotState::Free;
            self.lacks_file = false;
        }
        // What is in the ring keeps its length: a commit that has to be made anew finds the files behind it as they were.
        if entry.state == SlotState::Free {
            entry.len = entry.zeroed_bytes;
        }
    }

    /// The oldest number that must be there if these releases (per slot) were made: files before it can be used again then.
    pub(in crate::log) fn tail_after(&self, releases: &[u64]) -> (usize, u64) {
        let complete = |slot: u32| {
            let last = self.commits.iter().rev().find(|c| c.slot == slot);
            last.is_none_or(|c| self.commit(self.completed_ring).is_none_or(|next| c.seq < next.seq))
        };
        let mut files = 0;
        for slot in self.order.iter().take(self.order.len().saturating_sub(1)) {
            let released = releases.get(*slot as usize).copied().unwrap_or(0);
            if self.slots[*slot as usize].live > released || !complete(*slot) {
                break;
            }
            files += 1;
        }
        let seq = self.order.get(files).map_or(self.next_seq, |slot| self.slots[*slot as usize].first_seq);
        (files, seq)
    }

    /// Frees the oldest files: a checkpoint that leaves them out is durable.
    pub(in crate::log) fn free_oldest(&mut self, files: usize) {
        for _ in 0..files {
            let slot = self.order.pop_front().expect("counted from the ring");
            let slot = &mut self.slots[slot as usize];
            debug_assert_eq!(slot.live, 0);
            slot.state = SlotState::Free;
            slot.len = slot.zeroed_bytes;
        }
    }
}
