//! Static members (KIP-345, KIP-814): a process that comes back under its instance's name takes its own place.

use super::*;
use crate::group::api::GroupRequest::{Join as Joins, Leave};

/// A stable group of the static members `one` (which leads) and `two`.
fn pair() -> (World, Vec<MemberRef>) {
    let mut world = World::new();
    let one = world.ask("g", Joins(static_join("one", "")));
    let two = world.ask("g", Joins(static_join("two", "")));
    world.pass(6_000);
    let joined = [one, two].map(|join| world.joined(join).expect("generation 1"));
    assert!(joined[0].member.starts_with("one-") && joined[1].member.starts_with("two-"), "no id is asked for first");
    assert_eq!(joined[0].leader, joined[0].member);
    world.sync_all("g", &joined);
    let who = ["one", "two"]
        .into_iter()
        .zip(&joined)
        .map(|(instance, joined)| MemberRef { instance: Some(instance.into()), ..who(&joined.member, 1) });
    let who = who.collect();
    (world, who)
}

fn come_back(world: &mut World, join: Join) -> Joined {
    let GroupAnswer::Joined(joined) = world.answer("g", Joins(join)) else { panic!("joined") };
    joined
}

#[test]
fn a_follower_comes_back_without_a_rebalance_and_its_old_self_is_fenced() {
    let (mut world, members) = pair();
    let joined = come_back(&mut world, static_join("two", ""));
    assert_eq!((joined.error_code, joined.generation, joined.skip_assignment), (0, 1, false));
    assert_eq!((&joined.leader, joined.members.len()), (&members[0].member, 0));
    assert_ne!(joined.member, members[1].member);
    assert_eq!(world.state("g"), "Stable");
    assert_eq!(world.heartbeat("g", &members[1]), codes::FENCED_INSTANCE_ID);
    let asked = GroupRequest::Commit(commit(members[1].clone(), 1));
    assert_eq!(code_of(&world.answer("g", asked)), codes::FENCED_INSTANCE_ID);
    let me = MemberRef { member: joined.member, ..members[1].clone() };
    let GroupAnswer::Synced(synced) = world.answer("g", sync(&me, vec![])) else { panic!("synced") };
    assert_eq!(&*synced.assignment, members[1].member.as_bytes(), "it has what it had");
    world.restart();
    assert_eq!(world.heartbeat("g", &me), codes::NONE, "its new id was written down");
}

#[test]
fn a_leader_that_comes_back_leads_and_skips_the_assignment() {
    let (mut world, members) = pair();
    let joined = come_back(&mut world, static_join("one", ""));
    assert_eq!((joined.error_code, joined.generation, joined.skip_assignment), (0, 1, true));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member, 2));
    assert_eq!(world.state("g"), "Stable");
    // Before JoinGroup 9 it is told that its old self leads, so that it computes nothing.
    let old = Join { may_skip_assignment: false, ..static_join("one", "") };
    let again = come_back(&mut world, old);
    assert_eq!((again.skip_assignment, &again.leader, again.members.len()), (false, &joined.member, 0));
    assert_ne!(again.member, joined.member);
    assert_eq!(world.heartbeat("g", &members[1]), codes::NONE);
}

#[test]
fn who_comes_back_with_other_protocols_brings_a_rebalance_when_the_choice_changes() {
    let (mut world, _) = pair();
    let both = Join {
        protocols: vec![("sticky".into(), Bytes::new()), ("range".into(), subscription(&["orders"]))],
        ..static_join("two", "")
    };
    assert_eq!(come_back(&mut world, both).error_code, 0, "range is still what all support");
    assert_eq!(world.state("g"), "Stable");
}

#[test]
fn who_comes_back_while_the_assignment_is_computed_begins_a_new_rebalance() {
    let mut world = World::new();
    let joins = ["one", "two"].map(|instance| world.ask("g", Joins(static_join(instance, ""))));
    world.pass(6_000);
    let joined = joins.map(|join| world.joined(join).expect("generation 1"));
    let old = MemberRef { instance: Some("two".into()), ..who(&joined[1].member, 1) };
    let waiting = world.ask("g", sync(&old, vec![]));
    let back = world.ask("g", Joins(static_join("two", "")));
    assert_eq!(world.synced(waiting).expect("its old self waits no more").error_code, codes::FENCED_INSTANCE_ID);
    assert_eq!(world.state("g"), "PreparingRebalance");
    let leader = world.ask("g", Joins(static_join("one", &joined[0].member)));
    assert!([back, leader].into_iter().all(|join| world.joined(join).expect("generation 2").generation == 2));
}

#[test]
fn two_processes_under_one_name_during_the_joins() {
    let mut world = World::new();
    let first = world.ask("g", Joins(static_join("one", "")));
    let second = world.ask("g", Joins(static_join("one", "")));
    assert_eq!(world.joined(first).expect("fenced").error_code, codes::FENCED_INSTANCE_ID);
    world.pass(6_000);
    assert_eq!(world.joined(second).expect("generation 1").error_code, codes::NONE);
    assert_eq!(world.describe("g").members.len(), 1);
}

#[test]
fn a_static_member_that_stays_away_keeps_its_place_until_its_session_ends() {
    let (mut world, members) = pair();
    world.pass(5_000);
    assert_eq!(world.heartbeat("g", &members[0]), codes::NONE);
    world.pass(4_999);
    assert_eq!(world.heartbeat("g", &members[0]), codes::NONE, "two was silent for 9.999 s");
    world.pass(1);
    assert_eq!(world.heartbeat("g", &members[0]), codes::REBALANCE_IN_PROGRESS);
    assert_eq!(world.heartbeat("g", &members[1]), codes::UNKNOWN_MEMBER_ID);
}

#[test]
fn an_administrator_removes_it_by_its_name() {
    let (mut world, members) = pair();
    let by_name = Leaver { instance: Some("two".into()), ..leaver("") };
    assert_eq!(code_of(&world.answer("g", Leave(vec![by_name]))), codes::NONE);
    assert_eq!(world.heartbeat("g", &members[0]), codes::REBALANCE_IN_PROGRESS);
    assert_eq!(world.heartbeat("g", &members[1]), codes::UNKNOWN_MEMBER_ID, "nobody holds the name");
}
