//! The disk operations the log waits for: numbers given out, and what each one was for.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::{OP_TAG, PartitionIx, ReadTicket};
use crate::event::{DiskOp, Effect, Effects, OpId};

/// What a disk operation was for.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A journal file was opened to become a slot.
    SlotOpened(u32),
    /// A slot was opened through the page cache as well.
    SlotCached(u32),
    /// A new slot was zeroed.
    SlotZeroed(u32),
    /// A commit's write, by ring number.
    Commit(u64),
    /// A piece of a partition's stream that goes straight to its segment: of which commit, which one.
    Piece(u64, u32),
    /// A step of making a segment ready to be written to straight.
    Direct(PartitionIx),
    /// A sync of a journal file.
    JournalSync,
    /// A step of settling a partition.
    Settle(PartitionIx),
    /// The sync of all that was written of many partitions.
    SettleSync,
    /// The checkpoint under way.
    Checkpoint,
    /// A step of compaction.
    Compact,
    /// A step of a cold read.
    Cold(ReadTicket),
    /// A cold read's read of a segment, of so many bytes.
    ColdRead(ReadTicket, u64),
    /// A read of a segment that nobody had asked for.
    Ahead(u64),
    /// A step of recovery; which one, recovery knows.
    Recovery(u64),
    /// Removal of files, an index written: nothing depends on it.
    Nothing(&'static str),
}

/// Operations under way.
#[derive(Debug, Default)]
pub(super) struct Ops {
    last: u64,
    /// With the bytes of new disk space that it takes.
    waiting: HashMap<u64, (Op, u64), FxBuildHasher>,
    /// Bytes of new disk space asked for, ever.
    pub(super) asked_bytes: u64,
    /// Of these, what is under way.
    pub(super) under_way_bytes: u64,
    /// Those of them that take part in making room.
    making_room: usize,
}

impl Op {
    /// Whether its end lets the log look again for room in the journal and in memory.
    fn makes_room(&self) -> bool {
        let reads = matches!(self, Op::Cold(_) | Op::ColdRead(..) | Op::Ahead(_));
        !reads && !matches!(self, Op::SlotCached(_) | Op::Compact | Op::Nothing(_))
    }
}

impl Ops {
    /// Asks for an operation.
    pub(super) fn issue(&mut self, op: Op, what: DiskOp, fx: &mut Effects) {
        self.last += 1;
        let id = (u64::from(OP_TAG) << 56) | self.last;
        self.making_room += usize::from(op.makes_room());
        let bytes = new_space(&what);
        self.asked_bytes += bytes;
        self.under_way_bytes += bytes;
        self.waiting.insert(id, (op, bytes));
        fx.push(Effect::Disk { op: OpId(id), what });
    }

    /// What an operation that ended was for.
    pub(super) fn ended(&mut self, id: OpId) -> Option<Op> {
        let (op, bytes) = self.waiting.remove(&id.0)?;
        self.under_way_bytes -= bytes;
        self.making_room -= usize::from(op.makes_room());
        Some(op)
    }

    /// Whether something is under way whose end may make room for appends.
    pub(super) fn is_making_room(&self) -> bool {
        self.making_room > 0
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// How much more of the disk an operation takes, at most. Segments are written where space has been reserved, journal files where they have been filled.
fn new_space(what: &DiskOp) -> u64 {
    match what {
        DiskOp::Preallocate { len, .. } | DiskOp::WriteZeros { len, .. } => *len,
        DiskOp::ReplaceFile { data, .. } => data.len() as u64,
        _ => 0,
    }
}
