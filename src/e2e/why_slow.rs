//! `floe why-slow` against the running broker: idle, under load, and where it cannot see anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use floe_wire::batch::{BatchBuilder, BatchRecord};
use floe_wire::compression::Codec;
use floe_wire::frame::RequestHeader;
use floe_wire::messages::Message;
use floe_wire::messages::produce::*;
use floe_wire::primitives::{Records, Writer};
use serde_json::Value;

use crate::broker::Broker;

/// Partitions of the topic that is written: some on every shard.
const PARTITIONS: i32 = 8;

fn floe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_floe")).args(arguments).output().expect("floe runs")
}

fn why_slow(broker: &Broker, more: &[&str]) -> Output {
    let (bootstrap, admin) = (broker.bootstrap(), broker.admin.to_string());
    floe(&[&["why-slow", "--bootstrap", &bootstrap, "--admin", &admin, "--seconds", "1"], more].concat())
}

fn as_json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// A whole Produce 9 of one batch for a partition of the topic `t`.
fn produce(partition: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(BatchRecord { timestamp: 1, value: Some(&[7; 1000]), ..BatchRecord::default() });
    let batch = builder.finish();
    let data = PartitionProduceData { index: partition, records: Records::Borrowed(&batch) };
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![data], ..Default::default() };
    let body = ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..Default::default() };
    let mut writer = Writer::new();
    RequestHeader { api_key: 0, api_version: 9, correlation_id: 7, client_id: None }.encode(&mut writer);
    body.encode(&mut writer, 9);
    let bytes = writer.finish_contiguous();
    [&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat()
}

/// Writes to every partition in turn, one request at a time, with a pause after each, until told to stop.
fn write(address: SocketAddr, pause: Duration, is_over: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    for partition in (0..PARTITIONS).cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        stream.write_all(&produce(partition)).expect("the broker reads");
        let mut size = [0; 4];
        stream.read_exact(&mut size).expect("the broker answers");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        stream.read_exact(&mut answer).expect("the broker answers");
        thread::sleep(pause);
    }
}

/// What `look` gives while so many clients write.
fn while_writing<T>(broker: &Broker, clients: usize, pause: Duration, look: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Ends the clients on a panic too: the scope waits for them.
        let _over = Over(&is_over);
        for _ in 0..clients {
            scope.spawn(|| write(broker.address, pause, &is_over));
        }
        look()
    })
}

fn start(durability: &str) -> Broker {
    let broker = Broker::start(2);
    let (bootstrap, partitions) = (broker.bootstrap(), PARTITIONS.to_string());
    let durability = format!("floe.durability={durability}");
    let made = floe(&["topic", "create", "t", "-b", &bootstrap, "-p", &partitions, "--config", &durability]);
    assert!(made.status.success(), "{made:?}");
    broker
}

#[test]
fn every_stage_of_a_load_is_seen_and_something_is_blamed() {
    let broker = start("flushed");
    let idle = as_json(&why_slow(&broker, &["--json"]));
    assert_eq!(idle["verdict"], "idle", "{idle}");
    let (seen, screen) = while_writing(&broker, 8, Duration::ZERO, || {
        (as_json(&why_slow(&broker, &["--json"])), why_slow(&broker, &[]))
    });
    let stage = |name: &str| {
        let stages = seen["stages"].as_array().expect("stages");
        stages.iter().find(|stage| stage["stage"] == name).unwrap_or_else(|| panic!("no {name}: {seen}")).clone()
    };
    for name in ["receive", "turn", "decode, decide", "shard hop", "journal queue", "device", "acknowledge", "send"] {
        assert!(stage(name)["count"].as_f64() > Some(0.0), "{name}: {seen}");
    }
    for name in ["decode, decide", "device"] {
        assert!(
            stage(name)["p50_seconds"].as_f64() > Some(1e-6) && stage(name)["share"].as_f64() > Some(0.0),
            "{seen}"
        );
        assert!(stage(name)["p99_seconds"].as_f64() >= stage(name)["p50_seconds"].as_f64(), "{seen}");
    }
    let shares: f64 =
        seen["stages"].as_array().expect("stages").iter().filter_map(|stage| stage["share"].as_f64()).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{seen}");
    for shard in seen["shards"].as_array().expect("shards") {
        let of = |name: &str| shard[name].as_f64().unwrap_or_else(|| panic!("{name}: {seen}"));
        assert!(of("busy") > 0.0 && of("requests_per_second") > 0.0 && of("connections") > 0.0, "{seen}");
        assert!(of("writes_under_way") > 0.0, "{seen}");
    }
    let verdict = seen["verdict"].as_str().expect("a verdict");
    assert!(["device", "hot shard", "client"].contains(&verdict), "{seen}");
    let text = String::from_utf8_lossy(&screen.stdout);
    let last = text.lines().last().expect("a screen");
    assert!(screen.status.success() && last.starts_with("verdict: ") && !last.starts_with("verdict: idle"), "{text}");
    assert!(text.lines().count() <= 24, "more than a screen:\n{text}");
}

#[test]
fn a_client_that_seldom_asks_is_the_limit() {
    let broker = start("memory");
    let seen = while_writing(&broker, 2, Duration::from_millis(20), || as_json(&why_slow(&broker, &["--json"])));
    assert!(seen["clients_idle"].as_f64() > Some(0.5), "{seen}");
    // On a machine that has no CPU for the broker that is what it says, and rightly.
    let starved = |shard: &Value| shard["no_cpu"].as_f64() >= Some(0.2);
    let starves = seen["shards"].as_array().expect("shards").iter().any(starved);
    assert_eq!(seen["verdict"], if starves { "hot shard" } else { "client" }, "{seen}");
}

#[test]
fn what_cannot_be_seen_is_said_with_what_to_do() {
    let broker = Broker::start(1);
    let bootstrap = broker.bootstrap();
    // A port where nobody listens, and one where somebody else does.
    for admin in ["127.0.0.1:9", &bootstrap] {
        let output = floe(&["why-slow", "-b", &bootstrap, "--admin", admin, "--seconds", "1", "--timeout-ms", "5000"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(admin) && said.contains("--admin HOST:PORT"), "{said}");
    }
    let output = floe(&["why-slow", "-b", "127.0.0.1:9", "--seconds", "1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("cannot connect to the broker"), "{said}");
    assert_eq!(floe(&["why-slow", "--admin", "no-port"]).status.code(), Some(2));
}
