//! Transactions of real clients, at one shard and at several: consume, transform, produce, with aborts between; an instance that takes the id over.
//! And one that hangs: its coordinator has forgotten it, an operator ends it.

use std::process::Command;

use serde_json::json;

use crate::broker::Broker;
use crate::clients::{finish, java, limited, python};

/// Runs a client and judges what it found.
fn transact(client: impl Fn() -> Command, shards: usize) {
    let broker = Broker::start_with(shards, &["--set", "group.initial.rebalance.delay.ms=0"]);
    let said = finish(client().arg(broker.bootstrap()))
        .unwrap_or_else(|said| panic!("{shards} shards: {said}\n{}", broker.log()));
    let found: serde_json::Value = serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("{said}"));
    for name in ["lost", "repeated"] {
        assert_eq!(found[name], json!([]), "{shards} shards: {found}");
    }
    assert_eq!((&found["open_seen"], &found["last_seen"]), (&json!(0), &json!(1)), "{shards} shards: {found}");
    assert_eq!(found["committed_offset"], json!(300), "{shards} shards: {found}");
    assert_eq!(found["fenced"], json!("_FENCED"), "{shards} shards: {found}");
    // It did write what it took back.
    let aborted = |name: &str| found[name].as_u64().expect("a count");
    assert!(aborted("aborted_seen_uncommitted") > aborted("aborted"), "{shards} shards: {found}");
    assert!(aborted("aborted") > 0, "{shards} shards: {found}");
}

#[test]
fn confluent_kafka_transforms_each_record_once() {
    for shards in [1, 4] {
        transact(|| python("confluent_txn.py"), shards);
    }
}

#[test]
fn java_transforms_each_record_once() {
    for shards in [1, 4] {
        transact(|| java("JavaTxn"), shards);
    }
}

/// A command of `floe` about transactions or topics.
fn floe(broker: &Broker, words: &[&str]) -> Result<String, String> {
    finish(limited(env!("CARGO_BIN_EXE_floe")).args(words).args(["--bootstrap", &broker.bootstrap()]))
}

/// The topic's values, as a reader with an isolation level finds them.
fn read(broker: &Broker, isolation: &str) -> Vec<String> {
    let mut kcat = limited("kcat");
    kcat.args(["-b", &broker.bootstrap(), "-C", "-t", "work", "-p", "0", "-o", "beginning", "-e", "-q"]);
    let said = finish(kcat.args(["-X", &format!("isolation.level={isolation}")])).expect("kcat reads");
    said.lines().map(str::to_owned).collect()
}

/// Brokers get such a transaction from what they lost of `__transaction_state`; here somebody deletes that topic.
#[test]
fn an_operator_ends_a_transaction_that_hangs() {
    for shards in [1, 4] {
        let mut broker = Broker::start(shards);
        finish(python("confluent_hang.py").args([&broker.bootstrap(), "work", "lost"])).expect("a transaction");
        assert_eq!(read(&broker, "read_committed"), ["before"]);

        // While the coordinator knows of it, it is listed, with what it writes to.
        let listed = floe(&broker, &["txn", "list", "--state", "Ongoing", "--json"]).unwrap();
        let listed: serde_json::Value = serde_json::from_str(listed.trim()).expect("one transaction");
        assert_eq!(listed["transactional_id"], json!("lost"));
        let told = floe(&broker, &["txn", "describe", "lost", "--json"]).unwrap();
        let told: serde_json::Value = serde_json::from_str(told.trim()).expect("one transaction");
        assert_eq!((&told["state"], &told["producer_id"]), (&json!("Ongoing"), &listed["producer_id"]));
        assert_eq!(told["partitions"], json!({"work": [0]}));

        // Then nobody knows of it, and readers of what is committed wait for ever, a restart or not.
        floe(&broker, &["topic", "delete", "__transaction_state"]).unwrap();
        broker.kill();
        broker.resume(shards);
        assert_eq!(floe(&broker, &["txn", "list"]).unwrap(), "");
        assert!(floe(&broker, &["txn", "describe", "lost"]).is_err());
        assert_eq!(read(&broker, "read_committed"), ["before"]);

        let abort = |offset: &str| {
            floe(&broker, &["txn", "abort", "--topic", "work", "--partition", "0", "--start-offset", offset])
        };
        let refused = abort("0").unwrap_err();
        let open = format!("open since: 1 (producer {})", listed["producer_id"]);
        assert!(refused.contains(&open), "{shards} shards: {refused}");
        let aborted = abort("1").unwrap();
        assert!(aborted.contains("aborted the transaction"), "{shards} shards: {aborted}");
        assert_eq!(read(&broker, "read_committed"), ["before", "behind"]);
        assert_eq!(read(&broker, "read_uncommitted"), ["before", "open", "behind"]);
        assert!(abort("1").unwrap_err().contains("no transaction has been open"), "{shards} shards");

        // The name can be used again.
        finish(python("confluent_hang.py").args([&broker.bootstrap(), "work", "lost"])).expect("another transaction");
        assert!(floe(&broker, &["txn", "list"]).unwrap().contains("Ongoing"));
        broker.kill();
        broker.resume(shards);
        assert_eq!(read(&broker, "read_committed"), ["before", "behind", "before"]);
    }
}
