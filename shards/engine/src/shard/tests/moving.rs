//! Connections that change shards: what they take along, and who counts them.

use super::fetch::Fetcher;
use super::*;

/// Two shards and a topic `t` with two partitions; connections move after four requests. Gives the partition that the other shard owns.
fn start(values: &[(&str, &str)]) -> (Node, i32) {
    let values = [&[("connections.move", "true"), ("connections.move.requests", "4")], values].concat();
    let mut node = Node::start_with(2, BTreeMap::new(), &values);
    assert_eq!(node.create("t", 2, 1), codes::NONE);
    let topic = node.shards[0].image.topic("t").expect("just made").clone();
    let there = (0..2).find(|partition| topic.shard_of(*partition, 2) == ShardId(1)).expect("each shard has one");
    (node, there)
}

impl Node {
    fn connections(&self) -> [(u64, u64); 2] {
        [0, 1].map(|at: usize| (self.shards[at].metrics.connections, self.shards[at].metrics.connections_moved))
    }
}

#[test]
fn a_connection_goes_to_the_shard_of_its_partition_and_back() {
    let (mut node, there) = start(&[("connections.move.interval.ms", "0")]);
    for offset in 0..20 {
        assert_eq!((node.at, node.moves), if offset < 4 { (0, 0) } else { (1, 1) }, "before {offset}");
        node.produce("t", there, &batch(), -1);
        assert_eq!(node.produced(), (codes::NONE, offset));
    }
    assert_eq!(node.connections(), [(0, 1), (1, 0)]);
    for offset in 0..8 {
        node.produce("t", 1 - there, &batch(), -1);
        assert_eq!(node.produced(), (codes::NONE, offset));
    }
    assert_eq!((node.at, node.connections()), (0, [(1, 1), (0, 1)]));
    node.input(0, Input::Disconnected { conn: node.conn });
    assert_eq!(node.connections(), [(0, 1), (0, 1)]);
    assert_eq!(node.shards.iter().map(|shard| shard.homed).sum::<u64>(), 0);
}

#[test]
fn a_connection_stays_when_moving_is_off_or_when_it_has_just_come() {
    let (mut node, there) = start(&[("connections.move", "false")]);
    for offset in 0..20 {
        node.produce("t", there, &batch(), -1);
        assert_eq!(node.produced(), (codes::NONE, offset));
    }
    assert_eq!(node.moves, 0);
    let (mut node, there) = start(&[]);
    for n in 0..40 {
        let partition = if n < 10 { there } else { 1 - there };
        node.produce("t", partition, &batch(), -1);
        assert_eq!(node.produced().0, codes::NONE);
    }
    assert_eq!((node.at, node.moves), (1, 1));
}

#[test]
fn a_fetch_session_goes_along() {
    let (mut node, there) = start(&[]);
    let mut fetcher = Fetcher::new(&node, "t", 13);
    fetcher.send(&mut node, &[(there, 0)], &[]);
    assert_eq!(fetcher.take(&mut node), (codes::NONE, vec![(there, codes::NONE, 0, 0)]));
    for _ in 0..10 {
        fetcher.send(&mut node, &[], &[]);
        assert_eq!(fetcher.take(&mut node), (codes::NONE, Vec::new()), "nothing is new");
    }
    assert_eq!((node.at, node.moves), (1, 1));
    assert_eq!((node.shards[0].sessions.count(), node.shards[1].sessions.count()), ((0, 0), (1, 1)));
    node.produce("t", there, &batch(), -1);
    assert_eq!(node.produced(), (codes::NONE, 0));
    fetcher.send(&mut node, &[], &[]);
    assert_eq!(fetcher.take(&mut node), (codes::NONE, vec![(there, codes::NONE, 1, batch().len())]));
    node.input(1, Input::Disconnected { conn: node.conn });
    assert_eq!(node.shards[1].sessions.count(), (0, 0));
}

#[test]
fn a_connection_that_has_moved_is_of_the_share_of_the_shard_that_accepted_it() {
    let (mut node, there) = start(&[("max.connections", "2")]);
    for _ in 0..4 {
        node.produce("t", there, &batch(), -1);
        assert_eq!(node.produced().0, codes::NONE);
    }
    assert_eq!(node.at, 1);
    let peer = "127.0.0.1:6000".parse().unwrap();
    node.input(0, Input::Connected { conn: ConnId(50), peer, listener: 0 });
    assert!(std::mem::take(&mut node.closed), "shard 0 has accepted its one");
    node.input(1, Input::Connected { conn: ConnId(51), peer, listener: 0 });
    assert!(!node.closed, "shard 1 has accepted none");
    assert_eq!(node.connections(), [(0, 1), (2, 0)]);
    node.input(1, Input::Disconnected { conn: node.conn });
    node.input(0, Input::Connected { conn: ConnId(52), peer, listener: 0 });
    assert!(!node.closed, "there is room again");
}
