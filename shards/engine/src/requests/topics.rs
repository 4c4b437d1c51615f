//! CreateTopics (19) and DeleteTopics (20): checked here, decided by the controller, answered when every shard has the change.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use floe_wire::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use floe_wire::primitives::DecodeError;

use super::{Caller, Wait, codes};
use crate::config::{Values, topic_def};
use crate::event::Effects;
use crate::limits::{METADATA_FRAME_BYTES_MAX, PARTITIONS_MAX, TOPIC_NAME_BYTES_MAX};
use crate::metadata::{Change, ChangeDone, NewTopic, Refusal};
use crate::shard::Shard;

/// Answers in the making; `places` are the results that the controller fills in.
#[derive(Debug)]
pub enum TopicsWait {
    /// Of CreateTopics.
    Create {
        /// All results.
        response: CreateTopicsResponse<'static>,
        /// Those to fill in.
        places: Vec<usize>,
    },
    /// Of DeleteTopics.
    Delete {
        /// All results.
        response: DeleteTopicsResponse<'static>,
        /// Those to fill in.
        places: Vec<usize>,
    },
}

/// Kafka's rule for the names of topics.
pub fn name_is_valid(name: &str) -> bool {
    let fits = (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Says what is wrong with a topic's name, in Kafka's words.
pub(super) fn check_name(name: &str) -> Result<(), (i16, String)> {
    if name_is_valid(name) {
        return Ok(());
    }
    let what = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => "'.' or '..' is not allowed".to_owned(),
        _ if name.len() > TOPIC_NAME_BYTES_MAX => {
            format!("the length of the name is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}")
        }
        _ => format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
    };
    Err((codes::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: {what}")))
}

/// A replica assignment names this broker and nobody else.
pub(super) fn check_assignment(broker_ids: &[i32], me: i32) -> Result<(), (i16, String)> {
    let message = match broker_ids {
        [] => "The manual partition assignment includes an empty replica list.".to_owned(),
        [only] if *only == me => return Ok(()),
        ids => match ids.iter().find(|id| **id != me) {
            Some(other) => {
                format!("The manual partition assignment includes broker {other}, but no such broker is registered.")
            }
            None => format!("The manual partition assignment includes the broker {me} more than once."),
        },
    };
    Err((codes::INVALID_REPLICA_ASSIGNMENT, message))
}

impl Shard {
    pub(super) fn create_topics(&mut self, caller: Caller, body: &Bytes, fx: &mut Effects) -> Result<(), DecodeError> {
        let request = CreateTopicsRequest::decode_all(body, caller.version)?;
        let mut response = CreateTopicsResponse::default();
        let (mut places, mut topics) = (Vec::new(), Vec::new());
        for asked in &request.topics {
            let twice = request.topics.iter().filter(|other| other.name == asked.name).count() > 1;
            let checked = if twice {
                Err((codes::INVALID_REQUEST, "The request names this topic more than once.".to_owned()))
            } else {
                self.check_topic(asked)
            };
            let mut result = CreatableTopicResult {
                name: Cow::Owned(asked.name.clone().into_owned()),
                error_message: None,
                ..CreatableTopicResult::default()
            };
            match checked {
                Ok(topic) => {
                    result.num_partitions = topic.partitions;
                    result.replication_factor = 1;
                    if !request.validate_only {
                        places.push(response.topics.len());
                        topics.push(topic);
                    }
                }
                Err((code, message)) => {
                    result.error_code = code;
                    result.error_message = Some(Cow::Owned(message));
                }
            }
            response.topics.push(result);
        }
        if topics.is_empty() {
            self.finish(caller, caller.reply(&response, Vec::new()), fx);
        } else {
            let token = self.wait(caller, Wait::Topics(TopicsWait::Create { response, places }));
            self.change(token, Change::Create(topics), fx);
        }
        Ok(())
    }

    fn check_topic(&self, asked: &CreatableTopic<'_>) -> Result<NewTopic, (i16, String)> {
        let name = asked.name.as_ref();
        check_name(name)?;
        if self.image.topic(name).is_some() {
            return Err((codes::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists.")));
        }
        let colliding = |other: &str| other.replace('.', "_") == name.replace('.', "_");
        if let Some(other) = self.image.topics().find(|topic| colliding(&topic.name)) {
            let message = format!("Topic '{name}' collides with existing topic: {}", other.name);
            return Err((codes::INVALID_TOPIC_EXCEPTION, message));
        }
        let mut partitions = match asked.num_partitions {
            -1 => self.partitions_default,
            number => number,
        };
        if !asked.assignments.is_empty() {
            let mut numbers: Vec<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
            numbers.sort_unstable();
            let consecutive = numbers.iter().copied().eq(0..numbers.len() as i32);
            let mine = asked.assignments.iter().all(|a| a.broker_ids == [self.config.node_id]);
            if asked.num_partitions != -1 || asked.replication_factor != -1 {
                let message = "Give an assignment or the numbers of partitions and replicas, not both.";
                return Err((codes::INVALID_REQUEST, message.into()));
            }
            if !consecutive || !mine {
                let message = format!("Each partition from 0 on takes the one broker {}.", self.config.node_id);
                return Err((codes::INVALID_REPLICA_ASSIGNMENT, message));
            }
            partitions = numbers.len() as i32;
        } else if !matches!(asked.replication_factor, -1 | 1) {
            let message = format!("Replication factor {} with 1 broker: it must be 1.", asked.replication_factor);
            return Err((codes::INVALID_REPLICATION_FACTOR, message));
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let message = format!("Number of partitions must be between 1 and {PARTITIONS_MAX}.");
            return Err((codes::INVALID_PARTITIONS, message));
        }
        let mut configs = Values::new();
        for config in &asked.configs {
            let name = config.name.as_ref();
            let def =
                topic_def(name).ok_or_else(|| (codes::INVALID_CONFIG, format!("Unknown topic config name: {name}")))?;
            let Some(value) = config.value.as_deref() else {
                return Err((codes::INVALID_CONFIG, format!("Null value for topic config {name}")));
            };
            def.check(name, value).map_err(|message| (codes::INVALID_CONFIG, message))?;
            configs.insert(name.to_owned(), value.to_owned());
        }
        Ok(NewTopic { name: name.to_owned(), partitions, configs })
    }

    pub(super) fn delete_topics(&mut self, caller: Caller, body: &Bytes, fx: &mut Effects) -> Result<(), DecodeError> {
        let request = DeleteTopicsRequest::decode_all(body, caller.version)?;
        let mut response = DeleteTopicsResponse::default();
        let (mut places, mut ids) = (Vec::new(), Vec::new());
        let names = request.topic_names.iter().map(|name| self.image.topic(name).ok_or(Some(name.as_ref())));
        let states = request.topics.iter().map(|state| match &state.name {
            Some(name) => self.image.topic(name).ok_or(Some(name.as_ref())),
            None => self.image.topic_by_id(state.topic_id).ok_or(None),
        });
        for found in names.chain(states) {
            let mut result = DeletableTopicResult { name: None, ..DeletableTopicResult::default() };
            match found {
                Ok(topic) => {
                    result.name = Some(Cow::Owned(topic.name.clone()));
                    result.topic_id = topic.id;
                    if self.delete_enabled {
                        places.push(response.responses.len());
                        ids.push(topic.id);
                    } else {
                        result.error_code = codes::TOPIC_DELETION_DISABLED;
                    }
                }
                Err(Some(name)) => {
                    result.name = Some(Cow::Owned(name.to_owned()));
                    result.error_code = codes::UNKNOWN_TOPIC_OR_PARTITION;
                }
                Err(None) => result.error_code = codes::UNKNOWN_TOPIC_ID,
            }
            response.responses.push(result);
        }
        if ids.is_empty() {
            self.finish(caller, caller.reply(&response, Vec::new()), fx);
        } else {
            let token = self.wait(caller, Wait::Topics(TopicsWait::Delete { response, places }));
            self.change(token, Change::Delete(ids), fx);
        }
        Ok(())
    }

    pub(super) fn topics_changed(&mut self, caller: Caller, wait: TopicsWait, done: ChangeDone, fx: &mut Effects) {
        let ending = match wait {
            TopicsWait::Create { mut response, places } => {
                for (place, outcome) in places.into_iter().zip(done.parts) {
                    let result = &mut response.topics[place];
                    match outcome {
                        Ok(id) => result.topic_id = id,
                        Err(refusal) => {
                            let (code, message) = refused(&refusal);
                            (result.error_code, result.error_message) = (code, Some(Cow::Owned(message)));
                        }
                    }
                }
                caller.reply(&response, Vec::new())
            }
            TopicsWait::Delete { mut response, places } => {
                for (place, outcome) in places.into_iter().zip(done.parts) {
                    if let Err(refusal) = outcome {
                        let (code, message) = refused(&refusal);
                        let result = &mut response.responses[place];
                        (result.error_code, result.error_message) = (code, Some(Cow::Owned(message)));
                    }
                }
                caller.reply(&response, Vec::new())
            }
        };
        self.finish(caller, ending, fx);
    }
}

/// Kafka's code and words for what the controller refused.
pub(super) fn refused(refusal: &Refusal) -> (i16, String) {
    match refusal {
        Refusal::Exists => (codes::TOPIC_ALREADY_EXISTS, "The topic already exists.".into()),
        Refusal::Unknown => (codes::UNKNOWN_TOPIC_OR_PARTITION, "The topic does not exist.".into()),
        Refusal::NotMore(has) => (codes::INVALID_PARTITIONS, format!("The topic has {has} partitions already.")),
        Refusal::Config(message) => (codes::INVALID_CONFIG, message.clone()),
        Refusal::TooLarge => {
            let message = format!("The request changes more than {METADATA_FRAME_BYTES_MAX} bytes at once: split it.");
            (codes::INVALID_REQUEST, message)
        }
        Refusal::Unavailable(reason) => (codes::LEADER_NOT_AVAILABLE, reason.clone()),
    }
}
