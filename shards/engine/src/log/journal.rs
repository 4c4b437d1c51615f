//! The shard's journal: a ring of pre-written files into which every append goes, and the commits still in memory. Lives in the
//! [`super::ShardLog`].
//!
//! Invariants:
//! - Commits are numbered twice: `ring` counts without gaps in this process (what [`super::CommitSeq`] shows), `seq` is the number on disk.
//! - Commits complete in order. One that holds anything `flushed` completes when it and all before it are durable: by its own DSYNC write when
//!   all before were written so, else by a sync after them, because DSYNC covers only the write that carries it.
//! - Files are used again in the order of the ring, oldest first, so what must be there is always one run of numbers: from the oldest file
//!   that is not free, up to the last commit.
//! - Clients cannot take the last free file: carrying the live rest of the oldest file forward always has room.

mod cached;
mod groups;
mod moved;
mod slots;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::buffer::{Buffers, block_up};
use super::frame::{COMMIT_HEADER_BYTES, CommitHeader, EntryHeader, JournalId, entry_bytes};
use super::ops::{Op, Ops};
use super::{AppendError, LogMetrics, LogSettings, PartitionIx, TailEntry};
use crate::event::{DiskOp, Effects};
use crate::limits::{BLOCK_BYTES, COMMIT_BYTES_BESIDE, COMMITS_IN_FLIGHT_MAX};
use crate::time::Time;
use groups::Pieces;
pub(super) use groups::{DIRECT_NEED_BYTES, Piece, Target};
pub(super) use slots::{Slot, SlotState};

/// Commits sealed and waiting for their turn.
const QUEUE_MAX: u64 = 8;
/// Buffers are this large: several small commits share one, a large one fills it.
const BUFFER_BYTES: usize = 4 << 20;
/// Fewest files of a journal: one written, one being freed, one in reserve, one ahead.
pub(super) const SLOTS_MIN: usize = 4;

/// An entry copied forward: which partition, which batch, where it stands now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carry {
    pub(super) ix: PartitionIx,
    pub(super) base_offset: i64,
    pub(super) at: u32,
}

/// A commit in memory.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) seq: u64,
    pub(super) bytes: Bytes,
    pub(super) slot: u32,
    pub(super) offset: u64,
    pub(super) live: u32,
    /// Entries that moved a log start: live until a checkpoint knows the move.
    pub(super) starts: u32,
    /// The partitions in it with the offset behind their last batch here.
    pub(super) entries: Vec<(PartitionIx, i64)>,
    pub(super) carries: Vec<Carry>,
    /// Batches by tier: flushed, written, memory.
    pub(super) tiers: [u32; 3],
    /// What goes straight to segments, before this commit; until it is complete.
    pub(super) pieces: Vec<Piece>,
    /// Memory of batches that are not in `bytes`.
    pub(super) regions: Vec<Bytes>,
    /// Pieces not written yet.
    pieces_out: u32,
    must_be_durable: bool,
    dsync: bool,
    written: bool,
    began_ns: u64,
    submitted_ns: u64,
}

impl Commit {
    /// One that recovery found.
    pub(super) fn recovered(seq: u64, bytes: Bytes, slot: u32, offset: u64) -> Commit {
        Commit {
            seq,
            bytes,
            slot,
            offset,
            live: 0,
            starts: 0,
            entries: Vec::new(),
            carries: Vec::new(),
            tiers: [0; 3],
            pieces: Vec::new(),
            regions: Vec::new(),
            pieces_out: 0,
            must_be_durable: true,
            dsync: true,
            written: true,
            began_ns: 0,
            submitted_ns: 0,
        }
    }

    /// One of its memories: the commit's own bytes, or a piece of a partition's stream.
    fn memory(&self, part: u32) -> &Bytes {
        if part == 0 { &self.bytes } else { &self.regions[part as usize - 1] }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.bytes.len() + self.regions.iter().map(Bytes::len).sum::<usize>()) as u64
    }
}

/// The commit being filled.
#[derive(Debug, Default)]
struct Building {
    count: u32,
    live: u32,
    starts: u32,
    entries: Vec<(PartitionIx, i64)>,
    carries: Vec<Carry>,
    tiers: [u32; 3],
    pieces: Pieces,
    must_be_durable: bool,
    began_ns: u64,
}

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) id: JournalId,
    pub(super) folder: String,
    pub(super) incarnation: u64,
    pub(super) first_seq: u64,
    pub(super) accepted_seq: u64,
    pub(super) slots: Vec<Slot>,
    /// Slots in use, oldest first; commits go to the last.
    pub(super) order: VecDeque<u32>,
    pub(super) write_pos: u64,
    pub(super) failed: Option<String>,
    slots_max: usize,
    /// A file could not be made, and none has been made since.
    lacks_file: bool,
    /// A file could not be made longer, and none has been since.
    growth_failed: bool,
    file_bytes: u64,
    commit_bytes_max: u64,
    buffers: Buffers,
    chunk: BytesMut,
    /// The piece of a partition's stream that may grow.
    piece: BytesMut,
    building: Building,
    pub(super) commits: VecDeque<Commit>,
    /// Ring number of `commits[0]`.
    pub(super) first_ring: u64,
    /// Memory of `commits`.
    pub(super) memory_bytes: u64,
    next_seq: u64,
    /// Commits below this one have their pieces under way or written.
    pieces_ring: u64,
    pieces_in_flight: usize,
    /// Some piece could not be written and its batches are not in the journal yet.
    pieces_failed: bool,
    submit_ring: u64,
    in_flight: usize,
    written_ring: u64,
    durable_ring: u64,
    pub(super) completed_ring: u64,
    /// The last commit written without DSYNC and not synced since.
    last_plain: Option<u64>,
    /// A sync is under way that covers commits below this one; how many files are still out.
    syncing: Option<(u64, usize)>,
    sync_wanted: bool,
    spare_entries: Vec<Vec<(PartitionIx, i64)>>,
}

impl Journal {
    pub(super) fn new(settings: &LogSettings) -> Journal {
        let file_bytes = block_up(settings.journal_file_bytes.max(16 * BLOCK_BYTES));
        let mut buffers = Buffers::new(
            BUFFER_BYTES.min(settings.cache_bytes as usize / 4).max(BLOCK_BYTES as usize),
            (settings.cache_bytes as usize / BUFFER_BYTES).clamp(4, 1024),
        );
        Journal {
            id: JournalId { key: 0, generation: 0, shard: 0 },
            folder: String::new(),
            incarnation: 0,
            first_seq: 1,
            accepted_seq: 0,
            slots: Vec::new(),
            order: VecDeque::new(),
            write_pos: 0,
            failed: None,
            slots_max: ((settings.journal_bytes / file_bytes) as usize).max(SLOTS_MIN),
            lacks_file: false,
            growth_failed: false,
            file_bytes,
            commit_bytes_max: settings.commit_bytes_max.min(file_bytes),
            chunk: buffers.take(0),
            piece: Journal::no_piece(),
            buffers,
            building: Building::default(),
            commits: VecDeque::new(),
            first_ring: 1,
            memory_bytes: 0,
            next_seq: 1,
            pieces_ring: 1,
            pieces_in_flight: 0,
            pieces_failed: false,
            submit_ring: 1,
            in_flight: 0,
            written_ring: 1,
            durable_ring: 1,
            completed_ring: 1,
            last_plain: None,
            syncing: None,
            sync_wanted: false,
            spare_entries: Vec::new(),
        }
    }

    /// Takes over what recovery found: commits are complete, new ones follow with `first_seq`.
    pub(super) fn resume(&mut self, commits: VecDeque<Commit>, first_seq: u64, accepted_seq: u64) {
        self.memory_bytes = commits.iter().map(Commit::memory_bytes).sum();
        let end = self.first_ring + commits.len() as u64;
        self.commits = commits;
        self.pieces_ring = end;
        self.submit_ring = end;
        self.written_ring = end;
        self.durable_ring = end;
        self.completed_ring = end;
        self.first_seq = first_seq;
        self.next_seq = first_seq;
        self.accepted_seq = accepted_seq;
    }

    /// The ring number of the commit being filled.
    pub(super) fn building_ring(&self) -> u64 {
        self.first_ring + self.commits.len() as u64
    }

    /// Whether nothing waits to be sealed, written or synced.
    pub(super) fn is_idle(&self) -> bool {
        self.building.count == 0
            && self.completed_ring == self.building_ring()
            && self.syncing.is_none()
            && self.last_plain.is_none()
    }

    /// Whether a commit is being written or synced: something will complete by itself.
    pub(super) fn is_under_way(&self) -> bool {
        self.submit_ring > self.completed_ring || self.syncing.is_some() || self.pieces_in_flight > 0
    }

    pub(super) fn commit(&self, ring: u64) -> Option<&Commit> {
        self.commits.get(ring.checked_sub(self.first_ring)? as usize)
    }

    /// A batch of the tail.
    pub(super) fn peek(&self, entry: &TailEntry) -> &[u8] {
        let range = entry.at as usize..(entry.at + entry.len) as usize;
        match (self.commit(entry.ring), entry.part) {
            (Some(commit), part) => &commit.memory(part)[range],
            (None, 0) => &self.chunk[range],
            (None, part) => match self.building.pieces.regions.get(part as usize - 1) {
                Some(region) => &region[range],
                None => &self.piece[range],
            },
        }
    }

    /// A batch of the tail by reference; a copy while its commit is being filled (only tier `memory` shows such).
    pub(super) fn slice(&self, entry: &TailEntry) -> Bytes {
        let range = entry.at as usize..(entry.at + entry.len) as usize;
        match self.commit(entry.ring) {
            Some(commit) => commit.memory(entry.part).slice(range),
            None => Bytes::copy_from_slice(self.peek(entry)),
        }
    }

    pub(super) fn commit_mut(&mut self, ring: u64) -> Option<&mut Commit> {
        self.commits.get_mut(ring.checked_sub(self.first_ring)? as usize)
    }

    /// The highest commit known to be durable.
    pub(super) fn durable_seq(&self) -> u64 {
        match self.durable_ring.checked_sub(1).and_then(|ring| self.commit(ring)) {
            Some(commit) => commit.seq,
            // Evicted from memory, so it was settled; or nothing yet in this incarnation.
            None => self.commits.front().map_or(self.accepted_seq, |c| c.seq.saturating_sub(1)),
        }
    }

    fn remaining(&self) -> u64 {
        self.order.back().map_or(0, |slot| self.slots[*slot as usize].len - self.write_pos)
    }

    /// Whether a client's appends would soon be refused.
    pub(super) fn is_tight(&self) -> bool {
        self.building_ring() - self.submit_ring >= QUEUE_MAX / 2
            || (self.files_free() <= 1 && self.remaining() < self.file_bytes / 2)
    }

    /// Makes sure an entry with a batch of `length` bytes fits the commit being filled.
    pub(super) fn make_room(&mut self, now: Time, length: usize, client: bool) -> Result<(), AppendError> {
        let need = entry_bytes(length);
        let bytes_max = self.file_bytes - COMMIT_HEADER_BYTES as u64;
        if block_up((COMMIT_HEADER_BYTES + need) as u64) > self.file_bytes {
            return Err(AppendError::TooLarge { bytes_max });
        }
        if self.building.count > 0 {
            let after = self.filled() + need;
            if after as u64 <= self.commit_bytes_max
                && after.next_multiple_of(BLOCK_BYTES as usize) <= self.chunk.capacity()
                && block_up((after + self.building.pieces.needed()) as u64) <= self.file_bytes
                && self.has_place(after as u64, client)
            {
                return Ok(());
            }
            if !self.seal() {
                return Err(AppendError::Full);
            }
        }
        let bytes = COMMIT_HEADER_BYTES + need;
        if self.building_ring() - self.submit_ring >= QUEUE_MAX || !self.has_place(bytes as u64, client) {
            return Err(AppendError::Full);
        }
        if self.chunk.capacity() < bytes.next_multiple_of(BLOCK_BYTES as usize) {
            let next = self.buffers.take(bytes);
            let old = std::mem::replace(&mut self.chunk, next);
            self.buffers.retire(old);
        }
        self.chunk.resize(COMMIT_HEADER_BYTES, 0);
        self.building.began_ns = now.mono_ns;
        Ok(())
    }

    /// Bytes that the commit being filled takes in the journal.
    fn filled(&self) -> usize {
        self.chunk.len() + self.building.pieces.reserved()
    }

    /// Whether a commit of so many bytes could be sealed. What is being filled always could: nothing else takes its place.
    fn has_place(&self, bytes: u64, client: bool) -> bool {
        let padded = block_up(bytes);
        let in_next = || self.next_free().is_some_and(|slot| self.slots[slot as usize].len >= padded);
        self.remaining() >= padded || ((!client || self.files_free() > 1) && in_next())
    }

    /// Copies an entry in; [`Journal::make_room`] has made room. Gives where its batch begins in the commit.
    pub(super) fn push(&mut self, mut header: EntryHeader, batch: &[u8], tier: Option<super::Tier>) -> u32 {
        header.seq = self.next_seq;
        self.chunk.extend_from_slice(&header.bytes());
        let at = self.chunk.len();
        self.chunk.extend_from_slice(batch);
        self.chunk.resize(self.chunk.len().next_multiple_of(8), 0);
        self.building.count += 1;
        self.building.live += 1;
        match tier {
            Some(tier) => {
                self.building.tiers[tier as usize] += 1;
                self.building.must_be_durable |= tier == super::Tier::Flushed;
            }
            None => self.building.must_be_durable = true,
        }
        at as u32
    }

    /// The batch just pushed, to be stamped.
    pub(super) fn pushed_mut(&mut self, at: u32, length: usize) -> &mut [u8] {
        &mut self.chunk[at as usize..at as usize + length]
    }

    /// Notes that the commit being filled moves `ix`'s end to `end`.
    pub(super) fn note_entry(&mut self, ix: PartitionIx, end: i64) {
        match self.building.entries.last_mut() {
            Some((last, last_end)) if *last == ix => *last_end = end,
            _ => self.building.entries.push((ix, end)),
        }
    }

    pub(super) fn note_carry(&mut self, carry: Carry) {
        self.building.carries.push(carry);
    }

    pub(super) fn note_start(&mut self) {
        self.building.starts += 1;
    }

    /// Entries in this commit no longer need it.
    pub(super) fn release(&mut self, ring: u64, count: u32) {
        if ring == self.building_ring() {
            self.building.live -= count;
            return;
        }
        let Some(commit) = self.commit_mut(ring) else { unreachable!("a commit with live entries is not evicted") };
        commit.live -= count;
        let slot = commit.slot as usize;
        self.slots[slot].live -= u64::from(count);
    }

    /// Gives the commit being filled its place and its number. `false`: no place (yet).
    pub(super) fn seal(&mut self) -> bool {
        if self.building.count == 0 || self.failed.is_some() {
            return false;
        }
        self.close_piece();
        let bytes = self.chunk.len();
        let padded = block_up(bytes as u64);
        if self.remaining() < padded {
            let next = self.next_free().filter(|slot| self.slots[*slot as usize].len >= padded);
            let Some(free) = next else { return false };
            self.slots[free as usize].state = SlotState::Used;
            self.slots[free as usize].first_seq = self.next_seq;
            self.order.push_back(free);
            self.write_pos = 0;
        }
        let slot = *self.order.back().expect("a place was found");
        let header = CommitHeader {
            journal: self.id,
            incarnation: self.incarnation,
            seq: self.next_seq,
            slot,
            block: (self.write_pos / BLOCK_BYTES) as u32,
            bytes: bytes as u32,
            entries: self.building.count,
            acknowledged_seq: self.durable_seq(),
            first_seq: self.first_seq,
            accepted_seq: self.accepted_seq,
        };
        self.chunk.resize(padded as usize, 0);
        header.write(&mut self.chunk);
        let mut building = std::mem::take(&mut self.building);
        let regions = std::mem::take(&mut building.pieces.regions);
        self.memory_bytes += regions.iter().map(|r| r.len() as u64).sum::<u64>();
        self.building.entries = self.spare_entries.pop().unwrap_or_default();
        self.slots[slot as usize].live += u64::from(building.live);
        self.memory_bytes += padded;
        self.commits.push_back(Commit {
            seq: self.next_seq,
            bytes: self.chunk.split().freeze(),
            slot,
            offset: self.write_pos,
            live: building.live,
            starts: building.starts,
            entries: building.entries,
            carries: building.carries,
            tiers: building.tiers,
            pieces: building.pieces.closed,
            regions,
            pieces_out: 0,
            must_be_durable: building.must_be_durable,
            dsync: false,
            written: false,
            began_ns: building.began_ns,
            submitted_ns: 0,
        });
        self.write_pos += padded;
        self.next_seq += 1;
        true
    }

    /// Whether something waits to be sealed.
    pub(super) fn has_unsealed(&self) -> bool {
        self.building.count > 0
    }

    /// Whether the commit being filled should be sealed now: something is in it, and a write can be under way. Beside another write only
    /// when it is worth one: small commits at once cost more than the wait for the one before.
    pub(super) fn can_submit(&self) -> bool {
        let direct = self.building.pieces.bytes;
        let alone = self.in_flight == 0 && self.pieces_in_flight == 0;
        let worth_it = alone || self.chunk.len() + direct >= COMMIT_BYTES_BESIDE;
        // One with pieces is written in two steps, and the next waits for the first of them: writing the pieces of two commits at once takes as long for
        // each as one after the other, and half of the records share a commit.
        self.building.count > 0
            && worth_it
            && self.in_flight < COMMITS_IN_FLIGHT_MAX
            && self.building_ring() == self.submit_ring
    }

    /// When the commit being filled began, if it may wait for more: nothing else is under way and it is small.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        let bytes = (self.chunk.len() + self.building.pieces.bytes) as u64;
        (self.building.count > 0 && self.in_flight == 0 && bytes < self.commit_bytes_max / 2)
            .then_some(self.building.began_ns)
    }

    /// Puts sealed commits under way.
    pub(super) fn submit(&mut self, now: Time, ops: &mut Ops, metrics: &mut LogMetrics, fx: &mut Effects) {
        self.submit_pieces(ops, metrics, fx);
        while self.failed.is_none() && self.in_flight < COMMITS_IN_FLIGHT_MAX && self.submit_ring < self.building_ring()
        {
            let ring = self.submit_ring;
            let first_ring = self.first_ring;
            let commit = &self.commits[(ring - first_ring) as usize];
            // What it tells of has to be stable first.
            if commit.pieces_out > 0 {
                return;
            }
            let file = self.file_for(ring, ops, fx);
            let commit = self.commit_mut(ring).expect("not under way yet");
            commit.dsync = commit.must_be_durable;
            metrics.commit_wait_ns.record(now.mono_ns.saturating_sub(commit.began_ns));
            commit.submitted_ns = now.mono_ns;
            metrics.journal_bytes += commit.bytes.len() as u64;
            let what = DiskOp::Write { file, offset: commit.offset, data: commit.bytes.clone(), dsync: commit.dsync };
            if !commit.dsync {
                self.last_plain = Some(ring);
            }
            ops.issue(Op::Commit(ring), what, fx);
            self.submit_ring += 1;
            self.in_flight += 1;
        }
    }

    /// A commit's write ended well.
    pub(super) fn written(&mut self, now: Time, ring: u64, ops: &mut Ops, metrics: &mut LogMetrics, fx: &mut Effects) {
        self.in_flight -= 1;
        let commit = self.commit_mut(ring).expect("a commit under way is in memory");
        commit.written = true;
        metrics.commit_ns.record(now.mono_ns - commit.submitted_ns);
        while self.written_ring < self.submit_ring && self.commit(self.written_ring).is_some_and(|c| c.written) {
            self.written_ring += 1;
        }
        self.advance(ops, fx);
    }

    /// Whether this commit is on stable storage.
    pub(super) fn is_durable(&self, ring: u64) -> bool {
        ring < self.durable_ring
    }

    /// Whether all commits below this one are.
    pub(super) fn is_durable_below(&self, ring: u64) -> bool {
        ring <= self.durable_ring
    }

    /// One file's sync ended well.
    pub(super) fn synced(&mut self, ops: &mut Ops, fx: &mut Effects) {
        let Some((below, files)) = self.syncing else { return };
        if files > 1 {
            self.syncing = Some((below, files - 1));
            return;
        }
        self.syncing = None;
        self.durable_ring = self.durable_ring.max(below);
        if self.last_plain.is_some_and(|ring| ring < below) {
            self.last_plain = None;
        }
        self.advance(ops, fx);
    }

    /// Asks for everything written to be made durable (shutdown).
    pub(super) fn want_sync(&mut self, ops: &mut Ops, fx: &mut Effects) {
        self.sync_wanted = self.last_plain.is_some();
        self.advance(ops, fx);
    }

    fn advance(&mut self, ops: &mut Ops, fx: &mut Effects) {
        while self.durable_ring < self.written_ring && self.commit(self.durable_ring).is_some_and(|c| c.dsync) {
            self.durable_ring += 1;
        }
        while self.completed_ring < self.written_ring
            && self
                .commit(self.completed_ring)
                .is_some_and(|c| !c.must_be_durable || self.completed_ring < self.durable_ring)
        {
            self.completed_ring += 1;
        }
        let waits = self
            .commits
            .range((self.durable_ring - self.first_ring) as usize..(self.written_ring - self.first_ring) as usize);
        let wanted =
            self.durable_ring < self.written_ring && (self.sync_wanted || waits.clone().any(|c| c.must_be_durable));
        if !wanted || self.syncing.is_some() {
            return;
        }
        let mut slots: Vec<u32> = waits.filter(|c| !c.dsync).map(|c| c.slot).collect();
        slots.dedup();
        self.syncing = Some((self.written_ring, slots.len()));
        self.sync_wanted = false;
        for slot in slots {
            let file = self.slots[slot as usize].file.clone().expect("a used slot is open");
            ops.issue(Op::JournalSync, DiskOp::Sync { file }, fx);
        }
    }

    /// Takes the oldest commit out of memory if nothing needs it.
    pub(super) fn evict(&mut self) -> Option<Commit> {
        let front = self.commits.front()?;
        if front.live > 0
            || front.starts > 0
            || self.first_ring >= self.completed_ring
            || self.first_ring >= self.durable_ring
        {
            return None;
        }
        let commit = self.commits.pop_front()?;
        self.first_ring += 1;
        self.memory_bytes -= commit.memory_bytes();
        Some(commit)
    }

    /// Takes the emptied list of an evicted commit back.
    pub(super) fn recycle(&mut self, mut entries: Vec<(PartitionIx, i64)>) {
        if self.spare_entries.len() < 64 {
            entries.clear();
            self.spare_entries.push(entries);
        }
    }

    /// Aligned memory for settling.
    pub(super) fn buffers(&mut self) -> &mut Buffers {
        &mut self.buffers
    }
}
