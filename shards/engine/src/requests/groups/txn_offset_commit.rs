//! TxnOffsetCommit (28): offsets of a group that count when their transaction commits.
//!
//! The group decides who may commit; its partition's log whether the producer's transaction is open there. When nobody has vouched for it yet, the
//! transaction's coordinator is asked (version 5 adds the partition, older ones have added it before: KIP-890) and the group once more.

use std::sync::Arc;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, Pending, Wait, codes};
use super::{Client, GroupWait, Kind, kept};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::api::{Commit, CommitTopic, GroupAnswer, GroupCall, GroupRequest, MemberRef, TxnWrite};
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
    /// For each topic that was asked of the coordinator: its place in the answer, and its partitions' places in that.
    places: Vec<(usize, Vec<usize>)>,
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
        let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
        let mut committing = TxnCommitting {
            response: TxnOffsetCommitResponse::default(),
            places: Vec::new(),
            transactional_id: (&*request.transactional_id).into(),
            producer,
            call: None,
            guard: None,
        };
        let topics: Vec<_> = request.topics.iter().filter_map(|asked| self.known(asked, &mut committing)).collect();
        if topics.is_empty() && !request.topics.is_empty() {
            let ending = caller.reply(&committing.response, Vec::new());
            self.finish(caller, ending, fx);
            return Ok(());
        }
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
        let txn = TxnWrite { producer, verified: None };
        let mut call = Shard::group_call(client, (&*request.group_id).into(), GroupRequest::TxnCommit(commit, txn));
        // Where there is no such topic nobody is asked.
        call.partition =
            self.image.topic(OFFSETS_TOPIC).map_or(-1, |topic| partition_of(&call.group, topic.partitions));
        committing.call = Some(call.clone());
        self.call_groups(now, caller, Kind::TxnCommit(Box::new(committing)), vec![call], fx);
        Ok(())
    }

    /// What of a topic the group is asked to commit; what is not there is answered at once.
    fn known(&self, asked: &TxnOffsetCommitRequestTopic<'_>, committing: &mut TxnCommitting) -> Option<CommitTopic> {
        let topic = self.image.topic(&asked.name);
        let (mut partitions, mut places) = (Vec::new(), Vec::new());
        let mut answer = TxnOffsetCommitResponseTopic {
            name: asked.name.clone().into_owned().into(),
            partitions: Vec::with_capacity(asked.partitions.len()),
        };
        for part in &asked.partitions {
            let partition_index = part.partition_index;
            let is_known = topic.is_some_and(|topic| topic.has(partition_index));
            if is_known {
                let metadata: Arc<str> = part.committed_metadata.as_deref().unwrap_or_default().into();
                places.push(answer.partitions.len());
                partitions.push((partition_index, part.committed_offset, part.committed_leader_epoch, metadata));
            }
            let error_code = if is_known { codes::NONE } else { codes::UNKNOWN_TOPIC_OR_PARTITION };
            answer.partitions.push(TxnOffsetCommitResponsePartition { partition_index, error_code });
        }
        let at = committing.response.topics.len();
        committing.response.topics.push(answer);
        let topic = topic.filter(|_| !partitions.is_empty())?;
        committing.places.push((at, places));
        Some(CommitTopic { name: topic.name.as_str().into(), id: topic.id, partitions })
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
    let mut response = committing.response;
    let GroupAnswer::Committed(committed) = answer else { unreachable!("{answer:?} to a commit") };
    for ((topic, places), codes) in committing.places.iter().zip(committed) {
        for (place, code) in places.iter().zip(codes) {
            response.topics[*topic].partitions[*place].error_code = code;
        }
    }
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
