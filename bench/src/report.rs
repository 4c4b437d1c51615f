//! How results are shown (tables) and kept (JSON in bench/results, one file per run, with machine and commit).

pub mod compare;
pub mod pictures;
#[cfg(test)]
#[path = "report/tests.rs"]
mod report_tests;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::broker::Subject;
use crate::disk::DiskRow;
use crate::figures::Figure;
use crate::proc;
use crate::restart::Restart;

/// Where results are kept, relative to the root of the workspace.
pub const RESULTS: &str = "bench/results";

#[derive(Serialize)]
struct Kept<'a, T: ?Sized> {
    machine: String,
    commit: String,
    unix_seconds: u64,
    command: String,
    result: &'a T,
}

/// Writes a result down; returns the file's path.
pub fn keep<T: Serialize + ?Sized>(kind: &str, result: &T) -> Result<String, String> {
    let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let kept = Kept { machine: proc::machine(), commit: commit(), unix_seconds, command: command_line(), result };
    let path = Path::new(RESULTS).join(format!("{kind}-{unix_seconds}.json"));
    let text = serde_json::to_string_pretty(&kept).map_err(|error| error.to_string())?;
    fs::create_dir_all(RESULTS)
        .and_then(|()| fs::write(&path, text + "\n"))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.display().to_string())
}

/// A table whose first column is text and the others numbers.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Prints and keeps the rows of `bench disk`.
pub fn disk(rows: &[DiskRow]) -> Result<(), String> {
    let header = ["method", "KiB", "writes/s", "MB/s", "p50 us", "p99 us", "p99.9 us", "CPU us"];
    let cells = rows.iter().map(|row| {
        vec![
            row.method.to_owned(),
            (row.write_bytes >> 10).to_string(),
            format!("{:.0}", row.writes_per_s),
            format!("{:.1}", row.mb_per_s),
            row.p50_us.to_string(),
            row.p99_us.to_string(),
            row.p999_us.to_string(),
            format!("{:.1}", row.cpu_us),
        ]
    });
    println!("{}", table(&header, cells));
    println!("kept in {}", keep("disk", rows)?);
    Ok(())
}

/// Prints and keeps what `bench figures` found: a row for each figure, a column for each subject, median (smallest - largest).
pub fn figures(subjects: &[Subject], rows: &[String], figures: &[Figure]) -> Result<(), String> {
    let mut header = vec!["workload"];
    header.extend(subjects.iter().map(|subject| subject.name()));
    let cell = |row: &str, subject: &Subject| {
        let found = figures.iter().find(|figure| figure.row == row && figure.subject == subject.name());
        found.map_or("-".to_owned(), |figure| {
            format!("{} ({} - {})", short(figure.median), short(figure.min), short(figure.max))
        })
    };
    let cells = rows.iter().map(|row| {
        std::iter::once(row.clone()).chain(subjects.iter().map(|subject| cell(row, subject))).collect::<Vec<_>>()
    });
    println!("{}", table(&header, cells));
    println!("kept in {}", keep("figures", figures)?);
    Ok(())
}

/// Prints and keeps what `bench restart` found.
pub fn restarts(found: &[Restart]) -> Result<(), String> {
    let header = ["broker", "partitions", "data GB", "first answer s", "first acknowledged produce s"];
    let cells = found.iter().map(|restart| {
        vec![
            restart.subject.to_owned(),
            restart.partitions.to_string(),
            short(restart.data_bytes as f64 / 1e9),
            short(restart.first_answer_s),
            short(restart.first_produce_s),
        ]
    });
    println!("{}", table(&header, cells));
    println!("kept in {}", keep("restart", found)?);
    Ok(())
}

/// Three digits or so: more would claim a precision that the runs do not have.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// What this was called with, without where things are on this machine.
pub fn command_line() -> String {
    std::env::args().skip(1).map(|argument| without_place(&argument)).collect::<Vec<_>>().join(" ")
}

/// Of an absolute path only its last part, also behind an equals sign.
fn without_place(argument: &str) -> String {
    let (name, value) = argument.split_once('=').map_or(("", argument), |(name, value)| (name, value));
    if !value.starts_with('/') {
        return argument.to_owned();
    }
    let last = value.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { format!(".../{last}") } else { format!("{name}=.../{last}") }
}

/// Where and how figures came about, in one line: day, machine, commit, command.
pub fn origin() -> String {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!("{day}, {}, commit {}, `floe-bench {}`", proc::machine(), commit(), command_line())
}

/// The commit of the tree this runs in.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{head} with local changes") } else { head }
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn places_on_this_machine_stay_out_of_results() {
        for (argument, want) in [
            ("compare", "compare"),
            ("--scratch=/home/someone/x", "--scratch=.../x"),
            ("/home/someone/floe", ".../floe"),
            ("--set", "--set"),
            ("target/release/floe", "target/release/floe"),
        ] {
            assert_eq!(without_place(argument), want);
        }
    }
}
