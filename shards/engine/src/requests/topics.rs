//! What requests about topics have in common: the rules for names and assignments, and what the controller's refusals are to Kafka's clients.

use super::codes;
use crate::config::Dynamic;
use crate::group::OFFSETS_TOPIC;
use crate::limits::{METADATA_FRAME_BYTES_MAX, NEW_PARTITIONS_MAX, TOPIC_NAME_BYTES_MAX};
use crate::metadata::{NewTopic, Refusal};
use crate::shard::Shard;
use crate::txn::TXN_TOPIC;

/// Kafka's rule for the names of topics.
pub fn name_is_valid(name: &str) -> bool {
    let fits = (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl Shard {
    /// A topic of what coordinators write down, as the broker makes it; `None`: it is no such topic.
    pub(super) fn internal_topic(&self, name: &str) -> Option<NewTopic> {
        let (prefix, compression) = match name {
            OFFSETS_TOPIC => ("offsets.topic", "producer"),
            TXN_TOPIC => ("transaction.state.log", "uncompressed"),
            _ => return None,
        };
        let number = |what| self.config.number(&format!("{prefix}.{what}"), &Dynamic::default());
        let configs = [
            ("segment.bytes", number("segment.bytes").to_string()),
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", compression.to_owned()),
        ];
        Some(NewTopic {
            name: name.to_owned(),
            partitions: number("num.partitions") as i32,
            configs: configs.map(|(name, value)| (name.to_owned(), value)).into(),
        })
    }
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

/// More partitions at once than are made without stalling a shard.
pub(super) fn too_many() -> (i16, String) {
    let message =
        format!("Excessively large number of partitions per request: at most {NEW_PARTITIONS_MAX} are made at once.");
    (codes::POLICY_VIOLATION, message)
}

/// There is a topic of that name.
pub(super) fn exists(name: &str) -> (i16, String) {
    (codes::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists."))
}

/// There is a topic whose name differs in `.` and `_` alone, which Kafka's metrics cannot tell apart.
pub(super) fn collides(name: &str, other: &str) -> (i16, String) {
    (codes::INVALID_TOPIC_EXCEPTION, format!("Topic '{name}' collides with existing topic: {other}"))
}

/// Kafka's code and words for what the controller refused.
pub(super) fn refused(refusal: &Refusal) -> (i16, String) {
    match refusal {
        Refusal::Exists => (codes::TOPIC_ALREADY_EXISTS, "The topic already exists.".into()),
        Refusal::Collides(other) => {
            (codes::INVALID_TOPIC_EXCEPTION, format!("The topic collides with existing topic: {other}"))
        }
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
