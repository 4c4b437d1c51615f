//! LeaveGroup (13): members of a classic group go. One of them up to version 2, several from version 3 (KIP-345).

use std::borrow::Cow;
use std::iter::once;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest, Leaver};
use crate::shard::Shard;
use crate::time::Time;

/// First version that names several.
const SEVERAL_SINCE: i16 = 3;

/// Who asked to leave: member and instance.
pub(super) type Leaving = Vec<(Arc<str>, Option<Arc<str>>)>;

impl Shard {
    pub(super) fn leave_group(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = LeaveGroupRequest::decode_all(body, caller.version)?;
        bounded(once(request.members.len()))?;
        let leavers: Vec<Leaver> = if caller.version < SEVERAL_SINCE {
            vec![Leaver { member: (&*request.member_id).into(), instance: None, reason: None }]
        } else {
            let leavers = request.members.iter().map(|member| Leaver {
                member: (&*member.member_id).into(),
                instance: kept(member.group_instance_id.as_deref()),
                reason: kept(member.reason.as_deref()),
            });
            leavers.collect()
        };
        let leaving = leavers.iter().map(|leaver| (leaver.member.clone(), leaver.instance.clone())).collect();
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::Leave(leavers));
        self.call_groups(now, caller, Kind::Leave(leaving), vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, leaving: &Leaving, answer: GroupAnswer) -> Ending {
    let GroupAnswer::Left(left) = answer else { unreachable!("{answer:?} to a leave") };
    let mut response = LeaveGroupResponse::default();
    match left {
        Err(code) => response.error_code = code,
        // There is no room for the one member's own code.
        Ok(of_members) if caller.version < SEVERAL_SINCE => {
            response.error_code = of_members.first().copied().unwrap_or(codes::NONE);
        }
        Ok(of_members) => {
            let members = leaving.iter().zip(of_members).map(|((member, instance), error_code)| MemberResponse {
                member_id: Cow::Borrowed(member),
                group_instance_id: instance.as_deref().map(Cow::Borrowed),
                error_code,
            });
            response.members = members.collect();
        }
    }
    caller.reply(&response, Vec::new())
}
