//! DescribeTopicPartitions (75): topics with their partitions, page by page in the order of names (KIP-966).

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::{Caller, codes, operations};
use crate::event::Effects;
use crate::limits::DESCRIBED_PARTITIONS_MAX;
use crate::metadata::Topic;
use crate::shard::Shard;

impl Shard {
    pub(super) fn describe_topic_partitions(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeTopicPartitionsRequest::decode_all(body, caller.version)?;
        bounded(std::iter::once(request.topics.len()))?;
        let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_ref()).collect();
        let (start, first) = match &request.cursor {
            Some(cursor) => (cursor.topic_name.as_ref(), cursor.partition_index),
            None => ("", 0),
        };
        let mut response = DescribeTopicPartitionsResponse::default();
        if first < 0 {
            // The answer has no place for an error but at the topics.
            response.topics = names.iter().map(|name| unknown(name, codes::INVALID_REQUEST)).collect();
            self.finish(caller, caller.reply(&response, Vec::new()), fx);
            return Ok(());
        }
        let image = self.image.clone();
        let mut left = request.response_partition_limit.clamp(1, DESCRIBED_PARTITIONS_MAX);
        let all: Box<dyn Iterator<Item = (&str, Option<&Topic>)>> = if names.is_empty() {
            Box::new(image.topics_from(start).map(|topic| (topic.name.as_str(), Some(&**topic))))
        } else {
            Box::new(names.range(start..).map(|name| (*name, image.topic(name).map(|topic| &**topic))))
        };
        for (name, topic) in all {
            let from = if name == start { first } else { 0 };
            if left == 0 {
                response.next_cursor = Some(Cursor { topic_name: Cow::Borrowed(name), partition_index: from });
                break;
            }
            let Some(topic) = topic else {
                let valid = super::topics::name_is_valid(name);
                let code = if valid { codes::UNKNOWN_TOPIC_OR_PARTITION } else { codes::INVALID_TOPIC_EXCEPTION };
                response.topics.push(unknown(name, code));
                continue;
            };
            let to = topic.partitions.min(from.saturating_add(left));
            response.topics.push(DescribeTopicPartitionsResponseTopic {
                name: Some(Cow::Borrowed(name)),
                topic_id: topic.id,
                is_internal: topic.is_internal(),
                partitions: (from..to).map(|partition| self.described(partition)).collect(),
                topic_authorized_operations: operations::TOPIC,
                ..DescribeTopicPartitionsResponseTopic::default()
            });
            left -= (to - from).max(0);
            if to < topic.partitions {
                response.next_cursor = Some(Cursor { topic_name: Cow::Borrowed(name), partition_index: to });
                break;
            }
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }

    fn described(&self, partition_index: i32) -> DescribeTopicPartitionsResponsePartition {
        let me = self.config.node_id;
        DescribeTopicPartitionsResponsePartition {
            partition_index,
            leader_id: me,
            leader_epoch: 0,
            replica_nodes: vec![me],
            isr_nodes: vec![me],
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..DescribeTopicPartitionsResponsePartition::default()
        }
    }
}

fn unknown(name: &str, error_code: i16) -> DescribeTopicPartitionsResponseTopic<'_> {
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(Cow::Borrowed(name)),
        topic_authorized_operations: operations::TOPIC,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}
