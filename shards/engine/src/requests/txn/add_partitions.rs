//! AddPartitionsToTxn (24): partitions that a transaction will write to. If one of them is not there, none is added.

use std::borrow::Cow;

use bytes::Bytes;
use floe_wire::messages::Message;
use floe_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use floe_wire::primitives::DecodeError;

use super::super::split::bounded;
use super::super::{Caller, codes};
use super::{Kind, fenced_before};
use crate::connection::Ending;
use crate::event::Effects;
use crate::group::Name;
use crate::shard::Shard;
use crate::time::Time;
use crate::txn::api::{Adding as How, Producer, TxnAnswer, TxnRequest};

/// First version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;
/// First version that names several transactions, and may only ask (KIP-890).
const SEVERAL_SINCE: i16 = 4;
/// First version whose transactions are of version 2.
const BUMPS_SINCE: i16 = 5;

/// A transaction of the request.
#[derive(Debug)]
pub struct Adding {
    id: Name,
    topics: Vec<(Name, Vec<i32>)>,
    /// Its coordinator was not asked: codes by topic and partition.
    refused: Option<Vec<Vec<i16>>>,
}

impl Shard {
    pub(super) fn add_partitions_to_txn(
        &mut self,
        now: Time,
        caller: Caller,
        body: &Bytes,
        fx: &mut Effects,
    ) -> Result<(), DecodeError> {
        let request = AddPartitionsToTxnRequest::decode_all(body, caller.version)?;
        let topics = request.transactions.iter().flat_map(|transaction| &transaction.topics);
        let topics = topics.chain(&request.v3_and_below_topics);
        bounded(topics.map(|topic| topic.partitions.len()).chain([request.transactions.len()]))?;
        let (mut all, mut calls) = (Vec::new(), Vec::new());
        let mut add = |id: &str, producer, how, topics: &[AddPartitionsToTxnTopic<'_>]| {
            let (adding, topics) = self.adding(id, topics);
            if adding.refused.is_none() {
                let request = TxnRequest::AddPartitions { producer, topics, adding: how, beside: false };
                calls.push((adding.id.clone(), request));
            }
            all.push(adding);
        };
        if caller.version < SEVERAL_SINCE {
            let producer =
                Producer { id: request.v3_and_below_producer_id, epoch: request.v3_and_below_producer_epoch };
            let id = &request.v3_and_below_transactional_id;
            add(id, producer, How::Named, &request.v3_and_below_topics);
        }
        for transaction in &request.transactions {
            let how = match transaction.verify_only {
                true => How::Verify,
                false if caller.version >= BUMPS_SINCE => How::Implicit,
                false => How::Named,
            };
            let producer = Producer { id: transaction.producer_id, epoch: transaction.producer_epoch };
            add(&transaction.transactional_id, producer, how, &transaction.topics);
        }
        self.call_txns(now, caller, Kind::AddPartitions(all), calls, fx);
        Ok(())
    }

    fn adding(&self, id: &str, topics: &[AddPartitionsToTxnTopic<'_>]) -> (Adding, Vec<(Name, Vec<i32>)>) {
        let missing = |topic: &AddPartitionsToTxnTopic<'_>, partition: i32| {
            !self.image.topic(&topic.name).is_some_and(|topic| topic.has(partition))
        };
        let any = topics.iter().any(|topic| topic.partitions.iter().any(|partition| missing(topic, *partition)));
        let refused = any.then(|| {
            let code = |topic, partition| {
                if missing(topic, partition) {
                    codes::UNKNOWN_TOPIC_OR_PARTITION
                } else {
                    codes::OPERATION_NOT_ATTEMPTED
                }
            };
            topics.iter().map(|topic| topic.partitions.iter().map(|p| code(topic, *p)).collect()).collect()
        });
        let topics: Vec<(Name, Vec<i32>)> =
            topics.iter().map(|topic| (Name::from(&*topic.name), topic.partitions.clone())).collect();
        (Adding { id: id.into(), topics: topics.clone(), refused }, topics)
    }
}

pub(super) fn reply(caller: &Caller, all: Vec<Adding>, mut answers: impl Iterator<Item = TxnAnswer>) -> Ending {
    let mut response = AddPartitionsToTxnResponse::default();
    for Adding { id, topics, refused } in all {
        let same = |code: i16| topics.iter().map(|(_, partitions)| vec![code; partitions.len()]).collect();
        let added = match refused {
            Some(codes) => codes,
            None => match answers.next() {
                Some(TxnAnswer::Added(Ok(codes))) => codes,
                Some(TxnAnswer::Added(Err(code))) => same(fenced_before(caller, FENCED_SINCE, code)),
                answer => unreachable!("{answer:?} to added partitions"),
            },
        };
        let results = topics.iter().zip(added).map(|((name, partitions), codes)| {
            let results = partitions.iter().zip(codes).map(|(partition, code)| AddPartitionsToTxnPartitionResult {
                partition_index: *partition,
                partition_error_code: code,
            });
            let name = Cow::Owned(name.to_string());
            AddPartitionsToTxnTopicResult { name, results_by_partition: results.collect() }
        });
        let topic_results = results.collect();
        if caller.version < SEVERAL_SINCE {
            response.results_by_topic_v3_and_below = topic_results;
        } else {
            let transactional_id = Cow::Owned(id.to_string());
            response.results_by_transaction.push(AddPartitionsToTxnResult { transactional_id, topic_results });
        }
    }
    caller.reply(&response, Vec::new())
}
