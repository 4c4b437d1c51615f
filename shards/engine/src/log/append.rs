//! The way of a batch in: judged, copied into the commit being filled, acknowledged when that commit completes.

use super::batch::note_epoch;
use super::frame::{EntryHeader, EntryKind};
use super::journal::Carry;
use super::{
    AppendError, Appended, BatchInfo, CommitSeq, LogEvent, PartitionIx, ReadError, ShardLog, TailEntry, Tier, TxnEnd,
    batch, end,
};
use crate::limits::ABORTED_SHARD_MAX;
use crate::partition::Partition;
use crate::producers::{EndVerdict, ProducedBatch, Producers, Verdict, Verified, sequence_after};
use crate::time::Time;

impl ShardLog {
    /// Appends one batch that `floe_wire::batch` has found valid, or that a coordinator made.
    pub fn append(
        &mut self,
        now: Time,
        ix: PartitionIx,
        bytes: &[u8],
        info: &BatchInfo,
        leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        self.append_verified(now, ix, bytes, info, leader_epoch, None)
    }

    /// The same for a batch whose transaction's coordinator may have vouched for it.
    pub fn append_verified(
        &mut self,
        now: Time,
        ix: PartitionIx,
        bytes: &[u8],
        info: &BatchInfo,
        leader_epoch: i32,
        verified: Option<Verified>,
    ) -> Result<Appended, AppendError> {
        let has_room = self.transactions < ABORTED_SHARD_MAX;
        let p = self.appendable(ix)?;
        if info.producer_id >= 0 {
            match p.producers.judge(info, verified, now.wall_ms) {
                Verdict::New if !has_room && p.producers.begins(info) => return Err(AppendError::TooManyTransactions),
                Verdict::New => {}
                Verdict::Duplicate(first) => return Err(duplicate(p, &first)),
                Verdict::OutOfOrder { expected } => {
                    return Err(AppendError::OutOfOrderSequence { expected, got: info.base_sequence });
                }
                Verdict::Fenced { known } => {
                    return Err(AppendError::InvalidProducerEpoch { known, got: info.producer_epoch });
                }
                Verdict::Unverified { guard } => return Err(AppendError::Unverified { guard }),
                Verdict::NotInTransaction(why) => return Err(AppendError::NotInTransaction(why)),
                Verdict::NoRoom => return Err(AppendError::TooManyTransactions),
            }
        }
        let tier = p.config.tier;
        let placed = self.place(now, ix, bytes, info, leader_epoch, tier);
        let p = self.partitions[ix.0 as usize].as_mut().expect("looked at above");
        let (base_offset, append_time_ms, ring) = match placed {
            Ok(placed) => placed,
            Err(error) => {
                if info.producer_id >= 0 && error == AppendError::Full {
                    p.producers.refuse(info.producer_id, info.producer_epoch, info.base_sequence, now.wall_ms);
                }
                return Err(error);
            }
        };
        if info.producer_id >= 0 {
            let batch = ProducedBatch {
                first_sequence: info.base_sequence,
                last_sequence: sequence_after(info.base_sequence, info.last_offset_delta),
                base_offset,
                last_offset: base_offset + i64::from(info.last_offset_delta),
                timestamp_ms: append_time_ms.unwrap_or(info.max_timestamp),
            };
            let (id, epoch) = (info.producer_id, info.producer_epoch);
            self.change_producers(ix, |all| all.enter(id, epoch, batch, info.is_transactional(), now.wall_ms));
        }
        // Acknowledged now, so shown now: unless something before it still waits for another tier.
        self.show_memory(ix, base_offset);
        let wait = (tier != Tier::Memory).then_some(CommitSeq(ring));
        Ok(Appended { base_offset, append_time_ms, wait })
    }

    /// Appends the end of a producer's transaction. Whatever the tier, there is a commit to wait for, and it is flushed: the coordinator forgets
    /// the transaction then. A repeat is appended again, as in Kafka, and changes nothing.
    pub fn append_end(
        &mut self,
        now: Time,
        ix: PartitionIx,
        (id, epoch): (i64, i16),
        end: TxnEnd,
        transaction_version: i16,
        leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        let p = self.appendable(ix)?;
        match p.producers.check_end(id, epoch, end, transaction_version) {
            EndVerdict::Fits => {}
            EndVerdict::Fenced { known } => return Err(AppendError::InvalidProducerEpoch { known, got: epoch }),
            EndVerdict::CoordinatorFenced { known } => {
                return Err(AppendError::CoordinatorFenced { known, got: end.coordinator_epoch });
            }
        }
        let bytes = end::batch(id, epoch, end, now.wall_ms);
        let info = batch::whole(&bytes).expect("made just now");
        let (base_offset, append_time_ms, ring) = self.place(now, ix, &bytes, &info, leader_epoch, Tier::Flushed)?;
        self.change_producers(ix, |all| all.end_now((id, epoch), end, transaction_version, base_offset, now.wall_ms));
        self.show_memory(ix, base_offset);
        Ok(Appended { base_offset, append_time_ms, wait: Some(CommitSeq(ring)) })
    }

    /// The commit with which all that a partition has is durable. `None`: it is already.
    pub fn undurable(&self, ix: PartitionIx) -> Option<CommitSeq> {
        let p = self.partition(ix).filter(|p| p.high_watermark() < p.log_end())?;
        p.tail.back().map(|entry| CommitSeq(entry.ring))
    }

    /// Changes what a partition knows of its producers, and counts what the shard remembers of transactions along.
    fn change_producers(&mut self, ix: PartitionIx, change: impl FnOnce(&mut Producers)) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("the caller has it");
        let before = p.producers.transactions().remembered();
        change(&mut p.producers);
        self.transactions = (self.transactions + p.producers.transactions().remembered()).saturating_sub(before);
    }

    /// The partition, if it can be appended to.
    fn appendable(&mut self, ix: PartitionIx) -> Result<&mut Partition, AppendError> {
        if let Some(reason) = &self.journal.failed {
            return Err(AppendError::Storage(reason.clone()));
        }
        // What comes while the log stops would be acknowledged from memory and never written.
        if !self.ready || self.stopping {
            return Err(AppendError::Closed);
        }
        let Some(p) = self.partitions.get_mut(ix.0 as usize).and_then(Option::as_mut).filter(|p| !p.removed) else {
            return Err(AppendError::Storage("the partition was removed".into()));
        };
        match &p.failed {
            Some(reason) => Err(AppendError::Storage(reason.clone())),
            None => Ok(p),
        }
    }

    /// Puts a batch at the end of a partition that takes it: its base offset, the time given to it, its commit.
    fn place(
        &mut self,
        now: Time,
        ix: PartitionIx,
        bytes: &[u8],
        info: &BatchInfo,
        leader_epoch: i32,
        tier: Tier,
    ) -> Result<(i64, Option<i64>, u64), AppendError> {
        // While reading goes on although nothing can settle, memory is bounded here.
        let clogged = self.is_clogged() && self.holds_too_much();
        let direct = !clogged && self.goes_direct(ix, bytes.len());
        if clogged {
            return Err(AppendError::Full);
        } else if direct {
            self.make_direct_room(now, ix, bytes.len())?;
        } else {
            self.journal.close_piece_of(ix);
            self.journal.make_room(now, bytes.len(), true)?;
        }
        let p = self.partitions[ix.0 as usize].as_mut().expect("the caller has it");
        let ring = self.journal.building_ring();
        let base_offset = p.log_end;
        let last_offset = base_offset + i64::from(info.last_offset_delta);
        let append_time_ms = p.config.log_append_time.then_some(now.wall_ms);
        let (part, at) = if direct {
            self.push_direct(ix, bytes, info, leader_epoch, append_time_ms)
        } else {
            let header = EntryHeader {
                seq: 0,
                topic: p.topic,
                partition: p.number,
                base_offset,
                length: bytes.len() as u32,
                leader_epoch,
                kind: EntryKind::Batch,
            };
            let at = self.journal.push(header, bytes, Some(tier));
            let copy = self.journal.pushed_mut(at, bytes.len());
            batch::stamp(copy, base_offset, leader_epoch);
            if let Some(time_ms) = append_time_ms {
                batch::stamp_log_append_time(copy, time_ms);
            }
            (0, at)
        };
        let p = self.partitions[ix.0 as usize].as_mut().expect("as above");
        self.journal.note_entry(ix, last_offset + 1);
        let max_timestamp = append_time_ms.unwrap_or(info.max_timestamp);
        if p.log_end == p.segments.back().map_or(p.settled_end, |s| s.base) || p.segment_since_ms == 0 {
            p.segment_since_ms = now.wall_ms;
        }
        p.tail.push_back(TailEntry {
            base_offset,
            last_offset,
            max_timestamp,
            ring,
            part,
            at,
            len: bytes.len() as u32,
        });
        p.log_end = last_offset + 1;
        note_epoch(&mut p.leader_epochs, leader_epoch);
        p.unsettled_bytes += bytes.len() as u64;
        self.unsettled_bytes += bytes.len() as u64;
        self.metrics.batches += 1;
        self.metrics.batch_bytes += bytes.len() as u64;
        Ok((base_offset, append_time_ms, ring))
    }

    /// With tier `memory` what was appended at `base_offset` is shown at once.
    fn show_memory(&mut self, ix: PartitionIx, base_offset: i64) {
        let p = self.partitions[ix.0 as usize].as_mut().expect("the caller has it");
        if p.config.tier == Tier::Memory && p.high_watermark == base_offset && p.high_watermark >= p.memory_from {
            p.show_to(p.log_end);
            self.events.push_back(LogEvent::Advanced { ix });
        }
    }

    /// The caller refuses a batch for now: its producer goes on with this one, and nothing pipelined behind it is taken.
    pub fn refuse(&mut self, now: Time, ix: PartitionIx, info: &BatchInfo) {
        let Some(p) = self.partitions.get_mut(ix.0 as usize).and_then(Option::as_mut) else { return };
        let (id, epoch, sequence) = (info.producer_id, info.producer_epoch, info.base_sequence);
        if id >= 0 && p.producers.check(id, epoch, sequence, info.record_count) == Verdict::New {
            p.producers.refuse(id, epoch, sequence, now.wall_ms);
        }
    }

    /// Moves the log start up to `before` (at most the high watermark; -1: to it). Gives the new start and what to wait for before answering.
    pub fn delete_records(
        &mut self,
        now: Time,
        ix: PartitionIx,
        before: i64,
    ) -> Result<(i64, Option<CommitSeq>), ReadError> {
        if let Some(reason) = &self.journal.failed {
            return Err(ReadError::Storage(reason.clone()));
        }
        let p = self.partition(ix).ok_or(ReadError::Removed)?;
        if let Some(reason) = &p.failed {
            return Err(ReadError::Storage(reason.clone()));
        }
        let before = if before == -1 { p.high_watermark } else { before };
        if before < 0 || before > p.high_watermark {
            return Err(ReadError::OffsetOutOfRange);
        }
        if before <= p.log_start {
            // The start may have been moved just now, and not be durable yet.
            let wait = p.start_commit.filter(|commit| commit.0 >= self.journal.completed_ring);
            return Ok((p.log_start, wait));
        }
        self.move_log_start(now, ix, before).map(|wait| (before, Some(wait)))
    }

    /// Moves the log start and writes it to the journal, so that it stays moved.
    pub(super) fn move_log_start(&mut self, now: Time, ix: PartitionIx, to: i64) -> Result<CommitSeq, ReadError> {
        if self.journal.make_room(now, 0, false).is_err() {
            return Err(ReadError::Full);
        }
        self.change_producers(ix, |all| all.forget_aborted(to));
        let p = self.partitions[ix.0 as usize].as_mut().expect("the caller has it");
        p.log_start = to;
        p.start_commit = Some(CommitSeq(self.journal.building_ring()));
        let header = EntryHeader {
            seq: 0,
            topic: p.topic,
            partition: p.number,
            base_offset: to,
            length: 0,
            leader_epoch: 0,
            kind: EntryKind::LogStart,
        };
        self.journal.push(header, &[], None);
        self.journal.note_start();
        self.settle.checkpoint_wanted |= p.segments.front().is_some_and(|first| first.base < to);
        self.events.push_back(LogEvent::Trimmed { ix });
        Ok(CommitSeq(self.journal.building_ring()))
    }

    /// Copies an unsettled batch, whose commit is complete, into the commit being filled. `false`: no room now.
    pub(super) fn carry(&mut self, now: Time, ix: PartitionIx, base_offset: i64) -> bool {
        let p = self.partitions[ix.0 as usize].as_ref().expect("the caller has it");
        let entry = p.tail[p.tail_index(base_offset)];
        let (topic, partition) = p.key();
        let bytes = self.journal.slice(&entry);
        self.push_carried(now, ix, topic, partition, base_offset, &bytes)
    }

    /// Puts a batch that lies elsewhere in the journal into the commit being filled.
    pub(super) fn push_carried(
        &mut self,
        now: Time,
        ix: PartitionIx,
        topic: floe_wire::ids::TopicId,
        partition: i32,
        base_offset: i64,
        bytes: &[u8],
    ) -> bool {
        if self.journal.make_room(now, bytes.len(), false).is_err() {
            return false;
        }
        let header = EntryHeader {
            seq: 0,
            topic,
            partition,
            base_offset,
            length: bytes.len() as u32,
            leader_epoch: i32::from_be_bytes(bytes[12..16].try_into().expect("4 bytes")),
            kind: EntryKind::Carried,
        };
        let at = self.journal.push(header, bytes, None);
        self.journal.note_carry(Carry { ix, base_offset, at });
        self.metrics.carried_bytes += bytes.len() as u64;
        true
    }

    /// Takes in that commits completed: high watermarks move, appends may be acknowledged, carried batches stand in their new place.
    pub(super) fn completed(&mut self, before: u64) {
        let after = self.journal.completed_ring;
        if before == after {
            return;
        }
        for ring in before..after {
            let flushed = self.journal.is_durable(ring);
            let commit = self.journal.commit_mut(ring).expect("completed just now");
            let entries = std::mem::take(&mut commit.entries);
            let carries = std::mem::take(&mut commit.carries);
            let pieces = std::mem::take(&mut commit.pieces);
            self.metrics.commits += 1;
            self.metrics.commits_flushed += u64::from(flushed);
            for (count, tier) in self.metrics.acks.iter_mut().zip(commit.tiers) {
                *count += u64::from(tier);
            }
            for (ix, end) in &entries {
                if let Some(p) = self.partitions[ix.0 as usize].as_mut()
                    && *end > p.high_watermark
                {
                    p.show_to(*end);
                    self.events.push_back(LogEvent::Advanced { ix: *ix });
                }
            }
            self.journal.commit_mut(ring).expect("still there").entries = entries;
            for piece in pieces.into_iter().filter(|piece| !piece.moved) {
                let p = self.partitions[piece.target.ix.0 as usize].as_mut();
                let last = p.filter(|p| p.segments.back().is_some_and(|s| s.base == piece.target.segment));
                if let Some(p) = last {
                    p.written_pos = p.written_pos.max(piece.written);
                    self.settle.rolls_wanted |= p.roll_wanted;
                }
            }
            for carry in carries {
                self.carried(ring, carry);
            }
        }
        self.events.push_back(LogEvent::Committed { up_to: CommitSeq(after - 1) });
    }

    fn carried(&mut self, ring: u64, carry: Carry) {
        let p = self.partitions[carry.ix.0 as usize].as_mut().filter(|p| !p.removed);
        let entry = p.and_then(|p| {
            let at = p.tail_index(carry.base_offset);
            let unsettled = carry.base_offset >= p.settled_end;
            p.tail.get_mut(at).filter(|e| unsettled && e.base_offset == carry.base_offset)
        });
        // Settled or removed in the meantime: nobody needs the copy.
        let Some(entry) = entry else { return self.journal.release(ring, 1) };
        let old = std::mem::replace(&mut entry.ring, ring);
        (entry.part, entry.at) = (0, carry.at);
        self.journal.release(old, 1);
        let end = entry.last_offset + 1;
        let commit = self.journal.commit_mut(ring).expect("completed just now");
        commit.entries.push((carry.ix, end));
    }
}

/// A repeat gets the answer of the first, when that one may be given.
fn duplicate(p: &Partition, first: &ProducedBatch) -> AppendError {
    let wait = (first.last_offset >= p.high_watermark).then(|| p.tail.get(p.tail_index(first.base_offset))).flatten();
    AppendError::Duplicate {
        base_offset: first.base_offset,
        append_time_ms: p.config.log_append_time.then_some(first.timestamp_ms),
        wait: wait.map(|entry| CommitSeq(entry.ring)),
    }
}
