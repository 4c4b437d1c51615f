//! Lies about transactions: ends that are answered before they are decided, or taken although they are late; markers that count as written and are not;
//! readers of committed records who get everything; timeouts that never come; offsets of zombies, or of transactions that are aborted, that count.

use std::collections::BTreeMap;

use bytes::Bytes;
use floe_engine::event::{Input, Reply, ShardId};
use floe_engine::mesh::{Answer, Call, Marked, MeshMsg};
use floe_engine::txn::api::{Adding, TxnAnswer, TxnRequest};
use floe_wire::batch::BatchHeader;
use floe_wire::errors::ErrorCode;
use floe_wire::frame::RequestHeader;
use floe_wire::messages::Message;
use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use floe_wire::messages::fetch::FetchRequest;
use floe_wire::messages::init_producer_id::InitProducerIdRequest;
use floe_wire::messages::offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use floe_wire::messages::produce::ProduceRequest;
use floe_wire::messages::txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition};
use floe_wire::primitives::Records;

use super::Fault;
use super::frames::{answer, asked, framed};

/// A timeout that no run sees.
const NEVER_MS: i32 = 900_000;

/// The answer to this request, if it is the end of a transaction: it has ended.
pub(super) fn end_answer(frame: &Bytes) -> Option<Reply> {
    let (header, mut reader) = asked(frame, 26)?;
    let request = EndTxnRequest::decode(&mut reader, header.api_version).ok()?;
    let producer_epoch = request.producer_epoch + 1;
    let response = EndTxnResponse { producer_id: request.producer_id, producer_epoch, ..EndTxnResponse::default() };
    answer(&header, &response)
}

/// The same request, if it is a fetch, of a reader of everything.
pub(super) fn of_everything(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 1)?;
    let mut request = FetchRequest::decode(&mut reader, header.api_version).ok()?;
    request.isolation_level = 0;
    Some(framed(&header, &request))
}

/// The same request, if it is for a transactional identity, with a timeout that never comes.
pub(super) fn without_timeout(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 22)?;
    let mut request = InitProducerIdRequest::decode(&mut reader, header.api_version).ok()?;
    request.transaction_timeout_ms = NEVER_MS;
    Some(framed(&header, &request))
}

/// The same request, if it is the end of a transaction of an epoch that is over, of the newest epoch that its producer has shown.
pub(super) fn of_the_newest_epoch(frame: &Bytes, newest: &mut BTreeMap<i64, i16>) -> Option<Bytes> {
    if let Some((header, mut reader)) = asked(frame, 0) {
        let request = ProduceRequest::decode(&mut reader, header.api_version).ok()?;
        for part in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let Records::Borrowed(batch) = &part.records else { continue };
            let Ok(batch) = BatchHeader::decode(batch) else { continue };
            let known = newest.entry(batch.producer_id).or_default();
            *known = batch.producer_epoch.max(*known);
        }
        return None;
    }
    let (header, mut reader) = asked(frame, 26)?;
    let mut request = EndTxnRequest::decode(&mut reader, header.api_version).ok()?;
    request.producer_epoch = request.producer_epoch.max(newest.get(&request.producer_id).copied().unwrap_or(0));
    Some(framed(&header, &request))
}

/// The same request, if it commits offsets in a transaction, of somebody who tells no generation.
pub(super) fn of_no_generation(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 28)?;
    let mut request = TxnOffsetCommitRequest::decode(&mut reader, header.api_version).ok()?;
    (request.generation_id, request.member_id) = (-1, "".into());
    Some(framed(&header, &request))
}

/// The same offsets, if this request commits some in a transaction, committed by themselves. The answers have the same bytes.
pub(super) fn outside_of_transactions(frame: &Bytes) -> Option<Bytes> {
    let (header, mut reader) = asked(frame, 28)?;
    let request = TxnOffsetCommitRequest::decode(&mut reader, header.api_version).ok()?;
    let header = RequestHeader { api_key: 8, api_version: 8, ..header };
    let partition = |one: &TxnOffsetCommitRequestPartition<'_>| OffsetCommitRequestPartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topics = request.topics.iter().map(|topic| OffsetCommitRequestTopic {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..OffsetCommitRequestTopic::default()
    });
    let plain = OffsetCommitRequest {
        group_id: request.group_id.clone(),
        generation_id_or_member_epoch: request.generation_id,
        member_id: request.member_id.clone(),
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    };
    Some(framed(&header, &plain))
}

/// What goes to another shard, changed; or what is believed to have come of it, and nothing goes.
pub(super) fn change_mesh(fault: Fault, to: ShardId, msg: MeshMsg) -> Result<MeshMsg, Input> {
    match (fault, msg) {
        (Fault::LosesMarkers, MeshMsg::Call { token, call: Call::Markers(parts) }) => {
            let marked = parts.iter().map(|part| Marked { at: part.at, error_code: 0 }).collect();
            Err(Input::Mesh { from: to, msg: MeshMsg::Answer { token, answer: Answer::Marked(marked) } })
        }
        (Fault::VouchesForAll, MeshMsg::Call { token, call: Call::Txn { at, call } }) => match &call.request {
            TxnRequest::AddPartitions { topics, adding: Adding::Implicit | Adding::Verify, .. } => {
                let added = topics.iter().map(|(_, partitions)| vec![0; partitions.len()]).collect();
                let answer = Answer::Txn { at, answer: Box::new(TxnAnswer::Added(Ok(added))) };
                Err(Input::Mesh { from: to, msg: MeshMsg::Answer { token, answer } })
            }
            _ => Ok(MeshMsg::Call { token, call: Call::Txn { at, call } }),
        },
        (Fault::DeniesCoordinators, MeshMsg::Call { token, call: Call::Txn { at, call } }) => match &call.request {
            TxnRequest::AddPartitions { adding: Adding::Implicit | Adding::Verify, .. } => {
                let answer = Box::new(TxnAnswer::Added(Err(ErrorCode::NOT_COORDINATOR.code())));
                Err(Input::Mesh { from: to, msg: MeshMsg::Answer { token, answer: Answer::Txn { at, answer } } })
            }
            _ => Ok(MeshMsg::Call { token, call: Call::Txn { at, call } }),
        },
        (Fault::ForgetsAborted, MeshMsg::Answer { token, answer: Answer::Fetched { mut parts, watches } }) => {
            parts.iter_mut().for_each(|part| part.aborted = Default::default());
            Ok(MeshMsg::Answer { token, answer: Answer::Fetched { parts, watches } })
        }
        (_, msg) => Ok(msg),
    }
}
