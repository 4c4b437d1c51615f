//! Groups of the next-generation protocol (KIP-848) as the coordinator keeps them, beside classic groups and offsets. Their own rules are tested in
//! `group/consumer/tests/`.

use super::*;

pub(super) fn spoken(world: &mut World, group: &str, member: &str, epoch: i32) -> ConsumerHeartbeatAnswer {
    let GroupAnswer::ConsumerHeartbeat(answer) =
        world.answer(group, GroupRequest::ConsumerHeartbeat(beat(member, epoch, None)))
    else {
        panic!("heartbeat")
    };
    world.run();
    answer
}

fn described(world: &mut World, group: &str) -> ConsumerDescribed {
    let answer = world.answer(group, GroupRequest::ConsumerDescribe);
    let GroupAnswer::ConsumerDescribed(described) = answer else { panic!("described") };
    described
}

#[test]
fn members_commit_at_their_epoch_and_a_restart_keeps_them() {
    let mut world = World::new();
    let joined = spoken(&mut world, "g", "m", 0);
    assert_eq!((joined.error_code, joined.member_epoch), (codes::NONE, 1));
    assert_eq!(joined.assignment, Some(vec![(TopicId([1; 16]), vec![0, 1, 2, 3])]));
    let commit_at = |world: &mut World, epoch, knows_epochs| {
        let commit = Commit { knows_epochs, ..commit(who("m", epoch), 5) };
        code_of(&world.answer("g", GroupRequest::Commit(commit)))
    };
    assert_eq!(commit_at(&mut world, 1, true), codes::NONE);
    assert_eq!(commit_at(&mut world, 0, true), codes::STALE_MEMBER_EPOCH);
    assert_eq!(commit_at(&mut world, 0, false), codes::UNSUPPORTED_VERSION);
    let GroupAnswer::Listed(Ok(listed)) = world.answer("", GroupRequest::List(ListFilter::default())) else { panic!() };
    assert_eq!((&*listed[0].group, listed[0].kind, listed[0].state), ("g", "consumer", "Stable"));
    assert_eq!(described(&mut world, "g").members.len(), 1);
    assert_eq!(code_of(&world.answer("g", GroupRequest::Describe)), codes::GROUP_ID_NOT_FOUND);
    assert_eq!(code_of(&world.answer("g", GroupRequest::Delete)), codes::NON_EMPTY_GROUP);

    world.restart();
    world.run();
    assert_eq!(spoken(&mut world, "g", "m", 1).error_code, codes::NONE);
    world.pass(44_999);
    assert_eq!(described(&mut world, "g").state, "Stable");
    world.pass(1);
    assert_eq!(described(&mut world, "g").state, "Empty");
    assert_eq!(code_of(&world.answer("g", GroupRequest::Delete)), codes::NONE);
    assert_eq!(described(&mut world, "g").error_code, codes::GROUP_ID_NOT_FOUND);
    world.restart();
    assert_eq!(spoken(&mut world, "g", "m", 1).error_code, codes::GROUP_ID_NOT_FOUND);
}

#[test]
fn an_empty_group_changes_its_protocol_whatever_the_policy() {
    let consumer_migration = crate::group::MigrationPolicy::Disabled;
    let mut world = World::with(GroupSettings { consumer_migration, ..GroupSettings::default() });
    let classic = world.stable("g", 1);
    assert_eq!(code_of(&world.answer("g", GroupRequest::Commit(commit(classic[0].clone(), 7)))), codes::NONE);
    world.answer("g", GroupRequest::Leave(vec![leaver(&classic[0].member)]));
    assert_eq!(spoken(&mut world, "g", "m", 0).member_epoch, 1);
    for request in [GroupRequest::Heartbeat(classic[0].clone()), sync(&classic[0], Vec::new())] {
        assert_eq!(code_of(&world.answer("g", request)), codes::UNKNOWN_MEMBER_ID);
    }
    // The offsets stay.
    world.restart();
    world.run();
    let fetch = FetchOffsets { who: Some(who("m", 1)), topics: None, require_stable: false };
    let GroupAnswer::Fetched(Ok(fetched)) = world.answer("g", GroupRequest::Fetch(fetch)) else { panic!("offsets") };
    assert_eq!(fetched[0].partitions[0].1.as_ref().unwrap().as_ref().map(|committed| committed.offset), Some(7));
    assert_eq!(spoken(&mut world, "g", "m", -1).error_code, codes::NONE);
    assert_eq!(world.stable("g", 2).len(), 2);
    world.restart();
    world.run();
    assert_eq!(world.state("g"), "Stable");
    assert_eq!(described(&mut world, "g").error_code, codes::GROUP_ID_NOT_FOUND);
}

#[test]
fn what_cannot_be_written_has_not_happened() {
    let mut world = World::new();
    world.disk_full = Some(codes::KAFKA_STORAGE_ERROR);
    assert_eq!(spoken(&mut world, "g", "m", 0).error_code, codes::KAFKA_STORAGE_ERROR);
    assert_eq!(described(&mut world, "g").error_code, codes::GROUP_ID_NOT_FOUND);
    world.disk_full = None;
    assert_eq!(spoken(&mut world, "g", "m", 0).member_epoch, 1);
    world.disk_full = Some(codes::KAFKA_STORAGE_ERROR);
    world.pass(60_000);
    assert_eq!(described(&mut world, "g").state, "Stable", "its session ended, and that cannot be written");
    world.disk_full = None;
    world.pass(2_000);
    assert_eq!(described(&mut world, "g").state, "Empty");
}

#[test]
fn topics_that_change_reach_the_group() {
    let mut world = World::new();
    spoken(&mut world, "g", "m", 0);
    world.drop_topic(1);
    assert_eq!(described(&mut world, "g").state, "Assigning");
    assert_eq!(spoken(&mut world, "g", "m", 1).assignment, Some(Vec::new()));
    world.create("orders", 9);
    world.run();
    let epoch = described(&mut world, "g").members[0].member_epoch;
    let told = spoken(&mut world, "g", "m", epoch);
    assert_eq!(told.error_code, codes::NONE);
    assert_eq!(described(&mut world, "g").epoch, 3);
}

#[test]
fn topics_that_change_while_a_group_is_read_wait_until_it_has_been() {
    let mut world = World::new();
    spoken(&mut world, "g", "m", 0);
    spoken(&mut world, "g", "n", 0);
    let log = world.log.clone();
    world.restart();
    world.coordinator.load(PARTITION);
    for (entry, at) in log.iter().zip(0..) {
        world.replay(entry.clone(), at);
        world.create(&format!("other-{at}"), 100 + at as u8);
        world.run();
    }
    assert_eq!(world.log.len(), log.len(), "decided by a group of which a part had been read");
    world.coordinator.loaded(world.now, PARTITION);
    world.drop_topic(1);
    assert_eq!(described(&mut world, "g").epoch, 3);
}
