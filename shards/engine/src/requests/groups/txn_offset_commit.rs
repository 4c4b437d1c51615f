//! TxnOffsetCommit (28): offsets of a group that count when their transaction commits.
//!
//! The group decides who may commit; its partition's log whether the producer's transaction is open there. When nobody has vouched for it yet, the
//! transaction's coordinator is asked (version 5 adds the partition, older ones have added it before: KIP-890) and the group once more.

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, Pending, Wait, codes};
use super::chosen::{Chosen, Places};
use super::{Client, GroupWait, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Commit, GroupAnswer, GroupCall, GroupRequest, MemberRef, TxnWrite};
use crate::group::{Name, OFFSETS_TOPIC, partition_of};
use crate::mesh::{Call, Verified};
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Adding, Producer, TxnAnswer, TxnRequest};

/// First version whose client takes part in transactions of version 2: the group comes into the transaction by this request.
const IMPLICIT_SINCE: i16 = 5;
/// First version whose client knows TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE_SINCE: i16 = 4;

/// A request that is under way.
#[derive(Debug)]
pub(super) struct TxnCommitting {
    response: TxnOffsetCommitResponse<'static>,
    places: Places,
    transactional_id: Name,
    producer: Producer,
    /// To be sent again when the transaction is vouched for; then `None`.
    call: Option<GroupCall>,
    /// While its transaction's coordinator is asked.
    guard: Option<u64>,
}

impl Shard {
    pub(super) fn txn_offset_commit(
        &mut self,
        now: Time,
        caller: Caller,
        client: &Client,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = TxnOffsetCommitRequest::decode_all(body, caller.version)?;
        bounded(request.topics.iter().map(|topic| topic.partitions.len()))?;
        let mut response = TxnOffsetCommitResponse::default();
        let mut chosen = Chosen::default();
        for asked in &request.topics {
            let found = self.image.topic(&asked.name).cloned().ok_or(codes::UNKNOWN_TOPIC_OR_PARTITION);
            let named = asked.partitions.iter().map(|part| {
                let metadata = part.committed_metadata.as_deref();
                (part.partition_index, part.committed_offset, part.committed_leader_epoch, metadata)
            });
            let codes = chosen.take(found, named);
            let partitions = asked.partitions.iter().zip(codes).map(|(part, error_code)| {
                TxnOffsetCommitResponsePartition { partition_index: part.partition_index, error_code }
            });
            response.topics.push(TxnOffsetCommitResponseTopic {
                name: asked.name.clone().into_owned().into(),
                partitions: partitions.collect(),
            });
        }
        let Some((topics, places)) = chosen.asked() else {
            let ending = caller.reply(&response, Vec::new());
            self.finish(caller, ending, fx);
            return Ok(());
        };
        let commit = Commit {
            who: MemberRef {
                member: (&*request.member_id).into(),
                instance: kept(request.group_instance_id.as_deref()),
                generation: request.generation_id,
            },
            knows_epochs: true,
            retention_ms: -1,
            topics,
        };
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let txn = TxnWrite { producer, verified: None };
        let mut call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::TxnCommit(commit, txn));
        // Where there is no such topic nobody is asked.
        call.partition =
            self.image.topic(OFFSETS_TOPIC).map_or(-1, |topic| partition_of(&call.group, topic.partitions));
        let committing = TxnCommitting {
            response,
            places,
            transactional_id: (&*request.transactional_id).into(),
            producer,
            call: Some(call.clone()),
            guard: None,
        };
        self.call_groups(now, caller, Kind::TxnCommit(Box::new(committing)), vec![call], fx);
        Ok(())
    }

    /// A group wants the transaction vouched for. Whether somebody is asked; otherwise the codes for what was to be committed.
    pub(super) fn vouch(
        &mut self,
        now: Time,
        token: u64,
        (guard, codes): (u64, Vec<Vec<i16>>),
        fx: &mut Effects,
    ) -> Result<(), GroupAnswer> {
        let Some(Pending { caller, wait: Wait::Group(wait) }) = self.pending.get_mut(&token) else { return Ok(()) };
        let version = caller.version;
        let GroupWait { kind: Kind::TxnCommit(committing), .. } = &mut **wait else {
            unreachable!("only commits in transactions are vouched for")
        };
        committing.guard = Some(guard);
        let partition = committing.call.as_ref().expect("it is asked about once").partition;
        let adding = if version >= IMPLICIT_SINCE { Adding::Implicit } else { Adding::Verify };
        let topics = vec![(OFFSETS_TOPIC.into(), vec![partition])];
        let (id, producer) = (committing.transactional_id.clone(), committing.producer);
        if adding == Adding::Verify && !self.verifies_transactions {
            self.txn_commit_vouched(now, token, TxnAnswer::Added(Ok(vec![vec![codes::NONE]])), fx);
            return Ok(());
        }
        let beside = self.lie_beside(&id, &topics);
        let request = TxnRequest::AddPartitions { producer, topics, adding, beside };
        self.call_txn(now, (token, 0), id, request, fx).map_err(|code| refused(codes, retriable(code)))
    }

    /// The transaction's coordinator has answered: on to the group again, or back to the client.
    pub(in crate::requests) fn txn_commit_vouched(
        &mut self,
        now: Time,
        token: u64,
        answer: TxnAnswer,
        fx: &mut Effects,
    ) {
        let Some(Pending { caller, wait: Wait::Group(wait) }) = self.pending.get_mut(&token) else { return };
        let version = caller.version;
        let GroupWait { kind: Kind::TxnCommit(committing), .. } = &mut **wait else {
            unreachable!("nothing else asks about transactions")
        };
        let mut call = committing.call.take().expect("it is asked about once");
        let GroupRequest::TxnCommit(commit, txn) = &mut call.request else { unreachable!("a commit in a transaction") };
        let code = match answer {
            TxnAnswer::Added(Ok(codes)) => codes.first().and_then(|codes| codes.first()).copied().unwrap_or_default(),
            TxnAnswer::Added(Err(code)) => code,
            other => unreachable!("{other:?} to an addition"),
        };
        if code != codes::NONE {
            let answer = GroupAnswer::Committed(commit.refuse(told(code, version)));
            return self.group_answered(now, token, 0, answer, fx);
        }
        let guard = committing.guard.take().expect("it was given");
        txn.verified = Some(Verified { guard, epoch_rises: version >= IMPLICIT_SINCE });
        let Some(topic) = self.image.topic(OFFSETS_TOPIC) else {
            let answer = call.request.refuse(codes::NOT_COORDINATOR);
            return self.group_answered(now, token, 0, answer, fx);
        };
        let owner = topic.shard_of(call.partition, self.shards);
        self.call(now, owner, token, Call::Group { at: 0, call: Box::new(call) }, fx);
    }
}

pub(super) fn reply(caller: &Caller, committing: TxnCommitting, answer: GroupAnswer) -> Ending {
    let TxnCommitting { mut response, places, .. } = committing;
    places.fill(answer, |topic, place, code| response.topics[topic].partitions[place].error_code = code);
    caller.reply(&response, Vec::new())
}

fn refused(mut codes: Vec<Vec<i16>>, error_code: i16) -> GroupAnswer {
    codes.iter_mut().flatten().filter(|code| **code == codes::NONE).for_each(|code| *code = error_code);
    GroupAnswer::Committed(codes)
}

/// What a client is told when nobody vouches for its transaction, as Kafka translates it: PRODUCER_FENCED is not expected here, and what the
/// transaction's coordinator will get over must not send the client to look for another coordinator of the group.
fn told(error_code: i16, version: i16) -> i16 {
    match error_code {
        codes::PRODUCER_FENCED => codes::INVALID_PRODUCER_EPOCH,
        codes::TRANSACTION_ABORTABLE if version < KNOWS_ABORTABLE_SINCE => codes::INVALID_TXN_STATE,
        code => retriable(code),
    }
}

fn retriable(error_code: i16) -> i16 {
    match error_code {
        codes::CONCURRENT_TRANSACTIONS | codes::NOT_COORDINATOR | codes::COORDINATOR_NOT_AVAILABLE => {
            codes::COORDINATOR_LOAD_IN_PROGRESS
        }
        code => code,
    }
}
