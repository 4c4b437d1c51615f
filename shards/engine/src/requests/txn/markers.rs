//! WriteTxnMarkers (27): ends transactions in partitions, past their coordinator. What tools send to end a hanging one (KIP-664).

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};
use floe_wire::primitives::DecodeError;

use super::super::split::{Split, bounded};
use super::super::{Caller, Pending, Wait, codes};
use crate::event::Effects;
use crate::mesh::{Call, Marked, Marker, MarkerPart};
use crate::shard::Shard;
use crate::time::Time;

/// A request whose owners have not all answered.
#[derive(Debug)]
pub struct MarkersWait {
    response: WriteTxnMarkersResponse<'static>,
    /// Marker, topic and partition within the answer, by the number of the part.
    places: Vec<(usize, usize, usize)>,
    left: usize,
}

impl Shard {
    pub(super) fn write_txn_markers(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = WriteTxnMarkersRequest::decode_all(body, caller.version)?;
        let topics = request.markers.iter().flat_map(|marker| &marker.topics);
        bounded(topics.map(|topic| topic.partition_indexes.len()).chain([request.markers.len()]))?;
        let (mut calls, mut places) = (Split::new(self.shards), Vec::new());
        let mut response = WriteTxnMarkersResponse::default();
        for asked in &request.markers {
            let marker = Marker {
                producer_id: asked.producer_id,
                producer_epoch: asked.producer_epoch,
                coordinator_epoch: asked.coordinator_epoch,
                committed: asked.transaction_result,
                transaction_version: i16::from(asked.transaction_version),
            };
            let mut topics = Vec::with_capacity(asked.topics.len());
            for named in &asked.topics {
                let topic = self.image.topic(&named.name);
                let mut partitions = Vec::with_capacity(named.partition_indexes.len());
                for partition_index in named.partition_indexes.iter().copied() {
                    let mut error_code = codes::UNKNOWN_TOPIC_OR_PARTITION;
                    if let Some(topic) = topic.filter(|topic| topic.has(partition_index)) {
                        error_code = codes::NONE;
                        let at = places.len() as u32;
                        places.push((response.markers.len(), topics.len(), partitions.len()));
                        let part = MarkerPart { at, topic: topic.id, partition: partition_index, marker };
                        calls.push(topic.shard_of(partition_index, self.shards), part);
                    }
                    partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
                }
                let name = Cow::Owned(named.name.clone().into_owned());
                topics.push(WritableTxnMarkerTopicResult { name, partitions });
            }
            response.markers.push(WritableTxnMarkerResult { producer_id: asked.producer_id, topics });
        }
        let left = calls.owners().count();
        if left == 0 {
            self.finish(caller, caller.reply(&response, Vec::new()), fx);
            return Ok(());
        }
        let token = self.wait(caller, Wait::Markers(Box::new(MarkersWait { response, places, left })));
        for (owner, parts) in calls.into_calls() {
            self.call(now, owner, token, Call::Markers(parts), fx);
        }
        Ok(())
    }

    /// An owner has answered.
    pub(crate) fn markers_answered(&mut self, token: u64, marked: &[Marked], fx: &mut Effects) {
        let Some(Pending { wait: Wait::Markers(wait), .. }) = self.pending.get_mut(&token) else { return };
        for Marked { at, error_code } in marked {
            let (marker, topic, partition) = wait.places[*at as usize];
            wait.response.markers[marker].topics[topic].partitions[partition].error_code = *error_code;
        }
        wait.left -= 1;
        if wait.left > 0 {
            return;
        }
        let Some(Pending { caller, wait: Wait::Markers(wait) }) = self.pending.remove(&token) else { return };
        self.finish(caller, caller.reply(&wait.response, Vec::new()), fx);
    }
}
