//! `bench compare`: Floe and Kafka in turns (A B C D A B C D ...) on the same workloads, within one run, on the same cores.
//!
//! The brokers stay there side by side, each stopped while another one is measured, so that the turns of a row are seconds apart and what
//! changes on the machine hits all of them. Every run is kept when it ends; an interrupted comparison goes on from there.

pub mod book;
pub mod generator;
pub mod measure;
pub mod pool;
pub mod quiet;
pub mod rows;
pub mod spread;
pub mod summary;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Place, Subject, free_bytes};
use crate::workload::Workload;
use crate::{plot, proc, report};
use book::{Book, Heading, Run};
use pool::Pool;
use rows::{ROWS, Row, Source};
use spread::short;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub place: Place,
    /// By whom, in the order of a turn.
    pub subjects: Vec<Subject>,
    /// Turns of each row.
    pub turns: usize,
    /// Only rows whose name contains one of these; none: all.
    pub only: Vec<String>,
    /// Short runs: to see that everything works.
    pub quick: bool,
    /// Seconds of each run that count; none: as the workload says.
    pub seconds: Option<f64>,
    /// Most seconds of load until a broker counts as warm.
    pub warm_s_max: f64,
    /// How much data is there when a broker is killed.
    pub restart_bytes: u64,
    /// In how many partitions.
    pub restart_partitions: i32,
    /// Go on with the comparison in this folder instead of beginning one.
    pub resume: Option<PathBuf>,
}

impl Plan {
    /// The rows that are wanted and have somebody to do them.
    pub fn rows(&self) -> Vec<&'static Row> {
        let wanted = |row: &&Row| {
            (self.only.is_empty() || self.only.iter().any(|only| row.name.contains(only.as_str())))
                && row.subjects.iter().any(|subject| self.subjects.contains(subject))
        };
        ROWS.iter().filter(wanted).collect()
    }

    /// The subjects of a row, in order.
    pub fn subjects_of(&self, row: &Row) -> Vec<Subject> {
        self.subjects.iter().copied().filter(|subject| row.subjects.contains(subject)).collect()
    }

    /// The workload of a row as this plan runs it.
    pub fn workload(&self, row: &Row) -> Result<Workload, String> {
        let Source::Workload(file) = row.source else { return Err(format!("{} is no workload", row.name)) };
        let mut workload = Workload::load(&Path::new(generator::WORKLOADS).join(format!("{file}.toml")))?;
        if let Some(seconds) = self.seconds {
            workload.duration_s = seconds;
            workload.warm_up_s = seconds / 3.0;
        }
        if self.quick {
            workload.backlog_bytes = workload.backlog_bytes.min(50_000_000);
            workload.idle_connections = workload.idle_connections.min(500);
        }
        Ok(workload)
    }

    /// A message without where things are on this machine: it goes into results that others read.
    pub fn without_places(&self, text: &str) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let text = text.replace(&*self.place.scratch.to_string_lossy(), "scratch");
        text.replace(&format!("{}/", here.display()), "")
    }

    /// A place for a broker that is started beside those that wait.
    pub fn beside(&self) -> Place {
        let ports = 2 * rows::ALL.len() as u16;
        Place { scratch: self.place.scratch.join("beside"), port: self.place.port + ports, ..self.place.clone() }
    }

    /// About how long one run of this row takes.
    fn estimate_s(&self, row: &Row, subject: Subject) -> f64 {
        let kafka = !subject.is_floe();
        match row.source {
            Source::Workload(_) => {
                let touch_s =
                    |workload: &Workload| if kafka { f64::from(workload.partitions_total()) / 400.0 } else { 0.0 };
                self.workload(row).map_or(0.0, |workload| generator::estimate_s(&workload) + touch_s(&workload))
            }
            Source::Rdkafka(_) => self.seconds.unwrap_or(10.0) + generator::OVERHEAD_S,
            Source::StartUp => {
                if kafka {
                    12.0
                } else {
                    3.0
                }
            }
            // Filled at 100 to 300 MB/s; Kafka was seen to need 45 s to come back with 15 GB.
            Source::Restart => self.restart_bytes as f64 / 1.5e8 + if kafka { 80.0 } else { 10.0 },
        }
    }

    /// Turns of a row: filling a disk again and again would tell little more.
    fn turns_of(&self, row: &Row) -> usize {
        match row.source {
            Source::Restart => 1,
            // A check on the instrument, not a figure to quote.
            Source::Rdkafka(_) => self.turns.min(1),
            _ => self.turns,
        }
    }

    fn heading(&self) -> Heading {
        Heading {
            machine: proc::machine(),
            commit: report::commit(),
            unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            command: report::command_line(),
            quick: self.quick,
            turns: self.turns,
            rows: self.rows().iter().map(|row| row.name.to_owned()).collect(),
            subjects: self.subjects.iter().map(|subject| subject.name().to_owned()).collect(),
            seconds: self.seconds,
        }
    }
}

/// Runs the plan, prints the table and writes the report. A run that fails is told and the others go on.
pub fn run(plan: &Plan) -> Result<(), String> {
    plot::available()?;
    std::fs::create_dir_all(&plan.place.scratch).map_err(|error| error.to_string())?;
    room(plan)?;
    let heading = plan.heading();
    let mut book = match &plan.resume {
        Some(folder) => Book::resume(folder, &heading)?,
        None => Book::begin(&Path::new(report::RESULTS).join(format!("compare-{}", heading.unix_seconds)), heading)?,
    };
    let mut todo = Vec::new();
    for row in plan.rows() {
        for turn in 1..=plan.turns_of(row) {
            let subjects = plan.subjects_of(row);
            let missing = |subject: &Subject| !book.has(row.name, subject.name(), turn);
            todo.extend(subjects.into_iter().filter(missing).map(|subject| (row, subject, turn)));
        }
    }
    announce(plan, &book, &todo);
    let mut pool = Pool::new(plan.place.clone(), plan.warm_s_max, if plan.quick { 1.0 } else { 4.0 });
    let began = Instant::now();
    for (at, &(row, subject, turn)) in todo.iter().enumerate() {
        let left: f64 = todo[at..].iter().map(|(row, subject, _)| plan.estimate_s(row, *subject)).sum();
        println!(
            "[{}/{}] {}, {}, turn {turn} of {}; about {} left",
            at + 1,
            todo.len(),
            row.name,
            subject.name(),
            plan.turns_of(row),
            minutes(left)
        );
        let run = if !(row.fresh && subject.is_floe()) {
            measure::run(plan, &mut pool, row, subject, turn)
        } else {
            // A broker of its own, which is gone when this has been measured.
            let mut settings = plan.place.settings.clone();
            settings.extend(row.settings.iter().map(|&setting| setting.to_owned()));
            let mut own = Pool::new(Place { settings, ..plan.beside() }, 0.0, 1.0);
            std::fs::create_dir_all(plan.beside().scratch).map_err(|error| error.to_string())?;
            measure::run(plan, &mut own, row, subject, turn)
        };
        println!("  {}", line(row, &run));
        book.put(run)?;
    }
    drop(pool);
    let _ = std::fs::remove_dir_all(plan.beside().scratch);
    println!("measured in {}", minutes(began.elapsed().as_secs_f64()));
    summary::print(&book.heading, &book.runs);
    report::compare::write(book.folder(), &book.heading, &book.runs)?;
    println!("report: {}", book.folder().join(report::compare::FILE).display());
    let failures: Vec<String> = book
        .runs
        .iter()
        .filter_map(|run| Some(format!("{}, {}, turn {}: {}", run.row, run.subject, run.turn, run.failure.as_ref()?)))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Refuses to begin when the disk would fill up: other work may share it.
fn room(plan: &Plan) -> Result<(), String> {
    let free = free_bytes(&plan.place.scratch).map_err(|error| error.to_string())?;
    let restart = plan.rows().iter().any(|row| row.source == Source::Restart);
    let needed = if plan.quick { 5 << 30 } else { 30 << 30 } + if restart { plan.restart_bytes } else { 0 };
    if free > needed {
        return Ok(());
    }
    Err(format!("{} GiB free, this may need {}: make room or choose --scratch", free >> 30, needed >> 30))
}

fn announce(plan: &Plan, book: &Book, todo: &[(&'static Row, Subject, usize)]) {
    let runs_s: f64 = todo.iter().map(|(row, subject, _)| plan.estimate_s(row, *subject)).sum();
    let mut brokers: Vec<Subject> = todo.iter().map(|&(_, subject, _)| subject).collect();
    brokers.sort_by_key(|subject| subject.name());
    brokers.dedup();
    let warm_s: f64 =
        brokers.iter().map(|subject| plan.warm_s_max.min(if subject.is_floe() { 20.0 } else { 100.0 })).sum();
    println!("{} runs, about {} and {} to warm up", todo.len(), minutes(runs_s), minutes(warm_s));
    println!("kept in {}; go on after an interruption with --resume", book.folder().display());
}

/// A run on one line.
fn line(row: &Row, run: &Run) -> String {
    if let Some(failure) = &run.failure {
        return format!("FAILED: {failure}");
    }
    let figures =
        row.figures.iter().filter_map(|key| Some(format!("{} {}", short(run.figure(key)?), rows::kind_of(key).label)));
    let mut parts = vec![figures.collect::<Vec<_>>().join(", ")];
    parts.extend(run.remarks.iter().cloned());
    parts.extend(run.neighbours.remark().map(|remark| format!("DISTURBED: {remark}")));
    parts.join("; ")
}

fn minutes(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}
