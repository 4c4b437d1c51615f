//! Groups of many: more members than partitions, of which some have nothing to do until another one is gone; and members of different clients.

use super::scene::*;

/// Members with and without something to do.
fn busy_and_idle(scene: &Scene) -> (usize, usize) {
    let shares = scene.shares();
    let busy = shares.values().filter(|partitions| partitions.len() == 1).count();
    (busy, shares.values().filter(|partitions| partitions.is_empty()).count())
}

fn more_members_than_partitions(kind: &Kind, cores: usize) {
    let mut scene = Scene::new(kind, cores, 6000);
    let mut members: Vec<Member> = (0..6).map(|_| scene.member(kind)).collect();
    scene.until("a partition for four of six", |scene| busy_and_idle(scene) == (4, 2));
    scene.until("records for four of six", |_| members.iter().filter(|member| member.count() > 0).count() >= 4);
    // Three leave: those that stay have something to do, whoever it was before.
    for _ in 0..3 {
        members.swap_remove(0).leave();
    }
    scene.until("work for all that stay", |scene| scene.shares().values().all(|partitions| !partitions.is_empty()));
    scene.until("records for all that stay", |_| members.iter().all(|member| member.count() > 0));
    members.swap_remove(0).kill();
    scene.until_all_is_processed("after one was killed");
    members.into_iter().for_each(Member::leave);
    scene.end();
}

#[test]
fn more_classic_members_than_partitions() {
    more_members_than_partitions(&CONFLUENT_COOPERATIVE, 4);
}

#[test]
fn more_members_of_the_next_generation_than_partitions() {
    more_members_than_partitions(&CONFLUENT_CONSUMER, 1);
}

/// What confluent-kafka, Java and kafka-python have in common is the assignor `range`. Whoever leads assigns for the others, so that each one reads
/// what another one wrote; the leader leaves and is killed.
#[test]
fn different_clients_in_one_group() {
    let mut scene = Scene::new(&CONFLUENT_EAGER, 4, 6000);
    let confluent = scene.member(&CONFLUENT_EAGER);
    scene.until("a record for confluent-kafka", |_| confluent.count() > 0);
    let java = scene.member(&JAVA_EAGER);
    scene.until("a record for Java", |_| java.count() > 0);
    let python = scene.member(&KAFKA_PYTHON);
    scene.until("a record for kafka-python", |_| python.count() > 0);
    scene.until("a share for each", |scene| {
        let mut shares: Vec<usize> = scene.shares().values().map(Vec::len).collect();
        shares.sort_unstable();
        shares == [1, 1, 2]
    });
    assert_eq!(scene.group()["assignor"], "range");
    confluent.leave();
    scene.until_all_is_processed("after the leader has left");
    let confluent = scene.member(&CONFLUENT_EAGER);
    scene.until("a record for confluent-kafka", |_| confluent.count() > 0);
    java.kill();
    scene.until_all_is_processed("after one was killed");
    scene.kill_broker();
    scene.until_all_is_processed("after the broker was killed");
    confluent.leave();
    python.leave();
    scene.end();
}
