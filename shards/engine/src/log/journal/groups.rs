//! Batches that go straight to their segment: the pieces of partitions' streams that a commit brings to the disk before itself. Lives in the
//! [`Journal`].
//!
//! A piece begins with the block of the segment that is to be written next (so with what of earlier batches is not in the segment yet) and
//! ends with the last batch added. Its whole blocks are written to the segment, durably; only when all pieces of a commit are, the commit
//! is written: a commit found on disk never tells of bytes that are not stable. What is left behind the last whole block goes into the commit.
//!
//! Invariants: the last piece may grow, all before it are closed; pieces of one partition follow each other without gap or overlap of blocks; the
//! commit being filled has room for the rest of the piece that may grow.

use bytes::{Bytes, BytesMut};
use floe_wire::ids::TopicId;

use super::Journal;
use crate::event::{DiskOp, Effects, FileHandle};
use crate::limits::{BLOCK_BYTES, DIRECT_BYTES_MAX, DIRECT_PIECES_MAX};
use crate::log::buffer::{block_down, block_up};
use crate::log::frame::{
    COMMIT_HEADER_BYTES, DIRECT_BODY_BYTES, DirectBody, ENTRY_HEADER_BYTES, EntryHeader, EntryKind, REST_HEADER_BYTES,
    entry_bytes, rest_body,
};
use crate::log::ops::{Op, Ops};
use crate::log::{BatchInfo, LogMetrics, PartitionIx, Tier, batch};

/// Bytes of the entry with the rest of a piece, at most.
const REST_ENTRY_BYTES_MAX: usize = ENTRY_HEADER_BYTES + REST_HEADER_BYTES + BLOCK_BYTES as usize;
/// What a batch that goes straight to its segment needs in the journal, as the length of an entry's body.
pub(in crate::log) const DIRECT_NEED_BYTES: usize = DIRECT_BODY_BYTES + REST_ENTRY_BYTES_MAX;

/// Where a piece goes.
#[derive(Clone, Debug)]
pub(in crate::log) struct Target {
    pub(in crate::log) ix: PartitionIx,
    pub(in crate::log) topic: TopicId,
    pub(in crate::log) partition: i32,
    pub(in crate::log) file: FileHandle,
    /// The segment, by its base offset.
    pub(in crate::log) segment: i64,
    /// Where in it the piece begins; a multiple of the block.
    pub(in crate::log) start: u64,
}

/// The piece that may grow.
#[derive(Debug)]
struct Open {
    target: Target,
    /// Of its first batch.
    base_offset: i64,
}

/// The whole blocks of a piece.
#[derive(Clone, Debug)]
pub(in crate::log) struct Piece {
    pub(in crate::log) target: Target,
    /// The segment is written up to here when this is.
    pub(in crate::log) written: u64,
    pub(super) data: Bytes,
    /// It could not be written.
    pub(super) failed: bool,
    /// It, or one before it, could not be written: its batches are in the journal.
    pub(in crate::log) moved: bool,
}

/// The pieces of the commit being filled.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    open: Option<Open>,
    pub(super) closed: Vec<Piece>,
    /// Memory of the closed ones, for readers.
    pub(super) regions: Vec<Bytes>,
    /// Bytes in all of them.
    pub(super) bytes: usize,
    /// Batches in them.
    batches: usize,
}

impl Pieces {
    /// What the journal keeps free for the rest of the piece that may grow.
    pub(super) fn reserved(&self) -> usize {
        if self.open.is_some() { REST_ENTRY_BYTES_MAX } else { 0 }
    }

    /// What the journal would need if their batches had to be moved there.
    pub(super) fn needed(&self) -> usize {
        self.bytes + self.batches * entry_bytes(0)
    }
}

impl Journal {
    /// Whether the commit being filled has as much for segments as it should: it is to be sealed before more is added.
    pub(in crate::log) fn pieces_full(&self, bytes: usize) -> bool {
        let pieces = &self.building.pieces;
        let journaled = self.filled() + DIRECT_NEED_BYTES * 2 + pieces.needed() + entry_bytes(bytes);
        self.building.count > 0 && block_up(journaled as u64) > self.file_bytes
            || pieces.bytes > 0
                && (pieces.bytes + bytes > DIRECT_BYTES_MAX || pieces.closed.len() + 1 >= DIRECT_PIECES_MAX)
    }

    /// Whether the piece that may grow is this partition's and has room.
    pub(in crate::log) fn piece_can_grow(&self, ix: PartitionIx, bytes: usize) -> bool {
        let mine = self.building.pieces.open.as_ref().is_some_and(|open| open.target.ix == ix);
        // Room to round the end up to a block.
        mine && self.piece.len() + bytes + BLOCK_BYTES as usize <= self.piece.capacity()
    }

    /// Begins a piece with `head`, what of earlier batches goes into its first blocks, and room for `bytes` more.
    pub(in crate::log) fn begin_piece(&mut self, target: Target, base_offset: i64, head: &[Bytes], bytes: usize) {
        self.close_piece();
        let head_bytes: usize = head.iter().map(Bytes::len).sum();
        let need = head_bytes + bytes + 2 * BLOCK_BYTES as usize;
        if self.piece.capacity() < need {
            let next = self.buffers.take(need);
            let old = std::mem::replace(&mut self.piece, next);
            self.buffers.retire(old);
        }
        for part in head {
            self.piece.extend_from_slice(part);
        }
        self.building.pieces.bytes += head_bytes;
        self.building.pieces.open = Some(Open { target, base_offset });
    }

    /// Adds a batch to the piece that may grow, stamped, and its entry to the commit; [`Journal::make_room`] has made room for
    /// [`DIRECT_NEED_BYTES`]. Gives which of the commit's memories holds it and where it begins there.
    pub(in crate::log) fn push_direct(
        &mut self,
        batch: &[u8],
        info: &BatchInfo,
        base_offset: i64,
        leader_epoch: i32,
        append_time_ms: Option<i64>,
        tier: Tier,
    ) -> (u32, u32) {
        let at = self.piece.len();
        self.piece.extend_from_slice(batch);
        let copy = &mut self.piece[at..];
        batch::stamp(copy, base_offset, leader_epoch);
        if let Some(time_ms) = append_time_ms {
            batch::stamp_log_append_time(copy, time_ms);
        }
        let batch_crc = batch::crc(copy);
        let pieces = &mut self.building.pieces;
        pieces.bytes += entry_bytes(batch.len()) - entry_bytes(0);
        pieces.batches += 1;
        let open = pieces.open.as_ref().expect("a piece was begun");
        let target = &open.target;
        let body = DirectBody {
            base_offset,
            last_offset_delta: info.last_offset_delta,
            segment: target.segment,
            position: target.start + at as u64,
            length: info.bytes as u32,
            batch_crc,
            leader_epoch,
        };
        let header = EntryHeader {
            seq: 0,
            topic: target.topic,
            partition: target.partition,
            base_offset,
            length: DIRECT_BODY_BYTES as u32,
            leader_epoch,
            kind: EntryKind::Direct,
        };
        let part = pieces.closed.len() as u32 + 1;
        self.push(header, &body.bytes(), Some(tier));
        // Others may build on the segment being written up to there.
        self.building.must_be_durable = true;
        (part, at as u32)
    }

    /// Closes the piece that may grow: its rest goes into the commit.
    pub(super) fn close_piece(&mut self) {
        let Some(Open { target, base_offset }) = self.building.pieces.open.take() else { return };
        let len = self.piece.len();
        let whole = block_down(len as u64);
        let written = target.start + whole;
        let body = rest_body(target.segment, written, &self.piece[whole as usize..]);
        let header = EntryHeader {
            seq: self.next_seq,
            topic: target.topic,
            partition: target.partition,
            base_offset,
            length: body.len() as u32,
            leader_epoch: 0,
            kind: EntryKind::Rest,
        };
        debug_assert!(entry_bytes(body.len()) <= REST_ENTRY_BYTES_MAX);
        self.chunk.extend_from_slice(&header.bytes());
        self.chunk.extend_from_slice(&body);
        self.chunk.resize(self.chunk.len().next_multiple_of(8), 0);
        self.building.count += 1;
        // So that what follows in the same memory is aligned again.
        self.piece.resize(len.next_multiple_of(BLOCK_BYTES as usize), 0);
        let region = self.piece.split().freeze();
        let data = region.slice(..whole as usize);
        self.building.pieces.regions.push(region);
        self.building.pieces.closed.push(Piece { target, written, data, failed: false, moved: false });
    }

    /// Whether the piece that may grow is this partition's.
    pub(in crate::log) fn has_open_piece(&self, ix: PartitionIx) -> bool {
        self.building.pieces.open.as_ref().is_some_and(|open| open.target.ix == ix)
    }

    /// Whether a commit with this batch could be in the journal whole, too: it may have to be moved or copied there later.
    pub(in crate::log) fn could_hold(&self, bytes: usize) -> bool {
        block_up((COMMIT_HEADER_BYTES + DIRECT_NEED_BYTES * 2 + entry_bytes(bytes)) as u64) <= self.file_bytes
    }

    /// What this partition's segment will be written up to when all closed pieces are; `None`: none of them is its.
    pub(in crate::log) fn planned(&self, ix: PartitionIx) -> Option<u64> {
        let from = (self.completed_ring - self.first_ring) as usize;
        let sealed = self.commits.range(from..).flat_map(|commit| &commit.pieces);
        let last = sealed.chain(&self.building.pieces.closed).filter(|piece| piece.target.ix == ix).last();
        last.map(|piece| piece.written)
    }

    /// Whether anything of this partition is on its way straight to its segment.
    pub(in crate::log) fn has_pieces(&self, ix: PartitionIx) -> bool {
        self.has_open_piece(ix) || self.planned(ix).is_some()
    }

    /// Where the stream that is being written straight to this partition's segment will have been written up to, as far as pieces are closed.
    pub(in crate::log) fn close_piece_of(&mut self, ix: PartitionIx) -> Option<u64> {
        if self.building.pieces.open.as_ref().is_some_and(|open| open.target.ix == ix) {
            self.close_piece();
        }
        self.building.pieces.closed.iter().rev().find(|piece| piece.target.ix == ix).map(|piece| piece.written)
    }

    /// Brings the pieces of sealed commits under way.
    pub(super) fn submit_pieces(&mut self, ops: &mut Ops, metrics: &mut LogMetrics, fx: &mut Effects) {
        while self.failed.is_none() && self.pieces_ring < self.building_ring() {
            let ring = self.pieces_ring;
            let first_ring = self.first_ring;
            let commit = &mut self.commits[(ring - first_ring) as usize];
            commit.pieces_out = 0;
            // One that ends in the block it began in leaves nothing to write.
            for (i, piece) in commit.pieces.iter().enumerate().filter(|(_, p)| !p.data.is_empty() && !p.moved) {
                commit.pieces_out += 1;
                metrics.direct_bytes += piece.data.len() as u64;
                ops.issue(Op::Piece(ring, i as u32), write(piece), fx);
            }
            self.pieces_in_flight += commit.pieces_out as usize;
            self.pieces_ring += 1;
        }
    }

    /// A piece is on stable storage.
    pub(in crate::log) fn piece_written(&mut self, ring: u64) {
        self.pieces_in_flight -= 1;
        self.commit_mut(ring).expect("a commit that waits is in memory").pieces_out -= 1;
    }

    /// Memory for pieces, when none is being built.
    pub(super) fn no_piece() -> BytesMut {
        BytesMut::new()
    }
}

fn write(piece: &Piece) -> DiskOp {
    DiskOp::Write { file: piece.target.file.clone(), offset: piece.target.start, data: piece.data.clone(), dsync: true }
}
