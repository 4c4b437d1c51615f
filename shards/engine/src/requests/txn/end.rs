//! EndTxn (26): commit or abort. Answered when the end is decided durably; markers follow.

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, codes};
use super::{Kind, fenced_before};
use crate::connection::Ending;
use crate::event::Effects;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Producer, TxnAnswer, TxnRequest, needs_fresh};

/// First version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;
/// First version that gives the producer another epoch (KIP-890).
const BUMPS_SINCE: i16 = 5;

impl Shard {
    pub(super) fn end_txn(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        may_ask: bool,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = EndTxnRequest::decode_all(body, caller.version)?;
        let bumps_epoch = caller.version >= BUMPS_SINCE;
        let mut fresh = None;
        if bumps_epoch && needs_fresh(request.producer_epoch) {
            fresh = self.fresh_producer_id(caller, body, may_ask, fx);
            if fresh.is_none() {
                if !may_ask {
                    let answer = TxnAnswer::Ended(Err(codes::COORDINATOR_LOAD_IN_PROGRESS));
                    self.finish(caller, reply(&caller, answer), fx);
                }
                return Ok(());
            }
        }
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let end = TxnRequest::End { producer, committed: request.committed, bumps_epoch, fresh };
        self.call_txns(now, caller, Kind::End, vec![((&*request.transactional_id).into(), end)], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: TxnAnswer) -> Ending {
    let response = match answer {
        TxnAnswer::Ended(Ok(producer)) => {
            EndTxnResponse { producer_id: producer.id, producer_epoch: producer.epoch, ..EndTxnResponse::default() }
        }
        TxnAnswer::Ended(Err(code)) => {
            EndTxnResponse { error_code: fenced_before(caller, FENCED_SINCE, code), ..EndTxnResponse::default() }
        }
        answer => unreachable!("{answer:?} to an end"),
    };
    caller.reply(&response, Vec::new())
}
