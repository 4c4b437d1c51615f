//! What the host of transaction coordinators does beside hosting: markers of ends go to the owners of partitions, those of one round together, and what
//! became of them goes back to their coordinator. Part of the [`super::Owner`].
//!
//! Invariants: a marker is sent only when its end is durable (the coordinator sees to that; those of this shard's partitions are written before, see
//! `markers.rs`) and answered once; a partition that is not there (its topic is deleted) needs no marker.

use super::calls::{ByOwner, Calls};
use super::hosts::Host;
use crate::event::ShardId;
use crate::group::Name;
use crate::mesh::{Marked, Marker, MarkerPart};
use crate::metadata::Image;
use crate::requests::codes;
use crate::time::Time;
use crate::txn::api::Producer;
use crate::txn::{Coordinator, Ending, Key};

/// The host of transactions.
pub type TxnHost = Host<Coordinator>;

/// The epoch of every coordinator: there is one broker, and what it sent before a restart is not under way any more.
const COORDINATOR_EPOCH: i32 = 0;

/// Markers under way.
#[derive(Debug, Default)]
pub struct Markers {
    calls: Calls<Sent>,
}

#[derive(Debug)]
struct Sent {
    key: Key,
    producer: Producer,
    place: (Name, i32),
}

/// The marker that each partition gets.
pub(super) fn marker(ending: &Ending) -> Marker {
    Marker {
        producer_id: ending.producer.id,
        producer_epoch: ending.producer.epoch,
        coordinator_epoch: COORDINATOR_EPOCH,
        committed: ending.committed,
        transaction_version: ending.version,
    }
}

impl Markers {
    /// The calls for all ends whose markers are to go out: receiver, token and markers.
    pub fn calls(
        &mut self,
        now: Time,
        host: &mut TxnHost,
        image: &Image,
        shards: u16,
    ) -> Vec<(ShardId, u64, Vec<MarkerPart>)> {
        let mut by_owner: ByOwner<MarkerPart, Sent> = ByOwner::new();
        while let Some(ending) = host.coordinator.next_ending() {
            let marker = marker(&ending);
            let Ending { key, producer, partitions, .. } = ending;
            for place in partitions {
                let topic = image.topic(&place.0).filter(|topic| topic.has(place.1));
                let Some(topic) = topic else {
                    let code = codes::UNKNOWN_TOPIC_OR_PARTITION;
                    host.coordinator.marked(now, &key, producer, &place, code);
                    continue;
                };
                let (parts, sent) = by_owner.entry(topic.shard_of(place.1, shards)).or_default();
                let at = parts.len() as u32;
                parts.push(MarkerPart { at, topic: topic.id, partition: place.1, marker });
                sent.push(Sent { key: key.clone(), producer, place });
            }
        }
        self.calls.begin(by_owner)
    }

    /// An owner has answered.
    pub fn marked(&mut self, now: Time, host: &mut TxnHost, token: u64, marked: &[Marked]) {
        let sent = self.calls.end(token);
        assert!(sent.len() == marked.len(), "every marker is answered");
        for Marked { at, error_code } in marked {
            let Sent { key, producer, place } = &sent[*at as usize];
            host.coordinator.marked(now, key, *producer, place, *error_code);
        }
    }
}
