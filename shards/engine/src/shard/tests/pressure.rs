//! What a shard does when clients send more than it has memory or disk for, or do not read.

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;

use super::*;

fn peer() -> std::net::SocketAddr {
    "127.0.0.1:6000".parse().unwrap()
}

fn large() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(BatchRecord { timestamp: 1_700_000_000_000, value: Some(&[1; 1_000_000]), ..BatchRecord::default() });
    builder.finish()
}

#[test]
fn slow_readers_stop_the_reading_and_then_have_to_go() {
    let mut node = Node::start_with(1, BTreeMap::new(), &[("memory.bytes", "16777216")]);
    node.create("t", 2, 1);
    node.produce("t", 0, &large(), 1);
    node.produced();
    node.reads = false;
    for conn in 2..=17 {
        assert!(node.open, "15 answers fit");
        node.conn = ConnId(conn);
        node.input(0, Input::Connected { conn: node.conn, peer: peer(), listener: 0 });
        node.fetch("t", 0, 0);
        assert!(node.fetched()[0].2 > 1_000_000, "one batch whatever the pressure");
    }
    // Answers are counted from the round after.
    node.input(0, Input::Timer);
    assert!(node.open, "16 MB are below 16 MiB");
    node.conn = ConnId(18);
    node.input(0, Input::Connected { conn: node.conn, peer: peer(), listener: 0 });
    node.fetch("t", 0, 0);
    node.input(0, Input::Timer);
    assert!(!node.open);
    let answers = node.shards[0].pressure.held().1;
    node.now.mono_ns += 10_000_000_000;
    node.input(0, Input::Timer);
    assert_eq!(node.shards[0].pressure.held().1, answers, "they have time to read");
    node.now.mono_ns += 30_000_000_000;
    assert!(node.shards[0].next_deadline().is_some_and(|deadline| node.now.reached(deadline)));
    node.input(0, Input::Timer);
    node.input(0, Input::Timer);
    assert!(node.open && node.closed);
    assert_eq!(node.shards[0].pressure.held(), (0, 0));
    assert_eq!(node.shards[0].metrics.slow_readers_closed, 17);
    node.replies.clear();
    (node.conn, node.reads) = (CONN, true);
    node.produce("t", 0, &batch(), 1);
    assert_eq!(node.produced(), (codes::NONE, 1));
}

#[test]
fn connections_have_a_limit() {
    let mut node = Node::start_with(1, BTreeMap::new(), &[("max.connections", "2")]);
    node.create("t", 1, 1);
    for (conn, refused) in [(2, false), (3, true), (4, true)] {
        node.input(0, Input::Connected { conn: ConnId(conn), peer: peer(), listener: 0 });
        assert_eq!(node.closed, refused);
    }
    node.input(0, Input::Disconnected { conn: ConnId(2) });
    node.closed = false;
    node.input(0, Input::Connected { conn: ConnId(5), peer: peer(), listener: 0 });
    assert!(!node.closed);
    node.conn = ConnId(5);
    node.produce("t", 0, &batch(), 1);
    assert_eq!(node.produced().0, codes::NONE);
}

#[test]
fn a_full_disk_takes_no_records_and_serves_on() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    node.produce("t", 0, &batch(), 1);
    assert_eq!(node.produced().0, codes::NONE);
    for (free_bytes, code) in [(1 << 20, codes::NOT_ENOUGH_REPLICAS), (1 << 40, codes::NONE)] {
        for shard in 0..2 {
            node.input(shard, Input::DiskSpace { free_bytes, total_bytes: 1 << 41 });
        }
        for partition in 0..2 {
            node.produce("t", partition, &batch(), 1);
            assert_eq!(node.produced().0, code);
        }
        node.fetch("t", 0, 0);
        assert!(node.fetched()[0].2 > 0);
        let name = if code == codes::NONE { "v" } else { "u" };
        assert_eq!(node.create(name, 1, 1), codes::NONE);
    }
}

#[test]
fn pipelined_fetches_are_answered_one_by_one() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 2, 1);
    node.fetch("t", 0, 500);
    node.fetch("t", 0, 500);
    node.produce("t", 0, &batch(), 1);
    assert!(node.replies.is_empty(), "the produce is behind the fetch that waits");
    node.now.mono_ns += 600_000_000;
    node.input(0, Input::Timer);
    // The second fetch begins, then the produce, which it has been waiting for.
    let lengths: Vec<usize> = node.replies.iter().map(Vec::len).collect();
    assert!(lengths.len() == 3 && lengths[1] == lengths[0] + batch().len(), "{lengths:?}");
}

#[test]
fn a_request_that_names_more_than_is_taken_ends_its_connection() {
    let at_most = crate::limits::REQUEST_PARTITIONS_MAX - 1;
    for (api, count, closed) in (0..3).flat_map(|api| [(api, at_most, false), (api, at_most + 1, true)]) {
        let mut node = Node::start(1, BTreeMap::new());
        match api {
            0 => {
                let partition = |index| PartitionProduceData { index, records: Records::Null };
                let partition_data = (0..count as i32).map(partition).collect();
                let topics = vec![TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() }];
                node.send(0, 3, &ProduceRequest { acks: 1, topic_data: topics, ..ProduceRequest::default() });
            }
            1 => {
                let partitions = vec![FetchPartition::default(); count];
                let topics = vec![FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() }];
                node.send(1, 4, &FetchRequest { topics, ..FetchRequest::default() });
            }
            _ => {
                let partitions = vec![ListOffsetsPartition::default(); count];
                let topics = vec![ListOffsetsTopic { name: "t".into(), partitions }];
                node.send(2, 1, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() });
            }
        }
        assert_eq!((node.closed, node.replies.len()), (closed, usize::from(!closed)), "{api}");
    }
}
