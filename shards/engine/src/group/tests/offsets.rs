//! Committed offsets: who may commit, fetch and delete them, when they expire (KIP-211), and what the auditor says.

use super::*;
use crate::group::api::GroupRequest::{Commit as Commits, Delete, DeleteOffsets, Fetch, Join as Joins, Leave};
use crate::group::records::CommittedOffset;

const DAY_MS: u64 = 86_400_000;

/// What group `g` has committed, as `orders-0=5`.
pub(super) fn committed(world: &mut World, group: &str) -> Vec<String> {
    let all = world.answer(group, Fetch(FetchOffsets { who: None, topics: None, require_stable: false }));
    let GroupAnswer::Fetched(Ok(topics)) = all else { panic!("{all:?}") };
    let one = |name: &Name, (partition, offset): (i32, Result<Option<CommittedOffset>, i16>)| {
        format!("{name}-{partition}={}", offset.expect("no error").expect("committed").offset)
    };
    topics.into_iter().flat_map(|it| it.partitions.into_iter().map(move |row| one(&it.name, row))).collect()
}

#[test]
fn who_may_commit() {
    type Row = (&'static str, &'static str, fn(&MemberRef) -> MemberRef, i16);
    let rows: [Row; 16] = [
        ("standalone, to no group", "vacant", |_| who("", -1), 0),
        ("a member of no group", "vacant", |_| who("me", 1), 69),
        ("standalone, nobody is in it", "empty", |_| who("", -1), 0),
        ("a member that is gone", "empty", |who| who.clone(), 25),
        ("a member, all is well", "stable", |who| who.clone(), 0),
        ("during the joins", "preparing", |who| who.clone(), 0),
        ("before the assignment", "completing", |who| who.clone(), 27),
        ("standalone, others are in it", "stable", |_| who("", -1), 25),
        ("standalone during the joins", "preparing", |_| who("", -1), 25),
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
        let leader = super::classic::in_state(&mut world, group);
        let answer = world.answer(group, Commits(commit(by(&leader), 5)));
        assert_eq!(code_of(&answer), code, "{rule}");
        let expected: &[String] = if code == 0 { &["orders-0=5".to_owned()] } else { &[] };
        assert_eq!(committed(&mut world, group), expected, "{rule}");
        world.restart();
        assert_eq!(committed(&mut world, group), expected, "{rule}, after a restart");
    }
    let mut world = World::new();
    let old = Commit { knows_epochs: false, ..commit(who("me", 1), 5) };
    assert_eq!(code_of(&world.answer("g", Commits(old))), codes::ILLEGAL_GENERATION, "before version 9");
}

#[test]
fn metadata_that_is_too_long_is_refused_alone() {
    let mut world = World::new();
    let mut asked = commit_of(who("", -1), "orders", 1, &[(0, 1), (1, 2), (2, 3)]);
    asked.topics[0].partitions[1].3 = "x".repeat(4097).into();
    asked.topics[0].partitions[2].3 = "x".repeat(4096).into();
    let GroupAnswer::Committed(codes) = world.answer("g", Commits(asked)) else { panic!("committed") };
    assert_eq!(codes, [[0, codes::OFFSET_METADATA_TOO_LARGE, 0]]);
    assert_eq!(committed(&mut world, "g"), ["orders-0=1", "orders-2=3"]);
}

#[test]
fn what_is_to_be_compared_with_the_end_of_its_partition() {
    let mut world = World::new();
    let looks = |world: &mut World, offsets: &[(i32, i64)]| -> Vec<(i32, i64)> {
        world.ask("g", Commits(commit_of(who("", -1), "orders", 1, offsets)));
        world.coordinator.take_looks().into_iter().map(|look| (look.partition, look.offset)).collect()
    };
    assert_eq!(looks(&mut world, &[(0, 0), (1, 1), (2, 7)]), [(1, 1), (2, 7)], "no partition ends before 0");
    assert_eq!(looks(&mut world, &[(1, 1), (2, 6)]), [(2, 6)], "the same again is no news");
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(looks(&mut world, &[(0, 9)]), [], "it was not committed");
    world.disk_full = None;
    assert_eq!(looks(&mut world, &[(3, 9)]), [(3, 9)]);
    let many: Vec<_> = (1..3_000).map(|offset| (1, offset + 10)).collect();
    assert_eq!(looks(&mut world, &many).len(), crate::limits::OFFSET_LOOKS_MAX);
}

#[test]
fn fetching() {
    let mut world = World::new();
    world.ask("g", Commits(commit(who("", -1), 5)));
    let some = vec![("orders".into(), vec![0, 3]), ("nothing".into(), vec![7])];
    let some =
        world.answer("g", Fetch(FetchOffsets { who: Some(who("", -1)), topics: Some(some), require_stable: false }));
    let GroupAnswer::Fetched(Ok(topics)) = some else { panic!("{some:?}") };
    let offsets: Vec<Vec<_>> = topics
        .iter()
        .map(|it| {
            it.partitions.iter().map(|(at, it)| (*at, it.as_ref().unwrap().as_ref().map(|it| it.offset))).collect()
        })
        .collect();
    assert_eq!(offsets, [vec![(0, Some(5)), (3, None)], vec![(7, None)]]);
    let nobody = world.answer("nobody", Fetch(FetchOffsets { who: None, topics: None, require_stable: false }));
    assert!(matches!(nobody, GroupAnswer::Fetched(Ok(topics)) if topics.is_empty()), "no group has no offsets");
    let epoch = FetchOffsets { who: Some(who("me", 3)), topics: None, require_stable: false };
    assert_eq!(code_of(&world.answer("nobody", Fetch(epoch))), codes::NONE, "nor at an epoch");
}

#[test]
fn deleting_offsets() {
    let all = || DeleteOffsets(vec![("orders".into(), vec![0, 1]), ("bills".into(), vec![0])]);
    let mut world = World::new();
    assert_eq!(code_of(&world.answer("g", all())), codes::GROUP_ID_NOT_FOUND);
    let members = world.stable("g", 1);
    world.ask("g", Commits(commit(members[0].clone(), 5)));
    world.ask("g", Commits(commit_of(members[0].clone(), "bills", 2, &[(0, 8)])));
    let GroupAnswer::OffsetsDeleted(Ok(codes)) = world.answer("g", all()) else { panic!("deleted") };
    assert_eq!(codes, [vec![86, 86], vec![0]], "the members read orders");
    assert_eq!(committed(&mut world, "g"), ["orders-0=5"]);
    assert!(world.lines.iter().any(|line| line.contains("offset 8 of bills-0 deleted by client")), "{:?}", world.lines);
    assert_eq!(world.coordinator.metrics().counts.deleted, 1);
    let connect = Join { protocol_type: "connect".into(), ..old_join("") };
    world.ask("workers", Joins(connect));
    assert_eq!(code_of(&world.answer("workers", all())), codes::NON_EMPTY_GROUP, "who knows what they read");
}

#[test]
fn a_group_goes_with_its_offsets() {
    let mut world = World::new();
    world.ask("g", Commits(commit(who("", -1), 5)));
    assert_eq!(world.state("g"), "Empty");
    assert_eq!(code_of(&world.answer("g", Delete)), codes::NONE);
    assert_eq!((committed(&mut world, "g").len(), world.state("g")), (0, "Dead"));
    world.restart();
    assert_eq!((committed(&mut world, "g").len(), world.state("g")), (0, "Dead"));
}

#[test]
fn a_commit_that_goes_back_is_taken_and_named() {
    let mut world = World::new();
    world.ask("g", Commits(commit(who("", -1), 50)));
    world.ask("g", Commits(commit(who("", -1), 60)));
    assert_eq!(world.coordinator.metrics().counts.rewinds, 0);
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    let full = world.answer("g", Commits(commit(who("", -1), 20)));
    assert_eq!(code_of(&full), codes::COORDINATOR_NOT_AVAILABLE);
    assert_eq!((committed(&mut world, "g"), world.lines.len()), (vec!["orders-0=60".into()], 0), "nothing happened");
    world.disk_full = None;
    world.ask("g", Commits(commit(who("", -1), 20)));
    assert_eq!(world.lines, ["group g: offset of orders-0 rewound from 60 to 20 by a commit of client"]);
    let counts = world.coordinator.metrics().counts;
    assert_eq!((counts.rewinds, counts.commits), (1, 3));
}

#[test]
fn offsets_of_standalone_consumers_expire_by_their_commit() {
    let mut world = World::new();
    world.ask("g", Commits(commit(who("", -1), 5)));
    world.pass(5 * DAY_MS);
    world.ask("g", Commits(commit_of(who("", -1), "orders", 1, &[(1, 6)])));
    world.pass(2 * DAY_MS + 600_000);
    assert_eq!(committed(&mut world, "g"), ["orders-1=6"]);
    assert_eq!(world.lines, ["group g: offset 5 of orders-0 expired"]);
    world.pass(5 * DAY_MS);
    assert_eq!((committed(&mut world, "g").len(), world.state("g")), (0, "Dead"), "and then the group");
    assert_eq!(world.coordinator.metrics().counts.expired, 2);
}

#[test]
fn offsets_with_a_time_of_their_own_expire_by_it() {
    let mut world = World::new();
    world.ask("g", Commits(Commit { retention_ms: 3_600_000, ..commit(who("", -1), 5) }));
    world.pass(3_599_000);
    assert_eq!(committed(&mut world, "g").len(), 1);
    world.pass(600_000);
    assert_eq!(committed(&mut world, "g").len(), 0);
}

#[test]
fn offsets_of_a_group_expire_when_it_has_been_empty_for_long() {
    let mut world = World::new();
    let members = world.stable("g", 1);
    world.ask("g", Commits(commit(members[0].clone(), 5)));
    for _ in 0..9 * 24 * 600 {
        world.pass(6_000);
        assert_eq!(world.heartbeat("g", &members[0]), codes::NONE);
    }
    assert_eq!(committed(&mut world, "g").len(), 1, "a group with members keeps what it reads");
    world.ask("g", Leave(vec![leaver(&members[0].member)]));
    world.pass(7 * DAY_MS - 600_000);
    assert_eq!(committed(&mut world, "g").len(), 1, "since it became empty, not since the commit");
    world.pass(1_300_000);
    assert_eq!((committed(&mut world, "g").len(), world.state("g")), (0, "Dead"));
    world.restart();
    assert_eq!(world.state("g"), "Dead");
}

#[test]
fn offsets_of_topics_that_a_group_no_longer_reads_expire() {
    let settings =
        GroupSettings { offsets_retention_ms: 60_000, offsets_retention_check_ms: 1000, ..Default::default() };
    let mut world = World::with(settings);
    let members = world.stable("g", 1);
    world.ask("g", Commits(commit(members[0].clone(), 5)));
    world.ask("g", Commits(commit_of(members[0].clone(), "bills", 2, &[(0, 8)])));
    for _ in 0..12 {
        world.pass(6_000);
        assert_eq!(world.heartbeat("g", &members[0]), codes::NONE);
    }
    assert_eq!(committed(&mut world, "g"), ["orders-0=5"]);
}

#[test]
fn an_empty_group_without_offsets_goes_with_the_next_look() {
    let mut world = World::new();
    let members = world.stable("g", 1);
    world.ask("g", Leave(vec![leaver(&members[0].member)]));
    assert_eq!(world.state("g"), "Empty");
    world.pass(600_000);
    assert_eq!(world.state("g"), "Dead");
}

#[test]
fn offsets_of_a_deleted_topic_go_at_once_and_not_those_of_its_successor() {
    let mut world = World::new();
    for group in ["g", "h"] {
        world.ask(group, Commits(commit(who("", -1), 5)));
        world.ask(group, Commits(commit_of(who("", -1), "bills", 2, &[(0, 8)])));
    }
    world.drop_topic(1);
    assert_eq!(committed(&mut world, "g"), ["bills-0=8"]);
    assert_eq!(committed(&mut world, "h"), ["bills-0=8"]);
    assert!(world.lines.contains(&"group h: offset 5 of orders-0 dropped: its topic was deleted".into()));
    world.create("orders", 9);
    world.ask("g", Commits(commit_of(who("", -1), "orders", 9, &[(0, 1)])));
    world.run();
    assert_eq!(committed(&mut world, "g"), ["bills-0=8", "orders-0=1"]);
}

#[test]
fn many_that_expire_go_in_bounded_steps() {
    let settings = GroupSettings { offsets_retention_ms: 1000, ..Default::default() };
    let mut world = World::with(settings);
    let offsets: Vec<_> = (0..2500).map(|partition| (partition, 1)).collect();
    world.ask("g", Commits(commit_of(who("", -1), "orders", 1, &offsets)));
    world.log.clear();
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    world.pass(600_000);
    assert_eq!((committed(&mut world, "g").len(), world.log.len()), (2500, 0), "refused once, not asked for ever");
    world.disk_full = None;
    world.pass(600_000);
    assert_eq!((committed(&mut world, "g").len(), world.log.len()), (0, 2500));
    assert_eq!(world.coordinator.metrics().counts.expired, 2500);
}

#[test]
fn what_somebody_sets_ahead_by_hand_is_named() {
    let mut world = World::new();
    // Nobody was ever a member: a standalone consumer, whose commits are progress.
    world.ask("alone", Commits(commit(who("", -1), 5)));
    world.ask("alone", Commits(commit(who("", -1), 50)));
    // A member commits its progress; when it has gone, somebody sets the offset.
    let member = world.stable("g", 1).remove(0);
    world.ask("g", Commits(commit(member.clone(), 5)));
    world.ask("g", Commits(commit(member.clone(), 50)));
    assert_eq!(world.coordinator.metrics().counts.skips, 0);
    world.ask("g", Leave(vec![leaver(&member.member)]));
    world.run();
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    world.ask("g", Commits(commit(who("", -1), 60)));
    assert_eq!(world.coordinator.metrics().counts.skips, 0, "it was refused");
    world.disk_full = None;
    world.ask("g", Commits(commit(who("", -1), 70)));
    let line =
        "group g: offset of orders-0 moved ahead from 50 to 70 by client at /127.0.0.1, while the group has no members";
    assert!(world.lines.iter().any(|it| it == line), "{:?}", world.lines);
    assert_eq!((world.coordinator.metrics().counts.skips, world.coordinator.metrics().counts.rewinds), (1, 0));
}

/// A group with so many offsets of `orders`.
fn with_offsets(count: i32) -> World {
    let mut world = World::new();
    let offsets: Vec<(i32, i64)> = (0..count).map(|partition| (partition, 7)).collect();
    world.ask("g", Commits(commit_of(who("", -1), "orders", 1, &offsets)));
    world
}

#[test]
fn a_group_with_many_offsets_is_deleted_in_bounded_steps() {
    let mut world = with_offsets(2500);
    let written = world.log.len();
    let asked = world.ask("g", Delete);
    assert_eq!(world.log.len() - written, 1000);
    assert!(world.given(asked).is_none(), "it is not gone yet");
    // Whoever comes meanwhile asks again.
    let busy = codes::COORDINATOR_LOAD_IN_PROGRESS;
    assert_eq!(code_of(&world.answer("g", Commits(commit(who("", -1), 9)))), busy);
    assert_eq!(code_of(&world.answer("g", Joins(old_join("")))), busy);
    assert_eq!(code_of(&world.answer("g", Delete)), busy);
    world.run();
    assert_eq!(world.given(asked).map(|answer| code_of(&answer)), Some(codes::NONE));
    assert_eq!(world.log.len() - written, 2500);
    assert_eq!(code_of(&world.answer("g", Delete)), codes::GROUP_ID_NOT_FOUND);
    assert_eq!(world.coordinator.metrics().counts.deleted, 2500);
    assert_eq!(world.coordinator.next_deadline(), with_offsets(0).coordinator.next_deadline());
}

#[test]
fn a_deletion_that_cannot_be_written_on_ends_with_an_error() {
    let mut world = with_offsets(2500);
    let asked = world.ask("g", Delete);
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    world.run();
    assert_eq!(world.given(asked).map(|answer| code_of(&answer)), Some(codes::COORDINATOR_NOT_AVAILABLE));
    world.disk_full = None;
    assert_eq!(code_of(&world.answer("g", Commits(commit(who("", -1), 9)))), codes::NONE, "it lives on");
    let again = world.ask("g", Delete);
    let gone = world.coordinator.unload(PARTITION, codes::NOT_COORDINATOR);
    let [(asker, answer)] = &gone[0].answers[..] else { panic!("{gone:?}") };
    assert_eq!((asker.1, code_of(answer)), (again, codes::NOT_COORDINATOR));
}

#[test]
fn an_id_that_was_given_is_forgotten_with_its_group() {
    let mut world = World::new();
    let asked = world.ask("g", Joins(join("")));
    let id = world.joined(asked).expect("its id").member;
    assert_eq!(code_of(&world.answer("g", Delete)), codes::NONE);
    assert_eq!(code_of(&world.answer("g", Joins(join(&id)))), codes::UNKNOWN_MEMBER_ID);
}
