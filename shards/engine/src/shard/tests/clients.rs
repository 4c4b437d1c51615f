//! Who may connect, and how long an idle client stays.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn peer(ip: &str) -> std::net::SocketAddr {
    std::net::SocketAddr::new(ip.parse().unwrap(), 7000)
}

impl Node {
    /// Whether a client from there is turned away.
    fn turns_away(&mut self, shard: u16, conn: u64, ip: &str) -> bool {
        self.closed = false;
        self.input(shard, Input::Connected { conn: ConnId(conn), peer: peer(ip), listener: 0 });
        self.closed
    }

    fn pass(&mut self, ns: u64) {
        self.now.mono_ns += ns;
        for shard in 0..self.shards.len() as u16 {
            self.input(shard, Input::Timer);
        }
    }
}

#[test]
fn an_address_has_a_limit_over_all_shards() {
    let mut node = Node::start_with(3, BTreeMap::new(), &[("max.connections.per.ip", "2")]);
    assert!(!node.turns_away(1, 10, "10.0.0.1"));
    assert!(!node.turns_away(2, 20, "10.0.0.1"));
    for (shard, conn) in [(0, 30), (1, 31), (2, 32)] {
        assert!(node.turns_away(shard, conn, "10.0.0.1"), "the third, on any shard");
    }
    assert!(!node.turns_away(1, 11, "10.0.0.2"), "another address");
    node.input(2, Input::Disconnected { conn: ConnId(20) });
    assert!(!node.turns_away(0, 40, "10.0.0.1"), "one has left; those that were turned away do not count");
    assert!(node.turns_away(0, 41, "10.0.0.1"));
    assert_eq!(node.shards.iter().map(|shard| shard.metrics.connections_refused).sum::<u64>(), 4);
    node.conn = ConnId(40);
    assert_eq!(node.create("t", 3, 1), codes::NONE, "it is served");
}

#[test]
fn nothing_is_served_before_it_is_known_who_may_stay() {
    let mut node = Node::start_with(2, BTreeMap::new(), &[("max.connections.per.ip", "1")]);
    let (at, conn) = (1, ConnId(10));
    let shard = &mut node.shards[1];
    let mut fx = Effects::new();
    let now = node.now;
    shard.handle(now, Input::Connected { conn, peer: peer("10.0.0.1"), listener: 0 }, &mut fx);
    shard.handle(
        now,
        Input::Frame { conn, frame: Bytes::from_static(&[0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff]) },
        &mut fx,
    );
    let [Effect::Mesh { msg: MeshMsg::Came { ip, .. }, .. }, Effect::PauseReads { .. }] = fx[..] else {
        panic!("{fx:?}")
    };
    node.input(at, Input::Mesh { from: ShardId(0), msg: MeshMsg::MayStay { conn, ip, may_stay: true } });
    assert_eq!(node.replies.len(), 1);
    // One that has gone before the answer comes is given back.
    node.shards[0].addresses.came(ip, 1);
    node.input(at, Input::Mesh { from: ShardId(0), msg: MeshMsg::MayStay { conn: ConnId(11), ip, may_stay: true } });
    assert!(!node.turns_away(1, 12, "10.0.0.1"));
}

#[test]
fn the_idle_have_to_go_and_those_who_wait_stay() {
    let mut node = Node::start_with(1, BTreeMap::new(), &[("connections.max.idle.ms", "10000")]);
    node.create("t", 2, 1);
    assert!(!node.turns_away(0, 2, "10.0.0.1"));
    node.pass(6 * SECOND_NS);
    node.conn = ConnId(2);
    node.fetch("t", 0, 30_000);
    node.pass(5 * SECOND_NS);
    assert_eq!((node.closed, node.shards[0].metrics.connections), (true, 1), "the one that has been idle for 11 s");
    node.closed = false;
    node.pass(20 * SECOND_NS);
    assert!(!node.closed, "it waits for its answer");
    node.pass(5 * SECOND_NS);
    assert_eq!(node.shards[0].pending.len(), 0, "which has come");
    node.pass(9 * SECOND_NS);
    assert!(!node.closed);
    node.pass(SECOND_NS);
    assert!(node.closed);
    assert_eq!(node.shards[0].metrics.connections_idle_closed, 2);
    assert_eq!(node.shards[0].idle.next_deadline(), None);
}

#[test]
fn nobody_is_idle_while_nobody_is_read_from_and_minus_one_is_for_ever() {
    for (ms, closed_ns, goes) in [("10000", 0, true), ("10000", 15 * SECOND_NS, false), ("-1", 0, false)] {
        let mut node = Node::start_with(1, BTreeMap::new(), &[("connections.max.idle.ms", ms)]);
        if closed_ns > 0 {
            let now = node.now;
            assert_eq!(node.shards[0].pressure.admission(now, true), Some(false));
        }
        node.now.mono_ns += 15 * SECOND_NS;
        let (now, mut fx) = (node.now, Effects::new());
        node.shards[0].handle(now, Input::Timer, &mut fx);
        assert_eq!(fx.iter().any(|effect| matches!(effect, Effect::Close { .. })), goes, "{ms} {closed_ns}");
    }
}
