//! CreateTopics (19): checked here, decided by the controller, answered when every shard has the topics. The cost is linear in the request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::topics::{check_assignment, check_name, collides, exists, refused, too_many};
use super::{Caller, Wait, codes};
use crate::config::{Values, check_topic, topic_def};
use crate::event::Effects;
use crate::limits::{NEW_PARTITIONS_MAX, PARTITIONS_MAX};
use crate::metadata::{Change, ChangeDone, NewTopic, Refusal};
use crate::shard::Shard;

/// First version whose answer describes the topics (KIP-525).
const DESCRIBES_SINCE: i16 = 5;

/// An answer in the making; `places` are the results that the controller fills in.
#[derive(Debug)]
pub struct CreateWait {
    response: CreateTopicsResponse<'static>,
    places: Vec<usize>,
}

impl Shard {
    pub(super) fn create_topics(&mut self, caller: Caller, body: &Bytes, fx: &mut Effects) -> Result<(), DecodeError> {
        let request = CreateTopicsRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.assignments.len() + topic.configs.len()))?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        request.topics.iter().for_each(|asked| *counts.entry(asked.name.as_ref()).or_default() += 1);
        let mut response = CreateTopicsResponse::default();
        let (mut places, mut topics) = (Vec::new(), Vec::new());
        let mut left = NEW_PARTITIONS_MAX;
        for asked in &request.topics {
            let checked = if counts[asked.name.as_ref()] > 1 {
                Err((codes::INVALID_REQUEST, "Duplicate topic name.".to_owned()))
            } else {
                self.check_topic(asked).and_then(|topic| {
                    left = left.checked_sub(topic.partitions).filter(|left| *left >= 0).ok_or_else(too_many)?;
                    Ok(topic)
                })
            };
            let mut result = CreatableTopicResult {
                name: Cow::Owned(asked.name.clone().into_owned()),
                error_message: None,
                ..CreatableTopicResult::default()
            };
            match checked {
                Ok(topic) => {
                    if caller.version >= DESCRIBES_SINCE {
                        result.num_partitions = topic.partitions;
                        result.replication_factor = 1;
                        result.configs = Some(self.described_configs(&topic.configs));
                    }
                    if !request.validate_only {
                        places.push(response.topics.len());
                        topics.push(topic);
                    }
                }
                Err(wrong) => fail(&mut result, wrong),
            }
            response.topics.push(result);
        }
        let wait = CreateWait { response, places };
        if topics.is_empty() {
            self.created(caller, wait, ChangeDone::default(), fx);
        } else {
            let token = self.wait(caller, Wait::Create(wait));
            self.change(token, Change::Create(topics), fx);
        }
        Ok(())
    }

    fn check_topic(&self, asked: &CreatableTopic<'_>) -> Result<NewTopic, (i16, String)> {
        let name = asked.name.as_ref();
        check_name(name)?;
        if self.image.topic(name).is_some() {
            return Err(exists(name));
        }
        if let Some(other) = self.image.colliding(name) {
            return Err(collides(name, other));
        }
        let partitions = self.check_partitions(asked)?;
        let mut configs = Values::new();
        for config in &asked.configs {
            let name = config.name.as_ref();
            let wrong = |message| (codes::INVALID_CONFIG, message);
            let def = topic_def(name).ok_or_else(|| wrong(format!("Unknown topic config name: {name}")))?;
            let null = || wrong(format!("Null value not supported for topic configs: {name}"));
            let value = config.value.as_deref().ok_or_else(null)?.trim();
            def.check(name, value).map_err(wrong)?;
            configs.insert(name.to_owned(), value.to_owned());
        }
        check_topic(&configs).map_err(|message| (codes::INVALID_CONFIG, message))?;
        Ok(NewTopic { name: name.to_owned(), partitions, configs })
    }

    /// How many partitions a topic is to have, in Kafka's order of complaints.
    fn check_partitions(&self, asked: &CreatableTopic<'_>) -> Result<i32, (i16, String)> {
        if asked.assignments.is_empty() {
            let factor = asked.replication_factor;
            let message = match (asked.num_partitions, factor) {
                (_, i16::MIN..=-2 | 0) => {
                    "Replication factor must be larger than 0, or -1 to use the default value.".to_owned()
                }
                (_, 2..) => format!(
                    "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached because only 1 broker(s) are registered."
                ),
                (-1, _) => return Ok(self.partitions_default),
                (1..=PARTITIONS_MAX, _) => return Ok(asked.num_partitions),
                (..=0, _) => {
                    let message = "Number of partitions was set to an invalid non-positive value.";
                    return Err((codes::INVALID_PARTITIONS, message.into()));
                }
                _ => {
                    let message = format!("A topic has at most {PARTITIONS_MAX} partitions.");
                    return Err((codes::INVALID_PARTITIONS, message));
                }
            };
            return Err((codes::INVALID_REPLICATION_FACTOR, message));
        }
        for (what, given) in
            [("replication factor", i32::from(asked.replication_factor)), ("numPartitions", asked.num_partitions)]
        {
            if given != -1 {
                let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
                return Err((codes::INVALID_REQUEST, message));
            }
        }
        let mut numbers: Vec<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
        numbers.sort_unstable();
        let wrong = |message| (codes::INVALID_REPLICA_ASSIGNMENT, message);
        if let Some(twice) = numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            let number = twice[0];
            return Err(wrong(format!("Found multiple manual partition assignments for partition {number}")));
        }
        if !numbers.iter().copied().eq(0..numbers.len() as i32) {
            return Err(wrong("partitions should be a consecutive 0-based integer sequence".into()));
        }
        for assignment in &asked.assignments {
            check_assignment(&assignment.broker_ids, self.config.node_id)?;
        }
        if numbers.len() > PARTITIONS_MAX as usize {
            return Err((codes::INVALID_PARTITIONS, format!("A topic has at most {PARTITIONS_MAX} partitions.")));
        }
        Ok(numbers.len() as i32)
    }

    fn described_configs(&self, configs: &Values) -> Vec<CreatableTopicConfigs<'static>> {
        let all = self.topic_configs(configs).map(|(name, resolved)| CreatableTopicConfigs {
            name: Cow::Borrowed(name),
            value: Some(Cow::Owned(resolved.value().to_owned())),
            read_only: false,
            config_source: resolved.source().wire(),
            is_sensitive: false,
        });
        all.collect()
    }

    /// The controller has answered (or was not asked).
    pub(super) fn created(&mut self, caller: Caller, wait: CreateWait, done: ChangeDone, fx: &mut Effects) {
        let CreateWait { mut response, places } = wait;
        for (place, part) in places.into_iter().zip(done.parts) {
            let result = &mut response.topics[place];
            match part {
                Ok(id) => result.topic_id = id,
                Err(Refusal::Exists) => fail(result, exists(&result.name)),
                Err(Refusal::Collides(other)) => fail(result, collides(&result.name, &other)),
                Err(refusal) => fail(result, refused(&refusal)),
            }
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
    }
}

fn fail(result: &mut CreatableTopicResult<'static>, (code, message): (i16, String)) {
    *result = CreatableTopicResult {
        name: std::mem::take(&mut result.name),
        error_code: code,
        error_message: Some(Cow::Owned(message)),
        ..CreatableTopicResult::default()
    };
}
