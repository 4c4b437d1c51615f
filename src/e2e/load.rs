//! The load generator of the benchmarks against a real broker: what it reads is what it wrote, and it says what it did.

use floe_bench::generator::{self, Target};
use floe_bench::outcome::Outcome;
use floe_bench::workload::Workload;

use crate::broker::Broker;

fn run(broker: &Broker, text: &str) -> Outcome {
    let workload = Workload::parse(&format!("warm_up_s = 0.2\nduration_s = 0.8\n{text}"), "short").expect("parses");
    let target = Target {
        name: "floe".to_owned(),
        address: broker.address,
        pid: None,
        start_up_s: None,
        load_core: None,
        topic_configs: vec![],
        settle_s_max: 0.0,
        progress: false,
    };
    let outcome = generator::run(&workload, &target).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    assert!(outcome.check.is_clean(), "{text}: {:?}", outcome.check);
    assert_eq!((outcome.produced.errors, outcome.consumed.errors), (0, 0), "{text}");
    outcome
}

#[test]
fn what_is_read_is_what_was_written() {
    let broker = Broker::start(2);
    let follow = "kind = 'end-to-end'\nconsumers = 2\npartitions = 3\ntopics = 2\nproducers = 2";
    for shape in [
        "rate = 500\nbatch_records_max = 1\nin_flight_max = 100",
        "rate = 2000\nlinger_ms = 20\nkeys = 'zipf'\ncodec = 'lz4'\nacks = -1\nbatches_per_request_max = 4",
        "rate = 300\nacks = 0\ncodec = 'zstd'\ncompressibility = 0.5",
    ] {
        let outcome = run(&broker, &format!("{follow}\n{shape}"));
        let due = outcome.workload.rate.expect("has one") * outcome.workload.duration_s;
        // Every record that was due in the span has a latency, however late it came: none is left out.
        let read = outcome.end_to_end_latency.expect("records were read");
        assert!((read.count as f64 - due).abs() <= 2.0, "{shape}: {} of {due}", read.count);
        assert_eq!(outcome.check.read, outcome.check.acknowledged, "{shape}");
        if outcome.workload.acks != 0 {
            assert_eq!(outcome.produce_latency.expect("acknowledged").count, read.count, "{shape}");
        }
    }
}

#[test]
fn backlogs_are_read_to_their_end() {
    let broker = Broker::start(2);
    let backlog = "kind = 'backlog'\nconsumers = 2\npartitions = 5\nrecord_bytes = 100\nbacklog_bytes = 3_000_000";
    for shape in ["", "codec = 'gzip'\ncompressibility = 1", "keys = 'uniform'\nfetch_bytes_max = 50_000\nrate = 100"] {
        let outcome = run(&broker, &format!("{backlog}\nbatch_bytes_max = 20_000\n{shape}"));
        // What was prepared is sent in whole batches: a little more than asked for.
        assert!((30_000..32_000).contains(&outcome.check.read), "{shape}: {:?}", outcome.check);
        assert_eq!(outcome.consumed.records, outcome.check.read, "{shape}");
    }
    let again = run(&broker, &backlog.replace("backlog'", "consume'"));
    assert!(again.check.read > 30_000 && again.consumed.records > 0, "{:?}", again.check);
}

#[test]
fn a_share_of_the_highest_rate_is_found() {
    let broker = Broker::start(1);
    let outcome = run(&broker, "kind = 'produce'\nrate_share = 0.1\nrecord_bytes = 100\nbatch_bytes_max = 10_000");
    assert!(outcome.workload.rate.is_some_and(|rate| rate > 0.0));
    let idle = run(&broker, "kind = 'produce'\nrate = 100\nidle_connections = 50\nbatch_records_max = 1");
    assert!((79..=81).contains(&idle.produce_latency.expect("acknowledged").count));
}
