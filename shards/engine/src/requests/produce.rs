//! Produce (0): the batches go to the owners of their partitions, the answer when all have reached their tier.
//!
//! `acks=0` gets no answer; an error then closes the connection, as that is all a client can notice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::produce::{PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse};
use floe_wire::primitives::{DecodeError, Records};

use super::{Caller, Pending, Wait, codes};
use crate::connection::Ending;
use crate::event::{Effects, ShardId};
use crate::mesh::{Call, ProducePart, Produced};
use crate::owner::not_produced;
use crate::shard::Shard;
use crate::time::Time;

/// A produce whose owners work.
#[derive(Debug)]
pub struct ProduceWait {
    response: ProduceResponse<'static>,
    /// Topic and partition in the response, by part.
    places: Vec<(usize, usize)>,
    /// Owners that have not answered.
    left: usize,
    silent: bool,
    failed: bool,
}

impl Shard {
    pub(super) fn produce(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ProduceRequest::decode_all(body, caller.version)?;
        let refusal = match request.acks {
            -1..=1 if request.transactional_id.is_none() => None,
            -1..=1 => Some((codes::INVALID_TXN_STATE, "Transactions are not there yet.")),
            _ => Some((codes::INVALID_REQUIRED_ACKS, "acks must be -1, 0 or 1.")),
        };
        let mut wait = ProduceWait {
            response: ProduceResponse::default(),
            places: Vec::new(),
            left: 0,
            silent: request.acks == 0,
            failed: false,
        };
        let mut calls: BTreeMap<ShardId, Vec<ProducePart>> = BTreeMap::new();
        for data in &request.topic_data {
            let topic = self.topic(&data.name, data.topic_id, caller.version >= 13);
            let name = Cow::Owned(data.name.clone().into_owned());
            wait.response.responses.push(TopicProduceResponse {
                name,
                topic_id: data.topic_id,
                ..TopicProduceResponse::default()
            });
            for partition in &data.partition_data {
                let (at, response) = (wait.places.len() as u32, wait.response.responses.len() - 1);
                let responses = &mut wait.response.responses[response].partition_responses;
                responses
                    .push(PartitionProduceResponse { index: partition.index, ..PartitionProduceResponse::default() });
                wait.places.push((response, responses.len() - 1));
                let refusal = match (&topic, &partition.records, refusal) {
                    (_, _, Some(refusal)) => Some(refusal),
                    (Err(code), _, _) => Some((*code, "This server does not host this topic.")),
                    (Ok(topic), ..) if !topic.has(partition.index) => {
                        Some((codes::UNKNOWN_TOPIC_OR_PARTITION, "The topic has no such partition."))
                    }
                    (_, Records::Borrowed(_), _) => None,
                    _ => Some((codes::INVALID_RECORD, "There are no records.")),
                };
                match (refusal, &topic, &partition.records) {
                    (None, Ok(topic), Records::Borrowed(bytes)) => {
                        let owner = topic.shard_of(partition.index, self.shards);
                        calls.entry(owner).or_default().push(ProducePart {
                            at,
                            topic: topic.id,
                            partition: partition.index,
                            batch: body.slice_ref(bytes),
                        });
                    }
                    (refusal, ..) => {
                        let (code, why) = refusal.unwrap_or((codes::INVALID_RECORD, "There are no records."));
                        wait.enter(not_produced(at, code, why.to_owned()));
                    }
                }
            }
        }
        wait.left = calls.len();
        let token = self.wait(caller, Wait::Produce(wait));
        if calls.is_empty() {
            self.produced(token, Vec::new(), fx);
        }
        for (owner, parts) in calls {
            self.call(now, owner, token, Call::Produce(parts), fx);
        }
        Ok(())
    }

    /// An owner has answered (or there was none to ask).
    pub(crate) fn produced(&mut self, token: u64, parts: Vec<Produced>, fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Produce(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        wait.left = wait.left.saturating_sub(1);
        parts.into_iter().for_each(|part| wait.enter(part));
        if wait.left > 0 {
            return;
        }
        let Some(Pending { wait: Wait::Produce(wait), .. }) = self.pending.remove(&token) else { return };
        let ending = match (wait.silent, wait.failed) {
            (true, true) => Ending::Close,
            (true, false) => Ending::Silence,
            (false, _) => caller.reply(&wait.response, Vec::new()),
        };
        self.finish(caller, ending, fx);
    }
}

impl ProduceWait {
    fn enter(&mut self, part: Produced) {
        let (topic, partition) = self.places[part.at as usize];
        let answer = &mut self.response.responses[topic].partition_responses[partition];
        self.failed |= part.error_code != codes::NONE;
        answer.error_code = part.error_code;
        answer.base_offset = part.base_offset;
        answer.log_append_time_ms = part.append_time_ms;
        answer.log_start_offset = part.log_start;
        answer.error_message = part.message.map(Cow::Owned);
    }
}
