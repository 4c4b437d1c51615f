//! ConsumerGroupHeartbeat (68): everything a KIP-848 member says to its coordinator.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, GroupAnswer, GroupRequest};
use crate::shard::Shard;
use crate::time::Time;

/// First version whose members choose their ids themselves (KIP-1082).
const CHOOSES_ID_SINCE: i16 = 1;

impl Shard {
    pub(super) fn consumer_heartbeat(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ConsumerGroupHeartbeatRequest::decode_all(body, caller.version)?;
        let owned = request.topic_partitions.as_deref();
        bounded(owned.unwrap_or_default().iter().map(|topic| topic.partitions.len()))?;
        bounded(std::iter::once(request.subscribed_topic_names.as_ref().map_or(0, Vec::len)))?;
        if caller.version >= CHOOSES_ID_SINCE && request.member_id.is_empty() {
            let ending = reply(
                &caller,
                GroupAnswer::ConsumerHeartbeat(ConsumerHeartbeatAnswer {
                    error_code: codes::INVALID_REQUEST,
                    error_message: Some("MemberId can't be empty.".into()),
                    ..ConsumerHeartbeatAnswer::default()
                }),
            );
            self.finish(caller, ending, fx);
            return Ok(());
        }
        if owned.is_some() {
            // It says what it has when that has changed: so it has taken in what it was to have.
            self.hold_ends(now, caller.conn, fx);
        }
        let topics = request.subscribed_topic_names.as_ref();
        let heartbeat = ConsumerHeartbeat {
            member: (&*request.member_id).into(),
            member_epoch: request.member_epoch,
            instance: kept(request.instance_id.as_deref()),
            rack: kept(request.rack_id.as_deref()),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            topics: topics.map(|names| names.iter().map(|name| (&**name).into()).collect()),
            expression: kept(request.subscribed_topic_regex.as_deref()),
            assignor: kept(request.server_assignor.as_deref()),
            owned: owned.map(|topics| topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect()),
        };
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::ConsumerHeartbeat(heartbeat));
        self.call_groups(now, caller, Kind::ConsumerHeartbeat, vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: GroupAnswer) -> Ending {
    let GroupAnswer::ConsumerHeartbeat(answer) = answer else { unreachable!("{answer:?} to a heartbeat") };
    let assignment = answer.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
        Assignment { topic_partitions: topics.collect() }
    });
    let response = ConsumerGroupHeartbeatResponse {
        throttle_time_ms: 0,
        error_code: answer.error_code,
        error_message: answer.error_message.as_deref().map(Cow::Borrowed),
        member_id: answer.member.as_deref().map(Cow::Borrowed),
        member_epoch: answer.member_epoch,
        heartbeat_interval_ms: answer.heartbeat_interval_ms,
        assignment,
    };
    caller.reply(&response, Vec::new())
}
