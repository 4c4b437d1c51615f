//! `bench sweep`: latency against bandwidth over profile x linger x batch size x partitions, as a picture for each knob and as a page that says
//! which settings answer which wish (docs/TUNING.md, the part between its marks).
//!
//! A Floe for each profile stays up, and the profiles take turns on every combination. A point runs at a share of the highest rate that its
//! settings reach: at that rate itself a latency only tells how long the queue is.

pub mod page;
pub mod pictures;

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::broker::{Broker, Place, Subject};
use crate::compare::generator;
use crate::compare::quiet::{Mark, Neighbours};
use crate::compare::spread::{Spread, short};
use crate::outcome::Outcome;
use crate::workload::Workload;
use crate::{plot, report};

/// What is tried.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub place: Place,
    /// Profiles of Floe.
    pub profiles: Vec<String>,
    /// Milliseconds that a batch waits for company in the client.
    pub lingers_ms: Vec<f64>,
    /// Most bytes of a batch.
    pub batches_bytes: Vec<usize>,
    /// Partitions.
    pub partitions: Vec<u32>,
    /// Bytes of a record.
    pub record_bytes: usize,
    /// Share of the highest rate.
    pub share: f64,
    /// Seconds of each run that count.
    pub seconds: f64,
    /// Runs of each point.
    pub turns: usize,
    /// Where page and pictures go; none: only the results are kept.
    pub docs: Option<PathBuf>,
}

/// One combination, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Profile of Floe.
    pub profile: String,
    /// Linger of the client, in milliseconds.
    pub linger_ms: f64,
    /// Most bytes of a batch.
    pub batch_bytes: usize,
    /// Partitions.
    pub partitions: u32,
    /// 10^6 value bytes a second.
    pub mb_per_s: Spread,
    /// Median latency in milliseconds.
    pub p50_ms: Spread,
    /// 99th percentile in milliseconds.
    pub p99_ms: Spread,
    /// Broker CPU for 10^9 bytes of values, in seconds.
    pub cpu_s_per_gb: Spread,
    /// Was the client the limit in one of the runs?
    pub client_was_the_limit: bool,
    /// Did somebody else disturb one of the runs?
    pub disturbed: bool,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// Bytes of a record.
    pub record_bytes: usize,
    /// Share of the highest rate.
    pub share: f64,
    /// Seconds of each run that counted.
    pub seconds: f64,
    /// Runs of each point.
    pub turns: usize,
    /// The points.
    pub points: Vec<Point>,
}

impl Plan {
    fn combinations(&self) -> Vec<(f64, usize, u32)> {
        let mut all = Vec::new();
        for &partitions in &self.partitions {
            for &batch in &self.batches_bytes {
                all.extend(self.lingers_ms.iter().map(|&linger| (linger, batch, partitions)));
            }
        }
        all
    }

    fn workload(&self, (linger_ms, batch_bytes_max, partitions): (f64, usize, u32)) -> Result<Workload, String> {
        let mut workload = Workload::parse("kind = 'produce'", "sweep")?;
        (workload.linger_ms, workload.batch_bytes_max, workload.partitions) = (linger_ms, batch_bytes_max, partitions);
        (workload.record_bytes, workload.rate_share) = (self.record_bytes, Some(self.share));
        (workload.warm_up_s, workload.duration_s) = (self.seconds / 3.0, self.seconds);
        // Enough that a commit is never waited for, and small enough that a queue does not become the latency.
        workload.in_flight_max = 64;
        Ok(workload)
    }
}

/// Measures all points, keeps them, and writes pictures and page.
pub fn run(plan: &Plan) -> Result<(), String> {
    if plan.docs.is_some() {
        plot::available()?;
    }
    let combinations = plan.combinations();
    let each_s =
        combinations.first().map_or(Ok(0.0), |&first| plan.workload(first).map(|it| generator::estimate_s(&it)))?;
    let runs = combinations.len() * plan.profiles.len() * plan.turns;
    println!("{runs} runs, about {:.0} min", runs as f64 * each_s / 60.0);
    let mut brokers = Vec::new();
    for (at, profile) in plan.profiles.iter().enumerate() {
        let mut settings = plan.place.settings.clone();
        settings.push(format!("profile={profile}"));
        let scratch = plan.place.scratch.join(format!("sweep-{profile}"));
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let place = Place { settings, scratch, port: plan.place.port + 2 * at as u16, ..plan.place.clone() };
        brokers.push((profile, Broker::start(&place, Subject::Floe)?, place));
    }
    let mut points = Vec::new();
    for (at, &combination) in combinations.iter().enumerate() {
        let workload = plan.workload(combination)?;
        let mut found = vec![Vec::new(); brokers.len()];
        for _ in 0..plan.turns {
            for ((_, broker, place), found) in brokers.iter().zip(&mut found) {
                found.push(one(&workload, broker, place)?);
            }
        }
        for ((profile, ..), found) in brokers.iter().zip(&found) {
            let point = point(profile, combination, found)?;
            println!(
                "[{}/{}] {profile}, linger {} ms, batch {} KiB, {} partitions: {} MB/s, p50 {} ms, p99 {} ms{}{}",
                at + 1,
                combinations.len(),
                point.linger_ms,
                point.batch_bytes >> 10,
                point.partitions,
                short(point.mb_per_s.median),
                short(point.p50_ms.median),
                short(point.p99_ms.median),
                if point.client_was_the_limit { ", client-limited" } else { "" },
                if point.disturbed { ", DISTURBED" } else { "" }
            );
            points.push(point);
        }
    }
    for (_, broker, place) in brokers {
        drop(broker);
        let _ = fs::remove_dir_all(&place.scratch);
    }
    let Plan { record_bytes, share, seconds, turns, .. } = *plan;
    let sweep = Sweep { record_bytes, share, seconds, turns, points };
    println!("kept in {}", report::keep("sweep", &sweep)?);
    write(plan, &sweep)
}

fn one(workload: &Workload, broker: &Broker, place: &Place) -> Result<(Outcome, Neighbours), String> {
    let cores = [place.broker_core, place.load_core];
    let before = Mark::now(&cores);
    let outcome = generator::run(workload, place, Subject::Floe, broker)?;
    Ok((outcome, before.until(&Mark::now(&cores), &[], cores.len())))
}

fn point(profile: &str, combination: (f64, usize, u32), runs: &[(Outcome, Neighbours)]) -> Result<Point, String> {
    let spread = |what: &str, pick: &dyn Fn(&Outcome) -> Option<f64>| {
        let values: Vec<f64> = runs.iter().filter_map(|(outcome, _)| pick(outcome)).collect();
        Spread::of(&values).ok_or_else(|| format!("{profile}: no {what}"))
    };
    let latency = |outcome: &Outcome| outcome.produce_latency.clone();
    Ok(Point {
        profile: profile.to_owned(),
        linger_ms: combination.0,
        batch_bytes: combination.1,
        partitions: combination.2,
        mb_per_s: spread("bandwidth", &|outcome| Some(outcome.produced.mb_per_s()))?,
        p50_ms: spread("latency", &|outcome| Some(latency(outcome)?.p50_us / 1e3))?,
        p99_ms: spread("latency", &|outcome| Some(latency(outcome)?.p99_us / 1e3))?,
        cpu_s_per_gb: spread("CPU", &Outcome::broker_cpu_s_per_gb)?,
        client_was_the_limit: runs.iter().any(|(outcome, _)| outcome.client.was_the_limit),
        disturbed: runs.iter().any(|(_, neighbours)| neighbours.disturbed()),
    })
}

/// Pictures and page from what was measured.
fn write(plan: &Plan, sweep: &Sweep) -> Result<(), String> {
    let Some(docs) = &plan.docs else { return Ok(()) };
    for (name, drawing) in pictures::all(sweep) {
        let path = docs.join("pictures").join(format!("{name}.png"));
        fs::create_dir_all(docs.join("pictures"))
            .and_then(|()| fs::write(&path, plot::png(&drawing).map_err(std::io::Error::other)?))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let path = docs.join("TUNING.md");
    let old = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let new = page::fill(&old, &page::measured(sweep, &report::origin()))
        .ok_or_else(|| format!("{} has no marks to write between", path.display()))?;
    fs::write(&path, new).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("written: {} and its pictures", path.display());
    Ok(())
}
