//! The brokers of a comparison: each started once and warmed until it stops getting faster. Who is not measured is stopped (SIGSTOP): a JVM at
//! rest still collects garbage and deletes files, and would do so on the measured broker's core.
//!
//! A broker after which a run failed is taken down; the next run that needs it gets a new, warmed one.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::generator;
use super::spread::short;
use crate::broker::{Broker, Place, Subject};
use crate::client::Client;
use crate::generator::settle::still_rising;
use crate::workload::Workload;

/// A broker that uses no more than this share of a core is at rest.
const REST_SHARE_MAX: f64 = 0.05;
/// How long is waited for that.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to make a topic again after it was stopped: Kafka's controller takes its own broker for dead first.
const AWAKE_MAX: Duration = Duration::from_secs(60);
/// The workloads that warm: large batches, small requests, reading. Between them every hot path of a broker is compiled.
const WARMING: [&str; 3] = ["produce-1k-1p", "scatter-10", "consume-hot"];

/// A broker that is up.
pub struct Resident {
    /// Which.
    pub subject: Subject,
    /// Where; its port is this broker's own.
    pub place: Place,
    /// The process.
    pub broker: Broker,
}

/// The brokers that are up.
pub struct Pool {
    place: Place,
    warm_s_max: f64,
    slice_s: f64,
    residents: Vec<Resident>,
    /// Topics made to see whether a broker is awake.
    probes: u32,
}

impl Pool {
    /// None yet. Ports are taken from `place.port` on, two for each subject. Warming takes at most `warm_s_max` seconds a broker, in slices of
    /// `slice_s`.
    pub fn new(place: Place, warm_s_max: f64, slice_s: f64) -> Pool {
        Pool { place, warm_s_max, slice_s, residents: Vec::new(), probes: 0 }
    }

    /// The broker of this subject, started and warmed if it is not up.
    pub fn get(&mut self, subject: Subject) -> Result<&Resident, String> {
        if let Some(at) = self.residents.iter().position(|resident| resident.subject == subject) {
            return Ok(&self.residents[at]);
        }
        let slot = super::rows::ALL.iter().position(|&known| known == subject).unwrap_or(0) as u16;
        self.stop_all();
        let place = Place { port: self.place.port + 2 * slot, ..self.place.clone() };
        let broker = Broker::start(&place, subject)?;
        let resident = Resident { subject, place, broker };
        self.warm(&resident)?;
        self.residents.push(resident);
        Ok(self.residents.last().expect("pushed a line ago"))
    }

    /// Takes the broker of this subject down.
    pub fn drop(&mut self, subject: Subject) {
        self.residents.retain(|resident| resident.subject != subject);
    }

    /// Process ids of all that are up.
    pub fn pids(&self) -> Vec<u32> {
        self.residents.iter().map(|resident| resident.broker.pid()).collect()
    }

    /// Stops all that are up.
    pub fn stop_all(&self) {
        self.residents.iter().for_each(|resident| resident.broker.stop());
    }

    /// Makes it the turn of this subject: the others are stopped, it is up, warm, awake and at rest.
    pub fn turn_to(&mut self, subject: Subject) -> Result<(), String> {
        self.get(subject)?;
        for resident in &self.residents {
            if resident.subject == subject { resident.broker.go_on() } else { resident.broker.stop() }
        }
        self.probes += 1;
        let name = format!("awake-{}", self.probes);
        let resident = self.get(subject)?;
        awake(resident.place.port, &name).map_err(|error| format!("{} after its rest: {error}", subject.name()))?;
        // It goes on for a while after its last load: deleted topics, collected garbage.
        let began = Instant::now();
        while began.elapsed() < SETTLE_MAX {
            let (before, looked) = (resident.broker.cpu_s(), Instant::now());
            sleep(Duration::from_millis(500));
            if (resident.broker.cpu_s() - before) / looked.elapsed().as_secs_f64() <= REST_SHARE_MAX {
                break;
            }
        }
        Ok(())
    }

    fn warm(&self, resident: &Resident) -> Result<(), String> {
        if self.warm_s_max <= 0.0 {
            return Ok(());
        }
        // What was compiled ahead of time needs one slice of each, to fill its caches.
        let warm_s_max = if resident.subject.is_floe() { f64::MIN_POSITIVE } else { self.warm_s_max };
        let mut series = [const { Vec::new() }; WARMING.len()];
        let mut spent_s = 0.0;
        // Each round is one slice of each kind; topics and connections cost about as much again as a short slice.
        while spent_s < warm_s_max && series.iter().any(|slices| still_rising(slices)) {
            for (name, slices) in WARMING.iter().zip(&mut series).filter(|(_, slices)| still_rising(slices)) {
                let mut workload = Workload::load(&Path::new(generator::WORKLOADS).join(format!("{name}.toml")))?;
                (workload.warm_up_s, workload.duration_s) = (0.0, self.slice_s);
                let began = Instant::now();
                let outcome =
                    generator::run_settled(&workload, &resident.place, resident.subject, &resident.broker, 0.0)?;
                spent_s += began.elapsed().as_secs_f64();
                slices.push(outcome.main_flow().records_per_s());
            }
        }
        let shown = |slices: &Vec<f64>| {
            let thousands: Vec<String> = slices.iter().map(|rate| short(rate / 1e3)).collect();
            thousands.join(" ")
        };
        let shown: Vec<String> =
            WARMING.iter().zip(&series).map(|(name, slices)| format!("{name}: {}", shown(slices))).collect();
        println!(
            "  {} is warm after {spent_s:.0} s (thousand msg/s a slice: {})",
            resident.subject.name(),
            shown.join("; ")
        );
        Ok(())
    }
}

/// Waits until a topic can be made, and removes it again.
fn awake(port: u16, topic: &str) -> std::io::Result<()> {
    let began = Instant::now();
    for attempt in 0.. {
        // Another name each time: one that failed half-way may be there.
        let names = [format!("{topic}-{attempt}")];
        let made = Client::connect(port).and_then(|mut client| {
            client.create_topics(&names, 1, &[])?;
            client.delete_topics(&names)
        });
        match made {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() > AWAKE_MAX => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)),
        }
    }
    unreachable!("ends with the time, not with the numbers")
}
