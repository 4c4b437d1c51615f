//! DeleteTopics: what was acknowledged as deleted never comes back.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::ids::TopicId;
use floe_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::topics::TopicState;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::TopicIx;

/// Deletes one topic.
pub struct DeleteTopic {
    topic: Option<TopicIx>,
    attempts: u32,
}

impl DeleteTopic {
    /// Any topic that is there, as long as another one stays.
    pub fn draw(cx: &mut Cx<'_>) -> DeleteTopic {
        let topic = if cx.topics.live().len() > 1 { cx.topics.draw_live(cx.rng) } else { None };
        DeleteTopic { topic, attempts: 0 }
    }
}

impl Op for DeleteTopic {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        let ix = self.topic?;
        let topic = cx.topics.get_mut(ix);
        if topic.state == TopicState::Deleted || (self.attempts == 0 && topic.state != TopicState::Live) {
            return None; // Another operator was faster.
        }
        topic.state = TopicState::Deleting;
        self.attempts += 1;
        let version = cx.rng.range(1, 6) as i16;
        let by_id = version >= 6 && !topic.id.is_zero() && cx.rng.percent(50);
        let name = Cow::Owned(topic.name.clone());
        let mut request = DeleteTopicsRequest { timeout_ms: 30_000, ..Default::default() };
        if version >= 6 {
            request.topics = vec![if by_id {
                DeleteTopicState { name: None, topic_id: topic.id }
            } else {
                DeleteTopicState { name: Some(name), topic_id: TopicId::ZERO }
            }];
        } else {
            request.topic_names = vec![name];
        }
        Some((ApiKey::DeleteTopics, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let Some(ix) = self.topic else { return Step::Done };
        let Some(response) = decode::<DeleteTopicsResponse>(cx, "DeleteTopics", body, version) else {
            return Step::Done;
        };
        let what = format!("DeleteTopics {}", cx.topics.get(ix).name);
        let Some(result) = response.responses.first() else {
            cx.oracle.fail(format!("{what}: no result"));
            return Step::Done;
        };
        match cx.judge(result.error_code, &what, false) {
            Verdict::Done => {}
            Verdict::Gone if self.attempts > 1 => {}
            Verdict::Retry | Verdict::Refused => return Step::Again(20_000_000),
            other => cx.oracle.fail(format!("{what}: {other:?} at attempt {}", self.attempts)),
        }
        cx.topics.get_mut(ix).state = TopicState::Deleted;
        Step::Done
    }

    fn describe(&self) -> String {
        format!("DeleteTopics {:?}", self.topic)
    }
}
