//! `bench runtimes`: what a message costs on Floe's own reactor and on other executors. Starts one server process at a time, owns the file they append to.
//!
//! The evidence behind decision 1. Each server is this program again (`bench runtimes --serve`), pinned to one core; the load is one thread on another.
//! The executors take turns in every cell, and a figure is the median of the turns, so that what disturbs the machine for a while disturbs all of them.

mod load;
#[cfg(feature = "runtimes")]
mod serve;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::{children, proc, report};
use load::{Load, Measured};

/// The file that is appended to (overwritten from its start when it is full): a journal's usual size.
const FILE_BYTES: u64 = 256 << 20;
/// Its name in the folder given.
const FILE_NAME: &str = "append-probe";
/// Bytes of an echoed message, without its length.
const ECHO_BYTES: usize = 64;
/// Bytes of a message that is appended, and of the answer, without their lengths.
const APPEND_BYTES: (usize, usize) = (1024, 4);
/// Before the measurement, so that caches and the allocator are warm.
const WARM: Duration = Duration::from_millis(300);
/// In which a server has to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// What the command line chooses.
#[derive(Args, Clone, Debug)]
pub struct RuntimesArgs {
    /// Runs of each cell; its figures are their medians.
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Seconds that each run measures.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only these; may be given several times.
    #[arg(long = "work")]
    works: Vec<Work>,
    /// Only these; may be given several times.
    #[arg(long = "runtime")]
    runtimes: Vec<Runtime>,
    /// Only these numbers of connections; may be given several times.
    #[arg(long = "connections")]
    connections: Vec<usize>,
    /// CPU of the server.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// CPU of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Port of the server.
    #[arg(long, default_value_t = 19450)]
    port: u16,
    /// Where the appended file lies; it is removed.
    #[arg(long, default_value = ".cache/bench/runtimes")]
    dir: PathBuf,
    /// Be the server of this runtime for the first `--work`; what the command starts for itself.
    #[arg(long, hide = true)]
    serve: Option<Runtime>,
}

/// What a server does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// 64 bytes with their length in front come back.
    Echo,
    /// 1 KiB is written as a block of 4 KiB (O_DIRECT, durable) and answered then.
    Append,
}

/// An executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Floe's `shards/reactor` with a machine of a few lines.
    Floe,
    /// glommio, thread per core on io_uring.
    Glommio,
    /// tokio, `current_thread`, epoll; disk by `spawn_blocking`.
    Tokio,
    /// compio, thread per core on io_uring.
    Compio,
}

/// One executor in one cell.
#[derive(Debug, Serialize)]
struct Row {
    work: Work,
    connections: usize,
    runtime: Runtime,
    version: String,
    runs: Vec<Measured>,
    /// Why runs gave no figures.
    failures: Vec<String>,
}

/// Measures what was asked for and shows it; or is the server of such a measurement.
pub fn run(args: &RuntimesArgs) -> Result<(), String> {
    if cfg!(not(feature = "runtimes")) {
        return Err("the other executors are not built in; run: \
                    cargo run --release -p floe-bench --features runtimes -- runtimes"
            .into());
    }
    raise_open_files();
    if let Some(runtime) = args.serve {
        return serve_here(args, runtime);
    }
    std::fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let works = if args.works.is_empty() { vec![Work::Echo, Work::Append] } else { args.works.clone() };
    let runtimes = if args.runtimes.is_empty() { Runtime::value_variants().to_vec() } else { args.runtimes.clone() };
    let file = args.dir.join(FILE_NAME);
    if works.contains(&Work::Append) {
        fill(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    proc::pin_self(args.load_core).map_err(|error| format!("core {}: {error}", args.load_core))?;
    let mut rows = Vec::new();
    for work in works {
        let usual: &[usize] = if work == Work::Echo { &[1, 16, 256, 5000] } else { &[1, 16, 256] };
        for &connections in if args.connections.is_empty() { usual } else { &args.connections } {
            rows.extend(cell(args, work, connections, &runtimes));
        }
    }
    let _ = std::fs::remove_file(&file);
    show(&rows)
}

/// All runs of one cell, the executors in turns.
fn cell(args: &RuntimesArgs, work: Work, connections: usize, runtimes: &[Runtime]) -> Vec<Row> {
    let row = |&runtime: &Runtime| {
        let (version, runs, failures) = (runtime.version(), Vec::new(), Vec::new());
        Row { work, connections, runtime, version, runs, failures }
    };
    let mut rows: Vec<Row> = runtimes.iter().map(row).collect();
    for turn in 0..args.turns.max(1) {
        // Another one is first in each turn: whatever the one before leaves behind falls on all.
        for at in 0..rows.len() {
            let at = (at + turn) % runtimes.len();
            let row = &mut rows[at];
            match once(args, work, connections, row.runtime) {
                Ok(measured) => {
                    println!("  {work:?} {connections} {:?}: {measured}", row.runtime);
                    row.runs.push(measured);
                }
                Err(problem) => {
                    println!("  {work:?} {connections} {:?}: {problem}", row.runtime);
                    row.failures.push(problem);
                }
            }
        }
    }
    rows
}

/// One server, loaded for one measurement.
fn once(args: &RuntimesArgs, work: Work, connections: usize, runtime: Runtime) -> Result<Measured, String> {
    let server = Server::start(args, work, runtime)?;
    let (request_bytes, answer_bytes) = if work == Work::Echo { (ECHO_BYTES, ECHO_BYTES) } else { APPEND_BYTES };
    let load = Load {
        port: args.port,
        connections,
        request_bytes,
        answer_bytes,
        warm: WARM,
        measure: Duration::from_secs_f64(args.seconds),
        server: server.child.id(),
    };
    load.run().map_err(|error| format!("load: {error}"))
}

/// A server's process; ends with this value.
struct Server {
    child: Child,
}

impl Server {
    fn start(args: &RuntimesArgs, work: Work, runtime: Runtime) -> Result<Server, String> {
        wait_for_port(args.port)?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let text = |value: &dyn ToString| value.to_string();
        let child = Command::new(program)
            .args(["runtimes", "--serve", &name(&runtime), "--work", &name(&work), "--port", &text(&args.port)])
            .args(["--core", &text(&args.core), "--dir"])
            .arg(&args.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("starting {runtime:?}: {error}"))?;
        children::add(child.id(), None);
        let mut server = Server { child };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", args.port)).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{runtime:?} ended at its start: {status}"));
            }
            if began.elapsed() > START_MAX {
                return Err(format!("{runtime:?} does not listen after {} s", START_MAX.as_secs()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

/// The kernel takes rings down after their process has ended, and the sockets in them with them: until then the last server's port is taken.
fn wait_for_port(port: u16) -> Result<(), String> {
    let began = Instant::now();
    while let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
        if began.elapsed() > START_MAX {
            return Err(format!("port {port}: {error}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        children::remove(self.child.id());
        let _ = self.child.wait();
    }
}

#[cfg(feature = "runtimes")]
fn serve_here(args: &RuntimesArgs, runtime: Runtime) -> Result<(), String> {
    let work = *args.works.first().ok_or("--serve needs --work")?;
    // Every thread that a runtime starts is bound to the core with it.
    proc::pin_self(args.core).map_err(|error| format!("core {}: {error}", args.core))?;
    serve::run(runtime, work, args.port, &args.dir).map_err(|error| format!("{runtime:?}: {error}"))
}

#[cfg(not(feature = "runtimes"))]
fn serve_here(_: &RuntimesArgs, runtime: Runtime) -> Result<(), String> {
    Err(format!("{runtime:?} is not built in"))
}

impl Runtime {
    /// As the lock file of this build has it.
    fn version(self) -> String {
        let lock = include_str!("../../Cargo.lock");
        let head = match self {
            Runtime::Floe => return env!("CARGO_PKG_VERSION").to_owned(),
            other => format!("name = \"{}\"\nversion = \"", name(&other)),
        };
        let version = lock.split_once(&head).and_then(|(_, rest)| rest.split_once('"'));
        version.map_or("unknown", |(version, _)| version).to_owned()
    }
}

/// The name on the command line.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// 5,000 connections need more descriptors than processes usually begin with: as many as the hard limit gives.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Failing is no harm with few connections; with many the load says which descriptor it did not get.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn fill(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

fn show(rows: &[Row]) -> Result<(), String> {
    let header =
        ["work", "connections", "runtime", "messages/s", "p50 us", "p99 us", "server CPU us", "load core %", "runs"];
    let cells = rows.iter().map(|row| {
        let of = |figure: fn(&Measured) -> f64| median(row.runs.iter().map(figure).collect());
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let runs = match row.failures.len() {
            0 => row.runs.len().to_string(),
            failed => format!("{} ({failed} failed)", row.runs.len()),
        };
        vec![
            format!("{:?}", row.work).to_lowercase(),
            row.connections.to_string(),
            format!("{} {}", name(&row.runtime), row.version),
            number(of(|m| m.messages_per_s), 0),
            number(of(|m| m.p50_us), 0),
            number(of(|m| m.p99_us), 0),
            number(of(|m| m.server_cpu_us), 2),
            number(of(|m| m.load_core_share * 100.0), 0),
            runs,
        ]
    });
    println!("{}", report::table(&header, cells));
    println!("kept in {}", report::keep("runtimes", rows)?);
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) { (values[values.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, middle) in
            [(vec![], None), (vec![3.0], Some(3.0)), (vec![9.0, 1.0], Some(5.0)), (vec![9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(median(values), middle);
        }
    }

    #[test]
    fn every_executor_has_a_version() {
        for runtime in Runtime::value_variants() {
            assert!(runtime.version().starts_with(|first: char| first.is_ascii_digit()), "{runtime:?}");
        }
    }
}
