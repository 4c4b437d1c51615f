//! Groups through a whole shard: what is committed is there after a restart, whatever is asked of a group on another shard, and its topic is the
//! broker's own.

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::messages::delete_topics::DeleteTopicsRequest;
use floe_wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use floe_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use floe_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use floe_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use floe_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use floe_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use floe_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};

use super::*;
use crate::group::OFFSETS_TOPIC;
use floe_wire::errors::ErrorCode;

impl Node {
    /// Error code and host of each key.
    pub(super) fn find(&mut self, keys: &[&'static str], key_type: i8, version: i16) -> Vec<(i16, String)> {
        let request = FindCoordinatorRequest {
            key_type,
            coordinator_keys: keys.iter().map(|key| (*key).into()).collect(),
            ..FindCoordinatorRequest::default()
        };
        self.send(10, version, &request);
        let response = FindCoordinatorResponse::decode_all(self.reply(10, version), version).unwrap();
        response.coordinators.into_iter().map(|c| (c.error_code, c.host.into_owned())).collect()
    }

    /// Commits an offset of each partition; the error codes.
    pub(super) fn commit(&mut self, group: &'static str, topic: &'static str, offsets: &[(i32, i64)]) -> Vec<i16> {
        let partitions = offsets.iter().map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..OffsetCommitRequestPartition::default()
        });
        let topic = OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: partitions.collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let request =
            OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..OffsetCommitRequest::default() };
        self.send(8, 9, &request);
        let response = OffsetCommitResponse::decode_all(self.reply(8, 9), 9).unwrap();
        response.topics[0].partitions.iter().map(|partition| partition.error_code).collect()
    }

    /// Of each group the error code and the offsets of partitions 0 and 1.
    fn offsets(&mut self, groups: &[&'static str], topic: &'static str) -> Vec<(i16, Vec<i64>)> {
        let groups = groups.iter().map(|group| OffsetFetchRequestGroup {
            group_id: (*group).into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic.into(),
                partition_indexes: vec![0, 1],
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        });
        self.send(9, 9, &OffsetFetchRequest { groups: groups.collect(), ..OffsetFetchRequest::default() });
        let response = OffsetFetchResponse::decode_all(self.reply(9, 9), 9).unwrap();
        let groups = response.groups.into_iter().map(|group| {
            let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            (group.error_code, partitions.map(|partition| partition.committed_offset).collect())
        });
        groups.collect()
    }

    pub(super) fn join(&mut self, group: &'static str, member: &str) -> JoinGroupResponse<'static> {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: b"me"[..].into() };
        let request = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: member.to_owned().into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        self.send(11, 9, &request);
        if self.replies.is_empty() {
            // The initial delay.
            self.pass_ms(3_100);
        }
        JoinGroupResponse::decode_all(self.reply(11, 9), 9).unwrap()
    }

    pub(super) fn heartbeat(&mut self, group: &'static str, member: &str, generation_id: i32) {
        let member_id = member.to_owned().into();
        let request =
            HeartbeatRequest { group_id: group.into(), generation_id, member_id, ..HeartbeatRequest::default() };
        self.send(12, 4, &request);
    }

    fn beat(&mut self, group: &'static str, member: &str, generation_id: i32) -> i16 {
        self.heartbeat(group, member, generation_id);
        HeartbeatResponse::decode_all(self.reply(12, 4), 4).unwrap().error_code
    }

    /// Groups are read a step a round: lets rounds come until all have been.
    fn load(&mut self) {
        let loading = |node: &Node| node.shards.iter().any(|shard| shard.owner.groups.metrics().loading > 0);
        for _ in 0..1000 {
            if !loading(self) {
                return;
            }
            self.pass_ms(0);
        }
        panic!("groups are not read to their end");
    }

    /// Time passes for all shards.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.now.wall_ms += ms as i64;
        (0..self.shards.len() as u16).for_each(|shard| self.input(shard, Input::Timer));
    }
}

#[test]
fn what_is_committed_beyond_the_end_of_a_partition_is_noticed() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    assert_eq!(node.offsets(&["a"], "t"), [(codes::NOT_COORDINATOR, vec![])]);
    node.find(&["a", "b"], 0, 4);
    for partition in 0..2 {
        node.produce("t", partition, &batch(), -1);
        node.produced();
    }
    let noticed = |node: &mut Node| {
        let lines = node.lines.drain(..).filter(|line| line.contains("beyond"));
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        let count: u64 = node.shards.iter_mut().map(|shard| shard.metrics_now().groups.counts.beyond_end).sum();
        (lines, count)
    };
    // Groups and partitions of either shard. The end itself is what a member has that has read everything.
    for group in ["a", "b"] {
        assert_eq!(node.commit(group, "t", &[(0, 1), (1, 2)]), [codes::NONE; 2]);
    }
    assert_eq!(noticed(&mut node), (vec![], 0), "nobody waits for it");
    node.pass_ms(1_000);
    let line = |group, at, offset| {
        format!("group {group}: offset of t-{at} committed as {offset} by  at /127.0.0.1, beyond the partition's end 1")
    };
    assert_eq!(noticed(&mut node), (vec![line("a", 1, 2), line("b", 1, 2)], 2));
    // The same again is no news; records that come within the second are as good as records that were there.
    node.commit("a", "t", &[(0, 2), (1, 2)]);
    node.produce("t", 0, &batch(), -1);
    node.produced();
    node.pass_ms(1_000);
    assert_eq!(noticed(&mut node), (vec![], 2));
    node.commit("a", "t", &[(0, 1 << 40)]);
    node.pass_ms(999);
    assert_eq!(noticed(&mut node), (vec![], 2));
    node.pass_ms(1);
    assert_eq!(noticed(&mut node).1, 3);
    // A topic that is gone has no end.
    node.commit("a", "t", &[(0, 3)]);
    node.send(20, 5, &DeleteTopicsRequest { topic_names: vec!["t".into()], ..DeleteTopicsRequest::default() });
    node.pass_ms(1_000);
    assert_eq!(noticed(&mut node).1, 3);
}

#[test]
fn what_groups_commit_is_there_after_a_restart_on_any_number_of_shards() {
    let mut node = Node::start(2, BTreeMap::new());
    node.create("t", 2, 1);
    assert_eq!(node.offsets(&["a"], "t"), [(codes::NOT_COORDINATOR, vec![])], "nobody has looked for it yet");
    assert_eq!(node.find(&["a", "b", "c"], 0, 4), vec![(codes::NONE, "here".to_owned()); 3]);
    // Groups on both shards, so some of these go over the mesh.
    let groups = ["a", "b", "c", "d", "e", "f"];
    for (group, at) in groups.into_iter().zip(1..) {
        assert_eq!(node.commit(group, "t", &[(0, at), (1, at * 10)]), [codes::NONE; 2]);
    }
    assert_eq!(node.commit("a", "t", &[(1, 7), (2, 7)]), [codes::NONE, codes::UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(node.commit("a", "none", &[(1, 7)]), [codes::UNKNOWN_TOPIC_OR_PARTITION]);
    let expected: Vec<_> = (1..=6).map(|at| (codes::NONE, vec![at, if at == 1 { 7 } else { at * 10 }])).collect();
    assert_eq!(node.offsets(&groups, "t"), expected);
    for shards in [2, 3, 1] {
        node = Node::start(shards, node.files);
        node.load();
        assert_eq!(node.offsets(&groups, "t"), expected, "on {shards} shards");
    }
    node.send(16, 5, &ListGroupsRequest::default());
    let listed = ListGroupsResponse::decode_all(node.reply(16, 5), 5).unwrap();
    let mut names: Vec<_> = listed.groups.iter().map(|group| (&*group.group_id, &*group.group_state)).collect();
    names.sort_unstable();
    assert_eq!(names, groups.map(|group| (group, "Empty")));
}

#[test]
fn a_member_of_a_group_on_another_shard_lives_through_a_restart() {
    for group in ["a", "b"] {
        let mut node = Node::start(2, BTreeMap::new());
        node.find(&[group], 0, 4);
        let joined = node.join(group, "");
        assert_eq!(joined.error_code, ErrorCode::MEMBER_ID_REQUIRED.code());
        let member = joined.member_id.into_owned();
        let joined = node.join(group, &member);
        assert_eq!((joined.error_code, joined.generation_id, &*joined.leader), (codes::NONE, 1, &*member));
        let assignment = SyncGroupRequestAssignment { member_id: member.clone().into(), assignment: b"all"[..].into() };
        let request = SyncGroupRequest {
            group_id: group.into(),
            generation_id: 1,
            member_id: member.clone().into(),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![assignment],
            ..SyncGroupRequest::default()
        };
        node.send(14, 5, &request);
        let synced = SyncGroupResponse::decode_all(node.reply(14, 5), 5).unwrap();
        assert_eq!((synced.error_code, &*synced.assignment), (codes::NONE, &b"all"[..]));
        assert_eq!(node.beat(group, &member, 1), codes::NONE);
        let mut node = Node::start(2, node.files);
        node.load();
        assert_eq!(node.beat(group, &member, 1), codes::NONE, "as if nothing had happened");
        node.pass_ms(9_000);
        assert_eq!(node.beat(group, &member, 1), codes::NONE);
        node.pass_ms(11_000);
        assert_eq!(node.beat(group, &member, 1), ErrorCode::UNKNOWN_MEMBER_ID.code(), "silent for too long");
    }
}

#[test]
fn a_join_whose_connection_is_gone_leaves_nothing_behind() {
    let mut node = Node::start(2, BTreeMap::new());
    node.find(&["a"], 0, 4);
    let member = node.join("a", "").member_id.into_owned();
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: b"me"[..].into() };
    let request = JoinGroupRequest {
        group_id: "a".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    };
    node.send(11, 9, &request);
    assert!(node.replies.is_empty(), "it waits for others");
    node.input(0, Input::Disconnected { conn: CONN });
    assert!(node.shards[0].pending.is_empty());
    // The group finds out by itself.
    node.pass_ms(3_100);
    node.pass_ms(60_000);
    node.pass_ms(60_000);
    let waiting: u64 = node.shards.iter().map(|shard| shard.owner.groups.metrics().waiting).sum();
    let members: u64 = node.shards.iter().map(|shard| shard.owner.groups.coordinator.metrics().members).sum();
    assert_eq!((waiting, members), (0, 0));
    assert!(node.replies.is_empty());
}

#[test]
fn coordinators_of_what_there_is_are_found() {
    let mut node = Node::start(1, BTreeMap::new());
    for (key_type, version, code) in [
        (1, 4, codes::NONE),
        (2, 6, codes::COORDINATOR_NOT_AVAILABLE),
        (2, 5, codes::INVALID_REQUEST),
        (9, 6, codes::INVALID_REQUEST),
    ] {
        let host = if code == codes::NONE { "here" } else { "" };
        assert_eq!(node.find(&["x"], key_type, version), [(code, host.to_owned())], "{key_type} {version}");
    }
    node.send(10, 2, &FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() });
    let response = FindCoordinatorResponse::decode_all(node.reply(10, 2), 2).unwrap();
    assert_eq!((response.error_code, &*response.host, response.port), (codes::NONE, "here", 9092));
}

#[test]
fn the_topic_of_offsets_is_the_brokers_own() {
    let mut node = Node::start(1, BTreeMap::new());
    let topic = MetadataRequestTopic { name: Some(OFFSETS_TOPIC.into()), ..MetadataRequestTopic::default() };
    node.send(3, 8, &MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() });
    let response = MetadataResponse::decode_all(node.reply(3, 8), 8).unwrap();
    assert!(response.topics[0].is_internal);
    assert_eq!(response.topics[0].partitions.len(), 50);
    node.produce(OFFSETS_TOPIC, 0, &batch(), -1);
    assert_eq!(node.produced(), (codes::INVALID_TOPIC_EXCEPTION, -1));
    // Groups would be looked for where their records are not.
    let (code, message) = node.grow(&[(OFFSETS_TOPIC, 51, None)], false).remove(0);
    assert_eq!(code, codes::INVALID_PARTITIONS);
    assert_eq!(message, "The number of partitions of the internal topic __consumer_offsets cannot be changed.");
}

#[test]
fn a_damaged_partition_is_not_served_and_others_are() {
    let mut node = Node::start(1, BTreeMap::new());
    node.create("t", 2, 1);
    node.find(&["a"], 0, 4);
    assert_eq!(node.commit("a", "t", &[(0, 5)]), [codes::NONE]);
    assert_eq!(node.commit("b", "t", &[(0, 6)]), [codes::NONE]);
    // A value of a version that does not exist, in the partition of `a`, as only the admin client can write it.
    let partition = crate::group::partition_of("a", 50);
    assert_ne!(partition, crate::group::partition_of("b", 50));
    let mut builder = BatchBuilder::new(Codec::None);
    let key = [0, 1, 0, 1, b'a', 0, 1, b't', 0, 0, 0, 0];
    builder.push(BatchRecord { timestamp: 1, key: Some(&key), value: Some(&[0, 99]), headers: &[] });
    let batch = builder.finish();
    let data = PartitionProduceData { index: partition, records: Records::Borrowed(&batch) };
    let topic =
        TopicProduceData { name: OFFSETS_TOPIC.into(), partition_data: vec![data], ..TopicProduceData::default() };
    let mut writer = Writer::new();
    let client_id = Some("__admin_client".into());
    RequestHeader { api_key: 0, api_version: 9, correlation_id: 5, client_id }.encode(&mut writer);
    ProduceRequest { acks: -1, topic_data: vec![topic], ..ProduceRequest::default() }.encode(&mut writer, 9);
    node.input(0, Input::Frame { conn: CONN, frame: writer.finish_contiguous() });
    assert_eq!(node.produced().0, codes::NONE);
    let mut node = Node::start(1, node.files);
    node.load();
    assert_eq!(node.offsets(&["a", "b"], "t"), [(codes::NOT_COORDINATOR, vec![]), (codes::NONE, vec![6, -1])]);
}
