//! DeleteGroups (42): groups without members are forgotten, with their offsets.

use std::borrow::Cow;
use std::iter::once;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use floe_wire::primitives::DecodeError;

use super::super::Caller;
use super::super::split::bounded;
use super::{Client, Kind};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn delete_groups(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DeleteGroupsRequest::decode_all(body, caller.version)?;
        bounded(once(request.groups_names.len()))?;
        let groups: Vec<Arc<str>> = request.groups_names.iter().map(|group| (&**group).into()).collect();
        let calls = groups.iter().map(|group| Shard::group_call(client, group.clone(), GroupRequest::Delete));
        let calls = calls.collect();
        self.call_groups(now, caller, Kind::Delete(groups), calls, fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, groups: &[Arc<str>], answers: impl Iterator<Item = GroupAnswer>) -> Ending {
    let results = groups.iter().zip(answers).map(|(group, answer)| match answer {
        GroupAnswer::Deleted(error_code) => DeletableGroupResult { group_id: Cow::Borrowed(group), error_code },
        answer => unreachable!("{answer:?} to a delete"),
    });
    let response = DeleteGroupsResponse { throttle_time_ms: 0, results: results.collect() };
    caller.reply(&response, Vec::new())
}
