//! CreatePartitions: the new partitions are there from the acknowledgement on.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::TopicIx;

/// Partitions a topic grows to at most.
const PARTITIONS_MAX: i32 = 10;

/// Adds partitions to one topic.
pub struct CreatePartitions {
    topic: Option<TopicIx>,
    count: i32,
    attempts: u32,
}

impl CreatePartitions {
    /// Any topic that is there and still small.
    pub fn draw(cx: &mut Cx<'_>) -> CreatePartitions {
        let topic = cx.topics.draw_live(cx.rng);
        let Some(ix) = topic else { return CreatePartitions { topic, count: 0, attempts: 0 } };
        let model = cx.topics.get_mut(ix);
        // One operator at a time grows a topic, so that the outcome is known.
        if model.partitions_asked != model.partitions || model.partitions >= PARTITIONS_MAX {
            return CreatePartitions { topic: None, count: 0, attempts: 0 };
        }
        model.partitions_asked = model.partitions + cx.rng.range(1, 3) as i32;
        CreatePartitions { topic, count: model.partitions_asked, attempts: 0 }
    }
}

impl Op for CreatePartitions {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        let ix = self.topic?;
        if !cx.topics.is_live(ix) {
            return None;
        }
        self.attempts += 1;
        let version = cx.rng.range(0, 3) as i16;
        let name = Cow::Borrowed(cx.topics.get(ix).name.as_str());
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name, count: self.count, assignments: None }],
            timeout_ms: 30_000,
            validate_only: false,
        };
        Some((ApiKey::CreatePartitions, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let Some(ix) = self.topic else { return Step::Done };
        let decoded = decode::<CreatePartitionsResponse>(cx, "CreatePartitions", body, version);
        let Some(response) = decoded else { return Step::Done };
        let what = format!("CreatePartitions {} to {}", cx.topics.get(ix).name, self.count);
        let Some(result) = response.results.first() else {
            cx.oracle.fail(format!("{what}: no result"));
            return Step::Done;
        };
        let live = cx.topics.is_live(ix);
        match cx.judge(result.error_code, &what, live) {
            Verdict::Done => {}
            // The first attempt's answer was lost.
            Verdict::Other(ErrorCode::INVALID_PARTITIONS) if self.attempts > 1 => {}
            Verdict::Retry | Verdict::Refused => return Step::Again(20_000_000),
            Verdict::Gone => return Step::Done,
            other => {
                let words = result.error_message.as_deref().unwrap_or("");
                cx.oracle.fail(format!("{what}: {other:?} {words} at attempt {}", self.attempts));
                return Step::Done;
            }
        }
        cx.topics.get_mut(ix).partitions = self.count;
        Step::Done
    }

    fn describe(&self) -> String {
        format!("CreatePartitions {:?}", self.topic)
    }
}
