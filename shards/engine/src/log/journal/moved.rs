//! Batches that could not be written straight to their segment come into the journal after all. Lives in the [`Journal`].
//!
//! Nothing of a commit is written before its pieces are, nor of those behind it: so commits from the failed one on can still be made anew. They
//! keep their numbers and what they hold in memory; what changes is where they will stand, and that copies of the batches follow behind their entries.
//!
//! Invariants: when a piece cannot be written, neither it counts nor any behind it in the same segment; a commit that moves batches is
//! written as one whose batches came through the journal, with the same refusals: clients do not take the last free file.

use super::{Commit, Journal, SlotState};
use crate::limits::BLOCK_BYTES;
use crate::log::PartitionIx;
use crate::log::buffer::block_up;
use crate::log::frame::{
    COMMIT_HEADER_BYTES, CommitHeader, DirectBody, ENTRY_HEADER_BYTES, EntryHeader, EntryKind, MOVED, entry_bytes,
    read_rest, rest_body,
};

/// A commit made anew, but for its place.
struct Anew {
    header: CommitHeader,
    /// The content of the commit as it was, with the entries changed that no longer count.
    bytes: Vec<u8>,
}

impl Journal {
    /// A piece could not be written.
    pub(in crate::log) fn piece_failed(&mut self, ring: u64, i: u32) {
        self.pieces_in_flight -= 1;
        let commit = self.commit_mut(ring).expect("a commit that waits is in memory");
        let piece = &mut commit.pieces[i as usize];
        // One moved already is needed no more.
        if piece.moved {
            commit.pieces_out -= 1;
        } else {
            piece.failed = true;
            self.pieces_failed = true;
        }
    }

    /// Moves batches into the journal whose pieces could not be written. `false`: there is no place for them yet.
    pub(in crate::log) fn move_failed(&mut self) -> bool {
        if self.failed.is_some() {
            return false;
        }
        // What is being filled may build on what failed.
        if self.building.pieces.bytes > 0 && !self.seal() {
            return false;
        }
        let first = (self.submit_ring - self.first_ring) as usize;
        let waiting = || self.commits.range(first..);
        // Of each partition the pieces from the first on that failed.
        let mut begun: Vec<PartitionIx> = Vec::new();
        let mut moves: Vec<Vec<usize>> = Vec::new();
        for commit in waiting() {
            let mut moved = Vec::new();
            for (i, piece) in commit.pieces.iter().enumerate().filter(|(_, piece)| !piece.moved) {
                let ix = piece.target.ix;
                if piece.failed && !begun.contains(&ix) {
                    begun.push(ix);
                }
                if begun.contains(&ix) {
                    moved.push(i);
                }
            }
            moves.push(moved);
        }
        let anew: Vec<Anew> = waiting().zip(&moves).map(|(commit, moved)| make_anew(commit, moved)).collect();
        let sizes: Vec<u64> = anew.iter().map(|a| a.header.padded_bytes()).collect();
        let Some(places) = self.places(first, &sizes) else { return false };
        self.place_anew(first, anew, &places);
        for (commit, moved) in self.commits.range_mut(first..).zip(moves) {
            for i in moved {
                let piece = &mut commit.pieces[i];
                piece.moved = true;
                commit.pieces_out -= u32::from(std::mem::take(&mut piece.failed));
            }
        }
        self.pieces_failed = false;
        true
    }

    /// Whether batches wait to be moved.
    pub(in crate::log) fn waits_to_move(&self) -> bool {
        self.pieces_failed
    }

    /// Where commits of these sizes can stand, beginning with `commits[first]`.
    fn places(&self, first: usize, sizes: &[u64]) -> Option<Vec<(u32, u64)>> {
        let begin = &self.commits[first];
        let at = self.order.iter().position(|slot| *slot == begin.slot)?;
        let mut next = self.order.range(at + 1..).copied().chain(self.free_slots());
        let (mut slot, mut position) = (begin.slot, begin.offset);
        let mut used = at + 1;
        let mut places = Vec::new();
        for size in sizes {
            if self.slots[slot as usize].len - position < *size {
                slot = next.next().filter(|slot| self.slots[*slot as usize].len >= *size)?;
                position = 0;
                used += 1;
            }
            places.push((slot, position));
            position += size;
        }
        let all = self.slots_max.max(self.slots.len());
        (used <= self.order.len() || used < all).then_some(places)
    }

    /// Gives commits their new content and place.
    fn place_anew(&mut self, first: usize, anew: Vec<Anew>, places: &[(u32, u64)]) {
        let begin = self.commits[first].slot;
        while self.order.back().is_some_and(|slot| *slot != begin) {
            let slot = self.order.pop_back().expect("looked at just now");
            self.slots[slot as usize].state = SlotState::Free;
        }
        for (i, (Anew { mut header, bytes }, (slot, offset))) in anew.into_iter().zip(places).enumerate() {
            if self.order.back() != Some(slot) {
                self.slots[*slot as usize].state = SlotState::Used;
                self.slots[*slot as usize].first_seq = header.seq;
                self.order.push_back(*slot);
            }
            (header.slot, header.block) = (*slot, (offset / BLOCK_BYTES) as u32);
            let padded = header.padded_bytes();
            let mut buffer = self.buffers.take(padded as usize);
            buffer.extend_from_slice(&bytes);
            buffer.resize(padded as usize, 0);
            header.write(&mut buffer);
            let commit = &mut self.commits[first + i];
            self.memory_bytes = self.memory_bytes + padded - commit.bytes.len() as u64;
            self.slots[commit.slot as usize].live -= u64::from(commit.live);
            self.slots[*slot as usize].live += u64::from(commit.live);
            commit.bytes = buffer.split().freeze();
            (commit.slot, commit.offset) = (*slot, *offset);
            self.buffers.retire(buffer);
            self.write_pos = offset + padded;
        }
    }
}

/// The commit with copies of the batches of these pieces.
fn make_anew(commit: &Commit, moved: &[usize]) -> Anew {
    let mut header = CommitHeader::read(&commit.bytes).expect("it was made here");
    let mut bytes = commit.bytes[..header.bytes as usize].to_vec();
    let mut copies = Vec::new();
    let mut at = COMMIT_HEADER_BYTES;
    while !moved.is_empty() && at < header.bytes as usize {
        let entry = EntryHeader::read(&bytes[at..]).expect("it was made here");
        let range = at + ENTRY_HEADER_BYTES..at + ENTRY_HEADER_BYTES + entry.length as usize;
        at += entry_bytes(entry.length as usize);
        let of = |i: &&usize| {
            let target = &commit.pieces[**i].target;
            (target.topic, target.partition) == (entry.topic, entry.partition)
        };
        match entry.kind {
            EntryKind::Direct => {
                let body = DirectBody::read(&bytes[range.clone()]).expect("it was made here");
                let holds = |i: &&usize| {
                    let (start, region) = (commit.pieces[**i].target.start, &commit.regions[**i]);
                    start <= body.position && body.position + u64::from(body.length) <= start + region.len() as u64
                };
                let Some(i) = moved.iter().filter(of).find(holds).filter(|_| body.segment != MOVED) else { continue };
                let from = (body.position - commit.pieces[*i].target.start) as usize;
                copies.push((entry, commit.regions[*i].slice(from..from + body.length as usize)));
                bytes[range].copy_from_slice(&DirectBody { segment: MOVED, ..body }.bytes());
            }
            EntryKind::Rest => {
                let (_, written, stream) = read_rest(&bytes[range.clone()]).expect("it was made here");
                if moved.iter().filter(of).any(|i| commit.pieces[*i].written == written) {
                    let body = rest_body(MOVED, written, stream);
                    bytes[range].copy_from_slice(&body);
                }
            }
            _ => {}
        }
    }
    header.entries += copies.len() as u32;
    for (entry, batch) in copies {
        // A copy says nothing about what was appended before and after it: its offset is lower than that of entries before it.
        let copy = EntryHeader { kind: EntryKind::Carried, length: batch.len() as u32, ..entry };
        bytes.extend_from_slice(&copy.bytes());
        bytes.extend_from_slice(&batch);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    header.bytes = bytes.len() as u32;
    debug_assert!(block_up(bytes.len() as u64) == header.padded_bytes());
    Anew { header, bytes }
}
