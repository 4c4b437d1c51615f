//! `bench instructions`: instructions of the engine for each request, counted by valgrind, which neither neighbours nor the clock can change.
//!
//! Each case runs twice in processes of its own, a shorter and a longer time; the difference has neither start nor preparation in it. What is
//! counted is one shard with a disk in memory: no system calls, no reactor. Beside it stands the figure kept in `bench/instructions.json`.

mod cases;
mod node;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::report;
use cases::{CASES, Case};

/// Figures to compare with, relative to the root of the workspace.
const BASELINE: &str = "bench/instructions.json";

/// What the command line chooses.
#[derive(Args, Clone, Debug)]
pub struct InstructionsArgs {
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Keep what is counted as the new baseline in bench/instructions.json.
    #[arg(long)]
    keep: bool,
    /// Where callgrind's files go, for callgrind_annotate.
    #[arg(long, default_value = ".cache/bench/instructions")]
    dir: PathBuf,
    /// Do the requests of the case of this name; what the command starts for itself.
    #[arg(long, hide = true, requires = "count")]
    run: Option<String>,
    /// How many.
    #[arg(long, hide = true)]
    count: Option<u64>,
}

/// One case, counted.
#[derive(Clone, Debug, Serialize)]
struct Row {
    case: &'static str,
    instructions_per_request: f64,
    instructions_per_kib: f64,
    baseline: Option<f64>,
}

/// Figures by the name of their case, instructions for each request.
#[derive(Default, Deserialize, Serialize)]
#[serde(transparent)]
struct Baseline(BTreeMap<String, f64>);

/// Counts what was asked for and shows it; or is what is counted.
pub fn run(args: &InstructionsArgs) -> Result<(), String> {
    if let (Some(name), Some(count)) = (&args.run, args.count) {
        let case = CASES.iter().find(|case| case.name == *name).ok_or_else(|| format!("no case {name}"))?;
        case.run(count);
        return Ok(());
    }
    if cfg!(debug_assertions) {
        println!("This is not a release build: its counts say nothing about one.");
    }
    std::fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;
    let mut kept = read_baseline();
    let wanted = |case: &&Case| args.only.as_ref().is_none_or(|part| case.name.contains(part.as_str()));
    let mut rows = Vec::new();
    for (at, case) in CASES.iter().enumerate().filter(|(_, case)| wanted(case)) {
        let (few, many) = case.counts;
        let file = args.dir.join(format!("callgrind.{at}"));
        let difference =
            counted(case.name, many, &file)?.saturating_sub(counted(case.name, few, Path::new("/dev/null"))?);
        let each = difference as f64 / (many - few) as f64;
        let per_kib = each / (case.value_bytes() as f64 / 1024.0);
        println!("  {}: {each:.0}, functions in {}", case.name, file.display());
        let baseline = kept.0.insert(case.name.to_owned(), each.round());
        rows.push(Row { case: case.name, instructions_per_request: each, instructions_per_kib: per_kib, baseline });
    }
    show(&rows)?;
    if args.keep {
        let text = serde_json::to_string_pretty(&kept).map_err(|error| error.to_string())?;
        std::fs::write(BASELINE, text + "\n").map_err(|error| format!("{BASELINE}: {error}"))?;
    }
    Ok(())
}

fn read_baseline() -> Baseline {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Instructions of a process that does `count` requests of the case.
fn counted(name: &str, count: u64, file: &Path) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        // `rep movsb` copies any number of bytes and counts as one instruction for each of them: copies are to be made of vector moves.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000",
        )
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["instructions", "--run", name, "--count", &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind (apt-get install valgrind): {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} under valgrind: {}\n{words}", output.status));
    }
    collected(&words).ok_or_else(|| format!("valgrind says no count:\n{words}"))
}

/// The count in callgrind's closing lines (`==1== Collected : 123`).
fn collected(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

fn show(rows: &[Row]) -> Result<(), String> {
    let header = ["case", "instructions", "for each KiB", "baseline", "ratio"];
    let cells = rows.iter().map(|row| {
        let (baseline, ratio) = match row.baseline {
            Some(baseline) => (format!("{baseline:.0}"), format!("{:.3}", row.instructions_per_request / baseline)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (each, per_kib) = (row.instructions_per_request, row.instructions_per_kib);
        vec![row.case.to_owned(), format!("{each:.0}"), format!("{per_kib:.0}"), baseline, ratio]
    });
    println!("{}", report::table(&header, cells));
    println!("kept in {}", report::keep("instructions", rows)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        for (words, count) in [
            ("==7== Events    : Ir\n==7== Collected : 1234567\n==7== \n", Some(1_234_567)),
            ("==7== Collected : many", None),
            ("", None),
        ] {
            assert_eq!(collected(words), count);
        }
    }

    #[test]
    fn every_case_does_what_it_says() {
        for case in CASES {
            case.run(32);
        }
    }
}
