//! The transactions of one partition: which are open, which have ended and are not settled, which were aborted, and who is being vouched for. Lives
//! in [`super::Producers`], which tells it what is appended, in order of offset.
//!
//! Crash story: a checkpoint holds transactions as they were at the settled end, and the journal replays everything from there, so what is told
//! here may be older than what is known; ends are kept until they are settled, as only with them the state of then can be told. An aborted
//! transaction stays known while records of it may be in the log.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use crate::limits::{ABORTED_MAX, GUARDS_MAX};

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Whose it was.
    pub producer_id: i64,
    /// Offset of its first record.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// The first offset of a transaction that was open then, or the offset behind the marker: no later entry concerns what lies below.
    pub last_stable: i64,
}

/// An end that is not settled, with what was known of the producer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) producer_id: i64,
    /// `None`: nothing was open.
    pub(super) first_offset: Option<i64>,
    /// Offset of the marker.
    pub(super) marker: i64,
    /// -1: the producer was not known.
    pub(super) epoch: i16,
    pub(super) coordinator_epoch: i32,
}

/// Somebody asks a coordinator about a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guard {
    number: u64,
    epoch: i16,
    /// The lowest sequence of a batch that waits for it: it comes first.
    lowest_sequence: i32,
    since_ms: i64,
}

/// All of a partition's.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    /// First offsets.
    open: BTreeSet<i64>,
    /// In order of their markers.
    ended: VecDeque<Ended>,
    /// How many of them lie below the high watermark.
    shown: usize,
    /// The lowest first offset of those that do not.
    held_from: Option<i64>,
    /// In order of their markers.
    aborted: VecDeque<Aborted>,
    /// Rises when some are forgotten.
    forgotten: u64,
    guards: HashMap<i64, Guard, FxBuildHasher>,
    last_guard: u64,
}

impl Transactions {
    /// The first offset that may still change its meaning: of an open transaction, or of one whose end is not shown yet.
    pub fn first_unstable(&self) -> Option<i64> {
        self.open.first().copied().into_iter().chain(self.held_from).min()
    }

    /// Aborted transactions with records in this range of stable offsets: producer and first offset.
    pub fn aborted_in(&self, from: i64, up_to: i64) -> Vec<(i64, i64)> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in self.aborted.range(first..) {
            if aborted.first_offset < up_to {
                found.push((aborted.producer_id, aborted.first_offset));
            }
            if aborted.last_stable >= up_to {
                break;
            }
        }
        found
    }

    /// All that are known, in order of their markers.
    pub fn aborted(&self) -> &VecDeque<Aborted> {
        &self.aborted
    }

    /// Changes when aborted transactions are forgotten: then what was read before and is answered now may lack some.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether a transaction is open.
    pub(super) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many are remembered, open ones included.
    pub fn remembered(&self) -> usize {
        self.aborted.len() + self.open.len()
    }

    /// Whether another one may begin.
    pub(super) fn has_room(&self) -> bool {
        self.remembered() < ABORTED_MAX
    }

    pub(super) fn opened(&mut self, first_offset: i64) {
        self.open.insert(first_offset);
    }

    pub(super) fn ended(&mut self, ended: Ended, committed: bool) {
        if let Some(first_offset) = ended.first_offset {
            self.open.remove(&first_offset);
            self.held_from = Some(self.held_from.map_or(first_offset, |held| held.min(first_offset)));
            let last_offset = ended.marker;
            if !committed && self.aborted.back().is_none_or(|last| last.last_offset < last_offset) {
                let last_stable = self.open.first().map_or(last_offset + 1, |first| (*first).min(last_offset + 1));
                let producer_id = ended.producer_id;
                self.aborted.push_back(Aborted { producer_id, first_offset, last_offset, last_stable });
            }
        }
        self.ended.push_back(ended);
    }

    /// The high watermark moved.
    pub(super) fn shown(&mut self, high_watermark: i64) {
        if self.shown == self.ended.len() {
            return;
        }
        self.shown += self.ended.range(self.shown..).take_while(|ended| ended.marker < high_watermark).count();
        self.held_from = self.ended.range(self.shown..).filter_map(|ended| ended.first_offset).min();
    }

    /// Everything below lies in segments.
    pub(super) fn settled(&mut self, settled_end: i64) {
        while self.shown > 0 && self.ended.front().is_some_and(|ended| ended.marker < settled_end) {
            self.ended.pop_front();
            self.shown -= 1;
        }
    }

    /// Producers with ends at or behind `offset`, each once, with the first of them.
    pub(super) fn ends_behind(&self, offset: i64) -> HashMap<i64, Ended, FxBuildHasher> {
        let mut first = HashMap::default();
        for ended in self.ended.iter().filter(|ended| ended.marker >= offset) {
            first.entry(ended.producer_id).or_insert(*ended);
        }
        first
    }

    /// Puts back what a checkpoint held.
    pub(super) fn restore(&mut self, aborted: impl Iterator<Item = Aborted>) {
        self.aborted = aborted.collect();
    }

    /// Forgets aborted transactions that ended below: nothing of them is in the log any more.
    pub fn forget_aborted(&mut self, below: i64) {
        while self.aborted.front().is_some_and(|aborted| aborted.last_offset < below) {
            self.aborted.pop_front();
            self.forgotten += 1;
        }
    }

    /// Forgets what lies at or past `log_end`: it did not survive a crash.
    pub(super) fn truncate(&mut self, log_end: i64) {
        self.open.split_off(&log_end);
        while self.aborted.back().is_some_and(|aborted| aborted.last_offset >= log_end) {
            self.aborted.pop_back();
        }
    }

    /// The number under which a producer's batch of this epoch and sequence may come back; `None`: too many are asked about.
    pub(super) fn guard(&mut self, producer_id: i64, epoch: i16, sequence: i32, now_ms: i64) -> Option<u64> {
        if let Some(guard) = self.guards.get_mut(&producer_id) {
            if epoch > guard.epoch || (epoch == guard.epoch && sequence < guard.lowest_sequence) {
                (guard.epoch, guard.lowest_sequence) = (epoch, sequence);
            }
            guard.since_ms = now_ms;
            return Some(guard.number);
        }
        if self.guards.len() >= GUARDS_MAX {
            return None;
        }
        self.last_guard += 1;
        let number = self.last_guard;
        self.guards.insert(producer_id, Guard { number, epoch, lowest_sequence: sequence, since_ms: now_ms });
        Some(number)
    }

    /// Whether a guard still holds: the sequence that has to come first under it.
    pub(super) fn guarded(&self, producer_id: i64, number: u64) -> Option<i32> {
        self.guards.get(&producer_id).filter(|guard| guard.number == number).map(|guard| guard.lowest_sequence)
    }

    /// A transaction of the producer began: what was asked before says nothing any more.
    pub(super) fn unguard(&mut self, producer_id: i64) {
        if !self.guards.is_empty() {
            self.guards.remove(&producer_id);
        }
    }

    /// The end of a transaction of the producer was appended, with this epoch: what was asked about that one says nothing any more. With KIP-890 the end
    /// has a higher epoch than its records, so what was asked at that epoch is of the next transaction: its coordinator answers when this end is
    /// everywhere, and nobody would know why its first batch is refused then.
    pub(super) fn unguard_ended(&mut self, producer_id: i64, epoch: i16, transaction_version: i16) {
        let is_of_next = |guard: &Guard| transaction_version >= 2 && guard.epoch >= epoch;
        if self.guards.get(&producer_id).is_some_and(|guard| !is_of_next(guard)) {
            self.guards.remove(&producer_id);
        }
    }

    /// Nobody comes back with what was asked before `before_ms`.
    pub(super) fn expire(&mut self, before_ms: i64) {
        self.guards.retain(|_, guard| guard.since_ms >= before_ms);
    }
}
