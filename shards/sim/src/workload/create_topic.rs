//! CreateTopics: what was acknowledged is there from then on, under the id it was given.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::metadata;
use super::topics::TopicState;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::TopicIx;

/// Creates one topic.
pub struct CreateTopic {
    topic: TopicIx,
    /// It exists; its id is asked for by Metadata (CreateTopics tells it only from version 7 on, and a repeated creation never).
    exists: bool,
}

impl CreateTopic {
    /// A random topic.
    pub fn draw(cx: &mut Cx<'_>) -> CreateTopic {
        CreateTopic { topic: cx.topics.draw(cx.rng, cx.oracle), exists: false }
    }
}

impl Op for CreateTopic {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        if self.exists {
            return Some(metadata::request_for(cx, &[self.topic]));
        }
        let version = cx.rng.range(2, 7) as i16;
        let topic = cx.topics.get(self.topic);
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: Cow::Owned(name.clone()),
            value: Some(Cow::Owned(value.clone())),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Cow::Borrowed(&topic.name),
                num_partitions: topic.partitions_asked,
                replication_factor: if version >= 4 { -1 } else { 1 },
                configs: topic.configs.iter().map(config).collect(),
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        Some((ApiKey::CreateTopics, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        if self.exists {
            metadata::judge(cx, version, body, &[self.topic]);
            return if cx.topics.get(self.topic).id.is_zero() { Step::Again(5_000_000) } else { Step::Done };
        }
        let Some(response) = decode::<CreateTopicsResponse>(cx, "CreateTopics", body, version) else {
            return Step::Done;
        };
        let topic = cx.topics.get(self.topic).clone();
        let Some(result) = response.topics.iter().find(|t| t.name == topic.name) else {
            cx.oracle.fail(format!("CreateTopics: no result for {}", topic.name));
            return Step::Done;
        };
        let what = format!("CreateTopics {}", topic.name);
        match cx.judge(result.error_code, &what, false) {
            // The first attempt's answer was lost: it is there since then.
            Verdict::Done | Verdict::Other(ErrorCode::TOPIC_ALREADY_EXISTS) => {}
            Verdict::Retry | Verdict::Refused => return Step::Again(20_000_000),
            other => {
                let words = result.error_message.as_deref().unwrap_or("");
                cx.oracle.fail(format!("{what}: {other:?} {words}"));
                return Step::Done;
            }
        }
        let created = cx.topics.get_mut(self.topic);
        created.state = TopicState::Live;
        created.partitions = created.partitions_asked;
        if version >= 7 && result.error_code == 0 {
            created.id = result.topic_id;
            return Step::Done;
        }
        self.exists = true;
        Step::Again(0)
    }

    fn describe(&self) -> String {
        format!("CreateTopics topic-{}", self.topic.0)
    }
}
