//! Whole stories: members come and go, partitions move, topics change, the broker starts again.

use super::*;
use crate::requests::codes;

#[test]
fn only_partitions_that_move_stop() {
    let mut bed = Bed::new(&[("t", 4)]);
    assert_eq!(bed.ask(join("a", &["t"])).assignment, Some(of(1, &[0, 1, 2, 3])));
    // b waits for what a still has.
    assert_eq!(bed.ask(join("b", &["t"])).assignment, Some(Vec::new()));
    assert_eq!(bed.group.state(), "Reconciling");
    let told = bed.ask(at("a", 1));
    assert_eq!((told.member_epoch, told.assignment), (1, Some(of(1, &[0, 1]))));
    // While a has not said that it gave up, b gets nothing; a keeps 0 and 1 all along.
    assert_eq!(bed.ask(at("b", 2)).assignment, None);
    assert_eq!(bed.ask(owning("a", 1, of(1, &[0, 1, 2]))).member_epoch, 1);
    let done = bed.ask(owning("a", 1, of(1, &[0, 1])));
    assert_eq!((done.member_epoch, done.assignment), (2, None));
    let given = bed.ask(at("b", 2));
    assert_eq!((given.member_epoch, given.assignment), (2, Some(of(1, &[2, 3]))));
    assert_eq!(bed.group.state(), "Stable");
    // b goes: a gets all at its next heartbeat.
    assert_eq!(bed.ask(at("b", -1)).member_epoch, -1);
    assert_eq!(bed.group.state(), "Assigning");
    let all = bed.ask(at("a", 2));
    assert_eq!((all.member_epoch, all.assignment), (3, Some(of(1, &[0, 1, 2, 3]))));
    assert_eq!((bed.audited.counts.rebalances, bed.audited.counts.rebalance_ns.count()), (3, 3));
}

#[test]
fn a_silent_member_is_removed_when_its_session_ends() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.ask(join("a", &["t"]));
    bed.pass(40_000);
    bed.ask(join("b", &["t"]));
    bed.pass(4_999);
    assert_eq!(bed.group.members.len(), 2);
    bed.pass(1);
    assert_eq!(bed.group.members.len(), 1, "a spoke 45 s ago");
    assert_eq!(bed.ask(at("b", 2)).assignment, Some(of(1, &[0, 1])));
    assert_eq!(bed.code(at("a", 1)), codes::UNKNOWN_MEMBER_ID);
    bed.pass(45_000);
    assert_eq!(bed.group.state(), "Empty");
    assert_eq!(bed.group.next_deadline(), None);
}

#[test]
fn a_member_that_does_not_give_up_in_time_is_removed() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.ask(join("a", &["t"]));
    bed.ask(join("b", &["t"]));
    bed.ask(at("a", 1));
    for _ in 0..5 {
        bed.pass(10_000);
        assert_eq!((bed.code(at("a", 1)), bed.code(at("b", 2))), (0, 0));
    }
    bed.pass(10_000);
    assert_eq!(bed.code(at("a", 1)), codes::UNKNOWN_MEMBER_ID, "60 s were the rebalance timeout it asked for");
    assert_eq!(bed.ask(at("b", 2)).assignment, Some(of(1, &[0, 1])));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut bed = Bed::new(&[("t", 2)]);
    bed.ask(as_instance("i", join("s1", &["t"])));
    bed.ask(join("b", &["t"]));
    bed.ask(as_instance("i", at("s1", 1)));
    bed.ask(as_instance("i", owning("s1", 1, of(1, &[0]))));
    bed.ask(at("b", 2));
    assert_eq!(bed.ask(as_instance("i", at("s1", -2))).member_epoch, -2);
    assert_eq!(bed.ask(at("b", 2)).assignment, None, "its partition waits for it");
    let back = bed.ask(as_instance("i", join("s2", &["t"])));
    assert_eq!((back.member_epoch, back.assignment), (2, Some(of(1, &[0]))));
    assert_eq!((bed.group.state(), bed.group.epoch.epoch, bed.group.members()), ("Stable", 2, 2));
    assert_eq!(bed.code(as_instance("i", at("s1", 2))), codes::FENCED_INSTANCE_ID);
    // It leaves for a while again, and stays away.
    bed.ask(as_instance("i", at("s2", -2)));
    for _ in 0..4 {
        bed.pass(15_000);
        bed.ask(at("b", bed.group.members["b"].current.member_epoch));
    }
    assert_eq!((bed.group.members(), bed.assigned("b")), (1, of(1, &[0, 1])));
}

#[test]
fn topics_that_come_grow_and_go_are_followed() {
    let mut bed = Bed::new(&[("t", 1)]);
    bed.ask(join("a", &["t", "u"]));
    bed.change_topics(|image| create(image, 9, "other", 1));
    assert_eq!(bed.group.state(), "Stable", "none of its own");
    bed.change_topics(|image| create(image, 2, "u", 2));
    assert_eq!(bed.group.state(), "Assigning");
    let answer = bed.ask(at("a", 1));
    assert_eq!((answer.member_epoch, answer.assignment), (2, Some([of(1, &[0]), of(2, &[0, 1])].concat())));
    let id = TopicId([1; 16]);
    bed.change_topics(|image| image.apply(&Record::Partitions { id, partitions: 2 }).unwrap());
    assert_eq!(bed.ask(at("a", 2)).assignment, Some([of(1, &[0, 1]), of(2, &[0, 1])].concat()));
    bed.change_topics(|image| image.apply(&Record::DeleteTopic { id }).unwrap());
    assert_eq!(bed.ask(at("a", 3)).assignment, Some(of(2, &[0, 1])));
    // While the broker was down.
    bed.ask(owning("a", 3, of(2, &[0, 1])));
    create(&mut bed.image, 3, "t", 1);
    bed.restart();
    assert_eq!(bed.ask(at("a", 4)).assignment, Some([of(2, &[0, 1]), of(3, &[0])].concat()));
}

#[test]
fn expressions_follow_topics() {
    let mut bed = Bed::new(&[("t-1", 1), ("u", 1), ("__consumer_offsets", 50)]);
    let matching = |name: &str, expression: &str| ConsumerHeartbeat {
        topics: None,
        expression: Some(expression.into()),
        ..join(name, &[])
    };
    assert_eq!(bed.ask(matching("a", "t-.*")).assignment, Some(of(1, &[0])));
    assert_eq!(bed.ask(matching("b", "t-.*")).assignment, Some(Vec::new()));
    bed.pass(2_000);
    bed.change_topics(|image| create(image, 7, "t-2", 1));
    assert!(bed.group.is_subscribed("t-2") && !bed.group.is_subscribed("u"));
    assert_eq!(bed.ask(at("b", 2)).assignment, Some(of(7, &[0])));
    assert_eq!(bed.ask(at("a", 1)).assignment, None, "what it had stays");
    // No sooner than a second after the last time, but then.
    bed.pass(10);
    bed.change_topics(|image| create(image, 8, "t-3", 1));
    assert!(!bed.group.is_subscribed("t-3"));
    bed.pass(1_000);
    assert!(bed.group.is_subscribed("t-3"));
    // One changes its mind; with the last that used it the expression goes.
    let epoch = bed.group.members["a"].current.member_epoch;
    bed.ask(ConsumerHeartbeat { expression: Some("u".into()), owned: Some(of(1, &[])), ..at("a", epoch) });
    assert_eq!(bed.group.expressions.keys().map(|name| &**name).collect::<Vec<_>>(), ["t-.*", "u"]);
    bed.ask(at("b", -1));
    assert_eq!(bed.group.expressions.keys().map(|name| &**name).collect::<Vec<_>>(), ["u"]);
    let epoch = bed.group.members["a"].current.member_epoch;
    bed.ask(ConsumerHeartbeat { expression: Some("".into()), ..at("a", epoch) });
    assert!(bed.group.expressions.is_empty() && !bed.group.is_subscribed("u"));
}

#[test]
fn a_restart_forgets_nothing_and_gives_a_whole_session() {
    let mut bed = Bed::new(&[("t", 3)]);
    bed.ask(join("a", &["t"]));
    bed.ask(as_instance("i", join("b", &["t"])));
    bed.ask(at("a", 1));
    bed.pass(40_000);
    bed.restart();
    bed.pass(44_999);
    assert_eq!(bed.group.members(), 2);
    let done = bed.ask(owning("a", 1, of(1, &[0, 1])));
    assert_eq!((done.error_code, done.member_epoch), (0, 2), "it goes on where it stood");
    assert_eq!(bed.ask(as_instance("i", at("b", 2))).assignment, Some(of(1, &[2])));
    // With the log of one that was deleted nothing is left.
    let tombstones = bed.group.tombstones();
    bed.take(tombstones);
    assert_eq!(durable(&bed.group), durable(&ConsumerGroup::new("g".into())));
    assert_eq!(bed.group.next_deadline(), None);
}

#[test]
fn what_could_not_be_written_is_tried_again() {
    let mut bed = Bed::new(&[("t", 1)]);
    bed.ask(join("a", &["t"]));
    let id = TopicId([1; 16]);
    bed.image.apply(&Record::Partitions { id, partitions: 2 }).unwrap();
    bed.image.version += 1;
    let decision = bed.decide(at("a", 1));
    assert!(!decision.records.is_empty());
    bed.group.refused(bed.now);
    bed.pass(1_000);
    assert_eq!(bed.ask(at("a", 1)).assignment, Some(of(1, &[0, 1])));
    // A session's end as well.
    bed.now.mono_ns += 45_000_000_000;
    assert!(bed.with(|group, cx| group.due(cx)).is_some_and(|decision| !decision.records.is_empty()));
    bed.group.refused(bed.now);
    assert!(bed.with(|group, cx| group.due(cx)).is_none(), "not at once");
    bed.pass(1_000);
    assert_eq!(bed.group.members(), 0);
}
