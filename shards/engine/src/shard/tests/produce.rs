//! Produce over whole shards: topic ids, the topic's settings, what an answer says beside the code.

use floe_wire::batch::{BatchBuilder, BatchRecord, validate};
use floe_wire::compression::Codec;
use floe_wire::ids::TopicId;
use floe_wire::messages::create_topics::CreatableTopicConfig;
use floe_wire::messages::produce::PartitionProduceResponse;

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

impl Node {
    pub(super) fn create_with(
        &mut self,
        name: &'static str,
        partitions: i32,
        configs: &[(&'static str, &'static str)],
    ) {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        self.send(19, 5, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
        let response = CreateTopicsResponse::decode_all(self.reply(19, 5), 5).unwrap();
        assert_eq!(response.topics[0].error_code, codes::NONE);
    }

    pub(super) fn id_of(&self, name: &str) -> TopicId {
        self.shards[0].image.topic(name).unwrap().id
    }

    fn produce_by_id(&mut self, topic_id: TopicId, partition: i32, batch: &[u8]) -> PartitionProduceResponse<'static> {
        let data = PartitionProduceData { index: partition, records: Records::Borrowed(batch) };
        let topic = TopicProduceData { topic_id, partition_data: vec![data], ..TopicProduceData::default() };
        self.send(0, 13, &ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() });
        let response = ProduceResponse::decode_all(self.reply(0, 13), 13).unwrap();
        assert_eq!(response.responses[0].topic_id, topic_id);
        response.responses[0].partition_responses[0].clone()
    }

    /// All bytes of partition 0 from an offset on.
    fn read(&mut self, name: &'static str, offset: i64) -> Vec<u8> {
        self.fetch(name, offset, 0);
        let response = FetchResponse::decode_all(self.reply(1, 11), 11).unwrap();
        match &response.responses[0].partitions[0].records {
            Records::Borrowed(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }
}

fn records(codec: Codec, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for timestamp in timestamps {
        builder.push(BatchRecord { timestamp: *timestamp, value: Some(&[7; 200]), ..BatchRecord::default() });
    }
    builder.finish().to_vec()
}

#[test]
fn topics_go_by_id_from_version_13_on() {
    for shards in [1, 2] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create("t", 2, 1);
        let id = node.id_of("t");
        for partition in 0..2 {
            let answer = node.produce_by_id(id, partition, &batch());
            assert_eq!((answer.error_code, answer.base_offset, answer.log_start_offset), (codes::NONE, 0, 0));
            assert_eq!(answer.log_append_time_ms, -1);
        }
        assert_eq!(node.produce_by_id(id, 2, &batch()).error_code, codes::UNKNOWN_TOPIC_OR_PARTITION);
        let answer = node.produce_by_id(TopicId([9; 16]), 0, &batch());
        assert_eq!((answer.error_code, answer.base_offset), (codes::UNKNOWN_TOPIC_ID, -1));
    }
}

#[test]
fn a_refusal_names_the_records_and_says_why() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create_with("t", 1, &[("message.timestamp.after.max.ms", "1000")]);
    let id = node.id_of("t");
    let answer = node.produce_by_id(id, 0, &records(Codec::None, &[NOW_MS, NOW_MS + 1001, NOW_MS]));
    assert_eq!((answer.error_code, answer.base_offset), (codes::INVALID_TIMESTAMP, -1));
    assert_eq!(answer.record_errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(), [1]);
    assert!(answer.error_message.unwrap().contains("between"));
    assert_eq!(node.produce_by_id(id, 0, &records(Codec::None, &[NOW_MS + 1000])).error_code, codes::NONE);
}

#[test]
fn append_time_and_codec_are_the_topics() {
    for shards in [1, 2] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create_with("t", 1, &[("message.timestamp.type", "LogAppendTime"), ("compression.type", "zstd")]);
        let id = node.id_of("t");
        let sent = records(Codec::Gzip, &[5, 6, 7]);
        let answer = node.produce_by_id(id, 0, &sent);
        assert_eq!((answer.error_code, answer.log_append_time_ms), (codes::NONE, NOW_MS));
        let kept = node.read("t", 0);
        let validated = validate(&kept, 1 << 20).unwrap();
        assert_eq!(validated.header.codec(), Some(Codec::Zstd));
        let mut scratch = Vec::new();
        let read: Vec<_> = floe_wire::batch::records(&kept, &mut scratch).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|record| record.timestamp == NOW_MS && record.value == Some(&[7; 200])));
    }
}

#[test]
fn each_commit_is_timed_before_and_on_the_device() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    for _ in 0..3 {
        node.produce("t", 0, &batch(), 1);
        assert_eq!(node.produced().0, codes::NONE);
    }
    let log = node.shards[0].metrics_now().log;
    assert_eq!((log.commit_wait_ns.count(), log.commit_ns.count()), (3, 3));
}

#[test]
fn an_answer_has_nothing_of_the_one_before_it() {
    let mut node = Node::start(1, BTreeMap::new());
    for name in ["a-long-name", "b"] {
        assert_eq!(node.create(name, 1, 1), codes::NONE);
    }
    let mut damaged = batch();
    damaged[65] ^= 1;
    for (name, bytes, code) in [
        ("a-long-name", &damaged, codes::CORRUPT_MESSAGE),
        ("b", &batch(), codes::NONE),
        ("a-long-name", &batch(), codes::NONE),
    ] {
        node.produce(name, 0, bytes, -1);
        let response = ProduceResponse::decode_all(node.reply(0, 9), 9).unwrap();
        let [topic] = &response.responses[..] else { panic!("one topic") };
        let [answer] = &topic.partition_responses[..] else { panic!("one partition") };
        assert_eq!((&*topic.name, answer.error_code), (name, code));
        assert_eq!(answer.error_message.is_some(), code != codes::NONE);
    }
}
