//! Was the machine left alone while something was measured? Compares what the two cores did with what the processes under measurement
//! used; what is left belongs to somebody else and makes the run a disturbed one.
//!
//! Interrupt time is left out on both sides: the kernel books the loopback's packets there and to no process. Threads of the kernel
//! (write-back, for one) are told apart, because the brokers themselves cause most of what these do.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Others may use this share of the cores until a run counts as disturbed.
pub const OTHERS_SHARE_MAX: f64 = 0.05;
/// The hypervisor may withhold this share.
pub const STOLEN_SHARE_MAX: f64 = 0.03;

/// What happened on the measured cores beside what was measured. Shares are of the time of all these cores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Processes that do not belong to the run.
    pub others_share: f64,
    /// The kernel's own threads.
    pub kernel_share: f64,
    /// Withheld by the hypervisor.
    pub stolen_share: f64,
    /// Names of the busiest others with their share of one core, the busiest first.
    pub busiest: Vec<(String, f64)>,
}

impl Neighbours {
    /// Too much for the figures to be believed?
    pub fn disturbed(&self) -> bool {
        self.others_share > OTHERS_SHARE_MAX || self.stolen_share > STOLEN_SHARE_MAX
    }

    /// One line for tables and pages, when there is something to say.
    pub fn remark(&self) -> Option<String> {
        if !self.disturbed() {
            return None;
        }
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let names: Vec<String> =
            self.busiest.iter().take(3).map(|(name, share)| format!("{name} {}", percent(*share))).collect();
        let who = if names.is_empty() { String::new() } else { format!(" ({} of a core)", names.join(", ")) };
        Some(format!(
            "others used {} of the cores{who}, the hypervisor withheld {}",
            percent(self.others_share),
            percent(self.stolen_share)
        ))
    }
}

/// A moment, to be compared with a later one.
#[derive(Clone, Debug)]
pub struct Mark {
    at: Instant,
    cores: Cores,
    processes: BTreeMap<u32, Process>,
}

/// Ticks of the measured cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cores {
    working: u64,
    stolen: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Process {
    name: String,
    parent: u32,
    ticks: u64,
    /// Of children that have ended and been waited for.
    children_ticks: u64,
}

impl Mark {
    /// Now, for these cores.
    pub fn now(cores: &[usize]) -> Mark {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, process(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        });
        Mark { at: Instant::now(), cores: core_ticks(&stat, cores), processes: processes.collect() }
    }

    /// What others did from `self` until `later`; `own` are the processes under measurement, and this one is always among them, with the
    /// children that it has waited for.
    pub fn until(&self, later: &Mark, own: &[u32], cores: usize) -> Neighbours {
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        let elapsed_ticks = later.at.duration_since(self.at).as_secs_f64() * hertz;
        self.compare(later, own, cores, elapsed_ticks)
    }

    fn compare(&self, later: &Mark, own: &[u32], cores: usize, elapsed_ticks: f64) -> Neighbours {
        if elapsed_ticks <= 0.0 {
            return Neighbours::default();
        }
        let me = std::process::id();
        let (mut own_ticks, mut kernel_ticks) = (0, 0);
        let mut busiest = Vec::new();
        for (pid, process) in &later.processes {
            let before = self.processes.get(pid);
            let ticks = process.ticks.saturating_sub(before.map_or(0, |before| before.ticks));
            if *pid == me || own.contains(pid) {
                own_ticks += ticks;
                own_ticks += process.children_ticks.saturating_sub(before.map_or(0, |before| before.children_ticks));
            } else if process.parent == me {
                own_ticks += ticks;
            } else if process.parent == 2 || *pid == 2 {
                kernel_ticks += ticks;
            } else if ticks > 0 {
                busiest.push((process.name.clone(), ticks as f64 / elapsed_ticks));
            }
        }
        busiest.sort_by(|left, right| right.1.total_cmp(&left.1));
        busiest.truncate(5);
        let working = later.cores.working.saturating_sub(self.cores.working);
        let all = elapsed_ticks * cores.max(1) as f64;
        Neighbours {
            others_share: working.saturating_sub(own_ticks + kernel_ticks) as f64 / all,
            kernel_share: kernel_ticks as f64 / all,
            stolen_share: later.cores.stolen.saturating_sub(self.cores.stolen) as f64 / all,
            busiest,
        }
    }
}

/// user + nice + system, and stolen, of the lines `cpuN` that count.
fn core_ticks(stat: &str, cores: &[usize]) -> Cores {
    let mut sum = Cores::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let core = fields.next().and_then(|name| name.strip_prefix("cpu")).and_then(|number| number.parse().ok());
        if !core.is_some_and(|core: usize| cores.contains(&core)) {
            continue;
        }
        let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
        sum.working += ticks.iter().take(3).sum::<u64>();
        sum.stolen += ticks.get(7).copied().unwrap_or(0);
    }
    sum
}

/// A line of /proc/PID/stat.
fn process(stat: &str) -> Option<Process> {
    // The name is in brackets and may hold spaces and brackets: count from its end.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Process {
        name,
        parent: number(1)? as u32,
        ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(working: u64, stolen: u64, processes: &[(u32, &str, u32, u64, u64)]) -> Mark {
        let processes = processes.iter().map(|&(pid, name, parent, ticks, children_ticks)| {
            (pid, Process { name: name.to_owned(), parent, ticks, children_ticks })
        });
        Mark { at: Instant::now(), cores: Cores { working, stolen }, processes: processes.collect() }
    }

    #[test]
    fn what_is_neither_ours_nor_the_kernels_disturbs() {
        let me = std::process::id();
        let before = mark(1000, 0, &[(me, "bench", 1, 10, 0), (50, "broker", 1, 100, 0), (9, "kworker", 2, 5, 0)]);
        // 1,000 ticks of two cores: 700 worked, of them 500 the broker, 100 a client that has ended, 40 the kernel: 60 are somebody else's.
        let later = mark(
            1700,
            20,
            &[(me, "bench", 1, 10, 100), (50, "broker", 1, 600, 0), (9, "kworker", 2, 45, 0), (77, "rustc", 8, 50, 0)],
        );
        let found = before.compare(&later, &[50], 2, 1000.0);
        assert_eq!((found.others_share, found.kernel_share, found.stolen_share), (0.03, 0.02, 0.01));
        assert_eq!(found.busiest, [("rustc".to_owned(), 0.05)]);
        assert!(!found.disturbed() && found.remark().is_none());

        let busy = Neighbours { others_share: 0.3, ..found.clone() };
        assert!(busy.disturbed());
        assert!(busy.remark().expect("says so").contains("30 % of the cores (rustc 5 % of a core)"));
        assert!(Neighbours { stolen_share: 0.1, ..found }.disturbed());
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 1 20 900 3 4 5 6 0 0\ncpu1 10 0 2 900 3 4 5 1 0 0\ncpu2 5000 0 0 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(core_ticks(stat, &[0, 1]), Cores { working: 133, stolen: 7 });
        let line = "42 (a b) c) S 7 42 42 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 9 0 5 1 2";
        let found = process(line).expect("parses");
        assert_eq!((found.name.as_str(), found.parent, found.ticks, found.children_ticks), ("a b) c", 7, 33, 77));
        assert_eq!(process("nonsense"), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let before = Mark::now(&[0]);
        assert!(before.cores.working > 0 && before.processes.contains_key(&std::process::id()));
        let found = before.until(&Mark::now(&[0]), &[], 1);
        assert!(found.others_share >= 0.0 && found.stolen_share >= 0.0);
    }
}
