//! The brokers of a comparison: each started once, warmed until it stops getting faster, then kept running beside the others.
//!
//! A broker after which a run failed is taken down; the next run that needs it gets a new, warmed one.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::generator;
use super::spread::short;
use crate::broker::{Broker, Place, Subject};
use crate::workload::Workload;

/// A slice counts as a rise when it beats the best so far by more than this: less is noise.
const RISE: f64 = 1.05;
/// Brokers that use no more than this share of a core together are at rest.
pub const REST_SHARE_MAX: f64 = 0.03;
/// How long is waited for that.
const SETTLE_MAX: Duration = Duration::from_secs(10);
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
}

impl Pool {
    /// None yet. Ports are taken from `place.port` on, two for each subject. Warming takes at most `warm_s_max` seconds a broker, in slices of
    /// `slice_s`.
    pub fn new(place: Place, warm_s_max: f64, slice_s: f64) -> Pool {
        Pool { place, warm_s_max, slice_s, residents: Vec::new() }
    }

    /// The broker of this subject, started and warmed if it is not up.
    pub fn get(&mut self, subject: Subject) -> Result<&Resident, String> {
        if let Some(at) = self.residents.iter().position(|resident| resident.subject == subject) {
            return Ok(&self.residents[at]);
        }
        let slot = super::rows::ALL.iter().position(|&known| known == subject).unwrap_or(0) as u16;
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

    /// CPU seconds of all that are up but this one.
    pub fn rivals_cpu_s(&self, subject: Subject) -> f64 {
        self.residents.iter().filter(|resident| resident.subject != subject).map(|rival| rival.broker.cpu_s()).sum()
    }

    /// Waits until the others are at rest: a broker goes on for a while after its load (deleted topics, collected garbage).
    pub fn settle(&self, subject: Subject) {
        let began = Instant::now();
        while began.elapsed() < SETTLE_MAX {
            let (before, looked) = (self.rivals_cpu_s(subject), Instant::now());
            sleep(Duration::from_millis(500));
            if (self.rivals_cpu_s(subject) - before) / looked.elapsed().as_secs_f64() <= REST_SHARE_MAX {
                return;
            }
        }
    }

    fn warm(&self, resident: &Resident) -> Result<(), String> {
        if self.warm_s_max <= 0.0 {
            return Ok(());
        }
        let mut series = [const { Vec::new() }; WARMING.len()];
        let mut spent_s = 0.0;
        // Each round is one slice of each kind; topics and connections cost about as much again as a short slice.
        while spent_s < self.warm_s_max && series.iter().any(|slices| still_rising(slices)) {
            for (name, slices) in WARMING.iter().zip(&mut series) {
                let mut workload = Workload::load(&Path::new(generator::WORKLOADS).join(format!("{name}.toml")))?;
                (workload.warm_up_s, workload.duration_s) = (0.0, self.slice_s);
                let began = Instant::now();
                let outcome = generator::run(&workload, &resident.place, resident.subject, &resident.broker)?;
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

/// Do the slices still get faster? Not when two of them in a row brought nothing above the best before.
fn still_rising(slices: &[f64]) -> bool {
    let Some(quiet_from) = slices.len().checked_sub(2).filter(|&at| at > 0) else { return true };
    let best = slices[..quiet_from].iter().copied().fold(0.0, f64::max);
    slices[quiet_from..].iter().any(|&slice| slice > best * RISE)
}

#[cfg(test)]
mod tests {
    use super::still_rising;

    #[test]
    fn warm_is_what_has_stopped_rising() {
        for (slices, rising) in [
            (&[][..], true),
            (&[1.0, 1.0], true),
            (&[1.0, 1.0, 1.0], false),
            (&[100.0, 104.0, 103.0], false),
            (&[100.0, 150.0, 151.0], true),
            (&[100.0, 150.0, 151.0, 152.0], false),
            // One slow slice does not make it warm: the next one beat the best.
            (&[100.0, 90.0, 140.0], true),
        ] {
            assert_eq!(still_rising(slices), rising, "{slices:?}");
        }
    }
}
