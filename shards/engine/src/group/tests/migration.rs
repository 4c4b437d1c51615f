//! Groups that change their protocol while members are in them (KIP-848), as Kafka 4.3.1 changes them, and groups of members of both.

use bytes::Bytes;
use floe_wire::consumer_protocol::{Assignment, Subscription, TopicPartition};

use super::*;
use crate::group::MigrationPolicy;
use crate::group::api::GroupRequest::{Heartbeat, Join as Joins, Leave};

/// What a consumer of `orders` gives when it joins, that has these partitions in hand.
fn wants(owned: &[i32]) -> Bytes {
    let topics = vec!["orders".into()];
    let of_topic = TopicPartition { topic: "orders".into(), partitions: owned.to_vec() };
    let owned_partitions = if owned.is_empty() { Vec::new() } else { vec![of_topic] };
    Subscription { topics, owned_partitions, ..Subscription::default() }.to_bytes(1)
}

/// What a leader gives.
fn gives(partitions: &[i32]) -> Bytes {
    let assigned_partitions = vec![TopicPartition { topic: "orders".into(), partitions: partitions.to_vec() }];
    Assignment { assigned_partitions, user_data: None }.to_bytes(1)
}

/// A join of a classic consumer that has these partitions.
fn joins(member: &str, owned: &[i32]) -> GroupRequest {
    Joins(Join { protocols: vec![("range".into(), wants(owned))], ..join(member) })
}

fn consumer(member: &str, member_epoch: i32, owned: &[i32]) -> GroupRequest {
    GroupRequest::ConsumerHeartbeat(beat(member, member_epoch, (member_epoch >= 0).then_some(owned)))
}

/// A heartbeat of a KIP-848 member: code, epoch, what it shall own if that is told.
fn spoken(world: &mut World, member: &str, epoch: i32, owned: &[i32]) -> (i16, i32, Option<Vec<i32>>) {
    let answer = world.answer("g", consumer(member, epoch, owned));
    let GroupAnswer::ConsumerHeartbeat(answer) = answer else { panic!("heartbeat") };
    world.run();
    let partitions = |topics: Vec<(TopicId, Vec<i32>)>| topics.into_iter().flat_map(|(_, all)| all).collect();
    (answer.error_code, answer.member_epoch, answer.assignment.map(partitions))
}

/// A classic member joins again with what it has, and asks for its assignment: the new generation with it.
fn rejoins(world: &mut World, member: &str, owned: &[i32]) -> (i32, Vec<i32>) {
    let GroupAnswer::Joined(joined) = world.answer("g", joins(member, owned)) else { panic!("joined") };
    world.run();
    assert_eq!((joined.error_code, &*joined.member), (codes::NONE, member));
    assert_eq!((&*joined.leader, joined.members.len(), joined.protocol.as_deref()), ("", 0, Some("range")));
    (joined.generation, synced(world, member, joined.generation))
}

fn synced(world: &mut World, member: &str, generation: i32) -> Vec<i32> {
    let GroupAnswer::Synced(synced) = world.answer("g", sync(&who(member, generation), Vec::new())) else { panic!() };
    assert_eq!((synced.error_code, synced.protocol.as_deref()), (codes::NONE, Some("range")));
    let (version, assignment) = Assignment::from_bytes(&synced.assignment).expect("an assignment");
    assert_eq!(version, 1, "in the version of its subscription");
    assignment.assigned_partitions.into_iter().flat_map(|of_topic| of_topic.partitions).collect()
}

fn described(world: &mut World) -> ConsumerDescribed {
    let GroupAnswer::ConsumerDescribed(described) = world.answer("g", GroupRequest::ConsumerDescribe) else { panic!() };
    described
}

fn with(policy: MigrationPolicy) -> World {
    World::with(GroupSettings { consumer_migration: policy, ..GroupSettings::default() })
}

/// A stable classic group of one member, which has all of `orders`.
fn classic_one(world: &mut World) -> MemberRef {
    let asked = world.ask("g", joins("", &[]));
    let id = world.joined(asked).expect("its id").member;
    let asked = world.ask("g", joins(&id, &[]));
    world.pass(3_000);
    let joined = world.joined(asked).expect("a generation");
    let leader = who(&id, joined.generation);
    let asked = world.ask("g", sync(&leader, vec![(id, gives(&[0, 1, 2, 3]))]));
    assert_eq!(world.synced(asked).expect("its assignment").assignment, gives(&[0, 1, 2, 3]));
    leader
}

/// The same, after a KIP-848 member `n` has come, and everybody has what is due: `n` is at epoch 2 with two partitions, as the classic one is.
fn mixed(world: &mut World) -> MemberRef {
    let old = classic_one(world);
    assert_eq!(spoken(world, "n", 0, &[]), (codes::NONE, 2, Some(vec![])));
    assert_eq!(world.heartbeat("g", &old), codes::REBALANCE_IN_PROGRESS);
    // It has given up everything, as clients without cooperation do: so it is at the target at once.
    let (generation, kept) = rejoins(world, &old.member, &[]);
    assert_eq!((generation, kept.len()), (2, 2));
    let (code, epoch, gained) = spoken(world, "n", 2, &[]);
    assert_eq!((code, epoch, gained.map(|gained| gained.len())), (codes::NONE, 2, Some(2)));
    assert_eq!(described(world).state, "Stable");
    who(&old.member, 2)
}

#[test]
fn a_consumer_takes_a_classic_group_along() {
    let mut world = World::new();
    let old = classic_one(&mut world);
    assert_eq!(code_of(&world.answer("g", GroupRequest::Commit(commit(old.clone(), 7)))), codes::NONE);
    // Who waits in a join is told to join again.
    let waiting = world.ask("g", Joins(old_join("")));
    assert_eq!(spoken(&mut world, "n", 0, &[]), (codes::NONE, 2, Some(vec![])));
    assert_eq!(world.joined(waiting).expect("an answer").error_code, codes::REBALANCE_IN_PROGRESS);
    let described = described(&mut world);
    assert_eq!((described.epoch, described.members.len()), (2, 3));
    let member = described.members.iter().find(|member| member.id == old.member).expect("it stays");
    let classic = member.metadata.classic.as_ref().expect("it speaks the classic protocol");
    assert_eq!((classic.session_timeout_ms, &*classic.protocols[0].0), (10_000, "range"));
    assert_eq!((member.member_epoch, &member.assigned), (1, &vec![(TopicId([1; 16]), vec![0, 1, 2, 3])]));
    assert_eq!(code_of(&world.answer("g", GroupRequest::Describe)), codes::GROUP_ID_NOT_FOUND);
    // Nothing moves before it says that it gave up; offsets stay, and it goes on committing at its generation.
    assert_eq!(spoken(&mut world, "n", 2, &[]).2, None);
    assert_eq!(code_of(&world.answer("g", GroupRequest::Commit(commit(old.clone(), 8)))), codes::NONE);
    assert!(world.lines.iter().any(|line| line.contains("takes 2 members of generation 1 into the consumer protocol")));
}

#[test]
fn members_of_both_protocols_share_the_partitions() {
    let mut world = World::new();
    let old = mixed(&mut world);
    assert_eq!(world.heartbeat("g", &old), codes::NONE);
    // One that gives up only what it must (KIP-429): it is told what it keeps, and comes again when it has given up the rest.
    assert_eq!(spoken(&mut world, "m", 0, &[]).1, 3);
    assert_eq!(world.heartbeat("g", &old), codes::REBALANCE_IN_PROGRESS);
    let had = synced_before(&world, &old.member);
    let (generation, kept) = rejoins(&mut world, &old.member, &had);
    let gives_up = had.len() - kept.len();
    if gives_up > 0 {
        assert_eq!(generation, 2, "it stays at its generation until it has given up");
        assert_eq!(world.heartbeat("g", &who(&old.member, 2)), codes::REBALANCE_IN_PROGRESS);
    }
    assert_eq!(rejoins(&mut world, &old.member, &kept), (3, kept));
    // Now one that waits for others: it is asked to come only when there is something to get.
    world.answer("g", consumer("m", -1, &[]));
    world.run();
    let (_, epoch, _) = spoken(&mut world, "n", 2, &[]);
    assert!(epoch >= 2);
    assert_eq!(world.heartbeat("g", &who(&old.member, 3)), codes::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_classic_member_has_no_say_in_what_another_has() {
    let mut world = World::new();
    let old = mixed(&mut world);
    let (own, others): (Vec<i32>, Vec<i32>) = (0..4).partition(|at| synced_before(&world, &old.member).contains(at));
    let both = [(own[0], 5), (others[0], 5)];
    let answer = world.answer("g", GroupRequest::Commit(commit_of(old.clone(), "orders", 1, &both)));
    let GroupAnswer::Committed(codes) = answer else { panic!("{answer:?}") };
    assert_eq!(codes, [[codes::NONE, codes::REBALANCE_IN_PROGRESS]]);
    let producer = crate::txn::api::Producer { id: 7, epoch: 0 };
    let commit = commit_of(old, "orders", 1, &both);
    let answer = world.answer("g", GroupRequest::TxnCommit(commit, TxnWrite { producer, verified: None }));
    let GroupAnswer::Committed(codes) = answer else { panic!("{answer:?}") };
    assert_eq!(codes, [[codes::NONE, codes::ILLEGAL_GENERATION]]);
    // A member of KIP-848 is told with its epoch what it has; Kafka lets it commit for all.
    let answer = world.answer("g", GroupRequest::Commit(commit_of(who("n", 2), "orders", 1, &both)));
    let GroupAnswer::Committed(codes) = answer else { panic!("{answer:?}") };
    assert_eq!(codes, [[codes::NONE, codes::NONE]]);
}

fn written(world: &World) -> impl DoubleEndedIterator<Item = &GroupRecord> {
    world.log.iter().map(|entry| match entry {
        Entry::Record(record, _) => record,
        Entry::End { .. } => unreachable!("nobody commits in transactions"),
    })
}

/// What the coordinator holds of a member at present.
fn synced_before(world: &World, member: &str) -> Vec<i32> {
    let current = written(world).rev().find_map(|record| match record {
        GroupRecord::Current { member: of, value: Some(value), .. } if **of == *member => Some(value.assigned.clone()),
        _ => None,
    });
    current.expect("it has one").into_iter().flat_map(|(_, partitions)| partitions).collect()
}

#[test]
fn when_the_last_consumer_goes_the_group_is_classic_again() {
    let leave: fn(&mut World) = |world| assert_eq!(spoken(world, "n", -1, &[]).0, codes::NONE);
    let by_admin: fn(&mut World) = |world| {
        world.answer("g", Leave(vec![leaver("n")]));
        world.run();
    };
    let silence: fn(&mut World) = |_| {};
    for (how, go) in [("it leaves", leave), ("it is removed", by_admin), ("its session ends", silence)] {
        let mut world = World::new();
        let old = mixed(&mut world);
        go(&mut world);
        while described(&mut world).error_code == codes::NONE {
            world.pass(5_000);
            world.answer("g", Heartbeat(old.clone()));
        }
        // The generation is the epoch. The member is told to join again, and agrees with itself.
        assert_eq!(world.state("g"), "PreparingRebalance", "{how}");
        assert_eq!(world.heartbeat("g", &old), codes::REBALANCE_IN_PROGRESS, "{how}");
        let asked = world.ask("g", joins(&old.member, &[]));
        let joined = world.joined(asked).expect("nobody else is awaited");
        assert_eq!((joined.error_code, joined.generation, &joined.leader), (codes::NONE, 3, &old.member), "{how}");
        assert_eq!(described(&mut world).error_code, codes::GROUP_ID_NOT_FOUND, "{how}");
    }
}

#[test]
fn a_group_that_has_become_classic_is_read_back_as_such() {
    let mut world = World::new();
    let old = mixed(&mut world);
    let kept = synced_before(&world, &old.member);
    assert_eq!(spoken(&mut world, "n", -1, &[]).0, codes::NONE);
    let last = written(&world).rev().find(|record| !record.is_tombstone()).expect("its record");
    let GroupRecord::Classic { value: Some(state), .. } = last else { panic!("{last:?}") };
    assert_eq!((state.generation, state.protocol.as_deref(), &*state.protocol_type), (2, Some("range"), "consumer"));
    assert_eq!(state.members[0].assignment, gives(&kept), "what it owns");
    world.restart();
    world.run();
    // What the other one had must be given to somebody: the rebalance that did not come to its end begins again.
    assert_eq!(world.state("g"), "PreparingRebalance");
    assert_eq!(world.heartbeat("g", &old), codes::REBALANCE_IN_PROGRESS);
    let asked = world.ask("g", joins(&old.member, &[]));
    let joined = world.joined(asked).expect("nobody else is awaited");
    assert_eq!((joined.error_code, joined.generation, &joined.leader), (codes::NONE, 3, &old.member));
}

/// The leader has taken partitions from a member that does not know it yet: they are not free before it says so.
#[test]
fn what_a_member_said_it_has_is_not_free_before_it_joins_again() {
    let mut world = World::new();
    let old = classic_one(&mut world);
    let asked = world.ask("g", joins(&old.member, &[0, 1, 2, 3]));
    let generation = world.joined(asked).expect("nobody else is awaited").generation;
    let asked = world.ask("g", sync(&who(&old.member, generation), vec![(old.member.clone(), gives(&[0, 1]))]));
    assert_eq!(world.synced(asked).expect("its assignment").assignment, gives(&[0, 1]));
    assert_eq!(spoken(&mut world, "n", 0, &[]), (codes::NONE, 3, Some(vec![])));
    assert_eq!(synced_before(&world, &old.member), [0, 1, 2, 3]);
    let (generation, kept) = rejoins(&mut world, &old.member, &[0, 1]);
    assert_eq!((generation, kept), (3, vec![0, 1]));
    assert_eq!(spoken(&mut world, "n", 3, &[]).2, Some(vec![2, 3]));
}

/// The group's protocol changes twice before its classic member learns of it: that still has everything in hand.
#[test]
fn what_a_member_holds_outlives_a_moment_as_a_classic_group() {
    for restarts in [false, true] {
        let mut world = World::new();
        let old = classic_one(&mut world);
        assert_eq!(spoken(&mut world, "n", 0, &[]), (codes::NONE, 2, Some(vec![])));
        assert_eq!(spoken(&mut world, "n", -1, &[]).0, codes::NONE);
        if restarts {
            world.restart();
            world.run();
        }
        assert_eq!(world.state("g"), "PreparingRebalance");
        assert_eq!(spoken(&mut world, "m", 0, &[]), (codes::NONE, 3, Some(vec![])), "nothing is free");
        assert_eq!(synced_before(&world, &old.member), [0, 1, 2, 3]);
        let (generation, kept) = rejoins(&mut world, &old.member, &[]);
        assert_eq!((generation, kept.len()), (3, 2));
        assert_eq!(spoken(&mut world, "m", 3, &[]).2.map(|gained| gained.len()), Some(2));
    }
}

#[test]
fn policies_are_kafkas() {
    use MigrationPolicy::{Bidirectional, Disabled, Downgrade, Upgrade};
    let not_upgraded = "Cannot upgrade classic group g to consumer group because online upgrade is disabled.";
    for (policy, up, down) in
        [(Disabled, false, false), (Upgrade, true, false), (Downgrade, false, true), (Bidirectional, true, true)]
    {
        let mut world = with(policy);
        classic_one(&mut world);
        let GroupAnswer::ConsumerHeartbeat(answer) = world.answer("g", consumer("n", 0, &[])) else { panic!() };
        assert_eq!(answer.error_code, if up { codes::NONE } else { codes::GROUP_ID_NOT_FOUND }, "{policy:?}");
        assert_eq!(answer.error_message.as_deref(), (!up).then_some(not_upgraded), "{policy:?}");
        // A classic member joins a KIP-848 group whatever the policy; when it is the last, that tells.
        let mut world = with(policy);
        assert_eq!(spoken(&mut world, "n", 0, &[]).0, codes::NONE);
        let asked = world.ask("g", joins("", &[]));
        let given = world.joined(asked).expect("its id");
        assert_eq!(given.error_code, codes::MEMBER_ID_REQUIRED);
        world.answer("g", joins(&given.member, &[]));
        world.run();
        assert_eq!(spoken(&mut world, "n", -1, &[]).0, codes::NONE);
        let classic = described(&mut world).error_code == codes::GROUP_ID_NOT_FOUND;
        assert_eq!(classic, down, "{policy:?}");
    }
}

/// What it is; protocol type, subscription and assignment of its member; the most members; Kafka's message.
type Row = (&'static str, &'static str, Bytes, Bytes, usize, Option<String>);

#[test]
fn what_cannot_be_taken_along_is_told() {
    let message = |why: &str| Some(format!("Cannot upgrade classic group g to consumer group because {why}."));
    let with_data = Assignment { assigned_partitions: Vec::new(), user_data: Some(b"x".into()) }.to_bytes(1);
    let custom = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade";
    let malformed = "the embedded consumer protocol is malformed";
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        ("consumers", "consumer", wants(&[]), gives(&[0]), 2, None),
        ("no assignment yet", "consumer", wants(&[]), Bytes::new(), 2, None),
        ("a topic that is gone", "consumer", subscription(&["gone"]), Assignment { assigned_partitions: vec![TopicPartition { topic: "gone".into(), partitions: vec![0] }], user_data: None }.to_bytes(1), 2, None),
        ("another kind of members", "connect", wants(&[]), gives(&[0]), 2, message("the group does not use the consumer embedded protocol")),
        ("a subscription that cannot be read", "consumer", Bytes::from_static(b"\0"), gives(&[0]), 2, message(malformed)),
        ("an assignment that cannot be read", "consumer", wants(&[]), Bytes::from_static(b"\0\0\x7f\xff\xff\xff"), 2, message(malformed)),
        ("an assignor with data of its own", "consumer", wants(&[]), with_data, 2, message(custom)),
        ("too many", "consumer", wants(&[]), gives(&[0]), 0, message("the group size exceeds the consumer group maximum size")),
    ];
    for (what, protocol_type, metadata, assignment, max, expected) in rows {
        let mut world = World::with(GroupSettings { consumer_group_size_max: max, ..GroupSettings::default() });
        let join =
            Join { protocol_type: protocol_type.into(), protocols: vec![("x".into(), metadata)], ..old_join("") };
        let asked = world.ask("g", Joins(join));
        world.pass(6_000);
        let joined = world.joined(asked).expect("a generation");
        let leader = who(&joined.member, joined.generation);
        let all = vec![(joined.member, assignment)];
        world.ask("g", GroupRequest::Sync(Sync { who: leader, protocol_type: None, protocol: None, assignments: all }));
        let before = world.log.len();
        let GroupAnswer::ConsumerHeartbeat(answer) = world.answer("g", consumer("n", 0, &[])) else { panic!() };
        assert_eq!(
            answer.error_code,
            if expected.is_none() { codes::NONE } else { codes::GROUP_ID_NOT_FOUND },
            "{what}"
        );
        assert_eq!(answer.error_message, expected, "{what}");
        assert_eq!(world.log.len() > before, expected.is_none(), "{what}");
    }
}

#[test]
fn errors_of_classic_members_in_a_consumer_group_are_kafkas() {
    let mut world = World::new();
    let old = mixed(&mut world);
    let id = old.member.clone();
    let named = |protocol_type: &str, protocol: &str| {
        let (protocol_type, protocol) = (Some(protocol_type.into()), Some(protocol.into()));
        GroupRequest::Sync(Sync { who: who(&id, 2), protocol_type, protocol, assignments: Vec::new() })
    };
    let other = |name: &str, kind: &str| {
        Joins(Join { protocol_type: kind.into(), protocols: vec![(name.into(), wants(&[]))], ..old_join("") })
    };
    #[rustfmt::skip]
    let rows: Vec<(&str, GroupRequest, i16)> = vec![
        ("a heartbeat of nobody", Heartbeat(who("x", 2)), codes::UNKNOWN_MEMBER_ID),
        ("a heartbeat of a KIP-848 member", Heartbeat(who("n", 2)), codes::UNKNOWN_MEMBER_ID),
        ("a heartbeat of another generation", Heartbeat(who(&id, 1)), codes::ILLEGAL_GENERATION),
        ("a heartbeat under a name that nobody has", Heartbeat(MemberRef { instance: Some("i".into()), ..who(&id, 2) }), codes::UNKNOWN_MEMBER_ID),
        ("a sync of nobody", sync(&who("x", 2), Vec::new()), codes::UNKNOWN_MEMBER_ID),
        ("a sync of a KIP-848 member", sync(&who("n", 2), Vec::new()), codes::UNKNOWN_MEMBER_ID),
        ("a sync of another generation", sync(&who(&id, 3), Vec::new()), codes::ILLEGAL_GENERATION),
        ("a sync of another kind of group", named("connect", "range"), codes::INCONSISTENT_GROUP_PROTOCOL),
        ("a sync of another protocol", named("consumer", "sticky"), codes::INCONSISTENT_GROUP_PROTOCOL),
        ("a join of another kind of group", other("range", "connect"), codes::INCONSISTENT_GROUP_PROTOCOL),
        ("a join without a common protocol", other("sticky", "consumer"), codes::INCONSISTENT_GROUP_PROTOCOL),
        ("a join without protocols", Joins(Join { protocols: Vec::new(), ..old_join("") }), codes::INCONSISTENT_GROUP_PROTOCOL),
        ("a join that cannot be read", Joins(Join { protocols: vec![("range".into(), "".into())], ..old_join("") }), codes::UNKNOWN_SERVER_ERROR),
        ("a session that is too short", Joins(Join { session_timeout_ms: 1, ..old_join("") }), codes::INVALID_SESSION_TIMEOUT),
        ("a join under a name that nobody has", Joins(static_join("i", &id)), codes::UNKNOWN_MEMBER_ID),
        ("a leave of nobody", Leave(vec![leaver("x")]), codes::UNKNOWN_MEMBER_ID),
        ("a commit of an older generation", GroupRequest::Commit(commit(who(&id, 1), 5)), codes::ILLEGAL_GENERATION),
        ("a commit of a newer generation", GroupRequest::Commit(commit(who(&id, 3), 5)), codes::ILLEGAL_GENERATION),
        ("a commit as old clients make it", GroupRequest::Commit(Commit { knows_epochs: false, ..commit(who(&id, 2), 5) }), codes::NONE),
        ("such a commit of a KIP-848 member", GroupRequest::Commit(Commit { knows_epochs: false, ..commit(who("n", 2), 5) }), codes::UNSUPPORTED_VERSION),
        ("offsets at another generation", GroupRequest::Fetch(FetchOffsets { who: Some(who(&id, 1)), topics: None, require_stable: false }), codes::ILLEGAL_GENERATION),
        ("offsets at its generation", GroupRequest::Fetch(FetchOffsets { who: Some(who(&id, 2)), topics: None, require_stable: false }), codes::NONE),
        ("a sync", sync(&who(&id, 2), Vec::new()), codes::NONE),
        ("a heartbeat", Heartbeat(who(&id, 2)), codes::NONE),
    ];
    for (what, request, expected) in rows {
        assert_eq!(code_of(&world.answer("g", request)), expected, "{what}");
    }
    // What was refused has changed nothing.
    assert_eq!(described(&mut world).epoch, 2);
}
