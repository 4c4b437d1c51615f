//! `bench transactions`: what transactions cost a broker. Transactions a second and the time of a commit with 1, 10 and 100 partitions; how many journal writes
//! one takes; and a stream of records with a commit every 100 ms against the same stream without transactions.
//!
//! The same tool and the same requests (transaction version 2: Produce 12, EndTxn 5) for any broker, in turns on the same core; who is not measured
//! is stopped. Every run ends with a look at whether all that was acknowledged is there once and stable.

mod check;
mod counts;
mod crowd;
mod producer;
mod runs;
mod tables;
mod wire;

use std::time::Duration;

use serde::Serialize;

use self::runs::{At, Closed, Streamed};
use crate::broker::{Place, Subject};
use crate::compare::pool::{Pool, Resident};
use crate::compare::quiet::Mark;
use crate::generator::raise_file_limit;
use crate::{proc, report};

/// Partitions of a transaction.
const PARTITIONS: [usize; 3] = [1, 10, 100];
/// From the brokers' ports to that of Floe's /metrics.
const ADMIN: u16 = 8;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of a turn.
    pub subjects: Vec<Subject>,
    /// Turns; each figure is the median of as many runs.
    pub turns: usize,
    /// Seconds of each run that count.
    pub seconds: f64,
    /// Seconds of load before the first run of a Kafka.
    pub warm_s: f64,
    /// Producers of the closed loop.
    pub producers: usize,
    /// Milliseconds between two commits of a stream.
    pub interval_ms: u64,
    /// Bytes of a batch of a stream.
    pub batches_bytes: Vec<usize>,
}

/// All that was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Found {
    /// Transactions in a closed loop.
    pub closed: Vec<Closed>,
    /// The same by one producer alone.
    pub alone: Vec<Closed>,
    /// Streams.
    pub streamed: Vec<Streamed>,
    /// What disturbed a run.
    pub remarks: Vec<String>,
}

/// Measures, prints, keeps.
pub fn run(place: &Place, plan: &Plan) -> Result<(), String> {
    raise_file_limit();
    std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    proc::pin_self(place.load_core).map_err(|error| error.to_string())?;
    let admin = place.port + ADMIN;
    let mut place = place.clone();
    place.settings.push(format!("admin.listen=127.0.0.1:{admin}"));
    let cores = [place.broker_core, place.load_core];
    // Warmed by what it is measured with, see below.
    let mut pool = Pool::new(place, 0.0, 0.0);
    let mut found = Found::default();
    let runs = plan.turns * plan.subjects.len();
    println!("about {:.0} minutes", minutes(plan));
    for turn in 0..plan.turns {
        for (at, &subject) in plan.subjects.iter().enumerate() {
            pool.turn_to(subject)?;
            let before = Mark::now(&cores);
            println!("{} ({} of {runs})", subject.name(), turn * plan.subjects.len() + at + 1);
            one(pool.get(subject)?, plan, turn, admin, &mut found)
                .map_err(|error| format!("{}: {error}", subject.name()))?;
            let neighbours = before.until(&Mark::now(&cores), &pool.pids(), cores.len());
            if let Some(remark) = neighbours.remark() {
                found.remarks.push(format!("{}, turn {turn}: {remark}", subject.name()));
            }
        }
    }
    drop(pool);
    tables::print(plan, &found);
    println!("kept in {}", report::keep("transactions", &found)?);
    Ok(())
}

/// Minutes that it takes, from what was seen: a run needs about two seconds beside its span, a broker that begins a turn about five.
fn minutes(plan: &Plan) -> f64 {
    let closed = PARTITIONS.len() as f64 * (1.5 * plan.seconds + 3.0);
    let streams = 2.0 * plan.batches_bytes.len() as f64 * (plan.seconds + 2.0);
    let kafka = plan.subjects.iter().filter(|subject| !subject.is_floe()).count() as f64;
    (plan.turns as f64 * plan.subjects.len() as f64 * (closed + streams + 5.0) + kafka * (plan.warm_s + 10.0)) / 60.0
}

/// A broker's turn.
fn one(resident: &Resident, plan: &Plan, turn: usize, admin: u16, found: &mut Found) -> std::io::Result<()> {
    let broker = &resident.broker;
    let at =
        |turn, seconds| At { broker, port: resident.place.port, admin, turn, span: Duration::from_secs_f64(seconds) };
    let interval = Duration::from_millis(plan.interval_ms);
    if turn == 0 {
        // A JVM needs it; what was compiled ahead of time has its caches filled soon. Names differ from those of the turns.
        let seconds = if broker.subject().is_floe() { 0.5 } else { plan.warm_s / 5.0 };
        let warming = at(usize::MAX, seconds);
        for partitions in PARTITIONS {
            warming.closed(plan.producers, partitions)?;
        }
        for interval in [None, Some(interval)] {
            warming.stream(plan.batches_bytes[0], interval)?;
        }
    }
    let at_turn = at(turn, plan.seconds);
    for partitions in PARTITIONS {
        let closed = at_turn.closed(plan.producers, partitions)?;
        println!(
            "  {partitions} partitions: {:.0} transactions/s, commit p99 {} us",
            closed.per_s, closed.commit_us[1]
        );
        found.closed.push(closed);
        let alone = at(turn, plan.seconds / 2.0).closed(1, partitions)?;
        println!("  {partitions} partitions, one producer: a transaction takes {} us", alone.whole_us[0]);
        found.alone.push(alone);
    }
    for &bytes in &plan.batches_bytes {
        let mut kinds = [None, Some(interval)];
        // A B, B A, A B.
        if turn % 2 == 1 {
            kinds.reverse();
        }
        for kind in kinds {
            let streamed = at_turn.stream(bytes, kind)?;
            let name = if streamed.transactional { "transactional" } else { "idempotent" };
            let (mb, cpu) = (streamed.mb_per_s, streamed.cpu_s_per_gb);
            println!("  {} KiB batches, {name}: {mb:.0} MB/s, {cpu:.3} CPU s/GB", bytes >> 10);
            found.streamed.push(streamed);
        }
    }
    Ok(())
}
