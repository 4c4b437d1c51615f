//! The files of a stopped broker, read for people (`floe dump-log`) and for tests: pure functions over bytes, the same that recovery uses.

pub use super::checkpoint::{AbortedState, Checkpoint, PartitionState, ProducerState, Run, SegmentState};
pub use super::frame::{CommitHeader, DirectBody, EntryHeader, EntryKind, JournalId};
pub use super::scan::{Body, FoundCommit, FoundEntry, Held, Hole};
pub use super::segment::{file_name, read_index};
pub use super::sums::Sums;

use super::{BatchInfo, batch, scan};

/// Every commit in a journal file (`j<slot>`), also those left of earlier laps, in the order of the file.
pub fn journal_file(slot: u32, bytes: &[u8]) -> Vec<FoundCommit> {
    scan::scan(slot, bytes, |_| true)
}

/// A batch found in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBatch {
    /// Where it begins.
    pub position: u64,
    /// Its header.
    pub info: BatchInfo,
    /// Its checksum holds.
    pub whole: bool,
}

/// The batches of a segment file from its start, up to the first place where none begins.
pub fn segment_file(bytes: &[u8]) -> impl Iterator<Item = FoundBatch> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[position..];
        let info = batch::header(rest)?;
        let whole = rest.get(..info.bytes as usize).is_some_and(|one| batch::whole(one).is_some());
        let found = FoundBatch { position: position as u64, info, whole };
        position = (position + info.bytes as usize).min(bytes.len());
        Some(found)
    })
}
