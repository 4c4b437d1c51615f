//! What a partition knows of its idempotent producers: epoch and the last batches of each, by Kafka's rules. Lives in
//! [`crate::partition::Partition`].
//!
//! Invariants: a batch is entered when it is appended, so a repeat is recognised while the first is still on its way to the disk; entries are in
//! order of offset. The window kept is twice what a client may have in flight, so that a checkpoint, which leaves out what is not durable yet,
//! still holds a whole window.

use std::collections::VecDeque;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::limits::PRODUCER_WINDOW_BATCHES;

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
    /// Its last batches of that epoch, oldest first. Empty only after a fence without data.
    pub batches: VecDeque<ProducedBatch>,
    /// Wall-clock ms of its last append, for expiry.
    pub last_seen_ms: i64,
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
}

/// All producers of a partition.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: HashMap<i64, Producer, FxBuildHasher>,
    /// First batches of unknown producers that were refused for want of room: epoch, sequence, when. As an unknown producer may begin anywhere, the
    /// batch pipelined behind the refused one would be taken otherwise, and the refused one could never follow.
    refused: HashMap<i64, (i16, i32, i64), FxBuildHasher>,
}

/// Sequences run from 0 to `i32::MAX` and start again at 0.
pub fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) % (i64::from(i32::MAX) + 1)) as i32
}

impl Producers {
    /// Judges a batch of `record_count` records (at least 1) by Kafka's rules. Call only for batches with a producer id.
    pub fn check(&self, id: i64, epoch: i16, first_sequence: i32, record_count: i32) -> Verdict {
        // Unknown (new, or expired): any sequence is taken, as Kafka does since KIP-360.
        let Some(producer) = self.by_id.get(&id) else {
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
        if epoch > producer.epoch {
            return if first_sequence == 0 { Verdict::New } else { Verdict::OutOfOrder { expected: 0 } };
        }
        let Some(last) = producer.batches.back() else { return Verdict::New };
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

    /// Enters a batch that was appended, or is met again in recovery. What lies at or below the last offset known of the producer is known already.
    pub fn enter(&mut self, id: i64, epoch: i16, batch: ProducedBatch, now_ms: i64) {
        if !self.refused.is_empty() {
            self.refused.remove(&id);
        }
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::with_capacity(2),
            last_seen_ms: now_ms,
        });
        if producer.batches.back().is_some_and(|last| batch.base_offset <= last.last_offset) {
            return;
        }
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == WINDOW_KEPT {
            producer.batches.pop_front();
        }
        producer.batches.push_back(batch);
        producer.last_seen_ms = now_ms;
    }

    /// Puts back what a checkpoint held.
    pub fn restore(&mut self, id: i64, producer: Producer) {
        self.by_id.insert(id, producer);
    }

    /// Forgets batches at or past `log_end`: they did not survive the crash. A producer without any left is forgotten.
    pub fn truncate(&mut self, log_end: i64) {
        self.by_id.retain(|_, producer| {
            while producer.batches.back().is_some_and(|b| b.last_offset >= log_end) {
                producer.batches.pop_back();
            }
            !producer.batches.is_empty()
        });
    }

    /// Forgets producers that were last heard of before `before_ms`. Gives how many.
    pub fn expire(&mut self, before_ms: i64) -> usize {
        let count = self.by_id.len();
        self.refused.retain(|_, (_, _, since_ms)| *since_ms >= before_ms);
        self.by_id.retain(|_, producer| producer.last_seen_ms >= before_ms);
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
            known.enter(7, 3, batch(i * 10, 10, i64::from(i) * 10), 5);
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
        known.enter(1, 0, batch(5, 1, 0), 100);
        assert_eq!(known.check(1, 0, 6, 1), Verdict::New);
        known.refuse(2, 0, 5, 100);
        known.expire(101);
        assert_eq!(known.check(2, 0, 6, 1), Verdict::New);
    }

    #[test]
    fn wrap_around() {
        let mut known = Producers::default();
        known.enter(1, 0, batch(i32::MAX - 1, 4, 100), 0);
        assert_eq!(known.get(1).unwrap().batches[0].last_sequence, 1);
        assert_eq!(known.check(1, 0, 2, 1), Verdict::New);
        assert_eq!(known.check(1, 0, i32::MAX - 1, 4), Verdict::Duplicate(batch(i32::MAX - 1, 4, 100)));
        known.enter(1, 0, batch(i32::MAX, 1, 200), 0);
        assert_eq!(known.check(1, 0, 0, 3), Verdict::New);
    }

    #[test]
    fn recovery_forgets_what_did_not_survive() {
        let mut known = Producers::default();
        for i in 0..8 {
            known.enter(1, 0, batch(i, 1, i64::from(i)), 0);
        }
        known.enter(1, 0, batch(3, 1, 3), 0);
        assert_eq!(known.get(1).unwrap().batches.len(), 8, "met again: entered once");
        known.truncate(6);
        assert_eq!(known.check(1, 0, 6, 1), Verdict::New);
        assert_eq!(known.check(1, 0, 5, 1), Verdict::Duplicate(batch(5, 1, 5)));
        known.truncate(0);
        assert!(known.is_empty());
    }
}
