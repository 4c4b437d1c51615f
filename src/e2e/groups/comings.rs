//! One member is alone, a second one joins, the first one leaves, a third one joins and is killed (kill -9), the broker is killed and comes back. What
//! was committed last stays committed.

use std::collections::BTreeSet;

use super::scene::*;

fn come_and_go(kind: &Kind, cores: usize) {
    let mut scene = Scene::new(kind, cores, 6000);
    let first = scene.member(kind);
    scene.until("a record for the first member", |_| first.count() > 0);
    let second = scene.member(kind);
    scene.until("a record for the second member", |_| second.count() > 0);
    assert_eq!(scene.fetch_holds() > 0, kind.pauses(), "who pauses is known by what it calls itself");
    first.leave();
    scene.until_all_is_processed("after one has left");
    let third = scene.member(kind);
    scene.until("a record for the third member", |_| third.count() > 0);
    third.kill();
    scene.until_all_is_processed("after one was killed");
    scene.kill_broker();
    scene.until_all_is_processed("after the broker was killed");
    second.leave();
    // Everything is committed: whoever comes now gets what is new and nothing else.
    let last = scene.member(kind);
    scene.until("a record for the last member", |_| last.count() > 0);
    scene.until_all_is_processed("at last");
    let before = scene.processed_by(1..=scene.begun - 1, TOPIC);
    let its_own = scene.processed_by(scene.begun..=scene.begun, TOPIC);
    let twice: BTreeSet<_> = before.intersection(&its_own).collect();
    assert!(twice.is_empty(), "committed records came again: {twice:?}\n{}\n{}", scene.told(), scene.broker.log());
    last.leave();
    scene.end();
}

#[test]
fn confluent_members_come_and_go_eagerly() {
    come_and_go(&CONFLUENT_EAGER, 1);
}

#[test]
fn confluent_members_come_and_go_cooperatively() {
    come_and_go(&CONFLUENT_COOPERATIVE, 4);
}

#[test]
fn confluent_members_of_the_next_generation_come_and_go() {
    come_and_go(&CONFLUENT_CONSUMER, 4);
}

#[test]
fn kafka_python_members_come_and_go() {
    come_and_go(&KAFKA_PYTHON, 1);
}

#[test]
fn aiokafka_members_come_and_go() {
    come_and_go(&AIOKAFKA, 4);
}

#[test]
fn kafkajs_members_come_and_go() {
    come_and_go(&KAFKAJS, 1);
}

#[test]
fn platformatic_members_come_and_go() {
    come_and_go(&PLATFORMATIC, 4);
}

#[test]
fn platformatic_members_of_the_next_generation_come_and_go() {
    come_and_go(&PLATFORMATIC_CONSUMER, 1);
}

#[test]
fn java_members_come_and_go_eagerly() {
    come_and_go(&JAVA_EAGER, 4);
}

#[test]
fn java_members_come_and_go_cooperatively() {
    come_and_go(&JAVA_COOPERATIVE, 1);
}

#[test]
fn java_members_of_the_next_generation_come_and_go() {
    come_and_go(&JAVA_CONSUMER, 4);
}
