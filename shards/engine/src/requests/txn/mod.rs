//! Requests about transactions: decoded and held to bounds here, asked of the shard that owns the transactional id's partition of `__transaction_state`,
//! answered when all ids that a request names have answered. One file per API.
//!
//! The produce path and TxnOffsetCommit ask coordinators as well, by [`Shard::call_txn`].

mod add_offsets;
mod add_partitions;
mod describe;
mod end;
mod init;
mod list;
mod markers;

use bytes::Bytes;
use floe_wire::primitives::DecodeError;

use super::{Caller, Pending, Wait, codes};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::{Name, partition_of};
use crate::mesh::Call;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::TXN_TOPIC;
use crate::txn::api::{TxnAnswer, TxnCall, TxnRequest};

pub use markers::MarkersWait;

/// What of a request is needed for its answer.
#[derive(Debug)]
enum Kind {
    Init,
    AddPartitions(Vec<add_partitions::Adding>),
    AddOffsets,
    End,
    Describe(Vec<Name>),
    List(list::Listing),
}

/// A request whose transactional ids have not all answered.
#[derive(Debug)]
pub struct TxnWait {
    kind: Kind,
    /// By call, in their order.
    answers: Vec<Option<TxnAnswer>>,
    left: usize,
}

impl Shard {
    pub(super) fn txn_request(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        match caller.api.key {
            22 => self.init_producer_id(now, caller, body, true, fx),
            24 => self.add_partitions_to_txn(now, caller, body, fx),
            25 => self.add_offsets_to_txn(now, caller, body, true, fx),
            26 => self.end_txn(now, caller, body, true, fx),
            27 => self.write_txn_markers(now, caller, body, fx),
            65 => self.describe_transactions(now, caller, body, fx),
            _ => self.list_transactions(now, caller, body, fx),
        }
    }

    /// Asks the coordinator of a transactional id; the answer comes by `token` with `at`. An error: nobody was asked, and there will be no answer.
    pub(in crate::requests) fn call_txn(
        &mut self,
        now: Time,
        (token, at): (u64, u32),
        id: Name,
        request: TxnRequest,
        fx: &mut Effects,
    ) -> Result<(), i16> {
        let topic = self.image.topic(TXN_TOPIC).ok_or(codes::NOT_COORDINATOR)?;
        let partition = partition_of(&id, topic.partitions);
        let owner = topic.shard_of(partition, self.shards);
        let call = Box::new(TxnCall { partition, id, request });
        self.call(now, owner, token, Call::Txn { at, call }, fx);
        Ok(())
    }

    /// Whether these partitions lie on the shard of the id's coordinator, so that they share its journal.
    pub(in crate::requests) fn lie_beside(&self, id: &Name, topics: &[(Name, Vec<i32>)]) -> bool {
        let Some(home) = self.image.topic(TXN_TOPIC) else { return false };
        let owner = home.shard_of(partition_of(id, home.partitions), self.shards);
        topics.iter().all(|(name, partitions)| {
            let topic = self.image.topic(name);
            topic.is_some_and(|topic| partitions.iter().all(|p| topic.shard_of(*p, self.shards) == owner))
        })
    }

    /// Asks about each id; the answer goes out when all have answered.
    fn call_txns(&mut self, now: Time, caller: Caller, kind: Kind, calls: Vec<(Name, TxnRequest)>, fx: &mut Effects) {
        let refused = |request: &TxnRequest| Some(request.refuse(codes::NOT_COORDINATOR));
        if self.image.topic(TXN_TOPIC).is_none() || calls.is_empty() {
            let answers = calls.iter().map(|(_, request)| refused(request)).collect();
            return self.txn_end(caller, kind, answers, fx);
        }
        let answers = calls.iter().map(|_| None).collect();
        let wait = TxnWait { kind, answers, left: calls.len() };
        let token = self.wait(caller, Wait::Txn(Box::new(wait)));
        for ((id, request), at) in calls.into_iter().zip(0..) {
            self.call_txn(now, (token, at), id, request, fx).expect("the topic is there");
        }
    }

    /// A transactional id has answered to a request of this module.
    pub(super) fn txn_wait_answered(&mut self, token: u64, at: u32, answer: TxnAnswer, fx: &mut Effects) {
        let Some(Pending { wait: Wait::Txn(wait), .. }) = self.pending.get_mut(&token) else { return };
        let before = wait.answers[at as usize].replace(answer);
        assert!(before.is_none(), "a call has one answer");
        wait.left -= 1;
        if wait.left > 0 {
            return;
        }
        let Some(Pending { caller, wait: Wait::Txn(wait) }) = self.pending.remove(&token) else { return };
        self.txn_end(caller, wait.kind, wait.answers, fx);
    }

    fn txn_end(&mut self, caller: Caller, kind: Kind, answers: Vec<Option<TxnAnswer>>, fx: &mut Effects) {
        let ending = txn_reply(&caller, kind, answers);
        self.finish(caller, ending, fx);
    }
}

fn txn_reply(caller: &Caller, kind: Kind, answers: Vec<Option<TxnAnswer>>) -> Ending {
    let mut answers = answers.into_iter().map(|answer| answer.expect("every id has answered"));
    let mut one = || answers.next().expect("of the one id");
    match kind {
        Kind::Init => init::reply(caller, one()),
        Kind::AddPartitions(adding) => add_partitions::reply(caller, adding, answers),
        Kind::AddOffsets => add_offsets::reply(caller, one()),
        Kind::End => end::reply(caller, one()),
        Kind::Describe(ids) => describe::reply(caller, &ids, answers),
        Kind::List(listing) => list::reply(caller, listing, answers),
    }
}

/// PRODUCER_FENCED is younger than the error that meant it before (KIP-588).
fn fenced_before(caller: &Caller, known_since: i16, error_code: i16) -> i16 {
    match error_code {
        codes::PRODUCER_FENCED if caller.version < known_since => codes::INVALID_PRODUCER_EPOCH,
        code => code,
    }
}
