//! The load generator as a comparison uses it: which files, how long they take, at which broker they go.

use std::net::SocketAddr;

use crate::broker::{Broker, Place, Subject};
use crate::generator::{self, Target};
use crate::outcome::Outcome;
use crate::workload::{Kind, Workload};

/// Where the workloads are, from the root of the workspace.
pub const WORKLOADS: &str = "bench/workloads";

/// Most seconds until a broker has stopped getting faster on new topics. Kafka was seen to take 20 s on 1,000 partitions.
const SETTLE_S_MAX: f64 = 30.0;

/// Seconds that a run needs beside what it measures: topics, connections, write-back.
pub const OVERHEAD_S: f64 = 4.0;

/// How long a run of this workload takes, about.
pub fn estimate_s(workload: &Workload) -> f64 {
    let span = workload.warm_up_s + workload.duration_s;
    // A share of the highest rate: that has to be found first.
    let search = if workload.rate_share.is_some() { span } else { 0.0 };
    // A backlog is written before it is read, at a few hundred MB/s.
    let backlog = match workload.kind {
        Kind::Produce | Kind::EndToEnd => 0.0,
        Kind::Consume | Kind::Backlog => workload.backlog_bytes as f64 / 3e8,
    };
    // Three slices at least, see the generator.
    let settle = if workload.kind == Kind::Produce && workload.rate.is_none() { 4.0 } else { 0.0 };
    span + search + backlog + settle + OVERHEAD_S
}

/// One run of `workload` against a broker, which settles under it first.
pub fn run(workload: &Workload, place: &Place, subject: Subject, broker: &Broker) -> Result<Outcome, String> {
    run_settled(workload, place, subject, broker, SETTLE_S_MAX)
}

/// The same, with at most so many seconds to settle.
pub fn run_settled(
    workload: &Workload,
    place: &Place,
    subject: Subject,
    broker: &Broker,
    settle_s_max: f64,
) -> Result<Outcome, String> {
    // On its topics, so that only what is measured becomes durable and not what Kafka keeps for itself.
    let flush = ("flush.messages".to_owned(), "1".to_owned());
    let target = Target {
        name: subject.name().to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], place.port)),
        pid: Some(broker.pid()),
        start_up_s: Some(broker.start_up.as_secs_f64()),
        load_core: Some(place.load_core),
        topic_configs: if subject == Subject::KafkaDurable { vec![flush] } else { vec![] },
        settle_s_max,
        progress: false,
    };
    generator::run(workload, &target)
}
