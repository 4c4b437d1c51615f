//! Heartbeat (12): a classic member is alive, and learns whether it has to join again.

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::primitives::DecodeError;

use super::super::Caller;
use super::{Client, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{GroupAnswer, GroupRequest, MemberRef};
use crate::shard::Shard;
use crate::time::Time;

impl Shard {
    pub(super) fn heartbeat(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = HeartbeatRequest::decode_all(body, caller.version)?;
        let who = MemberRef {
            member: (&*request.member_id).into(),
            instance: kept(request.group_instance_id.as_deref()),
            generation: request.generation_id,
        };
        let call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::Heartbeat(who));
        self.call_groups(now, caller, Kind::Heartbeat, vec![call], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: GroupAnswer) -> Ending {
    let GroupAnswer::Heartbeat(error_code) = answer else { unreachable!("{answer:?} to a heartbeat") };
    caller.reply(&HeartbeatResponse { throttle_time_ms: 0, error_code }, Vec::new())
}
