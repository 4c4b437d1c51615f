//! DeleteRecords: the log start moves exactly as far as asked, and stays there through crashes.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::errors::ErrorCode;
use floe_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::{Expectation, Tp};

/// Deletes the head of one partition.
pub struct DeleteRecords {
    tp: Option<Tp>,
    before: i64,
    expected: Option<Expectation>,
}

impl DeleteRecords {
    /// Any partition, up to any offset it is known to have reached; now and then up to its end.
    pub fn draw(cx: &mut Cx<'_>) -> DeleteRecords {
        // A topic that is compacted alone has nothing deleted in any other way.
        let partitions = cx.topics.live_partitions().into_iter().filter(|tp| !cx.oracle.is_compacted(*tp));
        let partitions: Vec<Tp> = partitions.collect();
        if partitions.is_empty() {
            return DeleteRecords { tp: None, before: 0, expected: None };
        }
        let tp = *cx.rng.pick(&partitions);
        let end = cx.oracle.known_high_watermark(tp);
        let before = if cx.rng.percent(5) { -1 } else { cx.rng.below(end as u64 + 1) as i64 };
        DeleteRecords { tp: Some(tp), before, expected: None }
    }
}

impl Op for DeleteRecords {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        let tp = self.tp?;
        if !cx.topics.is_live(tp.topic) {
            return None;
        }
        // "Up to the end" is known only to the broker, and a lost attempt may still come to pass.
        cx.oracle.deleting(tp, if self.before < 0 { i64::MAX } else { self.before });
        self.expected = Some(cx.oracle.expect(tp));
        let version = cx.rng.range(0, 2) as i16;
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Cow::Borrowed(cx.topics.get(tp.topic).name.as_str()),
                partitions: vec![DeleteRecordsPartition { partition_index: tp.partition, offset: self.before }],
            }],
            timeout_ms: 30_000,
        };
        Some((ApiKey::DeleteRecords, version, encode(&request, version)))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let (Some(tp), Some(expected)) = (self.tp, self.expected) else { return Step::Done };
        let decoded = decode::<DeleteRecordsResponse>(cx, "DeleteRecords", body, version);
        let Some(response) = decoded else { return Step::Done };
        let Some(result) = response.topics.first().and_then(|t| t.partitions.first()) else {
            cx.oracle.fail(format!("{tp}: DeleteRecords: no result"));
            return Step::Done;
        };
        let live = cx.topics.is_live(tp.topic);
        match cx.judge(result.error_code, &format!("{tp}: DeleteRecords"), live) {
            Verdict::Done => {
                if self.before >= 0 && result.low_watermark < self.before {
                    let (low, before) = (result.low_watermark, self.before);
                    cx.oracle.fail(format!("{tp}: DeleteRecords before {before} answered {low}"));
                }
                if !cx.oracle.has_lost_since(tp, &expected) {
                    cx.oracle.deleted(tp, result.low_watermark);
                }
            }
            Verdict::Retry | Verdict::Refused if !cx.winding_down => return Step::Again(20_000_000),
            Verdict::Retry | Verdict::Refused | Verdict::Gone => {}
            // A crash may have taken the records that this would have deleted.
            Verdict::Other(ErrorCode::OFFSET_OUT_OF_RANGE) if cx.oracle.may_have_lost(tp) => {}
            other => cx.oracle.fail(format!("{tp}: DeleteRecords before {}: {other:?}", self.before)),
        }
        Step::Done
    }

    fn describe(&self) -> String {
        format!("DeleteRecords {:?} before {}", self.tp, self.before)
    }
}
