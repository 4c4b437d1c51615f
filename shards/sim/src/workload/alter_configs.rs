//! IncrementalAlterConfigs: segment and retention settings change under load; only where retention is allowed may records go.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::TopicIx;

/// The wire's number for a topic among the kinds of resources.
const RESOURCE_TOPIC: i8 = 2;
/// The wire's number for "set to this value".
const OPERATION_SET: i8 = 0;

/// Changes one setting of one topic.
pub struct AlterConfigs {
    topic: Option<TopicIx>,
    name: &'static str,
    value: String,
}

impl AlterConfigs {
    /// Any setting that has to do with segments; retention only rarely, as it ends what can be judged about old records.
    pub fn draw(cx: &mut Cx<'_>) -> AlterConfigs {
        let topic = cx.topics.draw_live(cx.rng);
        let (name, value) = match cx.rng.below(20) {
            0 => ("retention.ms", cx.rng.range(200, 5_000)),
            1 => ("retention.bytes", cx.rng.range(10_000, 300_000)),
            2..=8 => ("segment.ms", cx.rng.range(200, 10_000)),
            _ => ("segment.bytes", cx.rng.range(1 << 20, 3 << 20)),
        };
        AlterConfigs { topic, name, value: value.to_string() }
    }
}

impl Op for AlterConfigs {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        let ix = self.topic?;
        if !cx.topics.is_live(ix) {
            return None;
        }
        if self.name.starts_with("retention") {
            cx.oracle.allow_retention(ix);
        }
        let version = cx.rng.range(0, 1) as i16;
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: Cow::Borrowed(cx.topics.get(ix).name.as_str()),
                configs: vec![AlterableConfig {
                    name: Cow::Borrowed(self.name),
                    config_operation: OPERATION_SET,
                    value: Some(Cow::Borrowed(&self.value)),
                }],
            }],
            validate_only: false,
        };
        Some((ApiKey::IncrementalAlterConfigs, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let Some(ix) = self.topic else { return Step::Done };
        let decoded = decode::<IncrementalAlterConfigsResponse>(cx, "IncrementalAlterConfigs", body, version);
        let Some(response) = decoded else { return Step::Done };
        let what = self.describe();
        let Some(result) = response.responses.first() else {
            cx.oracle.fail(format!("{what}: no result"));
            return Step::Done;
        };
        let live = cx.topics.is_live(ix);
        match cx.judge(result.error_code, &what, live) {
            Verdict::Done | Verdict::Gone => {}
            Verdict::Retry | Verdict::Refused if !cx.winding_down => return Step::Again(20_000_000),
            Verdict::Retry | Verdict::Refused => {}
            other => {
                let words = result.error_message.as_deref().unwrap_or("");
                cx.oracle.fail(format!("{what}: {other:?} {words}"));
            }
        }
        Step::Done
    }

    fn describe(&self) -> String {
        format!("IncrementalAlterConfigs {:?} {}={}", self.topic, self.name, self.value)
    }
}
