//! Offsets in transactions over whole shards: TxnOffsetCommit with its transaction's coordinator, what OffsetFetch shows meanwhile, and after a restart.

use floe_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use floe_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use floe_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
};

use super::*;
use crate::txn::api::Producer;

impl Node {
    /// The producer of a transactional id.
    fn init(&mut self, id: &'static str) -> Producer {
        for _ in 0..100 {
            let request = InitProducerIdRequest {
                transactional_id: Some(id.into()),
                transaction_timeout_ms: 60_000,
                producer_id: -1,
                producer_epoch: -1,
            };
            self.send(22, 5, &request);
            let response = InitProducerIdResponse::decode_all(self.reply(22, 5), 5).unwrap();
            match response.error_code {
                codes::NONE => return Producer { id: response.producer_id, epoch: response.producer_epoch },
                // Its topic is being made, read, or an end is under way.
                codes::COORDINATOR_LOAD_IN_PROGRESS | codes::NOT_COORDINATOR | codes::CONCURRENT_TRANSACTIONS => {
                    self.pass_ms(10);
                }
                code => panic!("InitProducerId: {code}"),
            }
        }
        panic!("no producer for {id}");
    }

    /// Commits an offset of partition 0 of `t` in a transaction; the error code.
    fn commit_in(&mut self, id: &'static str, producer: Producer, version: i16, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition {
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: id.into(),
            group_id: "g".into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }],
            ..TxnOffsetCommitRequest::default()
        };
        self.send(28, version, &request);
        let response = TxnOffsetCommitResponse::decode_all(self.reply(28, version), version).unwrap();
        response.topics[0].partitions[0].error_code
    }

    /// Ends a transaction; the producer from then on.
    fn end_of(&mut self, id: &'static str, producer: Producer, committed: bool) -> Producer {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
        };
        self.send(26, 5, &request);
        let response = EndTxnResponse::decode_all(self.reply(26, 5), 5).unwrap();
        assert_eq!(response.error_code, codes::NONE);
        Producer { id: response.producer_id, epoch: response.producer_epoch }
    }

    /// Error code and offset of partition 0 of `t` in group `g`, once what is under way has come to its end.
    fn stable_offset(&mut self) -> (i16, i64) {
        (0..5).for_each(|_| self.pass_ms(10));
        let topic = OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
        self.send(9, 9, &request);
        let response = OffsetFetchResponse::decode_all(self.reply(9, 9), 9).unwrap();
        let partition = &response.groups[0].topics[0].partitions[0];
        (partition.error_code, partition.committed_offset)
    }
}

#[test]
fn offsets_count_when_their_transaction_does() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 1, 1);
    node.find(&["g"], 0, 4);
    node.find(&["id"], 1, 4);
    let producer = node.init("id");
    assert_eq!(node.commit_in("id", producer, 5, 7), codes::NONE);
    assert_eq!(node.stable_offset(), (codes::UNSTABLE_OFFSET_COMMIT, -1));
    let producer = node.end_of("id", producer, true);
    assert_eq!(node.stable_offset(), (codes::NONE, 7));
    assert_eq!(node.commit_in("id", producer, 5, 9), codes::NONE);
    let producer = node.end_of("id", producer, false);
    assert_eq!(node.stable_offset(), (codes::NONE, 7), "aborted");
    let old = Producer { epoch: producer.epoch - 1, ..producer };
    assert_eq!(node.commit_in("id", old, 5, 9), codes::INVALID_PRODUCER_EPOCH, "a late one");
    assert_eq!(node.commit_in("id", producer, 4, 9), codes::TRANSACTION_ABORTABLE, "the group was not added before");
    assert_eq!(node.commit_in("id", producer, 3, 9), codes::INVALID_TXN_STATE, "for a client that does not know it");
    assert_eq!(node.stable_offset(), (codes::NONE, 7));
}
