//! OffsetForLeaderEpoch (23): where a leader epoch ends, by which consumers notice that records they have read are gone (KIP-320). A partition
//! has never had another leader, so there is one epoch, 0, and it ends where the partition ends for readers.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::visits::{VisitResponse, Visits};
use super::{Caller, codes};
use crate::event::Effects;
use crate::mesh::{Errand, Seen};
use crate::shard::Shard;
use crate::time::Time;

/// The only epoch there is.
const EPOCH: i32 = 0;

impl Shard {
    pub(super) fn offset_for_leader_epoch(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = OffsetForLeaderEpochRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mut response = OffsetForLeaderEpochResponse::default();
        let mut visits = Visits::new(self.shards);
        for asked in &request.topics {
            let topic = self.image.topic(&asked.topic);
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for part in &asked.partitions {
                let error_code = match topic.filter(|topic| topic.has(part.partition)) {
                    None => codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(_) if part.current_leader_epoch > EPOCH => codes::UNKNOWN_LEADER_EPOCH,
                    Some(topic) => {
                        // An epoch that was never there has no end: -1, as it stands in the answer already.
                        if part.leader_epoch == EPOCH {
                            let place = (response.topics.len(), partitions.len());
                            visits.push(self.shards, topic, part.partition, Errand::End, place);
                        }
                        codes::NONE
                    }
                };
                partitions.push(EpochEndOffset { error_code, partition: part.partition, ..EpochEndOffset::default() });
            }
            let topic = Cow::Owned(asked.topic.clone().into_owned());
            response.topics.push(OffsetForLeaderTopicResult { topic, partitions });
        }
        self.call_visits(now, caller, visits, VisitResponse::LeaderEpochs(response), fx);
        Ok(())
    }
}

pub(super) fn enter(answer: &mut EpochEndOffset, result: Result<Seen, i16>) {
    match result {
        Ok(Seen::End(offset)) => (answer.leader_epoch, answer.end_offset) = (EPOCH, offset),
        Ok(seen) => unreachable!("{seen:?} of an end"),
        Err(code) => answer.error_code = code,
    }
}
