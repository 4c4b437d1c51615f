//! Metadata: shows every topic that was promised, with its id and at least its partitions, and none that was deleted.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::topics::TopicState;
use super::{Cx, decode, encode, error_code};
use crate::oracle::TopicIx;

/// Asks for all topics and compares.
pub struct Look {
    /// Topics that were there for certain, and that were gone for certain, when the request was sent.
    live: Vec<(TopicIx, i32)>,
    deleted: Vec<TopicIx>,
    asked: bool,
}

impl Look {
    /// A look at everything.
    pub fn draw(_cx: &mut Cx<'_>) -> Look {
        Look { live: Vec::new(), deleted: Vec::new(), asked: false }
    }
}

impl Op for Look {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        self.asked = true;
        let in_state = |state| cx.topics.all().iter().filter(move |t| t.state == state);
        self.live = in_state(TopicState::Live).map(|t| (t.ix, t.partitions)).collect();
        self.deleted = in_state(TopicState::Deleted).map(|t| t.ix).collect();
        let version = cx.rng.range(1, 13) as i16;
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: version < 4, ..Default::default() };
        Some((ApiKey::Metadata, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let Some(response) = decode::<MetadataResponse>(cx, "Metadata", body, version) else {
            return Step::Done;
        };
        if response.brokers.is_empty() {
            cx.oracle.fail("Metadata: no brokers".into());
        }
        for (ix, partitions) in std::mem::take(&mut self.live) {
            if !cx.topics.is_live(ix) {
                continue; // Its deletion began meanwhile.
            }
            let topic = cx.topics.get(ix);
            let found = response.topics.iter().find(|t| t.name.as_deref() == Some(topic.name.as_str()));
            match found {
                Some(found) if found.error_code != 0 => {
                    let (name, error) = (&topic.name, error_code(found.error_code));
                    cx.oracle.fail(format!("Metadata: {name} is there, answer says {}", error.name()));
                }
                Some(found) if (found.partitions.len() as i32) < partitions => {
                    let (name, shown) = (&topic.name, found.partitions.len());
                    cx.oracle.fail(format!("Metadata: {name} has {partitions} partitions, {shown} are shown"));
                }
                Some(found) if version >= 10 && !topic.id.is_zero() && found.topic_id != topic.id => {
                    let (name, id) = (&topic.name, topic.id);
                    cx.oracle.fail(format!("Metadata: {name} has id {id}, {} is shown", found.topic_id));
                }
                Some(_) => {}
                None => cx.oracle.fail(format!("Metadata: {} was created and is not shown", topic.name)),
            }
        }
        for ix in std::mem::take(&mut self.deleted) {
            let name = &cx.topics.get(ix).name;
            if response.topics.iter().any(|t| t.name.as_deref() == Some(name.as_str()) && t.error_code == 0) {
                cx.oracle.fail(format!("Metadata: {name} was deleted and is shown"));
            }
        }
        Step::Done
    }

    fn describe(&self) -> String {
        "Metadata".into()
    }
}

/// A request for some topics by name.
pub fn request_for(cx: &mut Cx<'_>, topics: &[TopicIx]) -> (ApiKey, i16, Bytes) {
    let version = cx.rng.range(10, 13) as i16;
    let named = |ix: &TopicIx| MetadataRequestTopic {
        topic_id: TopicId::ZERO,
        name: Some(Cow::Borrowed(cx.topics.get(*ix).name.as_str())),
    };
    let request = MetadataRequest {
        topics: Some(topics.iter().map(named).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    (ApiKey::Metadata, version, encode(&request, version))
}

/// Takes ids from the answer to [`request_for`]. The topics are there for certain.
pub fn judge(cx: &mut Cx<'_>, version: i16, body: &[u8], topics: &[TopicIx]) {
    let Some(response) = decode::<MetadataResponse>(cx, "Metadata", body, version) else { return };
    for &ix in topics {
        let name = cx.topics.get(ix).name.clone();
        let Some(found) = response.topics.iter().find(|t| t.name.as_deref() == Some(name.as_str())) else {
            cx.oracle.fail(format!("Metadata: asked for {name}, not answered"));
            continue;
        };
        if found.error_code != 0 {
            if cx.topics.is_live(ix) {
                let error = error_code(found.error_code);
                cx.oracle.fail(format!("Metadata: {name} is there, answer says {}", error.name()));
            }
            continue;
        }
        cx.topics.get_mut(ix).id = found.topic_id;
    }
}
