//! `floe-bench run`: one workload against any broker, or against a Floe that is started for it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use crate::broker::{Broker, Place, Subject};
use crate::figures;
use crate::generator::{self, Target};
use crate::outcome::{Flow, Latency, Outcome};
use crate::report;
use crate::workload::Workload;

/// A load without a rate may write a gigabyte a second.
const ROOM_BYTES: u64 = 20 << 30;

/// Where a run goes.
#[derive(Clone, Debug)]
pub enum To {
    /// A broker that is there already, with its process if it is to be watched.
    There {
        /// HOST:PORT.
        bootstrap: String,
        /// Its process, when it runs on this machine.
        pid: Option<u32>,
    },
    /// A broker started for each workload, on an empty directory.
    Started(Subject),
}

/// How workloads are run.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Against what.
    pub to: To,
    /// Cores and port.
    pub place: Place,
    /// Settings of the topics, by Kafka's names.
    pub topic_configs: Vec<(String, String)>,
    /// Seconds measured, instead of the workload's own.
    pub seconds: Option<f64>,
    /// Seconds of warm-up, instead of the workload's own.
    pub warm_up_s: Option<f64>,
}

/// Runs the workloads one after the other, prints a table for each and keeps the outcomes in one file; `json` is one more.
pub fn run(files: &[PathBuf], runs: &Runs, json: Option<&Path>) -> Result<(), String> {
    let workloads = files.iter().map(|file| Workload::load(file)).collect::<Result<Vec<_>, _>>()?;
    let mut outcomes = Vec::new();
    for mut workload in workloads {
        workload.duration_s = runs.seconds.unwrap_or(workload.duration_s);
        workload.warm_up_s = runs.warm_up_s.unwrap_or(workload.warm_up_s);
        workload.check()?;
        let outcome = one(&workload, runs)?;
        print(&outcome);
        outcomes.push(outcome);
    }
    if let Some(json) = json {
        let text = serde_json::to_string_pretty(&outcomes).map_err(|error| error.to_string())?;
        std::fs::write(json, text + "\n").map_err(|error| format!("{}: {error}", json.display()))?;
    }
    println!("kept in {}", report::keep("run", &outcomes)?);
    match outcomes.iter().find(|outcome| !outcome.check.is_clean()) {
        Some(wrong) => {
            Err(format!("{}: what was read is not what was written: {:?}", wrong.workload.name, wrong.check))
        }
        None => Ok(()),
    }
}

fn one(workload: &Workload, runs: &Runs) -> Result<Outcome, String> {
    let Runs { to, place, topic_configs, .. } = runs;
    let mut target = Target {
        name: String::new(),
        address: SocketAddr::from(([127, 0, 0, 1], place.port)),
        pid: None,
        start_up_s: None,
        load_core: Some(place.load_core),
        topic_configs: topic_configs.clone(),
        settle_s_max: 0.0,
        progress: true,
    };
    // Kept until the run is over: dropping it ends the process.
    let mut started = None;
    match to {
        To::There { bootstrap, pid } => {
            let mut addresses = bootstrap.to_socket_addrs().map_err(|error| format!("{bootstrap}: {error}"))?;
            target.address = addresses.next().ok_or_else(|| format!("{bootstrap}: no address"))?;
            (target.name, target.pid) = (bootstrap.clone(), *pid);
        }
        To::Started(subject) => {
            std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
            figures::room(place, ROOM_BYTES)?;
            let broker = started.insert(Broker::start(place, *subject)?);
            (target.name, target.pid) = (subject.name().to_owned(), Some(broker.pid()));
            target.start_up_s = Some(broker.start_up.as_secs_f64());
        }
    }
    generator::run(workload, &target)
}

/// A table of one outcome: what was moved, how long it took, what it cost.
pub fn print(outcome: &Outcome) {
    let workload = &outcome.workload;
    println!("\n{} against {}: {}", workload.name, outcome.broker, workload.about);
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    for (name, flow) in [("produced", &outcome.produced), ("consumed", &outcome.consumed)] {
        if flow.requests > 0 {
            row(name, flow_text(flow));
        }
    }
    if let Some(rate) = workload.rate {
        row("asked for", format!("{rate:.0} records/s"));
    }
    for (name, latency) in [
        ("produce latency, us", &outcome.produce_latency),
        ("end-to-end latency, us", &outcome.end_to_end_latency),
        ("of which before sending, us", &outcome.send_delay),
    ] {
        if let Some(latency) = latency {
            row(name, latency_text(latency));
        }
    }
    if let Some(cost) = &outcome.broker_cost {
        let of = |value: Option<f64>, unit: &str| value.map_or(String::new(), |value| format!(", {value:.3} {unit}"));
        let cpu = format!(
            "{:.2} s, {:.0} % of a core{}{}{}",
            cost.cpu_s,
            cost.cpu_s / outcome.seconds * 100.0,
            of(outcome.broker_cpu_s_per_gb(), "s/GB"),
            of(outcome.broker_cpu_us_per_record(), "us/record"),
            of(outcome.broker_cpu_us_per_request(), "us/request"),
        );
        row("broker CPU", cpu);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let memory = format!(
            "{:.1} MB idle, {:.1} MB connected, {:.1} MB at most",
            mb(cost.rss_idle),
            mb(cost.rss_connected),
            mb(cost.rss_max)
        );
        row("broker RSS", memory);
        if workload.idle_connections > 0 {
            let each = cost.rss_connected.saturating_sub(cost.rss_idle) as f64 / f64::from(workload.idle_connections);
            row("RSS of an idle connection", format!("{:.1} KiB", each / 1024.0));
        }
    }
    let client = &outcome.client;
    let limit = if client.was_the_limit { ": the client was the limit" } else { "" };
    row("client CPU", format!("{:.2} s, {:.0} % of its core{limit}", client.cpu_s, client.busy_share * 100.0));
    let check = &outcome.check;
    if workload.consumes() {
        let counts = format!(
            "{} read, {} missing, {} out of order, {} corrupt",
            check.read, check.missing, check.out_of_order, check.corrupt
        );
        row(if check.is_clean() { "check: clean" } else { "check: WRONG" }, counts);
    }
    println!("{}", report::table(&["", &format!("{:.1} s measured", outcome.seconds)], rows));
}

fn flow_text(flow: &Flow) -> String {
    let errors = if flow.errors > 0 { format!(", {} ERRORS", flow.errors) } else { String::new() };
    format!(
        "{:.1} MB/s, {:.0} records/s, {:.0} requests/s{errors}",
        flow.mb_per_s(),
        flow.records_per_s(),
        flow.requests_per_s()
    )
}

fn latency_text(latency: &Latency) -> String {
    let Latency { p50_us, p99_us, p999_us, p9999_us, max_us, .. } = latency;
    format!("p50 {p50_us:.0}, p99 {p99_us:.0}, p99.9 {p999_us:.0}, p99.99 {p9999_us:.0}, max {max_us:.0}")
}
