//! What compaction knows of transactions while it goes through a partition's batches in their order: whose records were aborted, and of which ends nothing
//! is left. Lives in a cleaner's job, anew for each pass.
//!
//! Kafka's rules: records of aborted transactions go, nor do they speak for others with their keys. An end stays as long as a batch of its
//! transaction was there in this pass; then until its delete horizon, so that a reader that is in the middle of the transaction still meets it.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;

use crate::log::BatchInfo;
use crate::partition::Partition;
use crate::producers::Aborted;

/// What a batch is to compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its records count, each for itself; or it is something that is left alone.
    Records,
    /// Its transaction was aborted.
    Aborted,
    /// The end of a transaction of which something was there.
    End,
    /// The end of a transaction of which nothing is left.
    EndOfNothing,
}

/// A pass over batches.
#[derive(Debug)]
pub(super) struct Txns {
    /// By rising first offset: those not met yet.
    aborted: VecDeque<Aborted>,
    /// Producers in an aborted transaction, and whether a batch of it was met.
    in_aborted: HashMap<i64, bool, FxBuildHasher>,
    /// Producers of which a batch of a committed transaction was met.
    in_committed: HashSet<i64, FxBuildHasher>,
}

impl Txns {
    /// A pass from `from` on.
    pub(super) fn new(p: &Partition, from: i64) -> Txns {
        let all = p.producers.transactions().aborted().iter();
        let mut aborted: Vec<Aborted> = all.filter(|aborted| aborted.last_offset >= from).copied().collect();
        aborted.sort_unstable_by_key(|aborted| aborted.first_offset);
        Txns { aborted: aborted.into(), in_aborted: HashMap::default(), in_committed: HashSet::default() }
    }

    /// The next batch.
    pub(super) fn next(&mut self, info: &BatchInfo, last_offset: i64) -> Fate {
        while let Some(aborted) = self.aborted.pop_front_if(|aborted| aborted.first_offset <= last_offset) {
            self.in_aborted.entry(aborted.producer_id).or_insert(false);
        }
        let id = info.producer_id;
        if info.is_control() {
            let is_left = match info.end {
                None => return Fate::Records,
                Some(end) if end.committed => self.in_committed.remove(&id),
                Some(_) => self.in_aborted.remove(&id) == Some(true),
            };
            return if is_left { Fate::End } else { Fate::EndOfNothing };
        }
        if !info.is_transactional() {
            return Fate::Records;
        }
        match self.in_aborted.get_mut(&id) {
            Some(met) => {
                *met = true;
                Fate::Aborted
            }
            None => {
                self.in_committed.insert(id);
                Fate::Records
            }
        }
    }
}
