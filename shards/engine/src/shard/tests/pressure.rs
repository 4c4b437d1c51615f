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

/// A node whose large batches all go through the journal.
fn through_the_journal() -> Node {
    Node::start_with(1, BTreeMap::new(), &[("direct.bytes", "0")])
}

/// Sends large batches until answers stay away, and three more. How many were answered, and how many were sent.
fn until_they_wait(node: &mut Node) -> (usize, usize) {
    node.create("t", 1, 1);
    node.filling = Some(Vec::new());
    for sent in 1..100 {
        node.produce("t", 0, &large(), 1);
        let answered = node.replies.len();
        if answered < sent {
            for _ in 0..3 {
                node.produce("t", 0, &large(), 1);
            }
            assert_eq!(node.replies.len(), answered);
            return (answered, sent + 3);
        }
    }
    panic!("100 MB went into files that are not there");
}

/// The error code and offset of every answer.
fn all_produced(node: &mut Node) -> Vec<(i16, i64)> {
    let replies = std::mem::take(&mut node.replies);
    let each = replies.into_iter().map(|reply| {
        node.replies = vec![reply];
        node.produced()
    });
    each.collect()
}

#[test]
fn produces_wait_for_a_journal_file_that_is_being_filled() {
    let mut node = through_the_journal();
    let (answered, sent) = until_they_wait(&mut node);
    assert!(answered >= 15, "a file holds 16 batches");
    // Who does not produce does not wait.
    node.conn = ConnId(2);
    node.input(0, Input::Connected { conn: node.conn, peer: peer(), listener: 0 });
    node.fetch("t", 0, 0);
    assert!(node.open && node.replies.len() == answered + 1);
    node.replies.pop();
    node.fill();
    let expected: Vec<_> = (0..sent as i64).map(|offset| (codes::NONE, offset)).collect();
    assert_eq!(all_produced(&mut node), expected, "in the order in which they came");
}

#[test]
fn nobody_waits_for_a_file_for_ever_or_on_a_full_disk() {
    for full in [false, true] {
        let mut node = through_the_journal();
        let (answered, sent) = until_they_wait(&mut node);
        if full {
            node.input(0, Input::DiskSpace { free_bytes: 1 << 20, total_bytes: 1 << 40 });
        } else {
            node.now.mono_ns += (crate::limits::PRODUCE_HOLD_MS_MAX - 1) * 1_000_000;
            node.input(0, Input::Timer);
            assert_eq!(node.replies.len(), answered);
            node.now.mono_ns += 1_000_000;
            assert!(node.shards[0].next_deadline().is_some_and(|deadline| node.now.reached(deadline)));
            node.input(0, Input::Timer);
        }
        let all = all_produced(&mut node);
        assert_eq!(all.len(), sent);
        assert!(all[answered..].iter().all(|produced| *produced == (codes::NOT_ENOUGH_REPLICAS, -1)), "{all:?}");
        assert_eq!(node.shards[0].pressure.held().0, 0);
        // With a file and room all goes on.
        node.fill();
        node.input(0, Input::DiskSpace { free_bytes: 1 << 40, total_bytes: 1 << 40 });
        node.produce("t", 0, &large(), 1);
        assert_eq!(node.produced(), (codes::NONE, answered as i64));
    }
}

/// What waits is bounded also where those who sent it have gone.
#[test]
fn what_waits_has_a_bound_of_its_own() {
    let mut node = through_the_journal();
    let (answered, _) = until_they_wait(&mut node);
    node.replies.clear();
    for conn in 10..1000 {
        node.conn = ConnId(conn);
        node.input(0, Input::Connected { conn: node.conn, peer: peer(), listener: 0 });
        node.produce("t", 0, &large(), 1);
        if !node.replies.is_empty() {
            assert_eq!(node.produced(), (codes::NOT_ENOUGH_REPLICAS, -1));
            let held = (conn - 10 + 4) * large().len() as u64;
            assert!((240 << 20..=crate::limits::HELD_BYTES_MAX).contains(&held), "{held}");
            node.fill();
            node.conn = ConnId(5000);
            node.input(0, Input::Connected { conn: node.conn, peer: peer(), listener: 0 });
            node.replies.clear();
            node.produce("t", 0, &large(), 1);
            return assert_eq!(node.produced(), (codes::NONE, (answered as u64 + conn - 10 + 4) as i64));
        }
        node.input(0, Input::Disconnected { conn: node.conn });
    }
    panic!("nothing was refused");
}
