//! What `bench instructions` counts: requests of one kind, a given number of times, on a shard made ready before.

use bytes::Bytes;
use floe_engine::event::{Reply, ReplyPart};
use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::frame::RequestHeader;
use floe_wire::messages::Message;
use floe_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use floe_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_wire::primitives::{Records, Writer};

use super::node::Node;

/// As many as the workload of the issue has.
const PARTITIONS: i32 = 1000;
const TOPIC: &str = "a-topic-with-a-usual-name";
const PRODUCE: (i16, i16) = (0, 9);
const FETCH: (i16, i16) = (1, 12);
const CREATE_TOPICS: (i16, i16) = (19, 5);
/// Values of a batch of a megabyte, and the records that make it.
const LARGE_VALUE_BYTES: usize = 1024;
const LARGE_RECORDS: usize = 980;
/// Batches of a megabyte that are there before cold fetches begin.
const COLD_BATCHES: u64 = 64;
/// What the engine holds of them in memory.
const COLD_CACHE_BYTES: &str = "16777216";

/// A kind of request.
pub(super) struct Case {
    pub(super) name: &'static str,
    work: Work,
    /// Requests of the shorter and of the longer run; what is counted is the difference.
    pub(super) counts: (u64, u64),
}

enum Work {
    /// Produce of one batch to one of the partitions in turn, so many requests a round of the shard.
    Produce { records: usize, value_bytes: usize, round: u64, partitions: i32 },
    /// Fetch of a megabyte that is still in memory.
    FetchHot,
    /// Fetch of a megabyte from a segment that was not looked at before: read and checked.
    FetchCold,
    /// Fetch of a megabyte from a segment that was looked at before: sent from the file.
    FetchFile,
}

const fn produce(name: &'static str, records: usize, round: u64, counts: (u64, u64)) -> Case {
    Case { name, work: Work::Produce { records, value_bytes: 256, round, partitions: PARTITIONS }, counts }
}

/// All cases, in the order shown.
pub(super) const CASES: &[Case] = &[
    produce("produce 1 x 256 B, alone in its round", 1, 1, (2000, 8000)),
    produce("produce 1 x 256 B, 32 a round", 1, 32, (3200, 16000)),
    produce("produce 10 x 256 B, 32 a round", 10, 32, (3200, 9600)),
    produce("produce 100 x 256 B, 32 a round", 100, 32, (320, 1600)),
    Case {
        name: "produce 1 MB of 1 KiB records",
        work: Work::Produce { records: LARGE_RECORDS, value_bytes: LARGE_VALUE_BYTES, round: 1, partitions: 1 },
        counts: (64, 192),
    },
    Case { name: "fetch 1 MB, hot", work: Work::FetchHot, counts: (100, 1100) },
    Case { name: "fetch 1 MB, cold, first look", work: Work::FetchCold, counts: (8, 40) },
    Case { name: "fetch 1 MB, cold, from the file", work: Work::FetchFile, counts: (100, 1100) },
];

impl Case {
    /// Bytes of record values of one request.
    pub(super) fn value_bytes(&self) -> usize {
        match self.work {
            Work::Produce { records, value_bytes, .. } => records * value_bytes,
            _ => LARGE_RECORDS * LARGE_VALUE_BYTES,
        }
    }

    /// Does `count` of the requests.
    pub(super) fn run(&self, count: u64) {
        match self.work {
            Work::Produce { records, value_bytes, round, partitions } => {
                let mut node = Node::start(false, &[]);
                create(&mut node, partitions);
                let batch = batch(records, value_bytes);
                let frames: Vec<Bytes> = (0..partitions).map(|at| produce_frame(at, &batch)).collect();
                // Neighbours in time are not neighbours in memory.
                let frame = |at: u64| frames[(at * 619 % frames.len() as u64) as usize].clone();
                // Every partition has been written to before the counting begins.
                for at in 0..partitions as u64 {
                    node.ask(frame(at));
                }
                let answer = node.ask(frame(0)).len() as u64;
                for first in (0..count).step_by(round as usize) {
                    node.replies.clear();
                    node.requests((first..first + round).map(frame));
                    assert!(node.replies.iter().map(Reply::len).eq((0..round).map(|_| answer)));
                }
            }
            Work::FetchHot => {
                let mut node = Node::start(false, &[]);
                let len = fill(&mut node, 4);
                let frames: Vec<Bytes> = (0..4).map(fetch_frame).collect();
                fetch(&mut node, (0..count).map(|at| frames[at as usize % frames.len()].clone()), len, false);
            }
            Work::FetchCold => {
                let mut node = Node::start(true, &[("cache.bytes", COLD_CACHE_BYTES)]);
                let len = fill(&mut node, COLD_BATCHES);
                fetch(&mut node, (0..count).map(fetch_frame), len, false);
            }
            Work::FetchFile => {
                let mut node = Node::start(true, &[("cache.bytes", COLD_CACHE_BYTES)]);
                let len = fill(&mut node, COLD_BATCHES);
                fetch(&mut node, (0..2).map(|_| fetch_frame(0)), len, false);
                fetch(&mut node, (0..count).map(|_| fetch_frame(0)), len, true);
            }
        }
    }
}

fn create(node: &mut Node, partitions: i32) {
    let topic = CreatableTopic {
        name: TOPIC.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    node.ask(frame(CREATE_TOPICS, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }));
}

/// One partition with so many batches of a megabyte; gives the length of one.
fn fill(node: &mut Node, batches: u64) -> u64 {
    create(node, 1);
    let batch = batch(LARGE_RECORDS, LARGE_VALUE_BYTES);
    for _ in 0..batches {
        node.ask(produce_frame(0, &batch));
    }
    batch.len() as u64
}

/// Fetches and looks at what came: a whole batch at least, and whether from a file.
fn fetch(node: &mut Node, frames: impl Iterator<Item = Bytes>, batch_bytes: u64, from_file: bool) {
    for frame in frames {
        node.replies.clear();
        node.requests([frame].into_iter());
        let [reply] = &node.replies[..] else { panic!("{} answers to one fetch", node.replies.len()) };
        assert!(reply.len() > batch_bytes, "the batch is in the answer");
        let has_file = reply.parts.iter().any(|part| matches!(part, ReplyPart::File(_)));
        assert!(has_file || !from_file, "the answer comes from the file");
    }
}

fn batch(records: usize, value_bytes: usize) -> Bytes {
    let value = vec![b'x'; value_bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..records {
        builder.push(BatchRecord { timestamp: 1_700_000_000_000, value: Some(&value), ..BatchRecord::default() });
    }
    builder.finish()
}

fn produce_frame(partition: i32, batch: &Bytes) -> Bytes {
    let data = PartitionProduceData { index: partition, records: Records::Borrowed(batch) };
    let topic = TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..TopicProduceData::default() };
    frame(
        PRODUCE,
        &ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() },
    )
}

/// Asks for one batch of a megabyte, the one at this place.
fn fetch_frame(at: u64) -> Bytes {
    let fetch_offset = (at * LARGE_RECORDS as u64) as i64;
    let partition = FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    frame(FETCH, &request)
}

fn frame<'a>((api_key, api_version): (i16, i16), request: &impl Message<'a>) -> Bytes {
    let mut writer = Writer::new();
    let header = RequestHeader { api_key, api_version, correlation_id: 5, client_id: Some("counted".into()) };
    header.encode(&mut writer);
    request.encode(&mut writer, api_version);
    writer.finish_contiguous()
}
