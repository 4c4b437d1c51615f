//! A rolling change of clients from the classic protocol to the next generation and back, members of both in one group meanwhile: a new client comes, an
//! old one leaves, another is killed, the broker is killed; then an old client comes and the new ones go.

use super::scene::*;

fn roll(old: &Kind, new: &Kind, cores: usize) {
    let mut scene = Scene::new(old, cores, 6000);
    let first = scene.member(old);
    let second = scene.member(old);
    scene.until("a record for each old member", |_| first.count() > 0 && second.count() > 0);
    let newer = scene.member(new);
    scene.until("a record for the first new member", |_| newer.count() > 0);
    let log = scene.broker.log();
    assert!(log.contains("into the consumer protocol"), "the group was not taken along:\n{log}");
    scene.until_all_is_processed("with members of both protocols");
    first.leave();
    let newest = scene.member(new);
    scene.until("a record for the second new member", |_| newest.count() > 0);
    second.kill();
    scene.until_all_is_processed("after the last old member was killed");
    scene.kill_broker();
    scene.until_all_is_processed("after the broker was killed");
    let back = scene.member(old);
    scene.until("a record for an old member that comes again", |_| back.count() > 0);
    newer.leave();
    newest.kill();
    scene.until("the group is classic again", |scene| scene.broker.log().contains("becomes a classic group"));
    scene.until_all_is_processed("after the last new member was killed");
    back.leave();
    scene.end();
}

#[test]
fn confluent_members_change_their_protocol_eagerly() {
    roll(&CONFLUENT_EAGER, &CONFLUENT_CONSUMER, 1);
}

#[test]
fn confluent_members_change_their_protocol_cooperatively() {
    roll(&CONFLUENT_COOPERATIVE, &CONFLUENT_CONSUMER, 4);
}

#[test]
fn java_members_change_their_protocol() {
    roll(&JAVA_COOPERATIVE, &JAVA_CONSUMER, 4);
}

/// New clients of one library in a group of another's old ones.
#[test]
fn java_members_come_to_kafka_python_ones() {
    roll(&KAFKA_PYTHON, &JAVA_CONSUMER, 1);
}
