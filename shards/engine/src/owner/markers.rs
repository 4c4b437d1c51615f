//! Ends of transactions on the owner's side: each partition gets its marker, and the answer goes when all of them are on stable storage.

use super::Owner;
use super::txns::marker;
use crate::event::ShardId;
use crate::log::{AppendError, CommitSeq, PartitionIx, ShardLog, TxnEnd};
use crate::mesh::{Answer, Marked, Marker, MarkerPart};
use crate::metadata::Image;
use crate::requests::codes;
use crate::time::Time;

impl Owner {
    /// Writes the markers of ends that were decided just now into partitions of this shard, behind the end in its journal. What cannot be written now is
    /// tried when the end is durable. Whether there were any.
    pub fn mark_beside(&mut self, now: Time, log: &mut ShardLog, image: &Image, (me, shards): (ShardId, u16)) -> bool {
        let mut any = false;
        while let Some(ending) = self.txns.coordinator.next_decided() {
            for place in &ending.partitions {
                let topic = image.topic(&place.0).filter(|topic| topic.has(place.1));
                let Some(topic) = topic.filter(|topic| topic.shard_of(place.1, shards) == me) else { continue };
                let part = MarkerPart { at: 0, topic: topic.id, partition: place.1, marker: marker(&ending) };
                let Ok((ix, wait)) = write(now, log, &part) else { continue };
                self.groups.ended(now, ix, (ending.producer.id, ending.committed), wait);
                self.txns.coordinator.marked_beside(&ending.key, ending.producer, place);
                any = true;
            }
        }
        any
    }

    /// Writes markers. A nearly full disk does not keep them out: they are small, and what is open holds readers back.
    pub(super) fn mark(&mut self, now: Time, log: &mut ShardLog, job: u64, parts: &[MarkerPart]) -> (Answer, usize) {
        // Commits complete in order, so the last one stands for all.
        let mut last: Option<CommitSeq> = None;
        let marked = parts.iter().map(|part| {
            let error_code = match write(now, log, part) {
                Ok((ix, wait)) => {
                    last = last.max(wait);
                    let Marker { producer_id, committed, .. } = part.marker;
                    self.groups.ended(now, ix, (producer_id, committed), wait);
                    codes::NONE
                }
                Err(error_code) => error_code,
            };
            Marked { at: part.at, error_code }
        });
        let marked = marked.collect();
        if let Some(commit) = last {
            self.await_commit(commit, job);
        }
        (Answer::Marked(marked), usize::from(last.is_some()))
    }
}

/// What had not reached the disk is not written.
pub(super) fn fail(marked: &mut [Marked]) {
    for marked in marked.iter_mut().filter(|marked| marked.error_code == codes::NONE) {
        marked.error_code = codes::KAFKA_STORAGE_ERROR;
    }
}

fn write(now: Time, log: &mut ShardLog, part: &MarkerPart) -> Result<(PartitionIx, Option<CommitSeq>), i16> {
    let ix = log.find(part.topic, part.partition).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)?;
    let marker = part.marker;
    let end = TxnEnd { committed: marker.committed, coordinator_epoch: marker.coordinator_epoch };
    let producer = (marker.producer_id, marker.producer_epoch);
    let appended = log.append_end(now, ix, producer, end, marker.transaction_version, 0);
    appended.map(|appended| (ix, appended.wait)).map_err(|error| match error {
        AppendError::InvalidProducerEpoch { .. } => codes::INVALID_PRODUCER_EPOCH,
        AppendError::CoordinatorFenced { .. } => codes::TRANSACTION_COORDINATOR_FENCED,
        AppendError::Full => codes::NOT_ENOUGH_REPLICAS,
        AppendError::Closed => codes::NOT_LEADER_OR_FOLLOWER,
        AppendError::Storage(_) => codes::KAFKA_STORAGE_ERROR,
        error => unreachable!("{error:?} of the end of a transaction"),
    })
}
