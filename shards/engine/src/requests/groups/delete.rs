//! DeleteGroups (42): groups without members are forgotten, with their offsets.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, operations};
use super::{Client, Kind, Named};
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
        let each = (GroupRequest::Delete, operations::NOT_ASKED, Kind::Delete as _);
        self.call_each(now, caller, client, &request.groups_names, each, fx)
    }
}

pub(super) fn reply(caller: &Caller, named: &Named, answers: impl Iterator<Item = GroupAnswer>) -> Ending {
    let results = named.groups.iter().zip(answers).map(|(group, answer)| match answer {
        GroupAnswer::Deleted(error_code) => DeletableGroupResult { group_id: Cow::Borrowed(group), error_code },
        answer => unreachable!("{answer:?} to a delete"),
    });
    let response = DeleteGroupsResponse { throttle_time_ms: 0, results: results.collect() };
    caller.reply(&response, Vec::new())
}
