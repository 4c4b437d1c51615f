//! Offsets committed in transactions: who may commit them, what is seen of them before and after the marker, and that they hold what they are pending
//! on. Each row names what Kafka does.

use super::offsets::committed;
use super::*;
use crate::group::api::GroupRequest::{Commit as Commits, Delete, DeleteOffsets, Fetch, TxnCommit};
use crate::txn::api::Producer;

/// A commit in the transaction of a producer.
pub(super) fn in_txn(commit: Commit, producer: i64) -> GroupRequest {
    TxnCommit(commit, TxnWrite { producer: Producer { id: producer, epoch: 0 }, verified: None })
}

/// What a consumer that wants stable offsets is told for orders-0 and orders-1: an offset, none, or a code.
pub(super) fn stable(world: &mut World, group: &str) -> Vec<Result<Option<i64>, i16>> {
    let asked = Some(vec![("orders".into(), vec![0, 1])]);
    let answer = world.answer(group, Fetch(FetchOffsets { who: None, topics: asked, require_stable: true }));
    let GroupAnswer::Fetched(Ok(topics)) = answer else { panic!("{answer:?}") };
    topics[0].partitions.iter().map(|(_, it)| it.clone().map(|it| it.map(|it| it.offset))).collect()
}

#[test]
fn who_may_commit_in_a_transaction() {
    type Row = (&'static str, &'static str, fn(&MemberRef) -> MemberRef, i16);
    let rows: [Row; 16] = [
        ("an old client, to no group", "vacant", |_| who("", -1), 0),
        ("a member of no group", "vacant", |_| who("me", 1), codes::ILLEGAL_GENERATION),
        ("an old client, nobody is in it", "empty", |_| who("", -1), 0),
        ("a member that is gone", "empty", |who| who.clone(), codes::UNKNOWN_MEMBER_ID),
        ("a member, all is well", "stable", |who| who.clone(), 0),
        ("during the joins", "preparing", |who| who.clone(), 0),
        ("before the assignment, other than a plain commit", "completing", |who| who.clone(), 0),
        ("an old client, others are in it, other than a plain commit", "stable", |_| who("", -1), 0),
        ("an old client during the joins", "preparing", |_| who("", -1), 0),
        ("a member without a generation", "stable", |who| MemberRef { generation: -1, ..who.clone() }, 22),
        ("an old generation", "stable", |who| MemberRef { generation: 0, ..who.clone() }, 22),
        ("a generation to come", "stable", |who| MemberRef { generation: 2, ..who.clone() }, 22),
        ("another member", "stable", |_| who("me", 1), 25),
        ("no name and a generation", "stable", |_| who("", 1), 25),
        ("another's instance", "stable", |who| MemberRef { instance: Some("one".into()), ..who.clone() }, 82),
        ("no such instance", "stable", |who| MemberRef { instance: Some("two".into()), ..who.clone() }, 25),
    ];
    for (rule, group, by, code) in rows {
        let mut world = World::new();
        let leader = classic::in_state(&mut world, group);
        let answer = world.answer(group, in_txn(commit(by(&leader), 5), 7));
        assert_eq!(code_of(&answer), code, "{rule}");
        world.end(7, true);
        let expected: &[String] = if code == 0 { &["orders-0=5".to_owned()] } else { &[] };
        assert_eq!(committed(&mut world, group), expected, "{rule}");
    }
    let mut world = World::new();
    assert_eq!(code_of(&world.answer("", in_txn(commit(who("", -1), 5), 7))), codes::INVALID_GROUP_ID);
}

#[test]
fn a_member_of_the_consumer_protocol_is_fenced_by_its_epoch() {
    let mut world = World::new();
    consumer::spoken(&mut world, "g", "m", 0);
    let rows = [
        ("its epoch", who("m", 1), 0),
        ("an old one: there is no STALE_MEMBER_EPOCH in this API", who("m", 0), codes::ILLEGAL_GENERATION),
        ("one to come", who("m", 2), codes::ILLEGAL_GENERATION),
        ("another member", who("x", 1), codes::UNKNOWN_MEMBER_ID),
        ("an old client", who("", -1), 0),
    ];
    for (rule, by, code) in rows {
        assert_eq!(code_of(&world.answer("g", in_txn(commit(by, 5), 7))), code, "{rule}");
    }
}

/// What happens, and what is seen then of orders-0: committed, and by those who want it stable.
enum Step {
    Plain(i64),
    /// Producer, offset.
    Txn(i64, i64),
    End(i64, bool),
    Deleted,
}

#[test]
fn what_counts_and_when() {
    use Step::*;
    const UNSTABLE: Result<Option<i64>, i16> = Err(codes::UNSTABLE_OFFSET_COMMIT);
    type Row = (&'static str, &'static [Step], Option<i64>, Result<Option<i64>, i16>);
    let rows: &[Row] = &[
        ("nothing yet", &[], None, Ok(None)),
        ("pending", &[Txn(1, 5)], None, UNSTABLE),
        ("pending over a committed one", &[Plain(3), Txn(1, 5)], Some(3), UNSTABLE),
        ("committed", &[Plain(3), Txn(1, 5), End(1, true)], Some(5), Ok(Some(5))),
        ("aborted", &[Plain(3), Txn(1, 5), End(1, false)], Some(3), Ok(Some(3))),
        ("the last one of a transaction counts", &[Txn(1, 5), Txn(1, 4), End(1, true)], Some(4), Ok(Some(4))),
        ("another producer's marker", &[Plain(3), Txn(1, 5), End(2, true)], Some(3), UNSTABLE),
        ("one of two ends", &[Txn(1, 5), Txn(2, 6), End(1, true)], Some(5), UNSTABLE),
        ("both end, as the log has them", &[Txn(1, 5), Txn(2, 6), End(2, true), End(1, true)], Some(6), Ok(Some(6))),
        ("a plain commit behind it counts more", &[Txn(1, 5), Plain(9), End(1, true)], Some(9), Ok(Some(9))),
        ("and one before it less", &[Plain(9), Txn(1, 5), End(1, true)], Some(5), Ok(Some(5))),
        ("a marker ends it once", &[Txn(1, 5), End(1, true), Plain(6), End(1, false)], Some(6), Ok(Some(6))),
        ("deleting takes what is pending", &[Plain(3), Txn(1, 5), Deleted, End(1, true)], None, Ok(None)),
        ("also when nothing else is there", &[Txn(1, 5), Deleted, End(1, true)], None, Ok(None)),
        ("what comes after counts", &[Txn(1, 5), Deleted, Txn(1, 6), End(1, true)], Some(6), Ok(Some(6))),
    ];
    for (rule, steps, counts, seen) in rows {
        let mut world = World::new();
        for step in *steps {
            match *step {
                Plain(offset) => drop(world.answer("g", Commits(commit(who("", -1), offset)))),
                Txn(producer, offset) => {
                    assert_eq!(code_of(&world.answer("g", in_txn(commit(who("", -1), offset), producer))), 0);
                }
                End(producer, committed) => world.end(producer, committed),
                Deleted => {
                    let answer = world.answer("g", DeleteOffsets(vec![("orders".into(), vec![0])]));
                    assert!(matches!(answer, GroupAnswer::OffsetsDeleted(Ok(_))), "{rule}: {answer:?}");
                }
            }
        }
        for restarted in [false, true] {
            if restarted {
                world.restart();
            }
            let expected: Vec<String> = counts.iter().map(|offset| format!("orders-0={offset}")).collect();
            assert_eq!(committed(&mut world, "g"), expected, "{rule}, restarted: {restarted}");
            assert_eq!(stable(&mut world, "g"), [*seen, Ok(None)], "{rule}, restarted: {restarted}");
        }
    }
}

#[test]
fn a_transaction_that_takes_an_offset_back_leaves_a_line_when_it_commits() {
    let mut world = World::new();
    world.answer("g", Commits(commit(who("", -1), 9)));
    world.answer("g", in_txn(commit(who("", -1), 5), 7));
    assert!(world.lines.is_empty(), "nothing is taken back yet: {:?}", world.lines);
    world.end(7, true);
    assert!(world.lines[0].contains("orders-0 rewound from 9 to 5"), "{:?}", world.lines);
    assert_eq!(world.coordinator.metrics().counts.rewinds, 1);
}

#[test]
fn pending_offsets_hold_their_group_and_what_would_expire() {
    let mut world = World::new();
    world.answer("g", Commits(commit(who("", -1), 3)));
    world.answer("g", in_txn(commit(who("", -1), 5), 7));
    world.answer("h", in_txn(commit(who("", -1), 5), 7));
    world.pass(8 * 86_400_000);
    assert_eq!(committed(&mut world, "g"), ["orders-0=3"], "it does not expire while a transaction may renew it");
    world.restart();
    world.end(7, true);
    for group in ["g", "h"] {
        assert_eq!(committed(&mut world, group), ["orders-0=5"], "{group}");
    }
    world.pass(8 * 86_400_000);
    assert_eq!(committed(&mut world, "g"), [] as [&str; 0], "and does later");
}

#[test]
fn pending_offsets_go_with_their_group_and_their_topic() {
    for delete in [true, false] {
        let mut world = World::new();
        world.answer("g", in_txn(commit(who("", -1), 5), 7));
        if delete {
            assert_eq!(code_of(&world.answer("g", Delete)), 0);
        } else {
            world.drop_topic(1);
        }
        for restarted in [false, true] {
            if restarted {
                world.restart();
            }
            assert_eq!(world.state("g"), "Dead", "nothing is left, deleted: {delete}, restarted: {restarted}");
        }
        world.end(7, true);
        assert_eq!(committed(&mut world, "g"), [] as [&str; 0], "deleted: {delete}");
    }
}

#[test]
fn refused_records_leave_nothing_pending() {
    let mut world = World::new();
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    let answer = world.answer("g", in_txn(commit(who("", -1), 5), 7));
    assert_eq!(code_of(&answer), codes::COORDINATOR_NOT_AVAILABLE);
    world.disk_full = None;
    assert_eq!(stable(&mut world, "g")[0], Ok(None));
    assert_eq!(world.state("g"), "Dead");
}
