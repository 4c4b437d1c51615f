//! Fetch over whole shards: sessions, limits, waiting.

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::ids::TopicId;
use floe_wire::messages::create_topics::CreatableTopicConfig;
use floe_wire::messages::delete_topics::DeleteTopicsRequest;
use floe_wire::messages::fetch::ForgottenTopic;

use super::*;

/// Partition, error, high watermark, bytes.
type Row = (i32, i16, i64, usize);

pub(super) struct Fetcher {
    version: i16,
    topic: &'static str,
    id: TopicId,
    session: (i32, i32),
    max_bytes: i32,
    partition_max_bytes: i32,
    max_wait_ms: i32,
    min_bytes: i32,
}

impl Fetcher {
    pub(super) fn new(node: &Node, topic: &'static str, version: i16) -> Fetcher {
        let id = if version >= 13 { node.id_of(topic) } else { TopicId::ZERO };
        let (max_bytes, max_wait_ms, min_bytes) = (1 << 20, 0, 1);
        let partition_max_bytes = 1 << 20;
        Fetcher { version, topic, id, session: (0, 0), max_bytes, partition_max_bytes, max_wait_ms, min_bytes }
    }

    pub(super) fn send(&self, node: &mut Node, add: &[(i32, i64)], forget: &[i32]) {
        let parts = add.iter().map(|(partition, offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *offset,
            partition_max_bytes: self.partition_max_bytes,
            ..FetchPartition::default()
        });
        let topic = self.topic.into();
        let topics = FetchTopic { topic, topic_id: self.id, partitions: parts.collect() };
        let forgotten = ForgottenTopic { topic: self.topic.into(), topic_id: self.id, partitions: forget.to_vec() };
        let request = FetchRequest {
            session_id: self.session.0,
            session_epoch: self.session.1,
            max_bytes: self.max_bytes,
            max_wait_ms: self.max_wait_ms,
            min_bytes: self.min_bytes,
            topics: if add.is_empty() { Vec::new() } else { vec![topics] },
            forgotten_topics_data: if forget.is_empty() { Vec::new() } else { vec![forgotten] },
            ..FetchRequest::default()
        };
        node.send(1, self.version, &request);
    }

    /// The session's answer: its error, and the partitions in it.
    pub(super) fn take(&mut self, node: &mut Node) -> (i16, Vec<Row>) {
        let response = FetchResponse::decode_all(node.reply(1, self.version), self.version).unwrap();
        if response.error_code == codes::NONE {
            self.session = (response.session_id, self.session.1 + 1);
        }
        let parts = response.responses.iter().flat_map(|topic| {
            assert!(topic.topic == self.topic || self.version >= 13 && topic.topic_id == self.id);
            &topic.partitions
        });
        let rows = parts.map(|p| (p.partition_index, p.error_code, p.high_watermark, p.records.len()));
        (response.error_code, rows.collect())
    }

    fn ask(&mut self, node: &mut Node, add: &[(i32, i64)], forget: &[i32]) -> (i16, Vec<Row>) {
        self.send(node, add, forget);
        self.take(node)
    }
}

#[test]
fn a_session_tells_only_what_is_new() {
    for (version, shards) in [(11, 1), (12, 2), (17, 1), (18, 2)] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create("t", 3, 1);
        let len = batch().len();
        let mut f = Fetcher::new(&node, "t", version);
        let (error, rows) = f.ask(&mut node, &[(0, 0), (1, 0), (2, 0)], &[]);
        assert_eq!((error, rows), (0, vec![(0, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0)]), "the first answer tells all");
        assert!(f.session.0 > 0);
        assert_eq!(f.ask(&mut node, &[], &[]), (0, vec![]));
        node.produce("t", 1, &batch(), 0);
        assert_eq!(f.ask(&mut node, &[], &[]), (0, vec![(1, 0, 1, len)]));
        assert_eq!(f.ask(&mut node, &[(1, 1)], &[]), (0, vec![]), "the client is past it");
        node.produce("t", 2, &batch(), 0);
        node.produce("t", 0, &batch(), 0);
        assert_eq!(f.ask(&mut node, &[], &[2]), (0, vec![(0, 0, 1, len)]), "forgotten");
        let wrong = Fetcher { session: (f.session.0, 1), ..f }.ask(&mut node, &[], &[]);
        assert_eq!(wrong, (codes::INVALID_FETCH_SESSION_EPOCH, vec![]));
        f.session.1 -= 1;
        f.session = (f.session.0, -1);
        let (error, rows) = f.ask(&mut node, &[(0, 1)], &[]);
        assert_eq!((error, rows, f.session.0), (0, vec![(0, 0, 1, 0)], 0), "the last one names all and ends it");
    }
}

#[test]
fn a_waiting_session_wakes_with_the_one_partition_that_has_more() {
    for shards in [1, 2] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create("t", 4, 1);
        let mut f = Fetcher::new(&node, "t", 13);
        f.ask(&mut node, &[(0, 0), (1, 0), (2, 0), (3, 0)], &[]);
        f.max_wait_ms = 500;
        f.send(&mut node, &[], &[]);
        assert!(node.replies.is_empty());
        node.produce("t", 3, &batch(), 0);
        assert_eq!(f.take(&mut node), (0, vec![(3, 0, 1, batch().len())]));
        f.send(&mut node, &[(3, 1)], &[]);
        assert!(node.replies.is_empty());
        node.now.mono_ns += 500_000_000;
        node.input(0, Input::Timer);
        assert_eq!(f.take(&mut node), (0, vec![]));
        f.min_bytes = batch().len() as i32 + 1;
        f.send(&mut node, &[], &[]);
        node.produce("t", 0, &batch(), 0);
        assert!(node.replies.is_empty(), "one batch is not enough");
        node.produce("t", 1, &batch(), 0);
        assert_eq!(f.take(&mut node).1.len(), 2);
    }
}

#[test]
fn full_answers_go_round_all_partitions() {
    for shards in [1, 2] {
        let mut node = Node::start(shards, BTreeMap::new());
        node.create("t", 5, 1);
        for partition in 0..5 {
            node.produce("t", partition, &batch(), 0);
        }
        let mut f = Fetcher::new(&node, "t", 13);
        f.max_bytes = batch().len() as i32 * 2;
        let mut turns = Vec::new();
        for turn in 0..5 {
            let all = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)];
            let (_, rows) = f.ask(&mut node, if turn == 0 { &all } else { &[] }, &[]);
            turns.extend(rows.iter().filter(|row| row.3 > 0).map(|row| row.0));
        }
        for partition in 0..5 {
            let count = turns.iter().filter(|turn| **turn == partition).count();
            assert!((1..=3).contains(&count), "{shards} shards, partition {partition}: {turns:?}");
        }
    }
}

#[test]
fn a_session_outlives_its_topics() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    let mut f = Fetcher::new(&node, "t", 12);
    f.ask(&mut node, &[(0, 0), (1, 0)], &[]);
    node.send(20, 5, &DeleteTopicsRequest { topic_names: vec!["t".into()], ..DeleteTopicsRequest::default() });
    node.replies.clear();
    let gone = codes::UNKNOWN_TOPIC_OR_PARTITION;
    for _ in 0..2 {
        assert_eq!(f.ask(&mut node, &[], &[]).1, [(0, gone, -1, 0), (1, gone, -1, 0)], "errors are told every time");
    }
    node.create("t", 1, 1);
    assert_eq!(f.ask(&mut node, &[], &[]).1, [(0, 0, 0, 0), (1, gone, -1, 0)]);
    assert_eq!(f.ask(&mut node, &[], &[]).1, [(1, gone, -1, 0)]);
}

#[test]
fn sessions_end_with_their_connection() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 1, 1);
    let mut f = Fetcher::new(&node, "t", 12);
    f.ask(&mut node, &[(0, 0)], &[]);
    assert_eq!(node.shards[0].sessions.count(), (1, 1));
    f.max_wait_ms = 500;
    f.send(&mut node, &[], &[]);
    node.input(0, Input::Disconnected { conn: CONN });
    assert_eq!(node.shards[0].sessions.count(), (0, 0));
    assert!(node.shards[0].pending.is_empty() && node.shards[0].fetch_deadlines.is_empty());
}

#[test]
fn versions_and_topics_have_their_errors() {
    let mut node = Node::start(1, BTreeMap::new());
    let configs = vec![CreatableTopicConfig { name: "compression.type".into(), value: Some("zstd".into()) }];
    let topic = CreatableTopic {
        name: "z".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs,
        ..CreatableTopic::default()
    };
    node.send(19, 5, &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() });
    node.replies.clear();
    let unsupported = codes::UNSUPPORTED_COMPRESSION_TYPE;
    assert_eq!(Fetcher::new(&node, "z", 9).ask(&mut node, &[(0, 0)], &[]).1, [(0, unsupported, -1, 0)]);
    assert_eq!(Fetcher::new(&node, "z", 10).ask(&mut node, &[(0, 0)], &[]).1, [(0, 0, 0, 0)]);
    let mut unknown = Fetcher { id: TopicId([8; 16]), ..Fetcher::new(&node, "z", 13) };
    assert_eq!(unknown.ask(&mut node, &[(0, 0)], &[]).1, [(0, codes::UNKNOWN_TOPIC_ID, -1, 0)]);
    let mut f = Fetcher::new(&node, "z", 13);
    let rows = f.ask(&mut node, &[(0, 1), (1, 0)], &[]).1;
    assert_eq!(rows, [(0, codes::OFFSET_OUT_OF_RANGE, -1, 0), (1, codes::UNKNOWN_TOPIC_OR_PARTITION, -1, 0)]);
    // Nothing wanted is answered at once.
    let mut nothing = Fetcher { max_wait_ms: 500, ..Fetcher::new(&node, "z", 13) };
    assert_eq!(nothing.ask(&mut node, &[], &[]), (0, vec![]));
    assert_eq!(nothing.session.0, 0);
}

#[test]
fn who_has_read_what_is_gone_is_told_where_the_log_ends() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    node.produce("t", 1, &batch(), 0);
    let part = |partition, last_fetched_epoch| FetchPartition {
        partition,
        fetch_offset: 5,
        last_fetched_epoch,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    for (last_epoch, code, diverges) in [(0, codes::NONE, (0, 1)), (-1, codes::OFFSET_OUT_OF_RANGE, (-1, -1))] {
        let topic = FetchTopic { topic: "t".into(), partitions: vec![part(1, last_epoch)], ..FetchTopic::default() };
        node.send(1, 12, &FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..Default::default() });
        let response = FetchResponse::decode_all(node.reply(1, 12), 12).unwrap();
        let answer = &response.responses[0].partitions[0];
        assert_eq!(answer.error_code, code);
        assert_eq!((answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset), diverges);
    }
}

#[test]
fn a_wake_costs_a_look_at_what_moved() {
    let size = batch().len();
    // Three batches are wanted; each of the first two wakes the fetch in vain.
    for (min_bytes, wakes) in [(1, 1), (size as i32 * 3, 3)] {
        let mut node = Node::start(3, BTreeMap::new());
        node.create("t", 30, 1);
        let mut fetcher = Fetcher::new(&node, "t", 11);
        (fetcher.session.1, fetcher.max_wait_ms, fetcher.min_bytes) = (-1, 1000, min_bytes);
        let all: Vec<(i32, i64)> = (0..30).map(|partition| (partition, 0)).collect();
        fetcher.send(&mut node, &all, &[]);
        assert_eq!(std::mem::take(&mut node.looks), [10, 10], "every partition of the other two shards");
        let other = ConnId(2);
        node.input(0, Input::Connected { conn: other, peer: "127.0.0.1:1".parse().unwrap(), listener: 0 });
        let elsewhere: Vec<i32> = (0..30)
            .filter(|partition| node.shards[0].image.topic("t").unwrap().shard_of(*partition, 3) == ShardId(1))
            .collect();
        for (at, partition) in elsewhere[..wakes].iter().enumerate() {
            assert_eq!(node.replies.len(), at, "of the produces so far");
            node.conn = other;
            node.produce("t", *partition, &batch(), 1);
            // What came before was too little, is not kept, and is read with what is new.
            assert_eq!(std::mem::take(&mut node.looks), [at + 1]);
        }
        node.conn = CONN;
        let answers = std::mem::take(&mut node.replies);
        assert_eq!(answers.len(), wakes + 1, "those of the produces, and the fetch's");
        node.replies.push(answers.into_iter().max_by_key(Vec::len).unwrap());
        let (code, rows) = fetcher.take(&mut node);
        let found: Vec<(i32, usize)> = rows.iter().filter(|row| row.3 > 0).map(|row| (row.0, row.3)).collect();
        let wanted: Vec<(i32, usize)> = elsewhere[..wakes].iter().map(|partition| (*partition, size)).collect();
        assert_eq!((code, rows.len(), found), (codes::NONE, 30, wanted));
        assert!(rows.iter().all(|row| row.1 == codes::NONE && row.2 == i64::from(row.3 > 0)), "{rows:?}");
        assert!(node.shards.iter().all(|shard| shard.owner.watches.len() == 0), "nobody waits any more");
    }
}

#[test]
fn a_fetch_that_runs_out_of_time_answers_with_the_little_it_found() {
    let mut node = Node::start(3, BTreeMap::new());
    node.create("t", 9, 1);
    let mut fetcher = Fetcher::new(&node, "t", 11);
    (fetcher.session.1, fetcher.max_wait_ms, fetcher.min_bytes) = (-1, 1000, 1 << 20);
    let all: Vec<(i32, i64)> = (0..9).map(|partition| (partition, 0)).collect();
    let other = ConnId(2);
    node.input(0, Input::Connected { conn: other, peer: "127.0.0.1:1".parse().unwrap(), listener: 0 });
    node.conn = other;
    node.produce("t", 4, &batch(), 1);
    node.produced();
    node.conn = CONN;
    fetcher.send(&mut node, &all, &[]);
    node.conn = other;
    node.produce("t", 5, &batch(), 1);
    node.produced();
    node.conn = CONN;
    assert!(node.replies.is_empty());
    node.now.mono_ns += 1_000_000_000;
    node.input(0, Input::Timer);
    let (code, rows) = fetcher.take(&mut node);
    let found: Vec<i32> = rows.iter().filter(|row| row.3 > 0).map(|row| row.0).collect();
    assert_eq!((code, found), (codes::NONE, vec![4, 5]));
    assert!(node.shards.iter().all(|shard| shard.owner.watches.len() == 0));
}

#[test]
fn an_answer_has_one_batch_that_is_too_large_however_many_shards() {
    let mut node = Node::start(4, BTreeMap::new());
    node.create("t", 8, 1);
    for partition in 0..8 {
        node.produce("t", partition, &batch(), 1);
        node.produced();
    }
    let mut fetcher = Fetcher::new(&node, "t", 11);
    (fetcher.session.1, fetcher.partition_max_bytes) = (-1, 10);
    for first in [0, 3] {
        let in_turn: Vec<(i32, i64)> = (0..8).map(|step| ((first + step) % 8, 0)).collect();
        fetcher.send(&mut node, &in_turn, &[]);
        let (_, rows) = fetcher.take(&mut node);
        fetcher.session = (0, -1);
        let found: Vec<i32> = rows.iter().filter(|row| row.3 > 0).map(|row| row.0).collect();
        assert_eq!((rows.len(), found), (8, vec![first]), "the one asked for first");
    }
    fetcher.partition_max_bytes = 1000;
    let (_, rows) = fetcher.ask(&mut node, &(0..8).map(|partition| (partition, 0)).collect::<Vec<_>>(), &[]);
    assert!(rows.iter().all(|row| row.3 > 0), "those that fit all come");
}

/// Else a client that follows one partition has its records behind all that another one has to catch up with.
#[test]
fn who_follows_a_partition_has_little_of_each_other_at_a_time() {
    let len = batch().len();
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(BatchRecord { timestamp: 1, key: None, value: Some(&[7; 4000]), headers: &[] });
    let large = builder.finish();
    let share = (3 * len + 1).to_string();
    for (shards, share, at_a_time) in [(1, &*share, 3), (3, &*share, 3), (1, "1", 1), (1, "0", 20)] {
        let mut node = Node::start_with(shards, BTreeMap::new(), &[("fetch.lagging.partition.bytes", share)]);
        node.create("t", 2, 1);
        for _ in 0..20 {
            node.produce("t", 1, &batch(), 0);
        }
        node.produce("t", 0, &batch(), 0);
        let mut f = Fetcher::new(&node, "t", 11);
        f.session.1 = -1;
        let mut ask = |node: &mut Node, parts: &[(i32, i64)]| -> Vec<usize> {
            f.send(node, parts, &[]);
            let (_, rows) = f.take(node);
            f.session = (0, -1);
            rows.iter().map(|row| row.3 / len).collect()
        };
        assert_eq!(ask(&mut node, &[(0, 0), (1, 0)]), [1, 20], "it does not follow yet");
        assert_eq!(ask(&mut node, &[(0, 1), (1, 0)]), [0, at_a_time], "now it does");
        assert_eq!(ask(&mut node, &[(1, 0)]), [20], "nobody waits behind it");
        // A batch that is larger comes as well, in each place.
        node.produce("t", 1, &large, 0);
        assert_eq!(ask(&mut node, &[(0, 1), (1, 20)]), [0, large.len() / len]);
        // The end of a partition that much is written to is not following it, and following is over after a while.
        node.now.mono_ns += 1_000_000_001;
        assert_eq!(ask(&mut node, &[(0, 1), (1, 0)]), [0, 20 + large.len() / len]);
    }
}

/// What is read from the disk counts as what it can bring: else one partition leaves nothing for the others.
#[test]
fn an_answer_from_the_disk_is_filled_by_all_partitions() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(BatchRecord { timestamp: 1, key: None, value: Some(&[7; 700_000]), headers: &[] });
    let large = builder.finish();
    for shards in [1, 2] {
        let mut node = Node::start_with(shards, BTreeMap::new(), &[("cache.bytes", "16777216")]);
        node.create("t", 4, 1);
        for at in 0..100 {
            node.produce("t", at % 4, &large, 0);
        }
        let mut f = Fetcher::new(&node, "t", 11);
        (f.max_bytes, f.partition_max_bytes) = (8 << 20, 8 << 20);
        let from_start = [(0, 0), (1, 0), (2, 0), (3, 0)];
        let in_memory = f.ask(&mut node, &[(0, 20)], &[]).1[0].3;
        assert_eq!(in_memory, 5 * large.len(), "what is in memory is not bounded by a read");
        f.session = (0, 0);
        let (_, rows) = f.ask(&mut node, &from_start, &[]);
        assert_eq!(rows.iter().map(|row| row.3).collect::<Vec<_>>(), [large.len(); 4]);
        // Where the answer has no room for them, they stay away.
        (f.max_bytes, f.session) = (1 << 20, (0, 0));
        let (_, rows) = f.ask(&mut node, &from_start.map(|(partition, _)| (partition, 1)), &[]);
        assert_eq!(rows.iter().map(|row| row.3).collect::<Vec<_>>(), [large.len(), 0, 0, 0]);
    }
}
