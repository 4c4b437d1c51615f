//! `floe group` against a peer that answers as Kafka 4.3 and as Kafka 2.0 do.

use std::sync::Arc;

use bytes::Bytes;
use floe_wire::consumer_protocol;
use floe_wire::messages::Message;
use floe_wire::messages::consumer_group_describe as next;
use floe_wire::messages::delete_groups::*;
use floe_wire::messages::describe_groups as classic;
use floe_wire::messages::list_groups::*;
use floe_wire::messages::list_offsets::*;
use floe_wire::messages::offset_commit::*;
use floe_wire::messages::offset_fetch::*;

use crate::peer::{Peer, body};
use crate::scratch::{Run, Scratch};

/// What Kafka 4.3 has of groups, and what Kafka 2.0 had.
const NEW: &[(i16, i16)] = &[(2, 11), (8, 10), (9, 10), (15, 6), (16, 5), (42, 2), (69, 1)];
const OLD: &[(i16, i16)] = &[(2, 3), (8, 4), (9, 4), (10, 2), (15, 1), (16, 1), (42, 1)];

/// Groups: `next` (next generation, two members, one about to change), `old` (classic, a member), `rest` (offsets only), `share`.
fn part(key: i16, version: i16, request: &Bytes) -> Option<Bytes> {
    match key {
        2 => body(&offsets(request, version), version),
        8 => {
            let request = OffsetCommitRequest::decode_all(request, version).unwrap();
            let partition = |p: &OffsetCommitRequestPartition<'_>| OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: if request.group_id == "race" { 25 } else { 0 },
            };
            let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
                name: topic.name.clone(),
                partitions: topic.partitions.iter().map(partition).collect(),
                ..OffsetCommitResponseTopic::default()
            });
            body(&OffsetCommitResponse { topics: topics.collect(), throttle_time_ms: 0 }, version)
        }
        9 => body(&fetched(), version),
        15 => body(&of_classic(request, version), version),
        16 => body(&listed(), version),
        42 => {
            let request = DeleteGroupsRequest::decode_all(request, version).unwrap();
            let result = |name: &std::borrow::Cow<'_, str>| DeletableGroupResult {
                group_id: name.to_string().into(),
                error_code: [("old", 68), ("nobody", 69)].into_iter().find(|(n, _)| n == name).map_or(0, |(_, c)| c),
            };
            let results = request.groups_names.iter().map(result).collect();
            body(&DeleteGroupsResponse { throttle_time_ms: 0, results }, version)
        }
        69 => body(&of_next(request, version), version),
        _ => None,
    }
}

fn listed() -> ListGroupsResponse<'static> {
    let rows = [
        ("old", "Stable", "classic"),
        ("next", "Reconciling", "consumer"),
        ("rest", "Empty", "classic"),
        ("share", "Stable", "share"),
    ];
    let group = |(id, state, kind): (&'static str, &'static str, &'static str)| ListedGroup {
        group_id: id.into(),
        protocol_type: "consumer".into(),
        group_state: state.into(),
        group_type: kind.into(),
    };
    ListGroupsResponse { groups: rows.map(group).to_vec(), ..ListGroupsResponse::default() }
}

fn of_classic<'a>(request: &'a Bytes, version: i16) -> classic::DescribeGroupsResponse<'a> {
    let request = classic::DescribeGroupsRequest::decode_all(request, version).unwrap();
    let name = request.groups[0].clone();
    let assignment = consumer_protocol::Assignment {
        assigned_partitions: vec![consumer_protocol::TopicPartition { topic: "ice".into(), partitions: vec![1, 0] }],
        user_data: None,
    };
    let member = classic::DescribedGroupMember {
        member_id: "m-1".into(),
        group_instance_id: (version >= 4).then(|| "pinned".into()),
        client_id: "worker".into(),
        client_host: "/10.0.0.1".into(),
        member_metadata: Default::default(),
        member_assignment: assignment.to_bytes(3).to_vec().into(),
    };
    let there = ["old", "rest"].contains(&&*name);
    let members = if name == "old" { vec![member] } else { Vec::new() };
    let group = classic::DescribedGroup {
        error_code: if there || version < 6 { 0 } else { 69 },
        group_state: if !there {
            "Dead"
        } else if members.is_empty() {
            "Empty"
        } else {
            "Stable"
        }
        .into(),
        group_id: name,
        protocol_type: "consumer".into(),
        protocol_data: "range".into(),
        members,
        ..classic::DescribedGroup::default()
    };
    classic::DescribeGroupsResponse { throttle_time_ms: 0, groups: vec![group] }
}

fn of_next<'a>(request: &'a Bytes, version: i16) -> next::ConsumerGroupDescribeResponse<'a> {
    let request = next::ConsumerGroupDescribeRequest::decode_all(request, version).unwrap();
    let name = request.group_ids[0].clone();
    let has = |topic: &'static str, partitions: &[i32]| next::Assignment {
        topic_partitions: vec![next::TopicPartitions {
            topic_name: topic.into(),
            partitions: partitions.to_vec(),
            ..next::TopicPartitions::default()
        }],
    };
    let member = |id: &'static str, has_now, is_to_have| next::Member {
        member_id: id.into(),
        member_epoch: 4,
        client_id: "app".into(),
        client_host: "/10.0.0.2".into(),
        assignment: has_now,
        target_assignment: is_to_have,
        ..next::Member::default()
    };
    let members = vec![
        member("alpha", has("ice", &[0, 1]), has("ice", &[0])),
        member("beta", has("snow", &[0]), has("snow", &[0])),
    ];
    let group = if name == "next" {
        next::DescribedGroup {
            group_id: name,
            group_state: "Reconciling".into(),
            group_epoch: 5,
            assignment_epoch: 5,
            assignor_name: "uniform".into(),
            members,
            ..next::DescribedGroup::default()
        }
    } else {
        next::DescribedGroup { error_code: 69, group_id: name, ..next::DescribedGroup::default() }
    };
    next::ConsumerGroupDescribeResponse { throttle_time_ms: 0, groups: vec![group] }
}

/// Every group has committed 3 in ice-0 and 1 in a topic that is not there any more.
fn fetched() -> OffsetFetchResponse<'static> {
    let place = |name: &'static str, committed_offset| (name, committed_offset);
    let places = [place("ice", 3), place("gone", 1)];
    let one = |(name, committed_offset): (&'static str, i64)| OffsetFetchResponseTopic {
        name: name.into(),
        partitions: vec![OffsetFetchResponsePartition { committed_offset, ..Default::default() }],
    };
    let of_several = |(name, committed_offset): (&'static str, i64)| OffsetFetchResponseTopics {
        name: name.into(),
        partitions: vec![OffsetFetchResponsePartitions { committed_offset, ..Default::default() }],
        ..OffsetFetchResponseTopics::default()
    };
    let group = OffsetFetchResponseGroup { topics: places.map(of_several).to_vec(), ..Default::default() };
    OffsetFetchResponse { topics: places.map(one).to_vec(), groups: vec![group], ..OffsetFetchResponse::default() }
}

/// Every partition holds offsets 2 to 9; at time 1000 is offset 5, later there is nothing.
fn offsets(request: &Bytes, version: i16) -> ListOffsetsResponse<'static> {
    let request = ListOffsetsRequest::decode_all(request, version).unwrap();
    let partition = |p: &ListOffsetsPartition| ListOffsetsPartitionResponse {
        partition_index: p.partition_index,
        offset: match p.timestamp {
            EARLIEST => 2,
            LATEST => 10,
            ..=1000 => 5,
            _ => -1,
        },
        ..ListOffsetsPartitionResponse::default()
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.to_string().into(),
        partitions: topic.partitions.iter().map(partition).collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), throttle_time_ms: 0 }
}

fn group(peer: &Peer, args: &[&str]) -> Run {
    let args: Vec<&str> =
        ["group"].iter().chain(args).chain(&["-b", &peer.address, "--timeout-ms", "10000"]).copied().collect();
    Scratch::new().floe(&args)
}

#[test]
fn groups_are_listed_and_described_with_their_lag() {
    let peer = Peer::start(NEW, 3, Arc::new(part));
    let list = group(&peer, &["list"]);
    list.expect(0, &["next   consumer  Reconciling  7", "old    classic   Stable       7", "share"]);
    assert!(!group(&peer, &["list", "--type", "classic", "--state", "empty"]).out.contains("old"));
    let next = group(&peer, &["describe", "next"]);
    next.expect(
        0,
        &[
            "group next  type consumer  state Reconciling  assignor uniform  epoch 5  coordinator 7  2 members  lag 7",
            "alpha   -         app     /10.0.0.2  ice 0-1 (to be: ice 0)",
            "beta    -         app     /10.0.0.2  snow 0\n",
            "gone   0          1          -    -    -",
            "ice    0          3          10   7    alpha",
            "ice    1          -          10   -    alpha",
        ],
    );
    group(&peer, &["describe", "old"])
        .expect(0, &["type classic", "assignor range", "m-1     pinned    worker  /10.0.0.1  ice 0-1"]);
    group(&peer, &["describe", "nobody"]).expect(1, &["no group `nobody`", "floe group list"]);
    let all = group(&peer, &["describe", "--json"]);
    let lag_of = |line: &str| -> (String, i64) {
        let group: serde_json::Value = serde_json::from_str(line).unwrap();
        (group["group"].as_str().unwrap().to_owned(), group["lag"].as_i64().unwrap())
    };
    let lags: Vec<_> = all.out.lines().map(lag_of).collect();
    assert_eq!(lags, [("next".to_owned(), 7), ("old".to_owned(), 7), ("rest".to_owned(), 7)], "no share group");
}

#[test]
fn an_older_broker_does_as_well() {
    let peer = Peer::start(OLD, 1, Arc::new(part));
    group(&peer, &["list"]).expect(0, &["old    -     -      7"]);
    group(&peer, &["describe", "old"]).expect(0, &["type classic", "m-1     -         worker", "lag 7"]);
    group(&peer, &["describe", "nobody"]).expect(1, &["no group `nobody`"]);
    group(&peer, &["reset-offsets", "rest", "-t", "ice", "--to-latest", "--execute"]).expect(0, &["in 2 partitions"]);
    assert_eq!(*peer.committed.lock().unwrap(), ["ice-0@10", "ice-1@10"]);
}

#[test]
fn resets_are_told_and_done_only_when_asked_for() {
    let peer = Peer::start(NEW, 0, Arc::new(part));
    let committed = |target: &[&str]| -> Vec<String> {
        let run = |how: &'static str| {
            let args: Vec<&str> = ["reset-offsets", "rest"].iter().chain(target).chain(&[how]).copied().collect();
            group(&peer, &args)
        };
        run("--dry-run").expect(0, &["nothing was changed"]);
        assert!(peer.committed.lock().unwrap().is_empty(), "{target:?}");
        run("--execute").expect(0, &["reset group rest in"]);
        std::mem::take(&mut *peer.committed.lock().unwrap())
    };
    for (target, expect) in [
        (&["-t", "ice", "--to-earliest"][..], &["ice-0@2", "ice-1@2"][..]),
        (&["-t", "ice:1", "-t", "snow", "--to-latest"], &["ice-1@10", "snow-0@10"]),
        (&["-t", "ice:0", "-t", "ice:1", "--to-offset", "7"], &["ice-0@7", "ice-1@7"]),
        (&["-t", "snow", "--to-offset", "99"], &["snow-0@10"]),
        (&["-t", "ice:0", "--shift-by", "-1"], &["ice-0@2"]),
        (&["-t", "ice:0", "--shift-by", "-100"], &["ice-0@2"]),
        (&["-t", "snow", "--to-datetime", "1970-01-01T00:00:01"], &["snow-0@5"]),
        (&["-t", "snow", "--by-duration", "PT1H"], &["snow-0@10"]),
        (&["-t", "ice", "--to-current"], &["ice-0@3", "ice-1@10"]),
        (&["--all-topics", "--shift-by", "2"], &["ice-0@5"]),
    ] {
        assert_eq!(committed(target), expect, "{target:?}");
    }
    let refused: &[(&[&str], &[&str])] = &[
        (&["old", "-t", "ice", "--to-latest"], &["group `old` has 1 member;", "floe group describe old"]),
        (&["next", "-t", "ice", "--to-latest"], &["group `next` has 2 members;"]),
        (&["race", "-t", "ice", "--to-latest"], &["members that came just now"]),
        (&["rest", "-t", "ice", "--shift-by", "1"], &["ice-1", "nothing is committed"]),
        (&["rest", "-t", "ice:2", "--to-latest"], &["from 0 to 1"]),
    ];
    for (args, parts) in refused {
        let args: Vec<&str> = ["reset-offsets"].iter().chain(*args).chain(&["--execute"]).copied().collect();
        group(&peer, &args).expect(1, parts);
    }
}

#[test]
fn groups_without_members_are_deleted() {
    let peer = Peer::start(NEW, 0, Arc::new(part));
    group(&peer, &["delete", "rest"]).expect(0, &["deleted group rest"]);
    let some = group(&peer, &["delete", "old", "nobody", "rest"]);
    some.expect(1, &["group `old` has members", "no group `nobody`", "--if-exists", "deleted group rest"]);
    group(&peer, &["delete", "nobody", "--if-exists"]).expect(0, &["there is no group nobody"]);
}

#[test]
fn a_coordinator_that_never_comes_is_told() {
    let peer = Peer::start(NEW, u32::MAX, Arc::new(part));
    let args = ["group", "describe", "old", "-b", &peer.address, "--timeout-ms", "300"];
    Scratch::new().floe(&args).expect(1, &["COORDINATOR_NOT_AVAILABLE", "try again"]);
}
