//! Transactions of real clients, at one shard and at several: consume, transform, produce, with aborts between; an instance that takes the id over.

use std::process::Command;

use serde_json::json;

use crate::broker::Broker;
use crate::clients::{finish, java, python};

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
