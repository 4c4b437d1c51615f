//! FindCoordinator (10): this broker coordinates every group and every transactional id. The first one to ask has `__consumer_offsets` or
//! `__transaction_state` made, and is answered then.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse, GROUP, SHARE, TRANSACTION,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, Wait, codes};
use crate::event::Effects;
use crate::group::OFFSETS_TOPIC;
use crate::metadata::Change;
use crate::shard::Shard;
use crate::txn::TXN_TOPIC;

/// First version that names several groups (KIP-699).
const SEVERAL_SINCE: i16 = 4;
/// First version that knows share groups (KIP-932).
const SHARES_SINCE: i16 = 6;

impl Shard {
    pub(in crate::requests) fn find_coordinator(
        &mut self,
        caller: Caller,
        body: &Bytes,
        may_create: bool,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = FindCoordinatorRequest::decode_all(body, caller.version)?;
        bounded(std::iter::once(request.coordinator_keys.len()))?;
        let topic = match request.key_type {
            GROUP => Ok(OFFSETS_TOPIC),
            TRANSACTION => Ok(TXN_TOPIC),
            SHARE if caller.version >= SHARES_SINCE => Err(codes::COORDINATOR_NOT_AVAILABLE),
            _ => Err(codes::INVALID_REQUEST),
        };
        let error_code = match topic {
            Ok(topic) if self.image.topic(topic).is_some() => codes::NONE,
            Ok(topic) if may_create => {
                let token = self.wait(caller, Wait::Coordinator(body.clone()));
                let topic = self.internal_topic(topic).expect("it is one");
                self.change(token, Change::Create(vec![topic]), fx);
                return Ok(());
            }
            // It could not be made: the client asks again.
            Ok(_) => codes::COORDINATOR_NOT_AVAILABLE,
            Err(code) => code,
        };
        let listener = self.connections.get(&caller.conn).map_or(0, |connection| connection.listener);
        let Some(listener) = self.config.listeners.get(usize::from(listener)) else { return Ok(()) };
        let (node_id, host, port) = match error_code {
            codes::NONE => {
                (self.config.node_id, listener.advertised_host.as_str(), i32::from(listener.advertised_port))
            }
            _ => (-1, "", -1),
        };
        let mut response = FindCoordinatorResponse::default();
        if caller.version < SEVERAL_SINCE {
            (response.error_code, response.node_id, response.port) = (error_code, node_id, port);
            response.host = Cow::Borrowed(host);
            response.error_message = Some(Cow::Borrowed(message(error_code)));
        } else {
            let coordinators = request.coordinator_keys.iter().map(|key| Coordinator {
                key: Cow::Borrowed(key),
                node_id,
                host: Cow::Borrowed(host),
                port,
                error_code,
                error_message: Some(Cow::Borrowed(message(error_code))),
            });
            response.coordinators = coordinators.collect();
        }
        let ending = caller.reply(&response, Vec::new());
        self.finish(caller, ending, fx);
        Ok(())
    }
}

fn message(error_code: i16) -> &'static str {
    match error_code {
        codes::NONE => "",
        codes::INVALID_REQUEST => "There are no coordinators of this type.",
        _ => "The coordinator is not available.",
    }
}
