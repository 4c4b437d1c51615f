//! The journal's files: made one by one as they are needed, written in the order of the ring, and used again oldest first. Part of the
//! [`super::Journal`].

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
    pub(in crate::log) len: u64,
    pub(in crate::log) state: SlotState,
    /// Entries in it that are nowhere else durably.
    pub(in crate::log) live: u64,
    /// The first commit in it; still there in a free file, until that is used again. 0: none that any checkpoint could ask for.
    pub(in crate::log) first_seq: u64,
}

impl Slot {
    /// A file of `len` bytes that is not there yet.
    pub(in crate::log) fn new(len: u64) -> Slot {
        Slot { file: None, cached: Cached::Never, len, state: SlotState::Preparing, live: 0, first_seq: 0 }
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
        self.slots.push(Slot::new(self.file_bytes));
        let path = format!("{}/j{slot}", self.folder);
        ops.issue(Op::SlotOpened(slot), DiskOp::Open { path, create: true, direct: true }, fx);
    }

    pub(in crate::log) fn slot_opened(&mut self, slot: u32, file: FileHandle, ops: &mut Ops, fx: &mut Effects) {
        let entry = &mut self.slots[slot as usize];
        entry.file = Some(file.clone());
        entry.cached = Cached::Never;
        ops.issue(Op::SlotZeroed(slot), DiskOp::WriteZeros { file, offset: 0, len: entry.len }, fx);
    }

    /// After recovery: a file that holds nothing is free; one that is missing or shorter than it should be is made again.
    pub(in crate::log) fn mend_slot(&mut self, slot: u32, ops: &mut Ops, fx: &mut Effects) {
        let file_bytes = self.file_bytes;
        let path = format!("{}/j{slot}", self.folder);
        let entry = &mut self.slots[slot as usize];
        if entry.state == SlotState::Used {
            return;
        }
        if entry.file.is_some() && entry.len >= file_bytes {
            entry.state = SlotState::Free;
            return;
        }
        entry.len = file_bytes;
        // Opened again also when it is there: a process that was killed while it made the file may have left a name that is not durable.
        ops.issue(Op::SlotOpened(slot), DiskOp::Open { path, create: true, direct: true }, fx);
    }

    /// Whether there is a file to write to.
    pub(in crate::log) fn has_file(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.state, SlotState::Free | SlotState::Used))
    }

    pub(in crate::log) fn slot_failed(&mut self, slot: u32) {
        self.slots[slot as usize].state = SlotState::Missing;
        self.lacks_file = true;
    }

    /// Tries again to make what could not be made.
    pub(in crate::log) fn retry_slots(&mut self, ops: &mut Ops, fx: &mut Effects) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].state == SlotState::Missing {
                self.slots[slot].state = SlotState::Preparing;
                self.slots[slot].len = 0;
                self.mend_slot(slot as u32, ops, fx);
            }
        }
    }

    pub(in crate::log) fn slot_zeroed(&mut self, slot: u32) {
        self.slots[slot as usize].state = SlotState::Free;
        self.lacks_file = false;
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
        }
    }
}
