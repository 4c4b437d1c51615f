//! Exactly once, proven with real clients: members of a group copy a topic in transactions, some of which they abort, while members join, leave and are
//! killed with -9, and the broker is too. A consumer with `read_committed` reads the copy all the time. In the end each input has one result, nobody
//! saw a record of a transaction that was open or aborted, and what all clients saw passes the history checker of `shards/sim`.

mod judge;
mod scene;

use scene::{CONFLUENT_CLASSIC, CONFLUENT_CONSUMER, JAVA_CLASSIC, JAVA_CONSUMER, KAFKAJS, Kind, Scene};

/// Deaths of the broker in one run.
const KILLS: usize = 4;

fn copied_once(kind: &Kind, shards: usize) {
    let mut scene = Scene::new(kind, shards);
    let (first, second) = (scene.copier("first"), scene.copier("second"));
    scene.until("work of both", |scene| scene.copied(first) > 0 && scene.copied(second) > 0);
    let third = scene.copier("third");
    scene.until("work of the one that joined", |scene| scene.copied(third) > 0);
    // Another process with its name takes its partitions over, and ends what it has left open.
    scene.kill(second);
    let second = scene.copier("second");
    scene.until("work of the one that came again", |scene| scene.copied(second) > 0);
    for kill in 0..KILLS {
        scene.until_more_is_seen(&format!("results before the broker's death {kill}"));
        scene.kill_broker(kill);
    }
    scene.until_more_is_seen("results after the broker's deaths");
    scene.leave(third);
    scene.until_more_is_seen("results after one has left");
    // Nobody comes again under this name: its transaction is ended by the timeout.
    scene.kill(first);
    scene.until_more_is_seen("results after one was killed");
    scene.judge();
}

#[test]
fn classic_confluent_members_copy_exactly_once_on_one_shard() {
    copied_once(&CONFLUENT_CLASSIC, 1);
}

#[test]
fn confluent_members_of_the_next_generation_copy_exactly_once_on_four_shards() {
    copied_once(&CONFLUENT_CONSUMER, 4);
}

#[test]
fn classic_java_members_copy_exactly_once_on_four_shards() {
    copied_once(&JAVA_CLASSIC, 4);
}

#[test]
fn java_members_of_the_next_generation_copy_exactly_once_on_one_shard() {
    copied_once(&JAVA_CONSUMER, 1);
}

#[test]
fn kafkajs_members_copy_exactly_once_on_one_shard() {
    copied_once(&KAFKAJS, 1);
}

#[test]
fn kafkajs_members_copy_exactly_once_on_four_shards() {
    copied_once(&KAFKAJS, 4);
}
