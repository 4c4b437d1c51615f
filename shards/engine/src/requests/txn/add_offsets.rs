//! AddOffsetsToTxn (25): the group's partition of `__consumer_offsets` joins the transaction. The topic is made when nobody has asked for a group before.

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use floe_wire::primitives::DecodeError;

use super::super::{Caller, Wait, codes};
use super::{Kind, fenced_before};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::{Name, OFFSETS_TOPIC, partition_of};
use crate::metadata::Change;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Adding, Producer, TxnAnswer, TxnRequest};

/// First version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

impl Shard {
    pub(in crate::requests) fn add_offsets_to_txn(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        may_create: bool,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = AddOffsetsToTxnRequest::decode_all(body, caller.version)?;
        let Some(topic) = self.image.topic(OFFSETS_TOPIC) else {
            if may_create {
                let token = self.wait(caller, Wait::Coordinator(body.clone()));
                let topic = self.internal_topic(OFFSETS_TOPIC).expect("it is one");
                self.change(token, Change::Create(vec![topic]), fx);
            } else {
                let answer = TxnAnswer::Added(Err(codes::COORDINATOR_NOT_AVAILABLE));
                self.finish(caller, reply(&caller, answer), fx);
            }
            return Ok(());
        };
        let partition = partition_of(&request.group_id, topic.partitions);
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let topics = vec![(Name::from(OFFSETS_TOPIC), vec![partition])];
        let add = TxnRequest::AddPartitions { producer, topics, adding: Adding::Named, beside: false };
        self.call_txns(now, caller, Kind::AddOffsets, vec![((&*request.transactional_id).into(), add)], fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, answer: TxnAnswer) -> Ending {
    let error_code = match answer {
        TxnAnswer::Added(Ok(_)) => codes::NONE,
        TxnAnswer::Added(Err(code)) => fenced_before(caller, FENCED_SINCE, code),
        answer => unreachable!("{answer:?} to added offsets"),
    };
    caller.reply(&AddOffsetsToTxnResponse { throttle_time_ms: 0, error_code }, Vec::new())
}
