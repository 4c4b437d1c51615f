//! DescribeTransactions (65): what coordinators know of transactional ids (KIP-664).

use std::borrow::Cow;
use std::iter::once;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};
use floe_wire::primitives::DecodeError;

use super::super::Caller;
use super::super::split::bounded;
use super::Kind;
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::Name;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{TxnAnswer, TxnRequest};

impl Shard {
    pub(super) fn describe_transactions(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = DescribeTransactionsRequest::decode_all(body, caller.version)?;
        bounded(once(request.transactional_ids.len()))?;
        let ids: Vec<Name> = request.transactional_ids.iter().map(|id| Name::from(&**id)).collect();
        let calls = ids.iter().map(|id| (id.clone(), TxnRequest::Describe)).collect();
        self.call_txns(now, caller, Kind::Describe(ids), calls, fx);
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, ids: &[Name], answers: impl Iterator<Item = TxnAnswer>) -> Ending {
    let states = ids.iter().zip(answers).map(|(id, answer)| {
        let transactional_id = Cow::Borrowed(&**id);
        match answer {
            TxnAnswer::Described(Ok(txn)) => TransactionState {
                error_code: 0,
                transactional_id,
                transaction_state: Cow::Borrowed(txn.state),
                transaction_timeout_ms: txn.timeout_ms,
                transaction_start_time_ms: txn.start_ms,
                producer_id: txn.producer.id,
                producer_epoch: txn.producer.epoch,
                topics: txn.topics.into_iter().map(topic).collect(),
            },
            TxnAnswer::Described(Err(error_code)) => {
                TransactionState { error_code, transactional_id, ..TransactionState::default() }
            }
            answer => unreachable!("{answer:?} to a describe"),
        }
    });
    let response = DescribeTransactionsResponse { throttle_time_ms: 0, transaction_states: states.collect() };
    caller.reply(&response, Vec::new())
}

fn topic((name, partitions): (Name, Vec<i32>)) -> TopicData<'static> {
    TopicData { topic: Cow::Owned(name.to_string()), partitions }
}
