//! Rebalances of the classic protocol in virtual time: who is waited for, for how long, and what becomes of those who do not come.

use super::*;
use crate::group::api::GroupRequest::{Heartbeat, Join as Joins, Leave};

fn quick() -> GroupSettings {
    GroupSettings { initial_rebalance_delay_ms: 3_000, ..GroupSettings::default() }
}

#[test]
fn the_first_rebalance_waits_for_more_members_up_to_the_rebalance_timeout() {
    // KIP-134: each new member prolongs the delay, until the rebalance timeout of the first has passed in all.
    let mut world = World::with(quick());
    let first = world.ask("g", Joins(Join { rebalance_timeout_ms: 7_000, ..old_join("") }));
    world.pass(2_900);
    let second = world.ask("g", Joins(old_join("")));
    world.pass(200);
    assert!(world.joined(first).is_none(), "3.1 s: the second one has prolonged it");
    let third = world.ask("g", Joins(old_join("")));
    world.pass(3_000);
    assert!(world.answers.is_empty(), "6.1 s");
    let fourth = world.ask("g", Joins(old_join("")));
    world.pass(800);
    assert!(world.answers.is_empty(), "6.9 s");
    world.pass(200);
    let joined = [first, second, third, fourth].map(|join| world.joined(join).expect("7.1 s: that is all"));
    let leader = joined[0].leader.clone();
    for joined in &joined {
        assert_eq!((joined.error_code, joined.generation, &joined.leader), (0, 1, &leader));
        assert_eq!(joined.members.len(), if joined.member == leader { 4 } else { 0 });
    }
    world.sync_all("g", &joined);
    assert_eq!(world.state("g"), "Stable");
}

#[test]
fn a_group_alone_waits_for_the_delay_alone() {
    let mut world = World::with(quick());
    let only = world.ask("g", Joins(old_join("")));
    world.pass(2_999);
    assert!(world.joined(only).is_none());
    world.pass(1);
    assert_eq!(world.joined(only).expect("3 s").generation, 1);
}

#[test]
fn members_join_again_and_who_does_not_is_out_after_the_rebalance_timeout() {
    let mut world = World::with(quick());
    let members = world.stable("g", 2);
    let newcomer = world.ask("g", Joins(old_join("")));
    assert_eq!(world.heartbeat("g", &members[0]), codes::REBALANCE_IN_PROGRESS);
    let back = world.ask("g", Joins(old_join(&members[0].member)));
    for _ in 0..6 {
        world.pass(4_900);
        assert_eq!(world.heartbeat("g", &members[1]), codes::REBALANCE_IN_PROGRESS, "alive, and yet it does not join");
        assert!(world.joined(newcomer).is_none());
    }
    world.pass(1_000);
    let joined = [newcomer, back].map(|join| world.joined(join).expect("30 s are over"));
    assert!(joined.iter().all(|joined| joined.generation == 2));
    assert_eq!(world.heartbeat("g", &members[1]), codes::UNKNOWN_MEMBER_ID);
    world.sync_all("g", &joined);
    assert_eq!(world.describe("g").members.len(), 2);
}

#[test]
fn a_rebalance_completes_as_soon_as_nobody_is_missing() {
    let mut world = World::with(quick());
    let members = world.stable("g", 2);
    let newcomer = world.ask("g", Joins(old_join("")));
    let first = world.ask("g", Joins(old_join(&members[0].member)));
    assert!(world.answers.is_empty());
    let second = world.ask("g", Joins(old_join(&members[1].member)));
    let joined = [newcomer, first, second].map(|join| world.joined(join).expect("at once"));
    assert_eq!(joined[0].leader, members[0].member, "the leader stays while it comes back");
    world.sync_all("g", &joined);
}

#[test]
fn a_member_that_was_given_an_id_is_awaited_and_forgotten_after_its_session() {
    let mut world = World::with(quick());
    let members = world.stable("g", 1);
    let GroupAnswer::Joined(given) = world.answer("g", Joins(join(""))) else { panic!("joined") };
    assert_eq!((given.error_code, given.generation), (codes::MEMBER_ID_REQUIRED, -1));
    assert!(given.member.starts_with("client-") && given.member.len() == "client-".len() + 36, "{}", given.member);
    assert_eq!(world.heartbeat("g", &members[0]), codes::NONE, "an id alone is no reason for a rebalance");
    // The leader asks for one itself; the one with the id is awaited.
    let leader = world.ask("g", Joins(old_join(&members[0].member)));
    world.pass(9_999);
    assert!(world.joined(leader).is_none());
    world.pass(1);
    assert_eq!(world.joined(leader).expect("10 s are over").generation, 2);
    assert_eq!(code_of(&world.answer("g", Joins(join(&given.member)))), codes::UNKNOWN_MEMBER_ID);
}

#[test]
fn silence_ends_a_session_and_heartbeats_commits_and_waiting_keep_it() {
    let mut world = World::with(quick());
    let members = world.stable("g", 3);
    for _ in 0..5 {
        world.pass(9_000);
        assert_eq!(world.heartbeat("g", &members[0]), codes::NONE);
        let asked = GroupRequest::Commit(commit(members[1].clone(), 7));
        assert_eq!(code_of(&world.answer("g", asked)), codes::NONE);
        assert_eq!(world.heartbeat("g", &members[2]), codes::NONE);
    }
    world.pass(9_999);
    assert_eq!(world.state("g"), "Stable");
    assert_eq!(world.heartbeat("g", &members[0]), codes::NONE);
    assert_eq!(world.heartbeat("g", &members[1]), codes::NONE);
    world.pass(1);
    assert_eq!(world.state("g"), "PreparingRebalance", "the third was silent for 10 s");
    assert_eq!(world.describe("g").members.len(), 2);
    let waiting = world.ask("g", Joins(old_join(&members[0].member)));
    world.pass(9_000);
    assert_eq!(world.heartbeat("g", &members[1]), codes::REBALANCE_IN_PROGRESS);
    world.pass(9_000);
    assert_eq!(world.describe("g").members.len(), 2, "who waits in a join sends no heartbeats");
    world.pass(1_000);
    assert_eq!(world.joined(waiting).expect("the other one's session ended").members.len(), 1);
}

#[test]
fn who_joins_and_never_syncs_is_out_after_the_rebalance_timeout() {
    let mut world = World::with(quick());
    let joins = [(); 3].map(|()| world.ask("g", Joins(old_join(""))));
    world.pass(9_000);
    let joined = joins.map(|join| world.joined(join).expect("generation 1"));
    let lead = who(&joined[0].leader, 1);
    let others: Vec<_> = joined.iter().filter(|it| it.member != lead.member).map(|it| who(&it.member, 1)).collect();
    assert_eq!(code_of(&world.answer("g", sync(&lead, vec![]))), codes::NONE);
    assert_eq!(code_of(&world.answer("g", sync(&others[0], vec![]))), codes::NONE);
    for _ in 0..5 {
        world.pass(5_000);
        for member in [&lead, &others[0], &others[1]] {
            assert_eq!(world.heartbeat("g", member), codes::NONE);
        }
    }
    world.pass(5_000);
    assert_eq!(world.heartbeat("g", &others[1]), codes::UNKNOWN_MEMBER_ID);
    assert_eq!(world.heartbeat("g", &lead), codes::REBALANCE_IN_PROGRESS);
}

#[test]
fn followers_wait_for_the_leader_and_learn_when_it_is_gone() {
    let mut world = World::with(quick());
    let joins = [(); 2].map(|()| world.ask("g", Joins(old_join(""))));
    world.pass(6_000);
    let joined = joins.map(|join| world.joined(join).expect("generation 1"));
    let lead = who(&joined[0].leader, 1);
    let other = joined.iter().find(|it| it.member != lead.member).map(|it| who(&it.member, 1)).expect("two");
    let waiting = world.ask("g", sync(&other, vec![]));
    let again = world.ask("g", sync(&other, vec![]));
    let code = world.synced(waiting).expect("another sync took its place").error_code;
    assert_eq!(code, codes::REBALANCE_IN_PROGRESS);
    world.pass(9_999);
    assert!(world.synced(again).is_none());
    world.pass(1);
    assert_eq!(world.synced(again).expect("the leader is gone").error_code, codes::REBALANCE_IN_PROGRESS);
    assert_eq!(world.heartbeat("g", &other), codes::REBALANCE_IN_PROGRESS);
}

#[test]
fn a_follower_that_joins_again_unchanged_gets_its_generation_back_and_a_leader_a_rebalance() {
    let mut world = World::with(quick());
    let members = world.stable("g", 2);
    let GroupAnswer::Joined(same) = world.answer("g", Joins(old_join(&members[1].member))) else { panic!("joined") };
    assert_eq!((same.error_code, same.generation, same.members.len()), (0, 1, 0));
    assert_eq!(&same.leader, &members[0].member);
    assert_eq!(world.state("g"), "Stable");
    let changed = Join { protocols: vec![("range".into(), subscription(&["bills"]))], ..old_join(&members[1].member) };
    let changed = world.ask("g", Joins(changed));
    assert_eq!(world.state("g"), "PreparingRebalance");
    let leader = world.ask("g", Joins(old_join(&members[0].member)));
    let joined = [changed, leader].map(|join| world.joined(join).expect("generation 2"));
    world.sync_all("g", &joined);
    world.ask("g", Joins(old_join(&members[0].member)));
    assert_eq!(world.state("g"), "PreparingRebalance", "a leader that joins again wants a rebalance");
}

#[test]
fn members_vote_for_a_protocol_that_all_support() {
    let mut world = World::with(quick());
    let protocols = |names: &[&str]| names.iter().map(|name| ((*name).into(), subscription(&["orders"]))).collect();
    let joins = [&["new", "sticky", "range"][..], &["range", "sticky"], &["sticky", "range"]]
        .map(|names| world.ask("g", Joins(Join { protocols: protocols(names), ..old_join("") })));
    world.pass(12_000);
    for join in joins {
        assert_eq!(world.joined(join).expect("generation").protocol.as_deref(), Some("sticky"), "two of three");
    }
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut world = World::with(GroupSettings { group_size_max: 2, ..quick() });
    let members = world.stable("g", 2);
    assert_eq!(code_of(&world.answer("g", Joins(join("")))), codes::GROUP_MAX_SIZE_REACHED);
    assert_eq!(code_of(&world.answer("g", Joins(old_join("")))), codes::GROUP_MAX_SIZE_REACHED);
    let back = world.ask("g", Joins(old_join(&members[0].member)));
    let other = world.ask("g", Joins(old_join(&members[1].member)));
    assert!([back, other].into_iter().all(|join| world.joined(join).expect("generation 2").error_code == 0));
}

#[test]
fn the_last_one_that_leaves_empties_the_group() {
    let mut world = World::with(quick());
    let members = world.stable("g", 2);
    for member in &members {
        assert_eq!(code_of(&world.answer("g", Leave(vec![leaver(&member.member)]))), codes::NONE);
    }
    assert_eq!(world.state("g"), "Empty");
    world.restart();
    assert_eq!(world.state("g"), "Empty");
    let join = world.ask("g", Joins(old_join("")));
    world.pass(3_000);
    assert_eq!(world.joined(join).expect("a generation").generation, 3, "generations go on after a restart");
}

#[test]
fn an_assignment_that_cannot_be_written_is_not_given_out() {
    let mut world = World::with(quick());
    let joins = [(); 2].map(|()| world.ask("g", Joins(old_join(""))));
    world.pass(6_000);
    let joined = joins.map(|join| world.joined(join).expect("generation 1"));
    let lead = who(&joined[0].leader, 1);
    let other = joined.iter().find(|it| it.member != lead.member).map(|it| who(&it.member, 1)).expect("two");
    world.disk_full = Some(codes::COORDINATOR_NOT_AVAILABLE);
    let waiting = world.ask("g", sync(&other, vec![]));
    assert_eq!(code_of(&world.answer("g", sync(&lead, vec![]))), codes::COORDINATOR_NOT_AVAILABLE);
    assert_eq!(world.synced(waiting).expect("an error").error_code, codes::COORDINATOR_NOT_AVAILABLE);
    world.run();
    assert_eq!(world.heartbeat("g", &other), codes::REBALANCE_IN_PROGRESS);
    // An end of a rebalance that leaves nobody is tried again until it can be written.
    let all = vec![leaver(&lead.member), leaver(&other.member)];
    assert_eq!(code_of(&world.answer("g", Leave(all))), codes::COORDINATOR_NOT_AVAILABLE);
    world.pass(5_000);
    assert_eq!(world.state("g"), "PreparingRebalance");
    world.disk_full = None;
    world.pass(1_000);
    assert_eq!(world.state("g"), "Empty");
}

#[test]
fn after_a_restart_members_go_on_where_they_were() {
    let mut world = World::with(quick());
    let members = world.stable("g", 2);
    world.restart();
    assert_eq!(world.heartbeat("g", &members[1]), codes::NONE);
    let synced = world.answer("g", sync(&members[1], vec![]));
    let GroupAnswer::Synced(synced) = synced else { panic!("synced") };
    assert_eq!(&*synced.assignment, members[1].member.as_bytes());
    world.pass(9_999);
    assert_eq!(world.heartbeat("g", &members[1]), codes::NONE, "a whole session from the restart on");
    world.pass(1);
    assert_eq!(world.heartbeat("g", &members[0]), codes::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_partition_that_goes_away_tells_all_who_wait() {
    let mut world = World::with(quick());
    world.ask("g", Joins(old_join("")));
    world.ask("h", Joins(old_join("")));
    let told = world.coordinator.unload(PARTITION, codes::NOT_COORDINATOR);
    let codes: Vec<_> = told.iter().flat_map(|it| &it.answers).map(|(_, answer)| code_of(answer)).collect();
    assert_eq!(codes, [codes::NOT_COORDINATOR; 2]);
    assert_eq!(code_of(&world.answer("g", Heartbeat(who("me", 1)))), codes::NOT_COORDINATOR);
    assert_eq!(world.coordinator.due(world.now, &world.image).map(|_| ()), None);
}

#[test]
fn rebalances_are_counted_with_their_durations() {
    let mut world = World::with(quick());
    world.stable("g", 2);
    let metrics = world.coordinator.metrics();
    assert_eq!((metrics.counts.rebalances, metrics.members), (1, 2));
    assert_eq!(metrics.groups, [("classic", "Stable", 1)]);
    assert_eq!(metrics.counts.rebalance_ns.count(), 1);
    assert!(metrics.counts.rebalance_ns.sum_ns() >= 6_000_000_000);
    assert!(world.lines.iter().any(|line| line.contains("rebalance after generation 0")), "{:?}", world.lines);
}
