//! Subscriptions by a regular expression: with the classic protocol the client looks for the topics, with KIP-848 the broker does. A topic that is
//! made later and matches is taken up, one that does not match is not.

use super::scene::*;
use crate::clients::{finish, limited};

const LATER: &str = "work-later";
const OTHER: &str = "other-work";

fn take_up_what_matches(kind: &Kind, cores: usize) {
    let mut scene = Scene::new(kind, cores, 6000);
    let first = scene.member_of(kind, "^work.*", None);
    scene.until("a record for the first member", |_| first.count() > 0);
    for topic in [OTHER, LATER] {
        let lines = (0..20).map(|line| format!("{line}\n")).collect::<String>();
        let file = scene.broker.dir.join(topic);
        std::fs::write(&file, lines).expect("a file");
        let mut kcat = limited("kcat");
        kcat.args(["-b", &scene.broker.bootstrap(), "-P", "-t", topic, "-p", "0", "-l"]).arg(&file);
        finish(&mut kcat).expect("kcat writes");
    }
    let all = |scene: &Scene| scene.processed_by(1..=scene.begun, LATER).len() == 20;
    scene.until("the records of the new topic", all);
    let second = scene.member_of(kind, "^work.*", None);
    // It may be those of the new topic, where nothing is written any more.
    scene.until("partitions for the second member", |scene| {
        let group = scene.group();
        let of = |member: &serde_json::Value| member["assignment"].as_object().map_or(0, serde_json::Map::len);
        group["members"].as_array().is_some_and(|members| members.len() == 2 && members.iter().all(|m| of(m) > 0))
    });
    first.leave();
    scene.until_all_is_processed("with the pattern, after one has left");
    assert!(scene.processed_by(1..=scene.begun, OTHER).is_empty(), "{}", scene.told());
    second.leave();
    scene.end();
}

#[test]
fn confluent_members_take_up_topics_that_match() {
    take_up_what_matches(&CONFLUENT_EAGER, 4);
}

#[test]
fn java_members_of_the_next_generation_take_up_topics_that_match() {
    take_up_what_matches(&JAVA_CONSUMER, 1);
}
