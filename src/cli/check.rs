//! `floe check`: what this machine lacks for running Floe well, and the command that mends each thing. What the reactor needs is asked
//! of the reactor; here stands what only an operator cares about.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::output::Output;
use crate::config::{cores, listeners};
use crate::problem::{Outcome, Problem};

/// Files that one broker may want open: segments, journals and connections.
const FILES_WANTED: u64 = 65_536;

/// Free space under which a data directory is of little use.
const FREE_BYTES_WANTED: u64 = 1 << 30;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The data directory to look at.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: PathBuf,
    /// The address that will be listened on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Print as JSON, one finding a line.
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// As it should be.
    Good,
    /// Floe runs, but worse than it could.
    Worse,
    /// Floe does not run.
    Bad,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Grade::Good => "ok",
            Grade::Worse => "warn",
            Grade::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Finding {
    grade: Grade,
    what: String,
    found: String,
    mend: Option<String>,
}

impl Finding {
    fn good(what: &str, found: impl Into<String>) -> Finding {
        Finding { grade: Grade::Good, what: what.to_owned(), found: found.into(), mend: None }
    }

    fn with(grade: Grade, what: &str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { grade, what: what.to_owned(), found: found.into(), mend: Some(mend.into()) }
    }
}

pub(super) fn run(args: CheckArgs) -> Outcome {
    let folder = existing(&args.data_dir);
    let read = |path: &str| fs::read_to_string(path).ok();
    let findings = vec![
        open_files(),
        cpus(),
        governor(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").as_deref()),
        clock(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
        swap(read("/proc/meminfo").as_deref()),
        free_space(&folder),
        port(&args.listen)?,
    ];
    let mut output = Output::new();
    for finding in &findings {
        if args.json {
            output.json(&json!({"grade": finding.grade.word(), "what": finding.what, "found": finding.found, "mend": finding.mend}))?;
        } else {
            output.line(format!("{:5} {}: {}", finding.grade.word(), finding.what, finding.found))?;
            if let Some(mend) = &finding.mend {
                output.line(format!("      to do: {mend}"))?;
            }
        }
    }
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    if !args.json && bad == 0 {
        output.line("Floe runs on this machine.")?;
    }
    output.flush()?;
    if bad == 0 {
        Ok(())
    } else {
        Err(Problem::new(format!("{bad} of these keep Floe from running"))
            .next("carry out what stands under `bad` above"))
    }
}

/// The nearest folder that exists: the data directory itself is made by the first start.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    // `serve` raises the soft limit to the hard one itself.
    match limit.maximum {
        Some(hard) if hard < FILES_WANTED => Finding::with(
            Grade::Worse,
            "open files",
            format!("at most {hard}; thousands of partitions and connections want {FILES_WANTED}"),
            format!("ulimit -Hn {FILES_WANTED} (as root), or LimitNOFILE={FILES_WANTED} in the service unit"),
        ),
        Some(hard) => Finding::good("open files", format!("at most {hard}")),
        None => Finding::good("open files", "no limit"),
    }
}

fn cpus() -> Finding {
    let cpus = cores::allowed();
    Finding::good(
        "CPUs",
        format!("{} may be used, so `floe serve` runs {} shards unless --cores says otherwise", cpus.len(), cpus.len()),
    )
}

fn governor(text: Option<&str>) -> Finding {
    match text.map(str::trim) {
        None => Finding::good("CPU frequency", "not under this system's control"),
        Some(governor @ ("performance" | "schedutil")) => {
            Finding::good("CPU frequency", format!("governor {governor}"))
        }
        Some(governor) => Finding::with(
            Grade::Worse,
            "CPU frequency",
            format!("governor {governor}: cores that sleep often wake up slow, and latencies show it"),
            "cpupower frequency-set -g performance",
        ),
    }
}

fn clock(text: Option<&str>) -> Finding {
    match text.map(str::trim) {
        Some(slow @ ("hpet" | "acpi_pm")) => Finding::with(
            Grade::Worse,
            "clock source",
            format!("{slow}: each look at the clock is a slow trap"),
            "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (when tsc is listed in available_clocksource)",
        ),
        other => Finding::good("clock source", other.unwrap_or("unknown")),
    }
}

fn swap(meminfo: Option<&str>) -> Finding {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo?.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    match (kib("SwapTotal:"), kib("SwapFree:")) {
        (Some(total), Some(free)) if total > 0 && total - free > total / 10 => Finding::with(
            Grade::Worse,
            "swap",
            format!("{} MiB are swapped out: a broker whose buffers are swapped out stalls", (total - free) >> 10),
            "lower memory.bytes and cache.bytes, or give the machine more memory; swapoff -a && swapon -a brings pages back",
        ),
        (Some(total), _) if total > 0 => Finding::good("swap", "hardly used"),
        _ => Finding::good("swap", "none"),
    }
}

fn free_space(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let shown = format!("{} GiB free on the file system of {}", free >> 30, folder.display());
            if free < FREE_BYTES_WANTED {
                Finding::with(Grade::Bad, "disk space", shown, "free some, or choose another --data-dir")
            } else {
                Finding::good("disk space", shown)
            }
        }
        Err(error) => Finding::with(
            Grade::Bad,
            "disk space",
            format!("cannot look at {}: {error}", folder.display()),
            "choose a --data-dir that this user may read",
        ),
    }
}

fn port(listen: &str) -> Outcome<Finding> {
    let (host, port) = listeners::host_port(listen)
        .map_err(|wrong| Problem::usage(format!("--listen `{listen}`: {wrong}")).next("write --listen HOST:PORT"))?;
    let host = if host.is_empty() { "0.0.0.0".to_owned() } else { host };
    Ok(match std::net::TcpListener::bind((host.as_str(), port)) {
        Ok(_) => Finding::good("port", format!("{listen} is free")),
        Err(error) => Finding::with(
            Grade::Worse,
            "port",
            format!("{listen} cannot be listened on now: {error}"),
            format!("ss -ltnp 'sport = :{port}' shows who has it; or start with --listen HOST:PORT"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worse_comes_with_what_to_do() {
        let rows = [
            (governor(None), Grade::Good),
            (governor(Some("performance\n")), Grade::Good),
            (governor(Some("powersave\n")), Grade::Worse),
            (clock(Some("tsc\n")), Grade::Good),
            (clock(Some("hpet\n")), Grade::Worse),
            (swap(Some("SwapTotal: 0 kB\nSwapFree: 0 kB\n")), Grade::Good),
            (swap(Some("SwapTotal: 1000 kB\nSwapFree: 100 kB\n")), Grade::Worse),
            (swap(None), Grade::Good),
            (free_space(Path::new("/nowhere/at/all")), Grade::Bad),
        ];
        for (finding, grade) in rows {
            assert_eq!(finding.grade, grade, "{finding:?}");
            assert_eq!(finding.mend.is_some(), grade != Grade::Good, "{finding:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_stands_for_the_one_above() {
        let deep = std::env::temp_dir().join("floe-not-there/deeper");
        assert_eq!(existing(&deep), std::env::temp_dir());
    }
}
