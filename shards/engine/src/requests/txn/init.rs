//! InitProducerId (22): an identity for a producer; with a transactional id from its coordinator.

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, Wait, codes};
use super::{Kind, fenced_before};
use crate::connection::Ending;
use crate::event::Effects;
use crate::metadata::Change;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Producer, TxnAnswer, TxnRequest};

/// First version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

impl Shard {
    pub(super) fn init_producer_id(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        may_ask: bool,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = InitProducerIdRequest::decode_all(body, caller.version)?;
        let id = request.transactional_id.as_deref();
        let known = match (request.producer_id, request.producer_epoch) {
            (-1, -1) => Ok(None),
            (id, epoch) if id >= 0 && epoch >= 0 => Ok(Some(Producer { id, epoch })),
            _ => Err(codes::INVALID_REQUEST),
        };
        let known = match (id, known) {
            // What is wrong needs no id of its own.
            (Some(""), _) | (_, Err(_)) => {
                self.finish(caller, error(&caller, codes::INVALID_REQUEST), fx);
                return Ok(());
            }
            (_, Ok(known)) => known,
        };
        let Some(fresh) = self.fresh_producer_id(caller, body, may_ask, fx) else {
            if !may_ask {
                self.finish(caller, error(&caller, codes::COORDINATOR_LOAD_IN_PROGRESS), fx);
            }
            return Ok(());
        };
        match id {
            Some(id) => {
                let init = TxnRequest::Init { timeout_ms: request.transaction_timeout_ms, known, fresh };
                self.call_txns(now, caller, Kind::Init, vec![(id.into(), init)], fx);
            }
            None => self.finish(caller, given(&caller, Producer { id: fresh, epoch: 0 }), fx),
        }
        Ok(())
    }

    /// A producer id that nobody else is given. `None`: there is none left here; if it may be asked for more, the request comes again.
    pub(super) fn fresh_producer_id(
        &mut self,
        caller: Caller,
        body: &Bytes,
        may_ask: bool,
        fx: &mut Effects,
    ) -> Option<i64> {
        let fresh = self.producer_ids.next();
        if fresh.is_none() && may_ask {
            let token = self.wait(caller, Wait::ProducerId(body.clone()));
            self.change(token, Change::ProducerIds, fx);
        }
        fresh
    }

    /// The controller was asked for producer ids.
    pub(in crate::requests) fn producer_ids_came(
        &mut self,
        caller: Caller,
        body: &Bytes,
        first: Option<i64>,
        fx: &mut Effects,
    ) {
        // Several may have asked; what is left of an older block is lost, and there are enough.
        if let Some(first) = first {
            self.producer_ids = first..first + crate::limits::PRODUCER_ID_BLOCK;
        }
        let now = self.now();
        let again = match caller.api.key {
            22 => self.init_producer_id(now, caller, body, false, fx),
            _ => self.end_txn(now, caller, body, false, fx),
        };
        again.expect("it could be decoded before");
    }
}

pub(super) fn reply(caller: &Caller, answer: TxnAnswer) -> Ending {
    match answer {
        TxnAnswer::Initialized(Ok(producer)) => given(caller, producer),
        TxnAnswer::Initialized(Err(code)) => error(caller, fenced_before(caller, FENCED_SINCE, code)),
        answer => unreachable!("{answer:?} to an init"),
    }
}

fn given(caller: &Caller, Producer { id, epoch }: Producer) -> Ending {
    let response = InitProducerIdResponse { producer_id: id, producer_epoch: epoch, ..Default::default() };
    caller.reply(&response, Vec::new())
}

fn error(caller: &Caller, error_code: i16) -> Ending {
    let response = InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() };
    caller.reply(&response, Vec::new())
}
