//! The benchmarks' command line: chooses what is measured, prints it, keeps the result as JSON in bench/results.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};

use floe_bench::broker::{Place, Subject};
use floe_bench::figures::{self, Plan};
use floe_bench::instructions::{self, InstructionsArgs};
use floe_bench::rebalance::RebalanceArgs;
use floe_bench::run::{Runs, To};
use floe_bench::runtimes::{self, RuntimesArgs};
use floe_bench::{children, compare, disk, fuzz, groups, rebalance, report, restart, run, sweep, transactions};

/// Benchmarks of Floe; docs/BENCHMARKS.md says how each is done and what came out.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Latency and rate of durable overwrites on this disk: what one commit of the journal costs.
    Disk {
        /// Where to write; the file is removed.
        #[arg(long, default_value = ".cache/bench/disk")]
        dir: PathBuf,
        /// Seconds for each row.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Throughput, CPU, latency, memory and start-up of Floe, or of Floe and Kafka in turns.
    Figures {
        /// Measure this beside Floe, as shipped and made durable.
        #[arg(long)]
        against: Option<Rival>,
        /// One short turn: to see that everything runs, not for figures to quote.
        #[arg(long)]
        quick: bool,
        /// Turns; each figure is the median of as many runs.
        #[arg(long)]
        turns: Option<usize>,
        /// Only these: latency, scatter or stream.
        #[arg(long)]
        only: Option<String>,
        /// Leave Floe out: to measure the rival alone.
        #[arg(long, requires = "against")]
        without_floe: bool,
        #[command(flatten)]
        at: At,
    },
    /// Floe and Kafka in turns on the same workloads: a table with ratios, a report with pictures, raw histograms.
    Compare {
        /// Beside what.
        #[arg(default_value = "kafka")]
        against: Rival,
        /// Turns; each figure is the median of as many runs.
        #[arg(long)]
        turns: Option<usize>,
        /// Only rows whose name contains one of these; `--list` names all.
        #[arg(long, value_delimiter = ',', value_name = "ROW,...")]
        only: Vec<String>,
        /// Only these subjects: floe, floe-written, kafka, kafka-durable.
        #[arg(long, value_delimiter = ',', value_name = "SUBJECT,...")]
        subjects: Vec<String>,
        /// One short turn: to see that everything runs, not for figures to quote.
        #[arg(long)]
        quick: bool,
        /// Seconds of each run that count, after a third of that to settle [default: 5].
        #[arg(long)]
        seconds: Option<f64>,
        /// Most seconds to warm a broker until its throughput stops rising.
        #[arg(long)]
        warm: Option<f64>,
        /// Data to come back with after kill -9, in 10^9 bytes.
        #[arg(long)]
        gb: Option<f64>,
        /// Go on with an interrupted comparison: the newest one, or the one in this folder.
        #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
        resume: Option<Option<PathBuf>>,
        /// Write the report of what was measured before, without measuring.
        #[arg(long, value_name = "FOLDER", num_args = 0..=1, conflicts_with = "resume")]
        report: Option<Option<PathBuf>>,
        /// Names the rows and ends.
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        at: At,
    },
    /// Latency against bandwidth over profile, linger, batch size and partitions: pictures and the measured part of docs/TUNING.md.
    Sweep {
        /// Profiles.
        #[arg(long, value_delimiter = ',', default_value = "latency,balanced,bandwidth")]
        profiles: Vec<String>,
        /// Milliseconds that a batch waits for company in the client.
        #[arg(long, value_delimiter = ',', default_value = "0,1,5,20")]
        linger: Vec<f64>,
        /// Most KiB of a batch.
        #[arg(long, value_delimiter = ',', default_value = "16,128,1024")]
        batch: Vec<usize>,
        /// Partitions.
        #[arg(long, value_delimiter = ',', default_value = "1,16,256")]
        partitions: Vec<u32>,
        /// Bytes of a record.
        #[arg(long, default_value_t = 1024)]
        record: usize,
        /// Share of the highest rate that each combination runs at.
        #[arg(long, default_value_t = 0.7)]
        share: f64,
        /// Seconds of each run that count.
        #[arg(long)]
        seconds: Option<f64>,
        /// Runs of each combination.
        #[arg(long, default_value_t = 1)]
        turns: usize,
        /// Fewer combinations, shorter runs: to see that everything works, not for figures to quote.
        #[arg(long)]
        quick: bool,
        /// Write pictures and the measured part of TUNING.md here.
        #[arg(long, value_name = "FOLDER")]
        docs: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// Hostile bytes into everything that reads bytes it did not write, with a bound on memory.
    Fuzz {
        /// How long.
        #[arg(default_value_t = 60)]
        seconds: u64,
        /// Decides every input; chosen by the clock when not given.
        #[arg(long)]
        seed: Option<u64>,
        /// Only this target.
        #[arg(long)]
        target: Option<String>,
        /// Only this round: repeats what a failure printed.
        #[arg(long)]
        round: Option<u64>,
    },
    /// Workloads of bench/workloads, against any broker or a Floe started for them.
    Run {
        /// TOML files.
        #[arg(required = true)]
        workloads: Vec<PathBuf>,
        /// A broker that runs already; without it one is started on its core.
        #[arg(long, value_name = "HOST:PORT")]
        bootstrap: Option<String>,
        /// The process of that broker, to tell its CPU and memory.
        #[arg(long, requires = "bootstrap")]
        broker_pid: Option<u32>,
        /// What is started.
        #[arg(long, default_value = "floe", conflicts_with = "bootstrap")]
        broker: Kind,
        /// A setting of the topics by Kafka's name, like flush.messages=1; may be given several times.
        #[arg(long = "topic-config", value_name = "NAME=VALUE", value_parser = setting)]
        topic_configs: Vec<(String, String)>,
        /// Measure so many seconds, whatever the workload says.
        #[arg(long)]
        seconds: Option<f64>,
        /// Warm up so many seconds, whatever the workload says.
        #[arg(long)]
        warm_up_s: Option<f64>,
        /// Write the outcomes to this file, too.
        #[arg(long)]
        json: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// 1,000 groups, 10,000 members, 100,000 offsets: CPU, memory, latency of commits, recovery. About two minutes a broker.
    Groups {
        /// Measure this as well, after Floe.
        #[arg(long)]
        against: Option<Rival>,
        /// Leave Floe out.
        #[arg(long, requires = "against")]
        without_floe: bool,
        /// Groups, of ten members and a hundred offsets each; a multiple of ten.
        #[arg(long, default_value_t = 1000)]
        groups: usize,
        /// Seconds that count, of heartbeats alone and of heartbeats with commits; multiples of 15 have as many heartbeats of everybody (every 3 s, every 5 s).
        #[arg(long, default_value_t = 30.0)]
        seconds: f64,
        /// Commits a second; 2,000 is every member every 5 s, as clients commit by default.
        #[arg(long, default_value_t = 2000)]
        commits: u32,
        #[command(flatten)]
        at: At,
    },
    /// The longest gap in consumption while a group changes: A alone, B joins, A leaves, A crashes. About 3.5 minutes a broker, client and turn.
    Rebalance {
        /// What is measured, in turns. Kafka shows records that are in the page cache; so does floe-written, floe those that are on stable storage.
        #[arg(long, value_delimiter = ',', default_value = "floe,floe-written,kafka")]
        brokers: Vec<Kind>,
        #[command(flatten)]
        how: RebalanceArgs,
        #[command(flatten)]
        at: At,
    },
    /// Transactions: how many a second, how long a commit takes, its journal writes; and what a stream pays for them. About two minutes a broker.
    Transactions {
        /// Measure this as well, in turns with Floe.
        #[arg(long)]
        against: Option<Rival>,
        /// Leave Floe out.
        #[arg(long, requires = "against")]
        without_floe: bool,
        /// Turns; each figure is the median of as many runs.
        #[arg(long, default_value_t = 3)]
        turns: usize,
        /// Seconds of each run that count.
        #[arg(long, default_value_t = 2.5)]
        seconds: f64,
        /// Seconds of load before the first run of a Kafka: a JVM needs it.
        #[arg(long, default_value_t = 20.0)]
        warm: f64,
        /// Producers that commit one small transaction after the other.
        #[arg(long, default_value_t = 16)]
        producers: usize,
        /// Milliseconds between two commits of a stream.
        #[arg(long, default_value_t = 100)]
        interval_ms: u64,
        /// KiB of a batch of a stream.
        #[arg(long, value_delimiter = ',', default_value = "32,1024")]
        batch: Vec<usize>,
        /// One short turn: to see that everything runs, not for figures to quote.
        #[arg(long)]
        quick: bool,
        #[command(flatten)]
        at: At,
    },
    /// Instructions of the engine for each request, counted by valgrind: no neighbour changes them.
    Instructions(InstructionsArgs),
    /// From kill -9 under load, with much data, to the first acknowledged produce of the restarted broker.
    Restart {
        /// Measure this beside Floe.
        #[arg(long)]
        against: Option<Rival>,
        /// Partitions to fill.
        #[arg(long, default_value_t = 2000)]
        partitions: i32,
        /// How much data, in 10^9 bytes.
        #[arg(long, default_value_t = 15)]
        gb: u64,
        /// Leave Floe out: to measure the rival alone.
        #[arg(long, requires = "against")]
        without_floe: bool,
        #[command(flatten)]
        at: At,
    },
    /// Echo and durable append on Floe's reactor, glommio, tokio and compio (needs `--features runtimes`).
    Runtimes(RuntimesArgs),
}

/// A setting NAME=VALUE.
fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Floe,
    /// Floe that acknowledges what the file system has.
    FloeWritten,
    Kafka,
    /// Kafka that acknowledges from the disk.
    KafkaDurable,
}

impl From<Kind> for Subject {
    fn from(kind: Kind) -> Subject {
        match kind {
            Kind::Floe => Subject::Floe,
            Kind::FloeWritten => Subject::FloeWritten,
            Kind::Kafka => Subject::Kafka,
            Kind::KafkaDurable => Subject::KafkaDurable,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Rival {
    /// Apache Kafka; bench/tools.sh gets it.
    Kafka,
}

#[derive(Args)]
struct At {
    /// The floe program to measure.
    #[arg(long, env = "FLOE_BIN", default_value = "target/release/floe")]
    floe: PathBuf,
    /// Data directories are made here, and removed.
    #[arg(long, default_value = ".cache/bench/scratch")]
    scratch: PathBuf,
    /// CPU of the broker.
    #[arg(long, default_value_t = 0)]
    cores: usize,
    /// CPU of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Port of the broker; Kafka's controller takes the next one.
    #[arg(long, default_value_t = 19400)]
    port: u16,
    /// A setting for Floe by its name; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

impl At {
    fn place(self) -> Result<Place, String> {
        // Kafka resolves its paths from elsewhere, so they are made absolute here.
        let scratch = std::path::absolute(&self.scratch).map_err(|error| error.to_string())?;
        Ok(Place {
            floe: self.floe,
            scratch,
            broker_core: self.cores,
            load_core: self.load_core,
            both_cores: false,
            port: self.port,
            settings: self.settings,
            kafka_settings: Vec::new(),
        })
    }
}

fn main() -> ExitCode {
    if let Err(problem) = children::end_on_signals() {
        eprintln!("bench: {problem}");
        return ExitCode::FAILURE;
    }
    let outcome = match Cli::parse().command {
        Command::Disk { dir, seconds } => disk::measure(&dir, seconds)
            .map_err(|error| format!("{}: {error}", dir.display()))
            .and_then(|rows| report::disk(&rows)),
        Command::Figures { against, quick, turns, only, without_floe, at } => {
            let mut subjects = if without_floe { vec![] } else { vec![Subject::Floe] };
            if against.is_some() {
                subjects.extend([Subject::Kafka, Subject::KafkaDurable]);
            }
            // A JVM is warm after a minute; a program compiled ahead of time needs no more than filled caches.
            let warm_s = if quick {
                4.0
            } else if against.is_some() {
                60.0
            } else {
                10.0
            };
            let plan = Plan {
                subjects,
                turns: turns.unwrap_or(if quick { 1 } else { 3 }),
                seconds: if quick { 4.0 } else { 10.0 },
                warm_s,
                latency_s: if quick { 5 } else { 20 },
                only,
            };
            at.place().and_then(|place| figures::run(&place, &plan))
        }
        Command::Compare { list: true, .. } => {
            compare::rows::ROWS.iter().for_each(|row| println!("{:<24} {}", row.name, row.about));
            Ok(())
        }
        Command::Compare { report: Some(folder), .. } => report::compare::again(folder.as_deref()),
        Command::Compare {
            against: Rival::Kafka, turns, only, subjects, quick, seconds, warm, gb, resume, at, ..
        } => compare_plan(turns, only, &subjects, quick, seconds, warm, gb, resume, at)
            .and_then(|plan| compare::run(&plan)),
        Command::Sweep { profiles, linger, batch, partitions, record, share, seconds, turns, quick, docs, at } => {
            let few = |count: usize| if quick { count.min(2) } else { count };
            at.place().and_then(|place| {
                sweep::run(&sweep::Plan {
                    place,
                    profiles,
                    lingers_ms: linger[..few(linger.len())].to_vec(),
                    batches_bytes: batch[..few(batch.len())].iter().map(|kib| kib << 10).collect(),
                    partitions: partitions[..few(partitions.len())].to_vec(),
                    record_bytes: record,
                    share,
                    seconds: seconds.unwrap_or(if quick { 0.6 } else { 3.0 }),
                    turns,
                    docs,
                })
            })
        }
        Command::Fuzz { seconds, seed, target, round } => {
            let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
            fuzz::run(seconds, seed.unwrap_or_else(clock), target.as_deref(), round)
        }
        Command::Run { workloads, bootstrap, broker_pid, broker, topic_configs, seconds, warm_up_s, json, at } => {
            let to = match (bootstrap, broker) {
                (Some(bootstrap), _) => To::There { bootstrap, pid: broker_pid },
                (None, broker) => To::Started(broker.into()),
            };
            at.place().and_then(|place| {
                let runs = Runs { to, place, topic_configs, seconds, warm_up_s };
                run::run(&workloads, &runs, json.as_deref())
            })
        }
        Command::Restart { against, partitions, gb, without_floe, at } => {
            let mut subjects = if without_floe { vec![] } else { vec![Subject::Floe] };
            subjects.extend(against.map(|Rival::Kafka| Subject::Kafka));
            at.place().and_then(|place| restart::run(&place, &subjects, partitions, gb))
        }
        Command::Groups { against, without_floe, groups, seconds, commits, at } => {
            let mut subjects = if without_floe { vec![] } else { vec![Subject::Floe] };
            subjects.extend(against.map(|Rival::Kafka| Subject::Kafka));
            // Ten groups share their connections.
            let groups = groups.next_multiple_of(10).max(10);
            at.place().and_then(|place| groups::run(&place, &groups::Plan { subjects, groups, seconds, commits }))
        }
        Command::Rebalance { brokers, how, at } => {
            let subjects: Vec<Subject> = brokers.into_iter().map(Subject::from).collect();
            at.place().and_then(|place| rebalance::run(&place, &subjects, &how))
        }
        Command::Transactions {
            against,
            without_floe,
            turns,
            seconds,
            warm,
            producers,
            interval_ms,
            batch,
            quick,
            at,
        } => {
            let mut subjects = if without_floe { vec![] } else { vec![Subject::Floe] };
            subjects.extend(against.map(|Rival::Kafka| Subject::Kafka));
            let plan = transactions::Plan {
                subjects,
                turns: if quick { 1 } else { turns.max(1) },
                seconds: if quick { 0.5 } else { seconds },
                warm_s: if quick { 2.0 } else { warm },
                producers: producers.max(1),
                interval_ms,
                // Room for a record in the smallest, and what brokers take by default in the largest.
                batches_bytes: batch.iter().map(|kib| (*kib).clamp(4, 1024) << 10).collect(),
            };
            at.place().and_then(|place| transactions::run(&place, &plan))
        }
        Command::Instructions(args) => instructions::run(&args),
        Command::Runtimes(args) => runtimes::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one for each flag")]
fn compare_plan(
    turns: Option<usize>,
    only: Vec<String>,
    subjects: &[String],
    quick: bool,
    seconds: Option<f64>,
    warm: Option<f64>,
    gb: Option<f64>,
    resume: Option<Option<PathBuf>>,
    at: At,
) -> Result<compare::Plan, String> {
    let all = compare::rows::ALL;
    let known = |name: &String| {
        all.iter()
            .copied()
            .find(|subject| subject.name().replace(' ', "-") == *name)
            .ok_or(format!("no subject {name}"))
    };
    let subjects =
        if subjects.is_empty() { all.to_vec() } else { subjects.iter().map(known).collect::<Result<_, _>>()? };
    let resume = match resume {
        Some(None) => Some(compare::book::newest(std::path::Path::new(report::RESULTS))?),
        Some(folder) => folder,
        None => None,
    };
    let plan = compare::Plan {
        place: at.place()?,
        subjects,
        turns: turns.unwrap_or(if quick { 1 } else { 2 }),
        only,
        quick,
        seconds: Some(seconds.unwrap_or(if quick { 2.0 } else { 5.0 })),
        warm_s_max: warm.unwrap_or(if quick { 3.0 } else { 120.0 }),
        restart_bytes: (gb.unwrap_or(if quick { 0.2 } else { 15.0 }) * 1e9) as u64,
        restart_partitions: if quick { 200 } else { 2000 },
        resume,
    };
    if plan.rows().is_empty() { Err("no such row: --list names them".to_owned()) } else { Ok(plan) }
}
