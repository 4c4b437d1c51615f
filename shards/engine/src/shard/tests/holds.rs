//! Fetches of a client that pauses while its group changes: held from the answer with an assignment until its member goes on.

use floe_wire::messages::api_versions::ApiVersionsRequest;
use floe_wire::messages::join_group::JoinGroupResponse;
use floe_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::*;
use crate::limits::HOLD_LEAD;

const GROUP: &str = "a";
const FETCHER: ConnId = ConnId(2);
const RDKAFKA: &str = "librdkafka";

/// A member of a group on one connection, which has something to consume, and a connection that reads.
struct Scene {
    node: Node,
    member: JoinGroupResponse<'static>,
    fetcher_at: u16,
}

impl Scene {
    fn start(software: &'static str, fetcher_at: u16, values: &[(&str, &str)]) -> Scene {
        let mut node = Node::start_with(2, BTreeMap::new(), values);
        node.create("t", 2, 1);
        node.find(&[GROUP], 0, 4);
        let peer = "127.0.0.1:5001".parse().unwrap();
        node.input(fetcher_at, Input::Connected { conn: FETCHER, peer, listener: 0 });
        let joined = node.join(GROUP, "");
        let member = node.join(GROUP, &joined.member_id);
        let mut scene = Scene { node, member, fetcher_at };
        scene.names_itself(software);
        scene.as_fetcher(|scene| scene.names_itself(software));
        scene.sync();
        assert_eq!(scene.node.shards[0].metrics.fetch_holds, 0, "it had nothing to pause");
        scene
    }

    fn as_fetcher(&mut self, does: impl FnOnce(&mut Scene)) {
        (self.node.conn, self.node.at) = (FETCHER, self.fetcher_at);
        does(self);
        (self.node.conn, self.node.at) = (CONN, 0);
    }

    fn names_itself(&mut self, software: &'static str) {
        let request = ApiVersionsRequest { client_software_name: software.into(), ..ApiVersionsRequest::default() };
        self.node.send(18, 3, &request);
        self.node.replies.clear();
    }

    /// The member is told what it has to consume; the first time it had nothing before.
    fn sync(&mut self) {
        let member_id = self.member.member_id.clone();
        let assignment = SyncGroupRequestAssignment { member_id: member_id.clone(), assignment: b"t"[..].into() };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.member.generation_id,
            member_id,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![assignment],
            ..SyncGroupRequest::default()
        };
        self.node.send(14, 5, &request);
        if self.node.replies.is_empty() {
            self.node.pass_ms(HOLD_LEAD.as_millis() as u64);
        }
        assert_eq!(self.answers(), 1, "to the sync");
    }

    fn beat(&mut self) {
        let (member, generation) = (self.member.member_id.clone().into_owned(), self.member.generation_id);
        self.node.heartbeat(GROUP, &member, generation);
    }

    /// The member asks from where to go on, which it does after its callback.
    fn asks_for_offsets(&mut self) {
        let group = OffsetFetchRequestGroup { group_id: GROUP.into(), ..OffsetFetchRequestGroup::default() };
        self.node.send(9, 9, &OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() });
    }

    /// How many have come.
    fn answers(&mut self) -> usize {
        self.node.replies.drain(..).count()
    }

    /// A fetch that waits when the sync is answered; then there is a record.
    fn synced_while_fetching(&mut self) {
        self.as_fetcher(|scene| scene.node.fetch("t", 0, 500));
        self.sync();
        self.node.produce("t", 1, &batch(), 0);
    }
}

#[test]
fn a_fetch_waits_until_the_member_has_taken_in_its_assignment() {
    for fetcher_at in [0, 1] {
        let mut scene = Scene::start(RDKAFKA, fetcher_at, &[]);
        scene.synced_while_fetching();
        scene.node.commit(GROUP, "t", &[(0, 1)]);
        assert_eq!(scene.answers(), 0, "it commits what was revoked, and pauses again");
        scene.beat();
        assert_eq!(scene.answers(), 1, "to the heartbeat, which comes at its time");
        scene.asks_for_offsets();
        assert_eq!(scene.answers(), 2, "to that and to the fetch");
        scene.as_fetcher(|scene| scene.node.fetch("t", 0, 500));
        assert_eq!(scene.answers(), 1, "at once again");
        assert_eq!(scene.node.shards[0].metrics.fetch_holds, 1);
    }
}

#[test]
fn a_fetch_that_comes_meanwhile_waits_even_beyond_its_own_time() {
    let mut scene = Scene::start(RDKAFKA, 1, &[]);
    scene.sync();
    scene.as_fetcher(|scene| scene.node.fetch("t", 0, 4));
    scene.node.pass_ms(5);
    assert_eq!(scene.answers(), 0);
    scene.node.pass_ms(4);
    assert_eq!(scene.answers(), 0);
    scene.node.pass_ms(1);
    assert_eq!(scene.answers(), 1, "the member has said nothing, and rebalance.fetch.hold.ms are over");
    scene.asks_for_offsets();
    assert_eq!(scene.answers(), 1, "to that only");
}

#[test]
fn what_is_given_up_is_committed_in_between_and_takes_its_time() {
    let mut scene = Scene::start(RDKAFKA, 1, &[]);
    scene.synced_while_fetching();
    scene.node.pass_ms(8);
    scene.node.commit(GROUP, "t", &[(0, 1)]);
    scene.node.pass_ms(8);
    assert_eq!(scene.answers(), 0);
    scene.node.pass_ms(2);
    assert_eq!(scene.answers(), 1);
}

#[test]
fn errors_and_clients_that_do_not_pause_do_not_wait() {
    let mut scene = Scene::start(RDKAFKA, 0, &[]);
    scene.sync();
    scene.as_fetcher(|scene| scene.node.fetch("none", 0, 500));
    assert_eq!(scene.answers(), 1, "an unknown topic");
    for (software, values) in [("apache-kafka-java", &[][..]), (RDKAFKA, &[("rebalance.fetch.hold.ms", "0")])] {
        let mut scene = Scene::start(software, 1, values);
        scene.as_fetcher(|scene| scene.node.fetch("t", 0, 500));
        scene.sync();
        assert_eq!(scene.answers(), 0);
        scene.node.produce("t", 1, &batch(), 0);
        assert_eq!(scene.answers(), 1, "{software}");
    }
}

#[test]
fn a_fetch_whose_connection_ends_while_it_waits_leaves_nothing_behind() {
    let mut scene = Scene::start(RDKAFKA, 1, &[]);
    scene.synced_while_fetching();
    scene.node.input(1, Input::Disconnected { conn: FETCHER });
    scene.asks_for_offsets();
    assert_eq!(scene.answers(), 1, "to that only");
    scene.node.pass_ms(600);
    for shard in &scene.node.shards {
        assert!(shard.pending.is_empty() && shard.fetch_deadlines.is_empty());
    }
}
