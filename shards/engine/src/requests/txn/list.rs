//! ListTransactions (66): asks every partition of `__transaction_state` for its transactional ids.

use std::borrow::Cow;
use std::iter::once;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse, TransactionState};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, Wait, codes};
use super::{Kind, TxnWait};
use crate::connection::Ending;
use crate::event::Effects;
use crate::expressions::Expression;
use crate::mesh::Call;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::TXN_TOPIC;
use crate::txn::api::{TxnAnswer, TxnCall, TxnFilter, TxnRequest};
use crate::txn::records::State;

/// What the answer needs of the request.
#[derive(Debug)]
pub struct Listing {
    unknown_states: Vec<String>,
    pattern: Option<Expression>,
}

impl Shard {
    pub(super) fn list_transactions(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = ListTransactionsRequest::decode_all(body, caller.version)?;
        bounded(once(request.state_filters.len() + request.producer_id_filters.len()))?;
        let known = |state: &&Cow<'_, str>| State::ALL.iter().any(|known| known.name() == state.as_ref());
        let unknown_states = request.state_filters.iter().filter(|state| !known(state));
        let unknown_states = unknown_states.map(|state| state.clone().into_owned()).collect();
        let pattern = request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = match pattern.map(Expression::new).transpose() {
            Ok(pattern) => pattern,
            Err(_) => {
                let error_code = codes::INVALID_REGULAR_EXPRESSION;
                let response = ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() };
                self.finish(caller, caller.reply(&response, Vec::new()), fx);
                return Ok(());
            }
        };
        let kind = Kind::List(Listing { unknown_states, pattern });
        let filter = TxnFilter {
            states: request.state_filters.iter().map(|state| state.clone().into_owned()).collect(),
            producers: request.producer_id_filters.clone(),
            longer_than_ms: request.duration_filter,
        };
        let Some(topic) = self.image.topic(TXN_TOPIC).cloned() else {
            self.txn_end(caller, kind, Vec::new(), fx);
            return Ok(());
        };
        let answers = (0..topic.partitions).map(|_| None).collect();
        let wait = TxnWait { kind, answers, left: topic.partitions as usize };
        let token = self.wait(caller, Wait::Txn(Box::new(wait)));
        for (partition, at) in (0..topic.partitions).zip(0..) {
            let owner = topic.shard_of(partition, self.shards);
            let call = TxnCall { partition, id: "".into(), request: TxnRequest::List(filter.clone()) };
            self.call(now, owner, token, Call::Txn { at, call: Box::new(call) }, fx);
        }
        Ok(())
    }
}

pub(super) fn reply(caller: &Caller, listing: Listing, answers: impl Iterator<Item = TxnAnswer>) -> Ending {
    let mut response = ListTransactionsResponse::default();
    for answer in answers {
        match answer {
            TxnAnswer::Listed(Ok(all)) => {
                let fits = |id: &str| listing.pattern.as_ref().is_none_or(|pattern| pattern.matches(id));
                let all = all.into_iter().filter(|listed| fits(&listed.id));
                response.transaction_states.extend(all.map(|listed| TransactionState {
                    transactional_id: Cow::Owned(listed.id.to_string()),
                    producer_id: listed.producer_id,
                    transaction_state: Cow::Borrowed(listed.state),
                }));
            }
            // Who asks wants to know what is here, and there is nothing.
            TxnAnswer::Listed(Err(codes::NOT_COORDINATOR)) => {}
            TxnAnswer::Listed(Err(code)) => response.error_code = code,
            answer => unreachable!("{answer:?} to a list"),
        }
    }
    if response.error_code != codes::NONE {
        response.transaction_states.clear();
    }
    response.unknown_state_filters = listing.unknown_states.into_iter().map(Cow::Owned).collect();
    caller.reply(&response, Vec::new())
}
