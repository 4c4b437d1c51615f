//! Lies about consumer groups and compacted segments: requests that say something else than was sent, and batches that compaction writes without
//! their records.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use floe_engine::event::Reply;
use floe_wire::messages::Message;
use floe_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use floe_wire::messages::join_group::JoinGroupRequest;
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use floe_wire::messages::sync_group::SyncGroupRequest;

use super::frames::{answer, asked, framed};
use crate::bare::batch::crc32c;
use crate::workload::groups::assignment::Subscription;

/// One of so many batches that compaction writes loses its records.
const BATCHES_PER_LOSS: u64 = 4;

/// The answer to this request, if it is a commit of offsets: all of them are committed.
pub(super) fn commit_answer(frame: &Bytes) -> Option<Reply> {
    let (header, mut reader) = asked(frame, 8)?;
    let request = OffsetCommitRequest::decode(&mut reader, header.api_version).ok()?;
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|p| OffsetCommitResponsePartition { partition_index: p.partition_index, error_code: 0 })
            .collect(),
    });
    let response = OffsetCommitResponse { throttle_time_ms: 0, topics: topics.collect() };
    answer(&header, &response)
}

/// The same request, if it is a leader's, that gives every member what the first one gets.
pub(super) fn all_get_the_same(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 14)?;
    let mut request = SyncGroupRequest::decode(&mut reader, header.api_version).ok()?;
    let first = request.assignments.first()?.assignment.clone().into_owned();
    for one in &mut request.assignments {
        one.assignment = Cow::Owned(first.clone());
    }
    Some(framed(&header, &request))
}

/// The same request, if it is the heartbeat of a member with an epoch, that says it owns nothing.
pub(super) fn owns_nothing(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 68)?;
    let mut request = ConsumerGroupHeartbeatRequest::decode(&mut reader, header.api_version).ok()?;
    if request.member_epoch <= 0 {
        return None;
    }
    request.topic_partitions = Some(Vec::new());
    Some(framed(&header, &request))
}

/// The same request, if it is the join of a classic member to a group that was seen to be joined by one of the other protocol (`mixed` remembers these),
/// that says it owns nothing.
pub(super) fn joins_with_nothing(frame: &Bytes, mixed: &mut BTreeSet<String>) -> Option<Bytes> {
    if let Some((header, mut reader)) = asked(frame, 68) {
        let request = ConsumerGroupHeartbeatRequest::decode(&mut reader, header.api_version).ok()?;
        mixed.insert(request.group_id.into_owned());
        return None;
    }
    let (header, mut reader) = asked(frame, 11)?;
    let mut request = JoinGroupRequest::decode(&mut reader, header.api_version).ok()?;
    if !mixed.contains(&*request.group_id) {
        return None;
    }
    for protocol in &mut request.protocols {
        let subscription = Subscription { owned: Vec::new(), ..Subscription::decode(&protocol.metadata)? };
        protocol.metadata = Cow::Owned(subscription.encode());
    }
    Some(framed(&header, &request))
}

/// Whether a file is a compacted segment: its version stands behind its base offset.
pub(super) fn is_compacted_segment(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("partitions/") && name.ends_with(".log") && name.contains('-')
}

/// Takes the records out of some of the whole batches in these bytes of a segment; `count` goes on from file to file.
pub(super) fn without_some_records(data: &[u8], count: &mut u64) -> Bytes {
    const HEADER: usize = 61;
    const ALIGNED: usize = 4096;
    // Direct writes come from aligned memory.
    let mut memory = vec![0; data.len() + ALIGNED];
    let from = memory.as_ptr().align_offset(ALIGNED);
    let out = &mut memory[from..from + data.len()];
    out.copy_from_slice(data);
    let mut at = 0;
    while at + HEADER <= out.len() {
        let len = i32::from_be_bytes(out[at + 8..at + 12].try_into().expect("4 bytes"));
        let end = at + 12 + len.max(0) as usize;
        if out[at + 16] != 2 || len < (HEADER - 12) as i32 || end > out.len() {
            break;
        }
        *count += 1;
        if count.is_multiple_of(BATCHES_PER_LOSS) {
            out[at + 57..at + 61].fill(0);
            let crc = crc32c(&out[at + 21..end]).to_be_bytes();
            out[at + 17..at + 21].copy_from_slice(&crc);
        }
        at = end;
    }
    Bytes::from(memory).slice(from..from + data.len())
}
