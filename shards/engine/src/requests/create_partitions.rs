//! CreatePartitions (37): more partitions for topics; checked here, decided by the controller, answered when every shard has them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use floe_wire::primitives::DecodeError;

use super::split::bounded;
use super::topics::{refused, too_many};
use super::{Caller, Wait, codes};
use crate::event::Effects;
use crate::limits::{NEW_PARTITIONS_MAX, PARTITIONS_MAX};
use crate::metadata::{Change, ChangeDone, Refusal, Topic};
use crate::shard::Shard;

/// An answer in the making; `places` are the results that the controller fills in.
#[derive(Debug)]
pub struct GrowWait {
    response: CreatePartitionsResponse<'static>,
    /// With the counts asked for.
    places: Vec<(usize, i32)>,
}

impl Shard {
    pub(super) fn create_partitions(
        &mut self,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = CreatePartitionsRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.assignments.as_ref().map_or(0, Vec::len)))?;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        request.topics.iter().for_each(|asked| *counts.entry(asked.name.as_ref()).or_default() += 1);
        let (mut results, mut places, mut topics) = (Vec::new(), Vec::new(), Vec::new());
        let mut left = NEW_PARTITIONS_MAX;
        for asked in &request.topics {
            let checked = if counts[asked.name.as_ref()] > 1 {
                Err((codes::INVALID_REQUEST, "Duplicate topic name.".to_owned()))
            } else {
                self.check_growth(asked).and_then(|topic| {
                    let more = asked.count - topic.partitions;
                    left = left.checked_sub(more).filter(|left| *left >= 0).ok_or_else(too_many)?;
                    Ok(topic)
                })
            };
            let mut result = CreatePartitionsTopicResult {
                name: Cow::Owned(asked.name.clone().into_owned()),
                ..CreatePartitionsTopicResult::default()
            };
            match checked {
                Ok(topic) if !request.validate_only => {
                    places.push((results.len(), asked.count));
                    topics.push((topic.id, asked.count));
                }
                Ok(_) => {}
                Err((code, message)) => (result.error_code, result.error_message) = (code, Some(Cow::Owned(message))),
            }
            results.push(result);
        }
        let wait = GrowWait { response: CreatePartitionsResponse { throttle_time_ms: 0, results }, places };
        if topics.is_empty() {
            self.grown(caller, wait, ChangeDone::default(), fx);
        } else {
            let token = self.wait(caller, Wait::Grow(wait));
            self.change(token, Change::Grow(topics), fx);
        }
        Ok(())
    }

    fn check_growth(&self, asked: &CreatePartitionsTopic<'_>) -> Result<&Topic, (i16, String)> {
        let Some(topic) = self.image.topic(&asked.name) else {
            let message = "This server does not host this topic-partition.";
            return Err((codes::UNKNOWN_TOPIC_OR_PARTITION, message.into()));
        };
        // Coordinators are found by the number of partitions. Kafka takes the request, and its coordinators know the old number until they start again.
        if topic.is_internal() {
            let message = format!("The number of partitions of the internal topic {} cannot be changed.", topic.name);
            return Err((codes::INVALID_PARTITIONS, message));
        }
        if asked.count <= topic.partitions {
            return Err(not_more(&topic.name, topic.partitions, asked.count));
        }
        if asked.count > PARTITIONS_MAX {
            let message = format!("A topic has at most {PARTITIONS_MAX} partitions.");
            return Err((codes::INVALID_PARTITIONS, message));
        }
        let Some(assignments) = &asked.assignments else { return Ok(topic) };
        let (more, given) = ((asked.count - topic.partitions) as usize, assignments.len());
        if more != given {
            let message = format!(
                "Attempted to add {more} additional partition(s), but only {given} assignment(s) were specified."
            );
            return Err((codes::INVALID_REPLICA_ASSIGNMENT, message));
        }
        for assignment in assignments {
            super::topics::check_assignment(&assignment.broker_ids, self.config.node_id)?;
        }
        Ok(topic)
    }

    /// The controller has answered (or was not asked).
    pub(super) fn grown(&mut self, caller: Caller, wait: GrowWait, done: ChangeDone, fx: &mut Effects) {
        let GrowWait { mut response, places } = wait;
        for ((place, count), part) in places.into_iter().zip(done.parts) {
            let result = &mut response.results[place];
            let wrong = match part {
                Ok(_) => continue,
                Err(Refusal::NotMore(has)) => not_more(&result.name, has, count),
                Err(refusal) => refused(&refusal),
            };
            (result.error_code, result.error_message) = (wrong.0, Some(Cow::Owned(wrong.1)));
        }
        self.finish(caller, caller.reply(&response, Vec::new()), fx);
    }
}

fn not_more(name: &str, has: i32, asked: i32) -> (i16, String) {
    let message = if has == asked {
        format!("Topic already has {has} partition(s).")
    } else {
        format!("The topic {name} currently has {has} partition(s); {asked} would not be an increase.")
    };
    (codes::INVALID_PARTITIONS, message)
}
