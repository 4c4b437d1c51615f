//! `sim <seed>` replays one run; `sim --seeds N [--from S]` does many and stops at the first failure.

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;

use floe_sim::bare;
use floe_sim::run::{Options, Outcome};

const USAGE: &str = "usage: sim <seed> [--trace]          replay one run
       sim --seeds N [--from S] [--keep-going]   do N runs from seed S (0); print the seeds that fail, exit 1";

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut seed, mut seeds, mut from, mut trace, mut keep_going) = (None, None, 0, false, false);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse::<u64>().ok());
        match word.as_str() {
            "--trace" => trace = true,
            "--keep-going" => keep_going = true,
            "--seeds" => seeds = number(),
            "--from" => from = number().unwrap_or(0),
            _ => match word.parse() {
                Ok(n) => seed = Some(n),
                Err(_) => return usage(&format!("not a seed: {word}")),
            },
        }
    }
    // A panic inside a run is that run's failure; where it came from is kept for the report.
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        let mut text = place;
        if trace {
            text.push_str(&format!("\n{}", std::backtrace::Backtrace::force_capture()));
        }
        PANIC.with_borrow_mut(|p| *p = text);
    }));
    match (seed, seeds) {
        (Some(seed), None) => {
            let outcome = bare::run(seed, Options { trace, ..Options::default() });
            report(&outcome);
            if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        (None, Some(seeds)) => many(from, seeds, keep_going),
        _ => usage("a seed, or --seeds N"),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("sim: {what}\n{USAGE}");
    ExitCode::from(2)
}

/// Runs seeds `from..from + seeds`.
fn many(from: u64, seeds: u64, keep_going: bool) -> ExitCode {
    let (mut acked, mut seen, mut refused, mut failed) = (0, 0, 0, Vec::new());
    for (done, seed) in (from..from + seeds).enumerate() {
        let outcome = bare::run(seed, Options::default());
        acked += outcome.tally.acked;
        seen += outcome.tally.seen;
        refused += u64::from(outcome.refused_to_start);
        if outcome.failure.is_some() {
            report(&outcome);
            failed.push(seed);
            if !keep_going {
                return ExitCode::FAILURE;
            }
        }
        if (done + 1) % 50 == 0 {
            println!(
                "{} of {seeds} runs, {} failed, {acked} records acknowledged, {seen} read, {refused} refused to start",
                done + 1,
                failed.len()
            );
            let _ = std::io::stdout().flush();
        }
    }
    if failed.is_empty() {
        println!("{seeds} runs, all good: {acked} records acknowledged, {seen} read");
        ExitCode::SUCCESS
    } else {
        println!("{} of {seeds} runs failed: {failed:?}", failed.len());
        ExitCode::FAILURE
    }
}

fn report(outcome: &Outcome) {
    let Outcome { seed, events, virtual_ms, tally, hash, .. } = outcome;
    match &outcome.failure {
        None => println!("seed {seed}: good; {events} events, {virtual_ms} ms, {tally:?}, trace {hash:016x}"),
        Some(failure) => {
            for note in &outcome.notes {
                println!("    {note}");
            }
            let place = PANIC.with_borrow_mut(std::mem::take);
            println!("seed {seed} FAILED after {virtual_ms} ms, {events} events: {failure}");
            if failure.starts_with("panic") {
                println!("    at {place}");
            }
            println!("    replay: scripts/dev sim {seed} --trace");
        }
    }
}
