//! Metadata (3): this broker, and topics by name, by id, or all. A topic asked for by name that is not there is made where settings and client
//! allow it, and the answer then has it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::Message;
use floe_wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use floe_wire::primitives::{DecodeError, Reader};

use super::split::bounded;
use super::topics::name_is_valid;
use super::{Caller, Wait, codes, operations};
use crate::config::Values;
use crate::event::Effects;
use crate::limits::NEW_PARTITIONS_MAX;
use crate::metadata::{Change, NewTopic, Topic};
use crate::shard::Shard;

/// librdkafka reserves four bytes for the number of topics. When it asks for all of them in a flexible version it writes the one byte of the null array
/// and leaves the other three standing, so that three bytes are behind the end as anybody else reads it (seen with 2.16; it asks so for a subscription
/// by a pattern and for `list_topics`). Kafka never looks behind the end of a request.
const LIBRDKAFKA_LEFTOVER_BYTES: usize = 3;

fn read(body: &Bytes, version: i16) -> Result<MetadataRequest<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let request = MetadataRequest::decode(&mut reader, version)?;
    match reader.remaining() {
        0 => Ok(request),
        LIBRDKAFKA_LEFTOVER_BYTES if request.topics.is_none() => Ok(request),
        behind => Err(DecodeError::Trailing(behind)),
    }
}

impl Shard {
    pub(super) fn metadata(
        &mut self,
        caller: Caller,
        body: &Bytes,
        may_create: bool,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = read(body, caller.version)?;
        bounded(std::iter::once(request.topics.as_ref().map_or(0, Vec::len)))?;
        let image = self.image.clone();
        let all = request.topics.as_ref().is_none_or(|topics| caller.version == 0 && topics.is_empty());
        let on_topics =
            if request.include_topic_authorized_operations { operations::TOPIC } else { operations::NOT_ASKED };
        let mut topics = Vec::new();
        let mut missing = Vec::new();
        if all {
            topics.extend(image.topics().map(|topic| self.describe(topic, on_topics)));
        }
        let creates = may_create && request.allow_auto_topic_creation && self.auto_create;
        // A topic is described once, however often it is named.
        let mut before = BTreeSet::new();
        for asked in request.topics.iter().flatten() {
            if !before.insert((asked.name.as_deref(), asked.topic_id)) {
                continue;
            }
            let by_name = asked.name.as_deref().filter(|_| asked.topic_id.is_zero());
            let found = match by_name {
                Some(name) => image.topic(name).ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION),
                None => image.topic_by_id(asked.topic_id).ok_or(codes::UNKNOWN_TOPIC_ID),
            };
            let error_code = match found {
                Ok(topic) => {
                    topics.push(self.describe(topic, on_topics));
                    continue;
                }
                Err(_) if by_name.is_some_and(|name| !name_is_valid(name)) => codes::INVALID_TOPIC_EXCEPTION,
                Err(code) => {
                    let partitions = self.partitions_default;
                    let room = missing.len() < (NEW_PARTITIONS_MAX / partitions.max(1)) as usize;
                    if creates
                        && room
                        && let Some(name) = by_name
                    {
                        let topic = self.internal_topic(name);
                        missing.push(topic.unwrap_or_else(|| NewTopic {
                            name: name.to_owned(),
                            partitions,
                            configs: Values::new(),
                        }));
                    }
                    code
                }
            };
            let name = asked.name.as_deref().map(|name| Cow::Owned(name.to_owned()));
            // Before version 12 there is no answer without a name.
            let name = name.or_else(|| (caller.version < 12).then(Cow::default));
            topics.push(MetadataResponseTopic {
                error_code,
                name,
                topic_id: asked.topic_id,
                // An id that nobody knows is not a topic; a name may become one.
                topic_authorized_operations: if by_name.is_some() { on_topics } else { operations::NOT_ASKED },
                ..MetadataResponseTopic::default()
            });
        }
        if !missing.is_empty() {
            let token = self.wait(caller, Wait::Metadata(body.clone()));
            self.change(token, Change::Create(missing), fx);
            return Ok(());
        }
        let listener = self.connections.get(&caller.conn).map_or(0, |connection| connection.listener);
        let Some(listener) = self.config.listeners.get(usize::from(listener)) else { return Ok(()) };
        let response = MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: self.config.node_id,
                host: Cow::Owned(listener.advertised_host.clone()),
                port: i32::from(listener.advertised_port),
                rack: None,
            }],
            cluster_id: Some(Cow::Owned(image.cluster_id.clone())),
            controller_id: self.config.node_id,
            topics,
            cluster_authorized_operations: if request.include_cluster_authorized_operations {
                operations::CLUSTER
            } else {
                operations::NOT_ASKED
            },
            ..MetadataResponse::default()
        };
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
        Ok(())
    }

    fn describe(&self, topic: &Topic, topic_authorized_operations: i32) -> MetadataResponseTopic<'static> {
        let me = self.config.node_id;
        let partitions = (0..topic.partitions).map(|partition_index| MetadataResponsePartition {
            partition_index,
            leader_id: me,
            leader_epoch: 0,
            replica_nodes: vec![me],
            isr_nodes: vec![me],
            ..MetadataResponsePartition::default()
        });
        MetadataResponseTopic {
            name: Some(Cow::Owned(topic.name.clone())),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions.collect(),
            topic_authorized_operations,
            ..MetadataResponseTopic::default()
        }
    }

    /// The topic that a request means, or Kafka's code for its not being there.
    pub(super) fn topic(&self, name: &str, id: TopicId, by_id: bool) -> Result<std::sync::Arc<Topic>, i16> {
        if by_id {
            return self.image.topic_by_id(id).cloned().ok_or(codes::UNKNOWN_TOPIC_ID);
        }
        self.image.topic(name).cloned().ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION)
    }
}
