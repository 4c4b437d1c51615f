//! SyncGroup (14): a member asks for its assignment, which the leader brings. Its answer waits for that.

use std::borrow::Cow;
use std::iter::once;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest, MemberRef, Sync, Synced};
use crate::shard::Shard;
use crate::time::Time;

/// First version that says what it believes the group agreed on (KIP-559), and has to.
const NAMES_PROTOCOL_SINCE: i16 = 5;

impl Shard {
    pub(super) fn sync_group(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = SyncGroupRequest::decode_all(body, caller.version)?;
        bounded(once(request.assignments.len()))?;
        let named = request.protocol_type.is_some() && request.protocol_name.is_some();
        if caller.version >= NAMES_PROTOCOL_SINCE && !named {
            let ending = reply(&caller, Synced::error(codes::INCONSISTENT_GROUP_PROTOCOL));
            self.finish(caller, ending, fx);
            return Ok(());
        }
        let assignments = request.assignments.iter();
        let sync = Sync {
            who: MemberRef {
                member: (&*request.member_id).into(),
                instance: kept(request.group_instance_id.as_deref()),
                generation: request.generation_id,
            },
            protocol_type: kept(request.protocol_type.as_deref()),
            protocol: kept(request.protocol_name.as_deref()),
            assignments: assignments.map(|a| ((&*a.member_id).into(), Bytes::copy_from_slice(&a.assignment))).collect(),
        };
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::Sync(sync));
        self.call_groups(now, caller, Kind::Sync, vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: GroupAnswer) -> Ending {
    let GroupAnswer::Synced(synced) = answer else { unreachable!("{answer:?} to a sync") };
    let response = SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: synced.error_code,
        protocol_type: synced.protocol_type.as_deref().map(Cow::Borrowed),
        protocol_name: synced.protocol.as_deref().map(Cow::Borrowed),
        assignment: Cow::Borrowed(&synced.assignment),
    };
    caller.reply(&response, Vec::new())
}
