//! The segment that takes the place of some old ones: written in large aligned blocks, synced, cut to its length, and made known by its index file.
//! Lives in a cleaner's job.
//!
//! Invariant: the index file is there only when the segment is whole and durable. So a segment without it counts for nothing, and a crash
//! anywhere before leaves the old ones.

use crate::event::{DiskOp, FileHandle};
use crate::limits::{BLOCK_BYTES, COMPACTION_STEP_BYTES};
use crate::log::buffer::{Buffers, block_down, block_up};
use crate::log::segment::Segment;
use crate::partition::Partition;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Reserve,
    /// Taking batches; those of the last block wait for more.
    Take,
    Write(u64),
    Sync,
    Cut,
    Index,
    Done,
}

/// The new segment.
#[derive(Debug)]
pub(super) struct Output {
    /// The old ones, by base and version, in order.
    pub(super) sources: Vec<(i64, u32)>,
    pub(super) segment: Segment,
    /// The offset behind the last of them.
    pub(super) end: i64,
    /// Something of the old ones is not in it.
    pub(super) is_less: bool,
    /// Batches not written yet.
    pub(super) pending: Vec<u8>,
    /// Offset behind the last batch taken, whether it stayed or not.
    expected: i64,
    written: u64,
    reserve_bytes: u64,
    step: Step,
    file: Option<FileHandle>,
}

impl Output {
    /// For these segments of a partition.
    pub(super) fn new(sources: Vec<(i64, u32)>, version: u32, created_ms: i64, end: i64, bytes: u64) -> Output {
        let base = sources[0].0;
        let mut segment = Segment::new(base, created_ms);
        segment.version = version;
        Output {
            sources,
            segment,
            end,
            is_less: false,
            pending: Vec::new(),
            expected: base,
            written: 0,
            reserve_bytes: block_up(bytes).max(BLOCK_BYTES),
            step: Step::Create,
            file: None,
        }
    }

    /// Takes the batch that has been put behind `pending`, from there on, into account.
    pub(super) fn took(&mut self, from: usize, last_offset: i64, max_timestamp: i64) {
        // Offsets that are gone before it are found where it is found: who has read the batch before asks for the offset behind that.
        self.segment.push_summed(self.expected, last_offset, &self.pending[from..], max_timestamp);
        self.expected = last_offset + 1;
    }

    /// An operation ended; an open gives the file.
    pub(super) fn did(&mut self, file: Option<FileHandle>) {
        self.step = match self.step {
            Step::Create => {
                self.file = file;
                Step::Reserve
            }
            Step::Write(to) => {
                self.written = to;
                Step::Take
            }
            Step::Reserve => Step::Take,
            Step::Sync => Step::Cut,
            Step::Cut => Step::Index,
            Step::Index => Step::Done,
            step @ (Step::Take | Step::Done) => unreachable!("nothing was asked for in {step:?}"),
        };
    }

    /// The next operation; `None`: it wants more batches, or is done.
    pub(super) fn ask(&mut self, p: &Partition, has_all: bool, buffers: &mut Buffers) -> Option<DiskOp> {
        if self.step == Step::Take {
            let full = self.pending.len() as u64 >= COMPACTION_STEP_BYTES;
            if full || (has_all && !self.pending.is_empty()) {
                return Some(self.write(buffers));
            }
            if !has_all {
                return None;
            }
            self.step = Step::Sync;
        }
        let path = p.segment_path_of(&self.segment);
        let file = || self.file.clone().expect("opened first");
        match self.step {
            Step::Create => Some(DiskOp::Open { path: path + ".log", create: true, direct: true }),
            Step::Reserve => {
                Some(DiskOp::Preallocate { file: file(), offset: 0, len: self.reserve_bytes, grow: false })
            }
            Step::Sync => Some(DiskOp::Sync { file: file() }),
            Step::Cut => Some(DiskOp::Truncate { file: file(), len: self.segment.len }),
            Step::Index => {
                self.segment.index_saved_len = self.segment.len;
                let data = self.segment.summed_index_bytes(self.end).into();
                Some(DiskOp::ReplaceFile { path: path + ".idx", data })
            }
            Step::Done => None,
            step @ (Step::Take | Step::Write(_)) => unreachable!("{step:?} is taken care of above"),
        }
    }

    /// Whether it is whole, durable and known by its index.
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Whole blocks of what waits; at the end all of it, filled up.
    fn write(&mut self, buffers: &mut Buffers) -> DiskOp {
        let len = match self.pending.len() as u64 {
            some if some < BLOCK_BYTES => BLOCK_BYTES,
            many => block_down(many),
        } as usize;
        let taken = len.min(self.pending.len());
        let mut buffer = buffers.take(len);
        buffer.extend_from_slice(&self.pending[..taken]);
        buffer.resize(len, 0);
        self.pending.drain(..taken);
        let data = buffer.split().freeze();
        buffers.retire(buffer);
        let offset = self.written;
        self.step = Step::Write(offset + len as u64);
        DiskOp::Write { file: self.file.clone().expect("opened first"), offset, data, dsync: false }
    }
}
