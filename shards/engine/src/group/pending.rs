//! Offsets that transactions have committed to one group and that do not count yet: kept apart by producer until the marker of its transaction is in
//! the log, then they become committed offsets or are dropped (KIP-98, KIP-447).
//!
//! Invariants: one offset per producer and partition, the last one. Both indexes name the same ones.

use std::collections::{BTreeMap, BTreeSet};

use super::Name;
use super::offsets::Stored;

/// By topic, partition and producer.
#[derive(Debug, Default)]
pub struct Pending {
    topics: BTreeMap<Name, BTreeMap<i32, BTreeMap<i64, Stored>>>,
    producers: BTreeMap<i64, BTreeSet<(Name, i32)>>,
}

impl Pending {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether a transaction that is open has an offset of this partition.
    pub fn has(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// All partitions with the last offset that was given for each, in order.
    pub fn all(&self) -> impl Iterator<Item = (&Name, i32, &Stored)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(move |(partition, offsets)| {
                offsets.values().max_by_key(|stored| stored.at).map(|stored| (topic, *partition, stored))
            })
        })
    }

    /// A transaction gives an offset.
    pub fn put(&mut self, producer: i64, topic: &Name, partition: i32, stored: Stored) {
        self.producers.entry(producer).or_default().insert((topic.clone(), partition));
        self.topics.entry(topic.clone()).or_default().entry(partition).or_default().insert(producer, stored);
    }

    /// The partition's offset was deleted: what was given before it is gone, of all transactions.
    pub fn delete(&mut self, topic: &Name, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        let Some(offsets) = partitions.remove(&partition) else { return };
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        let key = (topic.clone(), partition);
        for producer in offsets.keys() {
            let Some(keys) = self.producers.get_mut(producer) else { continue };
            keys.remove(&key);
            if keys.is_empty() {
                self.producers.remove(producer);
            }
        }
    }

    /// A transaction has ended: what it gave, no longer pending.
    pub fn end(&mut self, producer: i64) -> Vec<(Name, i32, Stored)> {
        let keys = self.producers.remove(&producer).unwrap_or_default();
        let mut ended = Vec::with_capacity(keys.len());
        for (topic, partition) in keys {
            let Some(partitions) = self.topics.get_mut(&topic) else { continue };
            let Some(offsets) = partitions.get_mut(&partition) else { continue };
            let stored = offsets.remove(&producer);
            if offsets.is_empty() {
                partitions.remove(&partition);
            }
            if partitions.is_empty() {
                self.topics.remove(&topic);
            }
            ended.extend(stored.map(|stored| (topic, partition, stored)));
        }
        ended
    }
}
