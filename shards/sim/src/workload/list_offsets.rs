//! ListOffsets: start, end and first record at or after a timestamp agree with what is known.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::admin::{Op, Step};
use super::api::ApiKey;
use super::{Cx, Verdict, decode, encode};
use crate::oracle::{Expectation, Tp};

/// The wire's timestamp for "the end".
pub const LATEST: i64 = -1;
/// The wire's timestamp for "the start".
pub const EARLIEST: i64 = -2;

/// Asks one partition for one offset.
pub struct ListOffsets {
    tp: Option<Tp>,
    timestamp_ms: i64,
    expected: Option<Expectation>,
}

impl ListOffsets {
    /// Any partition and any moment of the run, its start and its end among them.
    pub fn draw(cx: &mut Cx<'_>) -> ListOffsets {
        let partitions = cx.topics.live_partitions();
        if partitions.is_empty() {
            return ListOffsets { tp: None, timestamp_ms: 0, expected: None };
        }
        let tp = *cx.rng.pick(&partitions);
        let age_ms = cx.world.now_ns() / 1_000_000;
        let timestamp_ms = match cx.rng.below(10) {
            0 => LATEST,
            1 => EARLIEST,
            2 => 0,
            _ => cx.world.wall_ms() + 2_000 - cx.rng.below(age_ms + 4_000) as i64,
        };
        ListOffsets { tp: Some(tp), timestamp_ms, expected: None }
    }
}

impl Op for ListOffsets {
    fn request(&mut self, cx: &mut Cx<'_>) -> Option<(ApiKey, i16, Bytes)> {
        let tp = self.tp?;
        if !cx.topics.is_live(tp.topic) {
            return None;
        }
        self.expected = Some(cx.oracle.expect(tp));
        Some(request(cx, tp, self.timestamp_ms))
    }

    fn answer(&mut self, cx: &mut Cx<'_>, version: i16, body: &[u8]) -> Step {
        let (Some(tp), Some(expected)) = (self.tp, self.expected) else { return Step::Done };
        match judge(cx, tp, self.timestamp_ms, &expected, version, body) {
            Answer::Again if !cx.winding_down => Step::Again(20_000_000),
            _ => Step::Done,
        }
    }

    fn describe(&self) -> String {
        format!("ListOffsets {:?} at {}", self.tp, self.timestamp_ms)
    }
}

/// What an answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This offset (-1: none).
    Offset(i64),
    /// Not now.
    Again,
    /// The storage refuses, and may.
    Refused,
    /// The topic is gone, or the answer broke a rule.
    Over,
}

/// A request for one offset.
pub fn request(cx: &mut Cx<'_>, tp: Tp, timestamp_ms: i64) -> (ApiKey, i16, Bytes) {
    let version = cx.rng.range(1, 10) as i16;
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Cow::Borrowed(cx.topics.get(tp.topic).name.as_str()),
            partitions: vec![ListOffsetsPartition {
                partition_index: tp.partition,
                current_leader_epoch: -1,
                timestamp: timestamp_ms,
            }],
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    (ApiKey::ListOffsets, version, encode(&request, version))
}

/// Judges the answer to [`request`].
pub fn judge(cx: &mut Cx<'_>, tp: Tp, timestamp_ms: i64, expected: &Expectation, version: i16, body: &[u8]) -> Answer {
    let Some(response) = decode::<ListOffsetsResponse>(cx, "ListOffsets", body, version) else {
        return Answer::Over;
    };
    let Some(result) = response.topics.first().and_then(|t| t.partitions.first()) else {
        cx.oracle.fail(format!("{tp}: ListOffsets: no result"));
        return Answer::Over;
    };
    let live = cx.topics.is_live(tp.topic);
    match cx.judge(result.error_code, &format!("{tp}: ListOffsets {timestamp_ms}"), live) {
        Verdict::Done => {}
        Verdict::Retry => return Answer::Again,
        Verdict::Refused => return Answer::Refused,
        Verdict::Gone => return Answer::Over,
        Verdict::Other(error) => {
            cx.oracle.fail(format!("{tp}: ListOffsets {timestamp_ms}: {}", error.name()));
            return Answer::Over;
        }
    }
    let offset = result.offset;
    match timestamp_ms {
        LATEST => cx.oracle.high_watermark(tp, expected, offset),
        EARLIEST => cx.oracle.log_start(tp, expected, offset),
        _ => {
            let answer = (offset >= 0).then_some((offset, result.timestamp));
            cx.oracle.looked_up(tp, expected, timestamp_ms, answer);
        }
    }
    Answer::Offset(offset)
}
