//! `floe why-slow`: where a broker's time goes, on one screen, and in one line what holds its clients back.

mod page;
mod picture;
mod verdict;

use std::time::{Duration, Instant};

use clap::Args;
use floe_wire::messages::api_versions::ApiVersionsRequest;
use serde_json::{Value, json};

use self::page::{Page, Spread};
use self::picture::Picture;
use self::verdict::{Verdict, percent};
use super::Bootstrap;
use super::client::Cluster;
use super::client::keys::ApiKey;
use super::output::Output;
use crate::config::listeners;
use crate::problem::{Outcome, Problem};

/// Where a broker's admin HTTP is unless somebody said otherwise (`admin.listen`).
const ADMIN_PORT: u16 = 9644;
/// Round trips to the broker, of which the quickest counts.
const TRIPS: usize = 5;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  floe why-slow
  floe why-slow --bootstrap 127.0.0.1:9092 --seconds 30
  floe why-slow --bootstrap broker1:9092 --admin broker1:9644 --json

It looks at /metrics twice and costs the broker nothing in between. What the stages and numbers mean: docs/OPERATIONS.md, \"Why is it slow?\"")]
pub(super) struct WhySlowArgs {
    /// The broker's admin HTTP (its `admin.listen`); port 9644 on the host of --bootstrap when not given.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// For how long to look.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

pub(super) fn run(args: WhySlowArgs) -> Outcome {
    let admin = admin(&args)?;
    let patience = Duration::from_millis(args.bootstrap.timeout_ms.max(1));
    let trip = round_trip(&args.bootstrap)?;
    let before = Page::get(&admin, patience)?;
    std::thread::sleep(Duration::from_secs(args.seconds));
    let after = Page::get(&admin, patience)?;
    let picture = Picture::between(&before, &after)?;
    let verdict = verdict::judge(&picture.signs());
    let mut output = Output::new();
    if args.json {
        output.json(&as_json(&picture, &verdict, trip))?;
    } else {
        screen(&mut output, &admin, &picture, &verdict, trip)?;
    }
    output.flush()
}

/// Where the metrics are.
fn admin(args: &WhySlowArgs) -> Outcome<String> {
    let text = match &args.admin {
        Some(admin) => admin.clone(),
        None => {
            let first = args.bootstrap.bootstrap.split(',').next().unwrap_or_default().trim();
            let (host, _) = listeners::host_port(first).map_err(|wrong| {
                Problem::usage(format!("--bootstrap `{first}`: {wrong}")).next("give --bootstrap HOST:PORT")
            })?;
            listeners::shown(&host, ADMIN_PORT)
        }
    };
    listeners::host_port(&text)
        .map(|(host, port)| listeners::shown(&host, port))
        .map_err(|wrong| Problem::usage(format!("--admin `{text}`: {wrong}")).next("give --admin HOST:PORT"))
}

/// The quickest of a few requests that cost the broker nothing: the network from here, and the broker's queues.
fn round_trip(bootstrap: &Bootstrap) -> Outcome<f64> {
    let mut cluster = Cluster::connect(bootstrap)?;
    let connection = cluster.any();
    let mut quickest = f64::INFINITY;
    for _ in 0..TRIPS {
        let began = Instant::now();
        connection.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?;
        quickest = quickest.min(began.elapsed().as_secs_f64());
    }
    Ok(quickest)
}

fn screen(output: &mut Output, admin: &str, picture: &Picture, verdict: &Verdict, trip: f64) -> Outcome {
    let rates = |of: fn(&picture::Load) -> f64| picture.shards.iter().map(of).sum::<f64>();
    output.line(format!(
        "{admin}, {:.1} s: {:.0} requests/s, {:.1} MB/s in, {:.1} MB/s out; a round trip from here takes {}\n",
        picture.seconds,
        rates(|load| load.requests),
        rates(|load| load.bytes_in) / 1e6,
        rates(|load| load.bytes_out) / 1e6,
        duration(Some(trip))
    ))?;
    let rows: Vec<Vec<String>> = picture
        .stages
        .iter()
        .map(|stage| {
            let quantile = |share| duration(stage.spread.quantile(share));
            let share = if stage.spread.count() > 0.0 { percent(stage.share) } else { "-".to_owned() };
            vec![stage.name.to_owned(), quantile(0.5), quantile(0.99), share, stage.what.to_owned()]
        })
        .collect();
    output.table(&["stage", "p50", "p99", "share", "of a request's time"], &rows)?;
    output.line("")?;
    let rows: Vec<Vec<String>> = picture
        .shards
        .iter()
        .enumerate()
        .map(|(shard, load)| {
            vec![
                shard.to_string(),
                percent(load.time.busy),
                percent(load.time.starved),
                percent(load.polled),
                percent(load.time.closed),
                format!("{:.2}", load.time.depth),
                format!("{:.0}", load.requests),
                format!("{:.1}", load.bytes_in / 1e6),
                format!("{:.1}", load.bytes_out / 1e6),
                format!("{:.0}", load.connections),
            ]
        })
        .collect();
    output.table(
        &["shard", "busy", "no CPU", "polls", "closed", "writes", "requests/s", "MB/s in", "MB/s out", "connections"],
        &rows,
    )?;
    output.line("")?;
    let device = &picture.device;
    output.line(format!(
        "device    {:.0} journal writes/s, p50 {}, p99 {}; {:.2} under way on average",
        device.count() / picture.seconds,
        duration(device.quantile(0.5)),
        duration(device.quantile(0.99)),
        device.sum / picture.seconds
    ))?;
    output.line(format!("balance   the busiest shard is {:.1} times as busy as the mean", picture.imbalance()))?;
    output.line(format!(
        "throttle  sockets not read for {} of the shards' time, single connections for {} of theirs",
        percent(mean(picture, |load| load.time.closed)),
        percent(picture.paused)
    ))?;
    output.line(format!(
        "clients   {:.0} connections, without a request at work for {} of their time (Fetch does not count: it may wait)",
        rates(|load| load.connections),
        percent(picture.clients_idle)
    ))?;
    let [hot, file, cold] = picture.reads;
    output
        .line(format!("reads     {hot:.0}/s from memory, {file:.0}/s from files, {cold:.0}/s waited for the disk\n"))?;
    output.line(format!("verdict: {}: {}", verdict.limit.name(), verdict.because))
}

fn mean(picture: &Picture, of: impl Fn(&picture::Load) -> f64) -> f64 {
    picture.shards.iter().map(of).sum::<f64>() / picture.shards.len().max(1) as f64
}

/// Seconds for people.
fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        // The first bucket: what happened within one round.
        Some(seconds) if seconds < 1.1e-6 => "< 1 us".to_owned(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0} us", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

fn as_json(picture: &Picture, verdict: &Verdict, trip: f64) -> Value {
    let spread = |spread: &Spread| {
        json!({
            "count": spread.count(), "mean_seconds": spread.mean(),
            "p50_seconds": spread.quantile(0.5), "p99_seconds": spread.quantile(0.99),
        })
    };
    let stages: Vec<Value> = picture
        .stages
        .iter()
        .map(|stage| {
            let mut value = spread(&stage.spread);
            value["stage"] = json!(stage.name);
            value["share"] = json!(stage.share);
            value
        })
        .collect();
    let shards: Vec<Value> = picture
        .shards
        .iter()
        .enumerate()
        .map(|(shard, load)| {
            json!({
                "shard": shard, "answers": load.time.answers, "busy": load.time.busy, "no_cpu": load.time.starved,
                "polls": load.polled, "closed": load.time.closed, "writes_under_way": load.time.depth,
                "requests_per_second": load.requests, "bytes_in_per_second": load.bytes_in,
                "bytes_out_per_second": load.bytes_out, "connections": load.connections,
            })
        })
        .collect();
    let [hot, file, cold] = picture.reads;
    json!({
        "seconds": picture.seconds, "round_trip_seconds": trip, "stages": stages, "shards": shards,
        "device": spread(&picture.device), "imbalance": picture.imbalance(), "connections_paused": picture.paused,
        "clients_idle": picture.clients_idle,
        "reads_per_second": {"memory": hot, "file": file, "disk": cold},
        "verdict": verdict.limit.name(), "shard": verdict.shard, "because": verdict.because,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_for_people() {
        let rows = [
            (None, "-"),
            (Some(5e-7), "< 1 us"),
            (Some(4.2e-5), "42 us"),
            (Some(0.0042), "4.20 ms"),
            (Some(2.0), "2.00 s"),
        ];
        for (seconds, text) in rows {
            assert_eq!(duration(seconds), text);
        }
    }
}
