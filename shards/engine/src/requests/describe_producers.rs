//! DescribeProducers (61): the idempotent producers that partitions remember, with their open transactions (KIP-664).

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::visits::{VisitResponse, Visits};
use super::{Caller, codes};
use crate::event::Effects;
use crate::mesh::{Errand, Seen};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn describe_producers(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeProducersRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partition_indexes.len()))?;
        let mut response = DescribeProducersResponse::default();
        let mut visits = Visits::new(self.shards);
        // A partition may have many producers: it is answered once, however often it is named.
        let mut asked_before = BTreeSet::new();
        for asked in &request.topics {
            let topic = self.image.topic(&asked.name);
            let mut partitions = Vec::with_capacity(asked.partition_indexes.len());
            for partition_index in asked.partition_indexes.iter().copied() {
                if !asked_before.insert((asked.name.as_ref(), partition_index)) {
                    continue;
                }
                let mut answer = PartitionResponse { partition_index, ..PartitionResponse::default() };
                match topic.filter(|topic| topic.has(partition_index)) {
                    Some(topic) => {
                        let place = (response.topics.len(), partitions.len());
                        visits.push(self.shards, topic, partition_index, Errand::Producers, place);
                    }
                    None => fail(&mut answer, codes::UNKNOWN_TOPIC_OR_PARTITION),
                }
                partitions.push(answer);
            }
            let name = Cow::Owned(asked.name.clone().into_owned());
            response.topics.push(TopicResponse { name, partitions });
        }
        self.call_visits(now, caller, visits, VisitResponse::Producers(response), fx);
        Ok(())
    }
}

pub(super) fn enter(answer: &mut PartitionResponse<'_>, result: Result<Seen, i16>) {
    match result {
        Ok(Seen::Producers(producers)) => {
            let states = producers.into_iter().map(|producer| ProducerState {
                producer_id: producer.id,
                producer_epoch: i32::from(producer.epoch),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp_ms,
                coordinator_epoch: producer.coordinator_epoch,
                current_txn_start_offset: producer.txn_first_offset,
            });
            answer.active_producers = states.collect();
        }
        Ok(seen) => unreachable!("{seen:?} of producers"),
        Err(code) => fail(answer, code),
    }
}

fn fail(answer: &mut PartitionResponse<'_>, code: i16) {
    answer.error_code = code;
    if code == codes::UNKNOWN_TOPIC_OR_PARTITION {
        answer.error_message = Some("This server does not host this topic-partition.".into());
    }
}
