//! The load generator: does to a broker what a [`Workload`] says, and tells the [`Outcome`].
//!
//! One thread on the load's core drives every connection (`turns`); a second one shows the progress and looks at the broker's memory. The
//! broker may be any that speaks Kafka's protocol, as long as it leads all partitions itself. Each run makes its own topics and deletes them.

mod consumer;
mod meter;
mod phases;
mod producer;
mod progress;
mod queue;
pub mod records;
pub mod schedule;
pub mod settle;
pub(crate) mod socket;
mod topics;
mod turns;
mod wire;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::outcome::Outcome;
use crate::proc;
use crate::workload::Workload;

use phases::Phases;
use progress::Gauge;

/// The broker that the load goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// How results call it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, when it runs on this machine: its CPU and memory are then measured.
    pub pid: Option<u32>,
    /// How long it took to start, when that was measured.
    pub start_up_s: Option<f64>,
    /// The core of the load; not given: wherever the kernel likes.
    pub load_core: Option<usize>,
    /// Settings of the topics, by Kafka's names.
    pub topic_configs: Vec<(String, String)>,
    /// Most seconds that a load without a rate runs before it is measured, until the broker has stopped getting faster; 0: not at all.
    pub settle_s_max: f64,
    /// Show a progress bar?
    pub progress: bool,
}

/// Runs a workload against a broker. Returns when everything was measured and the topics are deleted.
pub fn run(workload: &Workload, target: &Target) -> Result<Outcome, String> {
    raise_file_limit();
    let (gauge, over) = (Gauge::default(), AtomicBool::new(false));
    let pin = || {
        let pinned = target.load_core.map_or(Ok(()), proc::pin_self);
        pinned.map_err(|error| format!("pinning to core {:?}: {error}", target.load_core))
    };
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            pin()?;
            Phases::new(workload, target, &gauge)?.run()
        });
        let watcher = scope.spawn(|| {
            let _ = pin();
            progress::watch(&gauge, &workload.name, target.pid, target.progress, &over);
        });
        let outcome = load.join().unwrap_or_else(|_| Err("the load generator panicked".to_owned()));
        over.store(true, Ordering::Relaxed);
        let _ = watcher.join();
        outcome
    })
}

/// Thousands of connections need as many descriptors; the hard limit may be used without asking.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
