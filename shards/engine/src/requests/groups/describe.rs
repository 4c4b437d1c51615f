//! DescribeGroups (15): classic groups with their members.

use std::borrow::Cow;
use std::iter::once;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes, operations};
use super::{Client, Kind};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Described, GroupAnswer, GroupRequest};
use crate::shard::Shard;
use crate::time::Time;

/// First version that is told that there is no such group (KIP-1043); older ones are shown a dead one.
const MISSES_SINCE: i16 = 6;

/// Groups to describe, and whether the answer says what may be done with them.
#[derive(Debug)]
pub(super) struct Describing {
    groups: Vec<Arc<str>>,
    operations: i32,
}

impl Shard {
    pub(super) fn describe_groups(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeGroupsRequest::decode_all(body, caller.version)?;
        bounded(once(request.groups.len()))?;
        let groups: Vec<Arc<str>> = request.groups.iter().map(|group| (&**group).into()).collect();
        let calls = groups.iter().map(|group| Shard::group_call(client, group.clone(), GroupRequest::Describe));
        let calls = calls.collect();
        let operations = if request.include_authorized_operations { operations::GROUP } else { operations::NOT_ASKED };
        self.call_groups(now, caller, Kind::Describe(Describing { groups, operations }), calls, fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, describing: &Describing, answers: impl Iterator<Item = GroupAnswer>) -> Ending {
    let described: Vec<Described> = answers
        .map(|answer| match answer {
            GroupAnswer::Described(described) => described,
            answer => unreachable!("{answer:?} to a describe"),
        })
        .collect();
    let groups = describing.groups.iter().zip(&described).map(|(group, described)| {
        let missing = described.error_code == codes::GROUP_ID_NOT_FOUND;
        let members = described.members.iter().map(|member| DescribedGroupMember {
            member_id: Cow::Borrowed(&member.id),
            group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&member.client_id),
            client_host: Cow::Borrowed(&member.client_host),
            member_metadata: Cow::Borrowed(&member.subscription),
            member_assignment: Cow::Borrowed(&member.assignment),
        });
        DescribedGroup {
            error_code: if missing && caller.version < MISSES_SINCE { codes::NONE } else { described.error_code },
            error_message: described.error_message.as_deref().map(Cow::Borrowed),
            group_id: Cow::Borrowed(group),
            group_state: Cow::Borrowed(described.state),
            protocol_type: Cow::Borrowed(&described.protocol_type),
            protocol_data: Cow::Borrowed(&described.protocol),
            members: members.collect(),
            authorized_operations: describing.operations,
        }
    });
    let response = DescribeGroupsResponse { throttle_time_ms: 0, groups: groups.collect() };
    caller.reply(&response, Vec::new())
}
