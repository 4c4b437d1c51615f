//! ListGroups (16): asks every partition of `__consumer_offsets` for its groups.

use std::borrow::Cow;
use std::iter::once;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::OFFSETS_TOPIC;
use crate::group::api::{GroupAnswer, GroupCall, GroupRequest, ListFilter};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn list_groups(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ListGroupsRequest::decode_all(body, caller.version)?;
        bounded(once(request.states_filter.len() + request.types_filter.len()))?;
        let texts = |texts: &[Cow<'_, str>]| texts.iter().map(|text| text.clone().into_owned()).collect();
        let filter = ListFilter { states: texts(&request.states_filter), types: texts(&request.types_filter) };
        let partitions = self.image.topic(OFFSETS_TOPIC).map_or(0, |topic| topic.partitions);
        let call = |partition| {
            let call = Shard::group_call(client, "".into(), GroupRequest::List(filter.clone()));
            GroupCall { partition, ..call }
        };
        self.call_groups(now, caller, Kind::List, (0..partitions).map(call).collect(), fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answers: impl Iterator<Item = GroupAnswer>) -> Ending {
    let answers: Vec<GroupAnswer> = answers.collect();
    let mut response = ListGroupsResponse::default();
    for answer in &answers {
        match answer {
            GroupAnswer::Listed(Ok(groups)) => {
                response.groups.extend(groups.iter().map(|listed| ListedGroup {
                    group_id: Cow::Borrowed(&listed.group),
                    protocol_type: Cow::Borrowed(&listed.protocol_type),
                    group_state: Cow::Borrowed(listed.state),
                    group_type: Cow::Borrowed(listed.kind),
                }));
            }
            // As Kafka has it: who asks wants to know what is here, and there is nothing.
            GroupAnswer::Listed(Err(codes::NOT_COORDINATOR)) => {}
            GroupAnswer::Listed(Err(code)) => response.error_code = *code,
            answer => unreachable!("{answer:?} to a list"),
        }
    }
    if response.error_code != codes::NONE {
        response.groups.clear();
    }
    caller.reply(&response, Vec::new())
}
