//! `bench figures`: the workloads of docs/BENCHMARKS.md, for Floe alone or side by side with Kafka in turns (A B C A B C ...).
//!
//! Each turn starts a broker on an empty directory, warms it, runs every workload once and removes everything. A figure is the
//! median of the turns, its spread the smallest and the largest.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use crate::broker::{Broker, Place, Subject, free_bytes};
use crate::client::Client;
use crate::latency;
use crate::load::{self, Moved, To, Which};
use crate::report;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is compared, in the order of a turn.
    pub subjects: Vec<Subject>,
    /// Turns.
    pub turns: usize,
    /// Seconds of each produce workload.
    pub seconds: f64,
    /// Seconds of load before anything is measured: a JVM needs a minute until its figures settle.
    pub warm_s: f64,
    /// Seconds of the latency workload.
    pub latency_s: u32,
    /// Only workloads whose name contains this.
    pub only: Option<String>,
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }
}

/// One figure of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Workload and unit, as the row is headed.
    pub row: String,
    /// Subject.
    pub subject: &'static str,
    /// Median of the turns.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

/// Figures of all turns: row, then subject, then one value a turn. Rows keep the order in which they were first measured.
#[derive(Default)]
struct Book {
    rows: Vec<String>,
    values: BTreeMap<(usize, &'static str), Vec<f64>>,
}

impl Book {
    fn put(&mut self, row: &str, subject: Subject, value: f64) {
        println!("  {:<14} {row}: {value:.2}", subject.name());
        let at = self.rows.iter().position(|known| known == row).unwrap_or_else(|| {
            self.rows.push(row.to_owned());
            self.rows.len() - 1
        });
        self.values.entry((at, subject.name())).or_default().push(value);
    }

    fn figures(&self) -> Vec<Figure> {
        let median = |values: &[f64]| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
        };
        let figure = |(&(at, subject), values): (&(usize, &'static str), &Vec<f64>)| {
            let (median, min, max) = median(values);
            Figure { row: self.rows[at].clone(), subject, median, min, max }
        };
        self.values.iter().map(figure).collect()
    }
}

/// Runs the plan, prints the table, keeps the result. A workload that fails is reported and the others go on.
pub fn run(place: &Place, plan: &Plan) -> Result<(), String> {
    std::fs::create_dir_all(&place.scratch).map_err(|error| error.to_string())?;
    let mut book = Book::default();
    let mut failures = Vec::new();
    for turn in 1..=plan.turns {
        for &subject in &plan.subjects {
            println!("turn {turn} of {}: {}", plan.turns, subject.name());
            room(place, 30 << 30)?;
            one_turn(place, plan, subject, &mut book, &mut failures)?;
        }
    }
    let figures = book.figures();
    report::figures(&plan.subjects, &book.rows, &figures)?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Refuses to go on when the disk would fill up: other work may share it.
pub fn room(place: &Place, bytes: u64) -> Result<(), String> {
    let free = free_bytes(&place.scratch).map_err(|error| error.to_string())?;
    if free > bytes {
        return Ok(());
    }
    let (free, bytes) = (free >> 30, bytes >> 30);
    Err(format!(
        "{} has {free} GiB free, a run may need {bytes}: make room or choose --scratch",
        place.scratch.display()
    ))
}

fn one_turn(
    place: &Place,
    plan: &Plan,
    subject: Subject,
    book: &mut Book,
    failures: &mut Vec<String>,
) -> Result<(), String> {
    let broker = Broker::start(place, subject)?;
    book.put("start to first answer, ms", subject, broker.start_up.as_secs_f64() * 1e3);
    sleep(Duration::from_secs(2));
    book.put("RSS idle, MB", subject, broker.rss() as f64 / 1e6);
    let mut workloads = Workloads { broker: &broker, place, plan, subject, book, rss_max: 0 };
    let mut note = |name: &str, outcome: Result<(), String>| {
        if let Err(problem) = outcome {
            eprintln!("  {}: {name}: {problem}", subject.name());
            failures.push(format!("{}: {name}: {problem}", subject.name()));
        }
    };
    note("warm-up", workloads.warm());
    if plan.wants("latency") {
        note("latency", workloads.latency());
    }
    for records in [1, 10, 100] {
        if plan.wants("scatter") {
            note("scatter", workloads.scatter(records));
        }
    }
    if plan.wants("stream") {
        note("stream", workloads.stream());
    }
    let rss_max = workloads.rss_max;
    book.put("RSS loaded (largest), MB", subject, rss_max as f64 / 1e6);
    Ok(())
}

struct Workloads<'a> {
    broker: &'a Broker,
    place: &'a Place,
    plan: &'a Plan,
    subject: Subject,
    book: &'a mut Book,
    rss_max: u64,
}

impl Workloads<'_> {
    fn topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let mut client = Client::connect(self.place.port).map_err(|error| error.to_string())?;
        client.create_topic(name, partitions).map_err(|error| error.to_string())
    }

    fn put(&mut self, row: &str, value: f64) {
        self.book.put(row, self.subject, value);
    }

    fn saw(&mut self, moved: &Moved) {
        self.rss_max = self.rss_max.max(moved.rss_max);
    }

    /// Both shapes of load, so that whatever compiles itself or grows its caches has done so.
    fn warm(&mut self) -> Result<(), String> {
        self.topic("warm", 1)?;
        self.topic("warm-many", 1000)?;
        let half = self.plan.warm_s / 2.0;
        load::produce(self.broker, self.place, "warm", To::One(0), 1024, half, &load::STREAM)?;
        load::produce(
            self.broker,
            self.place,
            "warm-many",
            To::AnyOf(1000),
            256,
            half,
            &["batch.num.messages=10", LINGER_LONG],
        )?;
        sleep(Duration::from_secs(1));
        Ok(())
    }

    fn latency(&mut self) -> Result<(), String> {
        self.topic("latency", 1)?;
        let found =
            latency::measure(self.place.port, self.place.load_core, "latency", 2000, 1024, self.plan.latency_s, 3)?;
        self.put("latency 1 KiB at 2,000/s, p50 ms", found.p50_ms);
        self.put("latency 1 KiB at 2,000/s, p99 ms", found.p99_ms);
        self.put("latency 1 KiB at 2,000/s, p99.9 ms", found.p999_ms);
        self.put("latency 1 KiB at 2,000/s, max ms", found.max_ms);
        Ok(())
    }

    fn scatter(&mut self, records: u32) -> Result<(), String> {
        let topic = format!("scatter-{records}");
        self.topic(&topic, 1000)?;
        let limit = format!("batch.num.messages={records}");
        // Batches of one record leave at once; larger ones wait until they are full, whatever time that takes.
        let linger = if records == 1 { "linger.ms=0" } else { LINGER_LONG };
        let moved = load::produce(
            self.broker,
            self.place,
            &topic,
            To::AnyOf(1000),
            256,
            self.plan.seconds,
            &[&limit, linger, "max.in.flight=1000"],
        )?;
        self.saw(&moved);
        self.put(
            &format!("scatter 256 B, 1,000 partitions, {records} a batch, thousand msg/s"),
            moved.records_per_s() / 1e3,
        );
        self.put(&format!("scatter 256 B, 1,000 partitions, {records} a batch, CPU us/msg"), moved.cpu_us_per_record());
        Ok(())
    }

    /// One partition as fast as it goes; then the same data read back hot, then cold.
    fn stream(&mut self) -> Result<(), String> {
        self.topic("stream", 1)?;
        let moved =
            load::produce(self.broker, self.place, "stream", To::One(0), 1024, self.plan.seconds, &load::STREAM)?;
        self.saw(&moved);
        self.put("stream 1 KiB, 1 partition, 1 MB batches, MB/s", moved.mb_per_s());
        self.put("stream 1 KiB, 1 partition, 1 MB batches, CPU s/GB", moved.cpu_per_gb());

        self.topic("hot", 1)?;
        let hot = load::consume_again(self.broker, self.place, "hot", load::HOT)?;
        self.put("consume hot 1 KiB, MB/s", hot.mb_per_s());
        self.put("consume hot 1 KiB, CPU s/GB", hot.cpu_per_gb());
        // Everything settled and written back, then the page cache emptied: the data has to come from the disk.
        sleep(Duration::from_secs(2));
        drop_page_cache()?;
        let cold =
            load::consume(self.broker, self.place, "stream", (Which::Oldest, moved.records.min(2_000_000)), 1024)?;
        self.put("consume cold 1 KiB, MB/s", cold.mb_per_s());
        self.put("consume cold 1 KiB, CPU s/GB", cold.cpu_per_gb());
        Ok(())
    }
}

const LINGER_LONG: &str = "linger.ms=5000";

fn drop_page_cache() -> Result<(), String> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| format!("cannot empty the page cache, so nothing is cold: {error} (needs root)"))
}
