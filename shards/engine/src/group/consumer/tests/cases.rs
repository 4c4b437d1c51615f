//! Kafka's rules for ConsumerGroupHeartbeat, case by case.

use super::*;
use crate::requests::codes;

/// A group with members `a` and the static `s` (instance `i`), both at epoch 2.
fn two() -> Bed {
    let mut bed = Bed::new(&[("t", 4)]);
    bed.ask(join("a", &["t"]));
    bed.ask(as_instance("i", join("s", &["t"])));
    bed.ask(owning("a", 1, of(1, &[0, 1, 2, 3])));
    let kept = bed.assigned("a");
    bed.ask(owning("a", 1, kept));
    bed.ask(at("s", 2));
    assert_eq!(bed.group.state(), "Stable");
    bed
}

#[test]
fn errors_are_kafkas() {
    let full = |call| ConsumerHeartbeat { rebalance_timeout_ms: 100, ..call };
    let regex = |text: &str| ConsumerHeartbeat { expression: Some(text.into()), ..join("n", &[]) };
    #[rustfmt::skip]
    let rows: Vec<(ConsumerHeartbeat, i16, &str)> = vec![
        (at("", 3), codes::INVALID_REQUEST, "MemberId can't be empty."),
        (at("", -1), codes::INVALID_REQUEST, "MemberId can't be empty."),
        (as_instance("", join("n", &["t"])), codes::INVALID_REQUEST, "InstanceId can't be empty."),
        (ConsumerHeartbeat { rack: Some("".into()), ..join("n", &["t"]) }, codes::INVALID_REQUEST, "RackId can't be empty."),
        (ConsumerHeartbeat { rebalance_timeout_ms: -1, ..join("n", &["t"]) }, codes::INVALID_REQUEST, "RebalanceTimeoutMs must be provided in first request."),
        (ConsumerHeartbeat { owned: None, ..join("n", &["t"]) }, codes::INVALID_REQUEST, "TopicPartitions must be empty when (re-)joining."),
        (ConsumerHeartbeat { owned: Some(of(1, &[0])), ..join("n", &["t"]) }, codes::INVALID_REQUEST, "TopicPartitions must be empty when (re-)joining."),
        (ConsumerHeartbeat { topics: None, ..join("n", &[]) }, codes::INVALID_REQUEST, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."),
        (at("s", -2), codes::INVALID_REQUEST, "InstanceId can't be null."),
        (at("s", -3), codes::INVALID_REQUEST, "MemberEpoch is invalid."),
        (ConsumerHeartbeat { assignor: Some("best".into()), ..join("n", &["t"]) }, codes::UNSUPPORTED_ASSIGNOR, "ServerAssignor best is not supported. Supported assignors: uniform, range."),
        (at("n", 2), codes::UNKNOWN_MEMBER_ID, "Member n is not a member of group g."),
        (at("n", -1), codes::UNKNOWN_MEMBER_ID, "Member n is not a member of group g."),
        (as_instance("k", at("n", 2)), codes::UNKNOWN_MEMBER_ID, "Instance id k is unknown."),
        (as_instance("k", at("n", -2)), codes::UNKNOWN_MEMBER_ID, "Instance id k is unknown."),
        (as_instance("i", at("n", 2)), codes::FENCED_INSTANCE_ID, "Static member n with instance id i was fenced by member s."),
        (as_instance("i", at("n", -1)), codes::FENCED_INSTANCE_ID, "Static member n with instance id i was fenced by member s."),
        (as_instance("i", join("n", &["t"])), codes::UNRELEASED_INSTANCE_ID, "Static member n with instance id i cannot join the group because the instance id is owned by s member."),
        (at("a", 3), codes::FENCED_MEMBER_EPOCH, "The consumer group member has a greater member epoch (3) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin."),
        (at("a", 1), codes::FENCED_MEMBER_EPOCH, "The consumer group member has a smaller member epoch (1) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin."),
        (full(owning("a", 1, of(1, &[0, 3]))), codes::FENCED_MEMBER_EPOCH, "The consumer group member has a smaller member epoch (1) than the one known by the group coordinator (2). The member must abandon all its partitions and rejoin."),
        (regex("("), codes::INVALID_REGULAR_EXPRESSION, "SubscribedTopicRegex `(` is not a valid regular expression: unclosed group."),
    ];
    let mut bed = two();
    let before = durable(&bed.group);
    bed.settings.consumer_group_size_max = 3;
    for (call, code, message) in rows {
        let said = format!("{call:?}");
        let decision = bed.decide(call);
        let answer = answer(&decision);
        assert_eq!((answer.error_code, answer.error_message.as_deref()), (code, Some(message)), "{said}");
        assert!(decision.records.is_empty() && answer.assignment.is_none(), "{said}");
        assert_eq!(durable(&bed.group), before, "{said}");
    }
    assert_eq!(bed.code(join("third", &["t"])), codes::NONE);
    let decision = bed.decide(join("fourth", &["t"]));
    assert_eq!(answer(&decision).error_code, codes::GROUP_MAX_SIZE_REACHED);
    assert_eq!(
        answer(&decision).error_message.as_deref(),
        Some("The consumer group has reached its maximum capacity of 3 members.")
    );
    assert_eq!(bed.code(join("third", &["t"])), codes::NONE, "a member may join again");
    // Kafka counts before it looks at who it is.
    bed.ask(as_instance("i", at("s", -2)));
    assert_eq!(bed.code(as_instance("i", join("s2", &["t"]))), codes::GROUP_MAX_SIZE_REACHED);
    assert_eq!(bed.code(at("fourth", 2)), codes::GROUP_MAX_SIZE_REACHED);
}

#[test]
fn a_group_that_is_not_there_is_not_found() {
    let mut bed = Bed::new(&[("t", 1)]);
    for epoch in [-1, 1] {
        let answer = bed.ask(at("a", epoch));
        assert_eq!(answer.error_code, codes::GROUP_ID_NOT_FOUND);
        assert_eq!(answer.error_message.as_deref(), Some("Group g not found."));
    }
    bed.ask(join("a", &["t"]));
    bed.ask(at("a", -1));
    assert_eq!((bed.group.state(), bed.code(at("a", 1))), ("Empty", codes::UNKNOWN_MEMBER_ID));
}

#[test]
fn the_first_heartbeat_gives_id_epoch_interval_and_assignment() {
    let mut bed = Bed::new(&[("t", 2)]);
    let named = bed.ask(join("", &["t"]));
    assert_eq!(named.member.as_ref().map(|id| id.len()), Some(36));
    assert_eq!((named.error_code, named.member_epoch, named.heartbeat_interval_ms), (0, 1, 5_000));
    assert_eq!(named.assignment, Some(of(1, &[0, 1])));
    let own = bed.ask(join("own", &["t"]));
    assert_eq!((own.member.as_deref(), own.member_epoch), (Some("own"), 2));
    assert_eq!(own.assignment, Some(Vec::new()), "what it shall own is still another's");
}

#[test]
fn the_assignment_is_told_when_it_changes_or_when_all_is_asked() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.ask(join("a", &["t"]));
    assert_eq!(bed.ask(at("a", 1)).assignment, None);
    assert_eq!(bed.ask(owning("a", 1, of(1, &[0, 1]))).assignment, None);
    let full = ConsumerHeartbeat { rebalance_timeout_ms: 60_000, owned: Some(of(1, &[0, 1])), ..join("a", &["t"]) };
    assert_eq!(bed.ask(ConsumerHeartbeat { member_epoch: 1, ..full }).assignment, Some(of(1, &[0, 1])));
    bed.ask(join("b", &["t"]));
    assert_eq!(bed.ask(at("a", 1)).assignment, Some(of(1, &[0])), "it is to give one up");
    assert_eq!(bed.ask(at("a", 1)).assignment, None);
}

#[test]
fn a_lost_answer_is_forgiven_once() {
    let mut bed = two();
    let kept = bed.assigned("a");
    let answer = bed.ask(owning("a", 1, kept.clone()));
    assert_eq!((answer.error_code, answer.member_epoch), (codes::NONE, 2));
    bed.ask(join("c", &["t"]));
    bed.ask(at("a", 2));
    let answer = bed.ask(owning("a", 1, of(1, &[])));
    assert_eq!(
        answer.error_code,
        if bed.group.members["a"].current.previous_epoch == 1 { 0 } else { codes::FENCED_MEMBER_EPOCH }
    );
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut bed = two();
    let written = bed.log.len();
    for _ in 0..1000 {
        assert_eq!(bed.code(at("a", 2)), codes::NONE);
        bed.pass(1);
    }
    assert_eq!(bed.log.len(), written);
}

#[test]
fn commits_are_by_members_at_their_epoch() {
    let bed = two();
    // Who, at which epoch, with OffsetCommit 9 or above; what a commit gives, what a fetch.
    for (member, generation, knows_epochs, commit, fetch) in [
        ("a", 2, true, codes::NONE, codes::NONE),
        ("a", 2, false, codes::UNSUPPORTED_VERSION, codes::NONE),
        ("a", 1, true, codes::STALE_MEMBER_EPOCH, codes::STALE_MEMBER_EPOCH),
        ("a", 3, true, codes::STALE_MEMBER_EPOCH, codes::STALE_MEMBER_EPOCH),
        ("a", -1, true, codes::STALE_MEMBER_EPOCH, codes::STALE_MEMBER_EPOCH),
        ("x", 2, true, codes::UNKNOWN_MEMBER_ID, codes::UNKNOWN_MEMBER_ID),
        ("", -1, true, codes::UNKNOWN_MEMBER_ID, codes::NONE),
    ] {
        let who = crate::group::api::MemberRef { member: member.into(), instance: None, generation };
        assert_eq!(bed.group.check_commit(&who, knows_epochs), commit, "{member} {generation}");
        assert_eq!(bed.group.check_fetch(&who), fetch, "{member} {generation}");
    }
    let empty = Bed::new(&[]);
    let admin = crate::group::api::MemberRef { member: "".into(), instance: None, generation: -1 };
    assert_eq!(empty.group.check_commit(&admin, false), codes::NONE);
    assert!(bed.group.is_subscribed("t") && !bed.group.is_subscribed("u"));
}

#[test]
fn the_assignor_most_ask_for_is_used() {
    let mut bed = Bed::new(&[("t", 4)]);
    let with = |call, assignor: &str| ConsumerHeartbeat { assignor: Some(assignor.into()), ..call };
    bed.ask(join("a", &["t"]));
    assert_eq!(bed.group.describe().assignor.as_ref(), "uniform");
    bed.ask(with(join("b", &["t"]), "range"));
    assert_eq!(bed.group.describe().assignor.as_ref(), "range");
    assert_eq!(bed.group.targets["a"], of(1, &[0, 1]));
    bed.ask(with(join("c", &["t"]), "uniform"));
    bed.ask(with(join("d", &["t"]), "uniform"));
    assert_eq!(bed.group.describe().assignor.as_ref(), "uniform");
}

#[test]
fn a_description_tells_all() {
    let bed = two();
    let described = bed.group.describe();
    assert_eq!((described.state, described.epoch, described.target_epoch), ("Stable", 2, 2));
    let ids: Vec<_> = described.members.iter().map(|member| (&*member.id, member.member_epoch)).collect();
    assert_eq!(ids, [("a", 2), ("s", 2)]);
    for member in &described.members {
        assert_eq!(member.assigned, member.target);
        assert_eq!(member.metadata.topics, ["t".into()]);
    }
    assert_eq!(described.members[1].metadata.instance_id.as_deref(), Some("i"));
}
