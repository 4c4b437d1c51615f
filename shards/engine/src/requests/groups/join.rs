//! JoinGroup (11): a member asks to be in a group's next generation. Its answer may take as long as a rebalance.

use std::borrow::Cow;
use std::iter::once;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use floe_wire::primitives::DecodeError;

use super::super::Caller;
use super::super::split::bounded;
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest, Join};
use crate::shard::Shard;
use crate::time::Time;

/// First version that joins again with the id it was given (KIP-394).
const NEEDS_MEMBER_ID_SINCE: i16 = 4;
/// First version that understands `skip_assignment` (KIP-814).
const SKIPS_ASSIGNMENT_SINCE: i16 = 9;
/// First version that understands a protocol that is null.
const NULL_PROTOCOL_SINCE: i16 = 7;

impl Shard {
    pub(super) fn join_group(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = JoinGroupRequest::decode_all(body, caller.version)?;
        bounded(once(request.protocols.len()))?;
        let protocols = request.protocols.iter();
        let join = Join {
            member: (&*request.member_id).into(),
            instance: kept(request.group_instance_id.as_deref()),
            protocol_type: (&*request.protocol_type).into(),
            protocols: protocols.map(|p| ((&*p.name).into(), Bytes::copy_from_slice(&p.metadata))).collect(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: match caller.version {
                0 => request.session_timeout_ms,
                _ => request.rebalance_timeout_ms,
            },
            needs_member_id: caller.version >= NEEDS_MEMBER_ID_SINCE,
            may_skip_assignment: caller.version >= SKIPS_ASSIGNMENT_SINCE,
            reason: kept(request.reason.as_deref()),
        };
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::Join(join));
        self.call_groups(now, caller, Kind::Join, vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: GroupAnswer) -> Ending {
    let GroupAnswer::Joined(joined) = answer else { unreachable!("{answer:?} to a join") };
    let members = joined.members.iter().map(|(member, instance, metadata)| JoinGroupResponseMember {
        member_id: Cow::Borrowed(member),
        group_instance_id: instance.as_deref().map(Cow::Borrowed),
        metadata: Cow::Borrowed(metadata),
    });
    let protocol = joined.protocol.as_deref().or((caller.version < NULL_PROTOCOL_SINCE).then_some(""));
    let response = JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: joined.error_code,
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref().map(Cow::Borrowed),
        protocol_name: protocol.map(Cow::Borrowed),
        leader: Cow::Borrowed(&joined.leader),
        skip_assignment: joined.skip_assignment,
        member_id: Cow::Borrowed(&joined.member),
        members: members.collect(),
    };
    caller.reply(&response, Vec::new())
}
