//! Static members (KIP-345): one that ends and comes back under its name within its session, closed or (classic) killed, gets back what it had, and
//! nobody else notices.

use super::scene::*;

/// `killed`: also by kill -9. With KIP-848 that is none: the name stays taken until the session is over, and who comes is told UNRELEASED_INSTANCE_ID.
fn restart_without_a_rebalance(kind: &Kind, cores: usize, killed: bool) {
    // Long enough for a slow machine to start a client.
    let mut scene = Scene::new(kind, cores, 45_000);
    let first = scene.member_of(kind, TOPIC, Some("one"));
    scene.until("a record for the first member", |_| first.count() > 0);
    let second = scene.member_of(kind, TOPIC, Some("two"));
    scene.until("half for each", |scene| scene.shares().values().map(Vec::len).eq([2, 2]));
    scene.until("a record for the second member", |_| second.count() > 0);
    scene.until_all_is_processed("before the restarts");
    let (shares, epoch, rebalances) = (scene.shares(), scene.group()["epoch"].clone(), scene.rebalances());
    let said = second.said();
    assert!(rebalances > 0, "nothing was counted");

    first.leave();
    let first = scene.member_of(kind, TOPIC, Some("one"));
    scene.until("a record for the one that was closed and is back", |_| first.count() > 0);
    let first = if killed {
        first.kill();
        let first = scene.member_of(kind, TOPIC, Some("one"));
        scene.until("a record for the one that was killed and is back", |_| first.count() > 0);
        first
    } else {
        first
    };
    scene.until_all_is_processed("after the restarts");

    let now = (scene.shares(), scene.group()["epoch"].clone(), scene.rebalances());
    assert_eq!(now, (shares, epoch, rebalances), "{}\n{}", scene.told(), scene.broker.log());
    assert_eq!(second.said(), said, "the other one noticed:\n{}", scene.told());
    first.leave();
    second.leave();
    scene.end();
}

#[test]
fn static_confluent_members_restart_without_a_rebalance() {
    restart_without_a_rebalance(&CONFLUENT_EAGER, 1, true);
}

#[test]
fn static_java_members_restart_without_a_rebalance() {
    restart_without_a_rebalance(&JAVA_EAGER, 4, true);
}

#[test]
fn static_java_members_of_the_next_generation_restart_without_a_rebalance() {
    restart_without_a_rebalance(&JAVA_CONSUMER, 1, false);
}
