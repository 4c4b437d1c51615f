//! The metadata log and its snapshot: changes of topics and settings, in the order in which they were made.

use floe_engine::limits::METADATA_BYTES_MAX;
use floe_engine::metadata::{Frame, Record, decode_change_within};
use serde_json::json;

use super::Known;
use super::print::Dump;
use crate::problem::Outcome;

/// The names in the data directory: what the changes so far came to, and the changes since.
pub(super) const NAMES: [&str; 2] = ["metadata/snapshot", "metadata/log"];

/// A snapshot is one change, which may be as large as a log.
fn decode(bytes: &[u8]) -> Frame {
    decode_change_within(bytes, METADATA_BYTES_MAX as usize)
}

/// Takes the names of topics.
pub(super) fn learn(bytes: &[u8], known: &mut Known) {
    let mut at = 0;
    while let Frame::Whole { records, bytes: len, .. } = decode(&bytes[at..]) {
        for record in records {
            if let Record::CreateTopic { id, name, .. } = record {
                known.topics.insert(id.to_hex(), name);
            }
        }
        at += len;
    }
}

/// Prints every change.
pub(super) fn show(dump: &mut Dump, name: &str, bytes: &[u8]) -> Outcome {
    dump.head(name, bytes.len() as u64, "")?;
    let mut at = 0;
    while at < bytes.len() {
        match decode(&bytes[at..]) {
            Frame::Whole { version, records, bytes: len } => {
                for record in &records {
                    let what = words(record, &dump.known);
                    if dump.json {
                        dump.object(&json!({"file": name, "position": at, "change": version, "what": what}))?;
                    } else {
                        dump.line(&format!("  at {at}: change {version}: {what}"))?;
                    }
                }
                at += len;
            }
            Frame::Broken if name == NAMES[0] => return dump.damage(name, at as u64, "the snapshot is not whole"),
            // A change that was cut off by a crash was never answered, and recovery takes it away.
            Frame::Broken => {
                return dump.note(
                    name,
                    at as u64,
                    "no whole change from here on; what a crash cut off looks like this",
                );
            }
            Frame::Unknown(why) => return dump.damage(name, at as u64, &why),
        }
    }
    Ok(())
}

fn words(record: &Record, known: &Known) -> String {
    let topic = |id: &floe_wire::ids::TopicId| {
        let id = id.to_hex();
        known.topics.get(&id).map_or_else(|| id.clone(), |name| format!("{name} ({id})"))
    };
    let set = |name: &str, value: &Option<String>| match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("{name} back to its default"),
    };
    match record {
        Record::Cluster { id } => format!("this is cluster {id}"),
        Record::CreateTopic { id, partitions, configs, .. } => {
            let configs: String = configs.iter().map(|(name, value)| format!(", {name} = {value}")).collect();
            format!("topic {} created, partitions {partitions}{configs}", topic(id))
        }
        Record::DeleteTopic { id } => format!("topic {} deleted", topic(id)),
        Record::Partitions { id, partitions } => format!("topic {} has {partitions} partitions", topic(id)),
        Record::TopicConfig { id, name, value } => format!("topic {}: {}", topic(id), set(name, value)),
        Record::BrokerConfig { name, value } => format!("this broker: {}", set(name, value)),
        Record::ClusterConfig { name, value } => format!("every broker: {}", set(name, value)),
        Record::Deleted { id } => format!("topic {} was deleted before", id.to_hex()),
        Record::ProducerIds { next } => format!("producer ids below {next} may be in use"),
        Record::Placement { next } => format!("the next topic begins at place {next} in the row of shards"),
    }
}
