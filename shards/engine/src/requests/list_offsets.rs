//! ListOffsets (2): offsets by timestamp, or by place in the log.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::list_offsets::{
    EARLIEST, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse, SINCE,
};
use floe_wire::primitives::DecodeError;

use super::split::{Split, bounded};
use super::{Caller, Pending, Wait, codes};
use crate::event::Effects;
use crate::mesh::{Call, Found, LookupPart};
use crate::shard::Shard;
use crate::time::Time;

/// Readers with this isolation level see what no open transaction holds back, and nothing of aborted ones.
pub(super) const READ_COMMITTED: i8 = 1;

/// A lookup whose owners work.
#[derive(Debug)]
pub struct LookupWait {
    response: ListOffsetsResponse<'static>,
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
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let committed = request.isolation_level == READ_COMMITTED;
        let mut wait = LookupWait { response: ListOffsetsResponse::default(), left: 0 };
        let mut split = Split::new(self.shards);
        let twice = named_twice(&request);
        for (asked, topic_at) in request.topics.iter().zip(0..) {
            let topic = self.topic(&asked.name, TopicId::ZERO, false);
            let name = Cow::Owned(asked.name.clone().into_owned());
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for (part, partition_at) in asked.partitions.iter().zip(0..) {
                let (partition, timestamp) = (part.partition_index, part.timestamp);
                let mut answer = ListOffsetsPartitionResponse {
                    partition_index: partition,
                    ..ListOffsetsPartitionResponse::default()
                };
                let known = topic.as_ref().ok().filter(|topic| topic.has(partition));
                match known {
                    _ if twice.contains(&(asked.name.as_ref(), partition)) => {
                        answer.error_code = codes::INVALID_REQUEST
                    }
                    _ if !understood(timestamp, caller.version) => answer.error_code = codes::UNSUPPORTED_VERSION,
                    None => answer.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Some(_) if part.current_leader_epoch > 0 => answer.error_code = codes::UNKNOWN_LEADER_EPOCH,
                    Some(topic) => {
                        let at = (topic_at, partition_at);
                        let part = LookupPart { at, topic: topic.id, partition, timestamp, committed };
                        split.push(topic.shard_of(partition, self.shards), part);
                    }
                }
                partitions.push(answer);
            }
            wait.response.topics.push(ListOffsetsTopicResponse { name, partitions });
        }
        wait.left = split.owners().count();
        let nobody = wait.left == 0;
        let token = self.wait(caller, Wait::Lookup(wait));
        if nobody {
            self.found(token, &[], fx);
        }
        for (owner, parts) in split.into_calls() {
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
            let (topic, partition) = part.at;
            let answer = &mut wait.response.topics[topic as usize].partitions[partition as usize];
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

/// Whether a version of the request knows this timestamp: -1 and -2 always, the other constants from some version on.
fn understood(timestamp: i64, version: i16) -> bool {
    timestamp >= EARLIEST || SINCE.iter().any(|(constant, since)| *constant == timestamp && version >= *since)
}

/// Partitions that the request names more than once: Kafka answers them with INVALID_REQUEST.
fn named_twice<'r>(request: &'r ListOffsetsRequest<'_>) -> BTreeSet<(&'r str, i32)> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for part in &topic.partitions {
            if !seen.insert((topic.name.as_ref(), part.partition_index)) {
                twice.insert((topic.name.as_ref(), part.partition_index));
            }
        }
    }
    twice
}
