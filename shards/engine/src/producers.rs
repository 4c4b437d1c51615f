//! What a partition knows of its producers, by Kafka's rules: epoch and the last batches of each, and which of them has a transaction open. Lives in
//! [`crate::partition::Partition`].
//!
//! Invariants: a batch is entered when it is appended, so a repeat is recognised while the first is still on its way to the disk; entries are in
//! order of offset. The window kept is twice what a client may have in flight, so that a checkpoint, which leaves out what is not durable yet,
//! still holds a whole window.

mod transactions;

use std::collections::VecDeque;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use self::transactions::Ended;
pub use self::transactions::{Aborted, Transactions};
use crate::limits::{GUARD_MS_MAX, PRODUCER_WINDOW_BATCHES};
use crate::log::{BatchInfo, TxnEnd};

/// Batches remembered per producer.
const WINDOW_KEPT: usize = PRODUCER_WINDOW_BATCHES * 2;

/// One batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedBatch {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its highest timestamp in ms, or the append time where the topic says so.
    pub timestamp_ms: i64,
}

/// One producer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its newest epoch.
    pub epoch: i16,
    /// Its last batches of that epoch, oldest first. Empty after the end of a transaction with a higher epoch than its records.
    pub batches: VecDeque<ProducedBatch>,
    /// Wall-clock ms of its last append, for expiry.
    pub last_seen_ms: i64,
    /// Offset of the first record of its open transaction.
    pub txn_first_offset: Option<i64>,
    /// Epoch of the coordinator that ended its last transaction; -1: none has.
    pub coordinator_epoch: i32,
    /// Timestamp of that end; -1: none.
    pub ended_ms: i64,
}

impl Producer {
    fn new(epoch: i16, now_ms: i64) -> Producer {
        Producer {
            epoch,
            batches: VecDeque::with_capacity(2),
            last_seen_ms: now_ms,
            txn_first_offset: None,
            coordinator_epoch: -1,
            ended_ms: -1,
        }
    }

    /// Timestamp of its last batch or end, or -1.
    pub fn last_timestamp_ms(&self) -> i64 {
        self.batches.back().map_or(-1, |batch| batch.timestamp_ms).max(self.ended_ms)
    }
}

/// The transaction's coordinator says that the partition belongs to the producer's open transaction (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The guard that the partition's owner gave out before. It holds until a marker of the transaction is written here: a batch that was delayed
    /// past it opens nothing before its coordinator has been asked again.
    pub guard: u64,
    /// The producer's epoch rises with each transaction (Produce 12 and newer): then its first batch here has sequence 0.
    pub epoch_rises: bool,
}

/// What [`Producers::check`] says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    New,
    /// It is here already.
    Duplicate(ProducedBatch),
    /// There is a gap, or it lies before the window.
    OutOfOrder {
        /// What would have been right.
        expected: i32,
    },
    /// A newer instance of the producer has written.
    Fenced {
        /// The epoch known.
        known: i16,
    },
    /// It would open a transaction: its coordinator is to be asked.
    Unverified {
        /// To be given back with the answer.
        guard: u64,
    },
    /// It does not belong to the transaction that is open, or to none where one would have to be: for people.
    NotInTransaction(&'static str),
    /// Too many transactions to remember another one.
    NoRoom,
}

/// What [`Producers::check_end`] says of the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndVerdict {
    /// Append it.
    Fits,
    /// The producer is known with this epoch, and the end is of an earlier transaction.
    Fenced {
        /// The epoch known.
        known: i16,
    },
    /// A newer coordinator has written an end.
    CoordinatorFenced {
        /// Its epoch.
        known: i32,
    },
}

/// All producers of a partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: HashMap<i64, Producer, FxBuildHasher>,
    /// First batches of unknown producers that were refused for want of room: epoch, sequence, when. As an unknown producer may begin anywhere, the
    /// batch pipelined behind the refused one would be taken otherwise, and the refused one could never follow.
    refused: HashMap<i64, (i16, i32, i64), FxBuildHasher>,
    txns: Transactions,
}

/// Sequences run from 0 to `i32::MAX` and start again at 0.
pub fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}

/// Whether a sequence lies before another, by the shorter way round.
fn is_behind(sequence: i32, other: i32) -> bool {
    (sequence.wrapping_sub(other) & i32::MAX) >= 1 << 30
}

impl Producers {
    /// Judges a batch of a producer: its transaction first, then its sequence. What a coordinator appends has none.
    pub fn judge(&mut self, info: &BatchInfo, verified: Option<Verified>, now_ms: i64) -> Verdict {
        let (id, epoch, sequence) = (info.producer_id, info.producer_epoch, info.base_sequence);
        let verdict = self.check(id, epoch, sequence, info.last_offset_delta + 1);
        if matches!(verdict, Verdict::Fenced { .. } | Verdict::Duplicate(_)) {
            return verdict;
        }
        if !info.is_transactional() && !self.txns.is_any_open() {
            return verdict;
        }
        let producer = self.by_id.get(&id);
        let is_open = producer.is_some_and(|producer| producer.txn_first_offset.is_some());
        if !info.is_transactional() {
            return match is_open {
                true => Verdict::NotInTransaction("The producer has a transaction open and this batch is not of it."),
                false => verdict,
            };
        }
        if is_open && producer.is_some_and(|producer| producer.epoch == epoch) {
            return verdict;
        }
        // A repeat from before the window can never be appended: it must not be what others wait for.
        if let (Verdict::OutOfOrder { expected }, Some(producer)) = (verdict, producer)
            && producer.epoch == epoch
            && is_behind(sequence, expected)
        {
            return verdict;
        }
        // Before a gap is looked for: batches that were sent together come back together.
        let lowest = verified.and_then(|verified| self.txns.guarded(id, verified.guard));
        let (Some(verified), Some(lowest)) = (verified, lowest) else {
            // An end was written while somebody asked. What a coordinator appends itself is asked about once.
            if verified.is_some() && sequence < 0 {
                return Verdict::NotInTransaction("The batch is not of an open transaction.");
            }
            return match self.txns.guard(id, epoch, sequence, now_ms) {
                Some(guard) => Verdict::Unverified { guard },
                None => Verdict::NoRoom,
            };
        };
        match producer {
            _ if !is_open && !self.txns.has_room() => Verdict::NoRoom,
            None if verified.epoch_rises && sequence > 0 => Verdict::OutOfOrder { expected: 0 },
            _ if sequence > lowest => Verdict::OutOfOrder { expected: lowest },
            _ => verdict,
        }
    }

    /// Whether a batch found to be in order begins a transaction.
    pub fn begins(&self, info: &BatchInfo) -> bool {
        let producer = self.by_id.get(&info.producer_id);
        info.is_transactional() && producer.is_none_or(|producer| producer.txn_first_offset.is_none())
    }

    /// Whether the end of a transaction may be written: Kafka's rules for its epochs.
    pub fn check_end(&self, id: i64, epoch: i16, end: TxnEnd, transaction_version: i16) -> EndVerdict {
        let Some(producer) = self.by_id.get(&id) else { return EndVerdict::Fits };
        let (known, is_open) = (producer.epoch, producer.txn_first_offset.is_some());
        // With KIP-890 the end has a higher epoch than the records. The same epoch is a repeat, and harmless once nothing is open; while something
        // is, it is the late end of the transaction before.
        let is_late = transaction_version >= 2 && epoch == known && is_open;
        if epoch < known || is_late {
            return EndVerdict::Fenced { known };
        }
        match producer.coordinator_epoch {
            known if known > end.coordinator_epoch => EndVerdict::CoordinatorFenced { known },
            _ => EndVerdict::Fits,
        }
    }

    /// Judges a batch of `record_count` records (at least 1) by epoch and sequence. Call only for batches with a producer id.
    pub fn check(&self, id: i64, epoch: i16, first_sequence: i32, record_count: i32) -> Verdict {
        // Unknown (new, or expired): any sequence is taken, as Kafka does since KIP-360.
        let Some(producer) = self.by_id.get(&id) else {
            if first_sequence < 0 {
                return Verdict::New;
            }
            return match self.refused.get(&id) {
                Some((its_epoch, expected, _)) if *its_epoch == epoch && *expected != first_sequence => {
                    Verdict::OutOfOrder { expected: *expected }
                }
                _ => Verdict::New,
            };
        };
        if epoch < producer.epoch {
            return Verdict::Fenced { known: producer.epoch };
        }
        if first_sequence < 0 {
            return Verdict::New;
        }
        if epoch > producer.epoch {
            return if first_sequence == 0 { Verdict::New } else { Verdict::OutOfOrder { expected: 0 } };
        }
        let Some(last) = producer.batches.back() else {
            return if first_sequence == 0 { Verdict::New } else { Verdict::OutOfOrder { expected: 0 } };
        };
        let last_sequence = sequence_after(first_sequence, record_count - 1);
        // Only the last five are promised, but whatever is still known is a repeat for sure.
        let known = producer.batches.iter().rev();
        if let Some(batch) =
            known.into_iter().find(|b| b.first_sequence == first_sequence && b.last_sequence == last_sequence)
        {
            return Verdict::Duplicate(*batch);
        }
        let expected = sequence_after(last.last_sequence, 1);
        if first_sequence == expected { Verdict::New } else { Verdict::OutOfOrder { expected } }
    }

    /// Notes that a batch which [`Producers::check`] found in order could not be appended now: the producer goes on with this one.
    pub fn refuse(&mut self, id: i64, epoch: i16, first_sequence: i32, now_ms: i64) {
        if !self.by_id.contains_key(&id) {
            self.refused.insert(id, (epoch, first_sequence, now_ms));
        }
    }

    /// Enters a batch that was appended, or is met again in recovery. What lies at or below the last offset known of the producer is known already,
    /// but for the transaction it may open: those are known as of an earlier offset.
    pub fn enter(&mut self, id: i64, epoch: i16, batch: ProducedBatch, is_transactional: bool, now_ms: i64) {
        if !self.refused.is_empty() {
            self.refused.remove(&id);
        }
        let producer = self.by_id.entry(id).or_insert_with(|| Producer::new(epoch, now_ms));
        if is_transactional && producer.txn_first_offset.is_none() {
            producer.txn_first_offset = Some(batch.base_offset);
            self.txns.opened(batch.base_offset);
            self.txns.unguard(id);
        }
        if producer.batches.back().is_some_and(|last| batch.base_offset <= last.last_offset) {
            return;
        }
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_seen_ms = now_ms;
        // What a coordinator appends has no sequence.
        if batch.first_sequence < 0 {
            return;
        }
        if producer.batches.len() == WINDOW_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
    }

    /// The end of a transaction of this version was appended: [`Producers::end`], and whoever was vouched for in it is so no longer.
    pub fn end_now(&mut self, (id, epoch): (i64, i16), end: TxnEnd, version: i16, offset: i64, now_ms: i64) {
        self.txns.unguard_ended(id, epoch, version);
        self.end(id, epoch, end, (offset, now_ms), now_ms);
    }

    /// Enters the end of a transaction that was appended at `offset`, or is met again in recovery.
    fn end(&mut self, id: i64, epoch: i16, end: TxnEnd, (offset, timestamp_ms): (i64, i64), now_ms: i64) {
        let before = self.by_id.get(&id).map_or((-1, -1), |known| (known.epoch, known.coordinator_epoch));
        let producer = self.by_id.entry(id).or_insert_with(|| Producer::new(epoch, now_ms));
        let first_offset = producer.txn_first_offset.take_if(|first| *first < offset);
        // Met again, with what came behind it known already: then that says more.
        if producer.batches.back().is_none_or(|last| last.last_offset < offset) {
            if producer.epoch != epoch {
                producer.epoch = epoch;
                producer.batches.clear();
            }
            producer.coordinator_epoch = end.coordinator_epoch;
            producer.ended_ms = timestamp_ms;
            producer.last_seen_ms = now_ms;
        }
        let (epoch, coordinator_epoch) = before;
        let ended = Ended { producer_id: id, first_offset, marker: offset, epoch, coordinator_epoch };
        self.txns.ended(ended, end.committed);
    }

    /// Enters a batch met again in recovery, whatever it is.
    pub fn replay(&mut self, info: &BatchInfo, now_ms: i64) {
        let (id, epoch) = (info.producer_id, info.producer_epoch);
        if id < 0 {
            return;
        }
        if info.is_control() {
            if let Some(end) = info.end {
                self.end(id, epoch, end, (info.base_offset, info.max_timestamp), now_ms);
            }
            return;
        }
        let batch = ProducedBatch {
            first_sequence: info.base_sequence,
            last_sequence: sequence_after(info.base_sequence, info.last_offset_delta),
            base_offset: info.base_offset,
            last_offset: info.last_offset(),
            timestamp_ms: info.max_timestamp,
        };
        // Of a batch that compaction has emptied, the end may be gone as well.
        let is_transactional = info.is_transactional() && info.record_count > 0;
        self.enter(id, epoch, batch, is_transactional, now_ms);
    }

    /// Its transactions.
    pub fn transactions(&self) -> &Transactions {
        &self.txns
    }

    /// The high watermark moved: ends below it are shown.
    pub fn shown(&mut self, high_watermark: i64) {
        self.txns.shown(high_watermark);
    }

    /// Everything below lies in segments.
    pub fn settled(&mut self, settled_end: i64) {
        self.txns.settled(settled_end);
    }

    /// Forgets aborted transactions of which nothing is in the log any more.
    pub fn forget_aborted(&mut self, below: i64) {
        self.txns.forget_aborted(below);
    }

    /// What a checkpoint is to hold: every producer as of `settled_end` as far as transactions go, with its batches below `durable`. By rising id.
    pub fn as_of(&self, settled_end: i64, durable: i64) -> Vec<(i64, Producer)> {
        let ends = self.txns.ends_behind(settled_end);
        let all = self.sorted().into_iter().filter_map(|(id, now)| {
            let mut then = now.clone();
            then.batches.retain(|batch| batch.last_offset < durable);
            if let Some(end) = ends.get(&id) {
                then.txn_first_offset = end.first_offset;
                then.coordinator_epoch = end.coordinator_epoch;
                if end.epoch != now.epoch {
                    then.epoch = end.epoch;
                    then.batches.clear();
                }
            }
            then.txn_first_offset = then.txn_first_offset.filter(|first| *first < settled_end);
            let is_known = then.txn_first_offset.is_some() || then.coordinator_epoch >= 0;
            (then.epoch >= 0 && (is_known || !then.batches.is_empty())).then_some((id, then))
        });
        all.collect()
    }

    /// Puts back what a checkpoint held.
    pub fn restore(&mut self, id: i64, producer: Producer) {
        if let Some(first_offset) = producer.txn_first_offset {
            self.txns.opened(first_offset);
        }
        self.by_id.insert(id, producer);
    }

    /// Puts back the aborted transactions that a checkpoint held.
    pub fn restore_aborted(&mut self, aborted: impl Iterator<Item = Aborted>) {
        self.txns.restore(aborted);
    }

    /// Forgets batches at or past `log_end`: they did not survive the crash. A producer of which nothing is left is forgotten.
    pub fn truncate(&mut self, log_end: i64) {
        self.txns.truncate(log_end);
        self.by_id.retain(|_, producer| {
            producer.txn_first_offset = producer.txn_first_offset.filter(|first| *first < log_end);
            while producer.batches.back().is_some_and(|b| b.last_offset >= log_end) {
                producer.batches.pop_back();
            }
            !producer.batches.is_empty() || producer.txn_first_offset.is_some() || producer.coordinator_epoch >= 0
        });
    }

    /// Forgets producers that were last heard of before `before_ms` and have no transaction open. Gives how many.
    pub fn expire(&mut self, before_ms: i64, now_ms: i64) -> usize {
        self.txns.expire(now_ms.saturating_sub(GUARD_MS_MAX));
        let count = self.by_id.len();
        self.refused.retain(|_, (_, _, since_ms)| *since_ms >= before_ms);
        self.by_id.retain(|_, producer| producer.last_seen_ms >= before_ms || producer.txn_first_offset.is_some());
        count - self.by_id.len()
    }

    /// One producer.
    pub fn get(&self, id: i64) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    /// All producers, by rising id.
    pub fn sorted(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self.by_id.iter().map(|(id, p)| (*id, p)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i32, count: i32, base_offset: i64) -> ProducedBatch {
        ProducedBatch {
            first_sequence: first,
            last_sequence: sequence_after(first, count - 1),
            base_offset,
            last_offset: base_offset + i64::from(count) - 1,
            timestamp_ms: 0,
        }
    }

    #[test]
    fn rules() {
        let mut known = Producers::default();
        for i in 0..12 {
            known.enter(7, 3, batch(i * 10, 10, i64::from(i) * 10), false, 5);
        }
        let rows: &[(i64, i16, i32, i32, Verdict, &str)] = &[
            (8, 0, 55, 1, Verdict::New, "unknown producer: any sequence"),
            (7, 3, 120, 5, Verdict::New, "next"),
            (7, 3, 121, 5, Verdict::OutOfOrder { expected: 120 }, "gap"),
            (7, 3, 110, 10, Verdict::Duplicate(batch(110, 10, 110)), "the last again"),
            (7, 3, 70, 10, Verdict::Duplicate(batch(70, 10, 70)), "the fifth last again"),
            (7, 3, 110, 9, Verdict::OutOfOrder { expected: 120 }, "same start, other length"),
            (7, 3, 0, 10, Verdict::OutOfOrder { expected: 120 }, "before the window"),
            (7, 2, 120, 1, Verdict::Fenced { known: 3 }, "older epoch"),
            (7, 4, 0, 1, Verdict::New, "new epoch from 0"),
            (7, 4, 120, 1, Verdict::OutOfOrder { expected: 0 }, "new epoch not from 0"),
        ];
        for (id, epoch, first, count, expected, why) in rows {
            assert_eq!(known.check(*id, *epoch, *first, *count), *expected, "{why}");
        }
    }

    #[test]
    fn a_refused_first_batch_keeps_those_behind_it_out() {
        let mut known = Producers::default();
        known.refuse(1, 0, 5, 100);
        assert_eq!(known.check(1, 0, 6, 1), Verdict::OutOfOrder { expected: 5 });
        assert_eq!(known.check(1, 0, 5, 1), Verdict::New);
        assert_eq!(known.check(1, 1, 0, 1), Verdict::New, "a new epoch starts over");
        known.enter(1, 0, batch(5, 1, 0), false, 100);
        assert_eq!(known.check(1, 0, 6, 1), Verdict::New);
        known.refuse(2, 0, 5, 100);
        known.expire(101, 0);
        assert_eq!(known.check(2, 0, 6, 1), Verdict::New);
    }

    #[test]
    fn wrap_around() {
        let mut known = Producers::default();
        known.enter(1, 0, batch(i32::MAX - 1, 4, 100), false, 0);
        assert_eq!(known.get(1).unwrap().batches[0].last_sequence, 1);
        assert_eq!(known.check(1, 0, 2, 1), Verdict::New);
        assert_eq!(known.check(1, 0, i32::MAX - 1, 4), Verdict::Duplicate(batch(i32::MAX - 1, 4, 100)));
        known.enter(1, 0, batch(i32::MAX, 1, 200), false, 0);
        assert_eq!(known.check(1, 0, 0, 3), Verdict::New);
    }

    #[test]
    fn recovery_forgets_what_did_not_survive() {
        let mut known = Producers::default();
        for i in 0..8 {
            known.enter(1, 0, batch(i, 1, i64::from(i)), false, 0);
        }
        known.enter(1, 0, batch(3, 1, 3), false, 0);
        assert_eq!(known.get(1).unwrap().batches.len(), 8, "met again: entered once");
        known.truncate(6);
        assert_eq!(known.check(1, 0, 6, 1), Verdict::New);
        assert_eq!(known.check(1, 0, 5, 1), Verdict::Duplicate(batch(5, 1, 5)));
        known.truncate(0);
        assert!(known.is_empty());
    }
}
