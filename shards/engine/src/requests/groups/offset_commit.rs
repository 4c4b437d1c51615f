//! OffsetCommit (8): how far a group has come. What is not there is answered here, partition by partition; topics are named by id from version 10.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::super::Caller;
use super::super::split::bounded;
use super::chosen::{Chosen, Places};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Commit, GroupAnswer, GroupRequest, MemberRef};
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
    places: Places,
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
        let mut response = OffsetCommitResponse::default();
        let mut chosen = Chosen::default();
        for asked in &request.topics {
            let found = self.topic(&asked.name, asked.topic_id, caller.version >= BY_ID_SINCE);
            let named = asked.partitions.iter().map(|part| {
                let metadata = part.committed_metadata.as_deref();
                (part.partition_index, part.committed_offset, part.committed_leader_epoch, metadata)
            });
            let codes = chosen.take(found, named);
            let partitions = asked.partitions.iter().zip(codes).map(|(part, error_code)| {
                OffsetCommitResponsePartition { partition_index: part.partition_index, error_code }
            });
            response.topics.push(OffsetCommitResponseTopic {
                name: Cow::Owned(asked.name.clone().into_owned()),
                topic_id: asked.topic_id,
                partitions: partitions.collect(),
            });
        }
        let Some((topics, places)) = chosen.asked() else {
            let ending = caller.reply(&response, Vec::new());
            self.finish(caller, ending, fx);
            return Ok(());
        };
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
        self.call_groups(now, caller, Kind::Commit(Committing { response, places }), vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, committing: Committing, answer: GroupAnswer) -> Ending {
    let Committing { mut response, places } = committing;
    places.fill(answer, |topic, place, code| response.topics[topic].partitions[place].error_code = code);
    caller.reply(&response, Vec::new())
}
