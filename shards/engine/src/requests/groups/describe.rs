//! DescribeGroups (15): classic groups with their members.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, codes, operations};
use super::{Client, Kind, Named};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Described, GroupAnswer, GroupRequest};
use crate::shard::Shard;
use crate::time::Time;

/// First version that is told that there is no such group (KIP-1043); older ones are shown a dead one.
const MISSES_SINCE: i16 = 6;

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
        let operations = if request.include_authorized_operations { operations::GROUP } else { operations::NOT_ASKED };
        let each = (GroupRequest::Describe, operations, Kind::Describe as _);
        self.call_each(now, caller, client, &request.groups, each, fx)
    }
}

pub(super) fn reply(caller: &Caller, named: &Named, answers: impl Iterator<Item = GroupAnswer>) -> Ending {
    let described: Vec<Described> = answers
        .map(|answer| match answer {
            GroupAnswer::Described(described) => described,
            answer => unreachable!("{answer:?} to a describe"),
        })
        .collect();
    let groups = named.groups.iter().zip(&described).map(|(group, described)| {
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
            authorized_operations: named.operations,
        }
    });
    let response = DescribeGroupsResponse { throttle_time_ms: 0, groups: groups.collect() };
    caller.reply(&response, Vec::new())
}
