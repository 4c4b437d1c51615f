//! OffsetCommit (8): how far a group has come. What is not there is answered here, partition by partition; topics are named by id from version 10.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Commit, CommitTopic, GroupAnswer, GroupRequest, MemberRef};
use crate::shard::Shard;
use crate::time::Time;

/// First version whose topics are named by id.
const BY_ID_SINCE: i16 = 10;
/// First version that a KIP-848 member may commit with.
const KNOWS_EPOCHS_SINCE: i16 = 9;

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Committing {
    response: OffsetCommitResponse<'static>,
    /// For each topic that was asked of the coordinator: its place in the answer, and its partitions' places in that.
    places: Vec<(usize, Vec<usize>)>,
}

impl Shard {
    pub(super) fn offset_commit(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = OffsetCommitRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mut committing = Committing { response: OffsetCommitResponse::default(), places: Vec::new() };
        let mut topics = Vec::new();
        for asked in &request.topics {
            let found = self.topic(&asked.name, asked.topic_id, caller.version >= BY_ID_SINCE);
            let (mut partitions, mut places) = (Vec::new(), Vec::new());
            let mut answer = OffsetCommitResponseTopic {
                name: Cow::Owned(asked.name.clone().into_owned()),
                topic_id: asked.topic_id,
                partitions: Vec::with_capacity(asked.partitions.len()),
            };
            for part in &asked.partitions {
                let error_code = match &found {
                    Ok(topic) if topic.has(part.partition_index) => codes::NONE,
                    Ok(_) => codes::UNKNOWN_TOPIC_OR_PARTITION,
                    Err(code) => *code,
                };
                if error_code == codes::NONE {
                    let metadata: Arc<str> = part.committed_metadata.as_deref().unwrap_or_default().into();
                    let epoch = part.committed_leader_epoch;
                    places.push(answer.partitions.len());
                    partitions.push((part.partition_index, part.committed_offset, epoch, metadata));
                }
                let partition_index = part.partition_index;
                answer.partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
            }
            if let (Ok(topic), false) = (found, partitions.is_empty()) {
                committing.places.push((committing.response.topics.len(), places));
                topics.push(CommitTopic { name: topic.name.as_str().into(), id: topic.id, partitions });
            }
            committing.response.topics.push(answer);
        }
        if topics.is_empty() && !request.topics.is_empty() {
            let ending = reply(&caller, committing, None);
            self.finish(caller, ending, fx);
            return Ok(());
        }
        let commit = Commit {
            who: MemberRef {
                member: (&*request.member_id).into(),
                instance: kept(request.group_instance_id.as_deref()),
                generation: request.generation_id_or_member_epoch,
            },
            knows_epochs: caller.version >= KNOWS_EPOCHS_SINCE,
            retention_ms: request.retention_time_ms,
            topics,
        };
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::Commit(commit));
        self.call_groups(now, caller, Kind::Commit(committing), vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, committing: Committing, answer: Option<GroupAnswer>) -> Ending {
    let mut response = committing.response;
    if let Some(answer) = answer {
        let GroupAnswer::Committed(committed) = answer else { unreachable!("{answer:?} to a commit") };
        for ((topic, places), codes) in committing.places.iter().zip(committed) {
            for (place, code) in places.iter().zip(codes) {
                response.topics[*topic].partitions[*place].error_code = code;
            }
        }
    }
    caller.reply(&response, Vec::new())
}
