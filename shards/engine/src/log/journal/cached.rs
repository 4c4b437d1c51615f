//! Commits that need not be durable, through the page cache: what `written` promises is kept there (a killed process takes nothing of it along), and
//! nobody waits for the device. Only small ones: copying a large one costs more than its write.
//!
//! Invariant: both handles of a slot are the same file. The kernel writes a page of it out before it reads or writes the same bytes directly, and a
//! commit begins and ends with a block, so that no two ways ever meet in one page; a sync of either handle covers both.

use super::{Journal, Ops};
use crate::event::{DiskError, DiskOp, DiskOutput, Effects, FileHandle};
use crate::limits::COMMIT_BYTES_CACHED_MAX;
use crate::log::ops::Op;

/// A slot's handle through the page cache.
#[derive(Clone, Debug, Default)]
pub(super) enum Cached {
    /// Nothing has asked for it.
    #[default]
    Never,
    /// Being opened, or it could not be: written directly meanwhile.
    Asked,
    /// Open.
    Open(FileHandle),
}

impl Journal {
    /// The handle that this commit is written by. The first small one that need not be durable asks for a slot's second handle.
    pub(super) fn file_for(&mut self, ring: u64, ops: &mut Ops, fx: &mut Effects) -> FileHandle {
        let commit = self.commit(ring).expect("a commit that is written is in memory");
        let (number, small) = (commit.slot, commit.bytes.len() <= COMMIT_BYTES_CACHED_MAX);
        let cached = small && !commit.must_be_durable;
        let slot = &mut self.slots[number as usize];
        if cached {
            match &slot.cached {
                Cached::Open(file) => return file.clone(),
                Cached::Asked => {}
                Cached::Never => {
                    slot.cached = Cached::Asked;
                    let path = format!("{}/j{number}", self.folder);
                    ops.issue(Op::SlotCached(number), DiskOp::Open { path, create: false, direct: false }, fx);
                }
            }
        }
        slot.file.clone().expect("a used slot is open")
    }

    /// A slot's second handle has come, or not: then it is done without, no harm.
    pub(in crate::log) fn slot_cached(&mut self, slot: u32, result: Result<DiskOutput, DiskError>) {
        if let Ok(DiskOutput::Opened { file, .. }) = result {
            self.slots[slot as usize].cached = Cached::Open(file);
        }
    }
}
