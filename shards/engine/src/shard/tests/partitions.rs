//! What admin clients ask of partitions, over two shards.

use floe_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use floe_wire::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResponse};
use floe_wire::messages::describe_producers::{DescribeProducersRequest, DescribeProducersResponse, TopicRequest};
use floe_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::*;

impl Node {
    /// Code and first offset of each partition.
    fn trim(&mut self, name: &'static str, partitions: &[(i32, i64)]) -> Vec<(i16, i64)> {
        let parts = partitions
            .iter()
            .map(|(partition, offset)| DeleteRecordsPartition { partition_index: *partition, offset: *offset });
        let topic = DeleteRecordsTopic { name: name.into(), partitions: parts.collect() };
        self.send(21, 2, &DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 });
        let response = DeleteRecordsResponse::decode_all(self.reply(21, 2), 2).unwrap();
        response.topics[0].partitions.iter().map(|p| (p.error_code, p.low_watermark)).collect()
    }

    fn filled(records: i64) -> Node {
        let mut node = Node::start(2, BTreeMap::new());
        node.create("t", 2, 1);
        for partition in 0..2 {
            for offset in 0..records {
                node.produce("t", partition, &batch(), -1);
                assert_eq!(node.produced(), (codes::NONE, offset));
            }
        }
        node
    }
}

#[test]
fn deleted_records_stay_deleted() {
    let mut node = Node::filled(5);
    assert_eq!(node.trim("t", &[(0, 3), (1, -1)]), [(codes::NONE, 3), (codes::NONE, 5)]);
    assert_eq!(node.trim("t", &[(0, 2), (0, 3)]), [(codes::NONE, 3), (codes::NONE, 3)], "never back");
    let wrong = [(0, 6), (0, -2), (2, 0), (-1, 0)];
    let out = (codes::OFFSET_OUT_OF_RANGE, -1);
    let unknown = (codes::UNKNOWN_TOPIC_OR_PARTITION, -1);
    assert_eq!(node.trim("t", &wrong), [out, out, unknown, unknown]);
    assert_eq!(node.trim("none", &[(0, 0)]), [unknown]);
    let mut again = Node::start(2, node.files);
    again.fetch("t", 3, 0);
    let fetched = again.fetched();
    assert_eq!(fetched[0], (codes::NONE, 5, 2 * batch().len()));
    assert_eq!(fetched[1].0, codes::OFFSET_OUT_OF_RANGE);
    assert_eq!(again.trim("t", &[(0, 0), (1, 0)]), [(codes::NONE, 3), (codes::NONE, 5)]);
}

#[test]
fn the_only_epoch_ends_where_the_partition_ends() {
    let mut node = Node::filled(2);
    for (topic, partition, current, epoch, expected) in [
        ("t", 1, 0, 0, (codes::NONE, 0, 2)),
        ("t", 0, -1, 0, (codes::NONE, 0, 2)),
        ("t", 0, 0, 1, (codes::NONE, -1, -1)),
        ("t", 0, 0, -1, (codes::NONE, -1, -1)),
        ("t", 0, 1, 0, (codes::UNKNOWN_LEADER_EPOCH, -1, -1)),
        ("t", 2, 0, 0, (codes::UNKNOWN_TOPIC_OR_PARTITION, -1, -1)),
        ("u", 0, 0, 0, (codes::UNKNOWN_TOPIC_OR_PARTITION, -1, -1)),
    ] {
        let part = OffsetForLeaderPartition { partition, current_leader_epoch: current, leader_epoch: epoch };
        let topics = vec![OffsetForLeaderTopic { topic: topic.into(), partitions: vec![part] }];
        node.send(23, 4, &OffsetForLeaderEpochRequest { replica_id: -2, topics });
        let response = OffsetForLeaderEpochResponse::decode_all(node.reply(23, 4), 4).unwrap();
        let end = &response.topics[0].partitions[0];
        assert_eq!(
            (end.error_code, end.leader_epoch, end.end_offset),
            expected,
            "{topic} {partition} {current} {epoch}"
        );
    }
}

#[test]
fn producers_are_named_once() {
    let mut node = Node::filled(1);
    let mut sent = batch();
    sent[43..51].copy_from_slice(&77i64.to_be_bytes());
    sent[51..53].copy_from_slice(&3i16.to_be_bytes());
    sent[53..57].copy_from_slice(&0i32.to_be_bytes());
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &sent[21..]) as u32;
    sent[17..21].copy_from_slice(&crc.to_be_bytes());
    node.produce("t", 1, &sent, -1);
    assert_eq!(node.produced(), (codes::NONE, 1));
    let topic = TopicRequest { name: "t".into(), partition_indexes: vec![1, 0, 1, 9] };
    node.send(61, 0, &DescribeProducersRequest { topics: vec![topic] });
    let response = DescribeProducersResponse::decode_all(node.reply(61, 0), 0).unwrap();
    let partitions = &response.topics[0].partitions;
    let seen: Vec<_> = partitions.iter().map(|p| (p.partition_index, p.error_code, p.active_producers.len())).collect();
    assert_eq!(seen, [(1, codes::NONE, 1), (0, codes::NONE, 0), (9, codes::UNKNOWN_TOPIC_OR_PARTITION, 0)]);
    let producer = &partitions[0].active_producers[0];
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (77, 3, 0));
    assert_eq!((producer.last_timestamp, producer.current_txn_start_offset), (1_700_000_000_000, -1));
}

#[test]
fn the_data_directory_says_what_takes_room() {
    let mut node = Node::filled(2);
    node.create("u", 1, 1);
    node.input(0, Input::DiskSpace { free_bytes: 1 << 30, total_bytes: 1 << 40 });
    let len = 2 * batch().len() as i64;
    let wanted = |topic: &'static str, partitions| DescribableLogDirTopic { topic: topic.into(), partitions };
    for (topics, expected) in [
        (None, vec![("t", 0, len), ("t", 1, len), ("u", 0, 0)]),
        (Some(vec![wanted("t", vec![1, 5, 1]), wanted("x", vec![0])]), vec![("t", 1, len)]),
        (Some(vec![]), vec![]),
    ] {
        node.send(35, 4, &DescribeLogDirsRequest { topics });
        let response = DescribeLogDirsResponse::decode_all(node.reply(35, 4), 4).unwrap();
        let dir = &response.results[0];
        assert_eq!((response.results.len(), dir.error_code, &*dir.log_dir), (1, codes::NONE, "/data"));
        assert_eq!((dir.usable_bytes, dir.total_bytes), (1 << 30, 1 << 40));
        let sizes = dir.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|p| (topic.name.as_ref(), p.partition_index, p.partition_size))
        });
        assert_eq!(sizes.collect::<Vec<_>>(), expected);
    }
}
