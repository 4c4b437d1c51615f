//! ListOffsets (2): offsets by timestamp, or by place in the log.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::list_offsets::{
    LATEST_TIERED, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use floe_wire::primitives::DecodeError;

use super::{Caller, Pending, Wait, codes};
use crate::event::{Effects, ShardId};
use crate::mesh::{Call, Found, LookupPart};
use crate::shard::Shard;
use crate::time::Time;

/// A lookup whose owners work.
#[derive(Debug)]
pub struct LookupWait {
    response: ListOffsetsResponse<'static>,
    places: Vec<(usize, usize)>,
    left: usize,
}

impl Shard {
    pub(super) fn list_offsets(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ListOffsetsRequest::decode_all(body, caller.version)?;
        let mut wait = LookupWait { response: ListOffsetsResponse::default(), places: Vec::new(), left: 0 };
        let mut calls: BTreeMap<ShardId, Vec<LookupPart>> = BTreeMap::new();
        for asked in &request.topics {
            let topic = self.topic(&asked.name, TopicId::ZERO, false);
            let name = Cow::Owned(asked.name.clone().into_owned());
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for part in &asked.partitions {
                let mut answer = ListOffsetsPartitionResponse {
                    partition_index: part.partition_index,
                    ..ListOffsetsPartitionResponse::default()
                };
                let known = topic.as_ref().ok().filter(|topic| topic.has(part.partition_index));
                match known {
                    None => answer.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(_) if part.current_leader_epoch > 0 => answer.error_code = codes::UNKNOWN_LEADER_EPOCH,
                    Some(_) if part.timestamp < LATEST_TIERED => answer.error_code = codes::UNSUPPORTED_VERSION,
                    Some(topic) => {
                        let owner = topic.shard_of(part.partition_index, self.shards);
                        calls.entry(owner).or_default().push(LookupPart {
                            at: wait.places.len() as u32,
                            topic: topic.id,
                            partition: part.partition_index,
                            timestamp: part.timestamp,
                        });
                        wait.places.push((wait.response.topics.len(), partitions.len()));
                    }
                }
                partitions.push(answer);
            }
            wait.response.topics.push(ListOffsetsTopicResponse { name, partitions });
        }
        wait.left = calls.len();
        let token = self.wait(caller, Wait::Lookup(wait));
        if calls.is_empty() {
            self.found(token, &[], fx);
        }
        for (owner, parts) in calls {
            self.call(now, owner, token, Call::Lookup(parts), fx);
        }
        Ok(())
    }

    /// An owner has answered (or there was none to ask).
    pub(crate) fn found(&mut self, token: u64, parts: &[Found], fx: &mut Effects) {
        let Some(Pending { caller, wait: Wait::Lookup(wait) }) = self.pending.get_mut(&token) else { return };
        let caller = *caller;
        wait.left = wait.left.saturating_sub(1);
        for part in parts {
            let (topic, partition) = wait.places[part.at as usize];
            let answer = &mut wait.response.topics[topic].partitions[partition];
            answer.error_code = part.error_code;
            answer.timestamp = part.timestamp_ms;
            answer.offset = part.offset;
            answer.leader_epoch = if part.offset >= 0 { 0 } else { -1 };
        }
        if wait.left > 0 {
            return;
        }
        for answer in wait.response.topics.iter().flat_map(|topic| &topic.partitions) {
            self.metrics.errors.count(answer.error_code);
        }
        let ending = caller.reply(&wait.response, Vec::new());
        self.pending.remove(&token);
        self.finish(caller, ending, fx);
    }
}
