//! `sim <seed>` replays the runs of a seed, and prints how one that fails came to it; `sim --seeds N [--from K]` does many. `sim history FILE` judges
//! what clients of a real broker saw.

use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use floe_sim::kind::Kind;
use floe_sim::mutant::Fault;
use floe_sim::oracle::history::{self, Rule};
use floe_sim::run::{Options, Outcome};

const USAGE: &str = "usage: sim <seed> [--only broker|groups|mixed|txns|log|tiny] [--trace]
           replay the runs of a seed; the last events of one that fails are printed, with --trace all of all
       sim --seeds N [--from K] [--only broker|groups|mixed|txns|log|tiny] [--keep-going]
           do the runs of N seeds from K (0) on, until one fails; its seed is printed, exit 1
       sim history FILE [--allow RULE]...
           judge a history of sends and polls (lines of JSON, see shards/sim/src/oracle/history/format.rs) by the rules of Jepsen's Kafka workload
       with --fault F: a broker with a deliberate bug (tests of the judge), one of the names in shards/sim/src/mutant.rs";

/// Events printed of a run that fails.
const LAST_EVENTS: usize = 300;
/// Seeds between two lines of progress.
const PROGRESS_SEEDS: u64 = 50;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "history") {
        return judge_history(&args[1..]);
    }
    let (mut seed, mut seeds, mut from, mut trace, mut keep_going) = (None, None, 0, false, false);
    let mut fault = None;
    let mut kinds = Kind::ALL.to_vec();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse::<u64>().ok());
        match word.as_str() {
            "--trace" => trace = true,
            "--keep-going" => keep_going = true,
            "--seeds" => seeds = number(),
            "--from" => from = number().unwrap_or(0),
            "--fault" => match words.next().and_then(|name| Fault::of(name)) {
                Some(found) => fault = Some(found),
                None => return usage("--fault takes a name of shards/sim/src/mutant.rs"),
            },
            "--only" => match words.next().and_then(|name| Kind::of(name)) {
                Some(kind) => kinds = vec![kind],
                None => return usage("--only takes broker, groups, mixed, txns, log or tiny"),
            },
            _ => match word.parse() {
                Ok(n) => seed = Some(n),
                Err(_) => return usage(&format!("not a seed: {word}")),
            },
        }
    }
    // A panic inside a run is that run's failure; where it came from is kept for the report.
    let detailed = seed.is_some();
    std::panic::set_hook(Box::new(move |info| {
        let mut text = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        if detailed {
            text.push_str(&format!("\n{}", std::backtrace::Backtrace::force_capture()));
        }
        PANIC.with_borrow_mut(|p| *p = text);
    }));
    match (seed, seeds) {
        (Some(seed), None) => {
            let all_good = kinds.into_iter().filter(|kind| !replay(*kind, seed, trace, fault)).count() == 0;
            if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        (None, Some(seeds)) => many(&kinds, from, seeds, keep_going, fault),
        _ => usage("a seed, or --seeds N"),
    }
}

/// Judges the history in a file.
fn judge_history(args: &[String]) -> ExitCode {
    let (mut file, mut allowed) = (None, Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--allow" => match words.next().and_then(|name| Rule::of(name)) {
                Some(rule) => allowed.push(rule),
                None => return usage(&format!("--allow takes one of {}", Rule::ALL.map(Rule::name).join(", "))),
            },
            _ => file = Some(word),
        }
    }
    let Some(file) = file else { return usage("history takes a file") };
    let lines = match std::fs::read(file) {
        Ok(lines) => lines,
        Err(error) => return usage(&format!("{file}: {error}")),
    };
    match history::parse(&lines[..]).and_then(|history| history.check()) {
        Ok(report) => {
            println!("{report}");
            if report.is_clean(&allowed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(malformed) => usage(&format!("{file}: {malformed}")),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("sim: {what}\n{USAGE}");
    ExitCode::from(2)
}

/// Does one run; whether it was good.
fn replay(kind: Kind, seed: u64, trace: bool, fault: Option<Fault>) -> bool {
    let keep_events = if trace { usize::MAX } else { LAST_EVENTS };
    let outcome = kind.run(seed, Options { print: trace, keep_events, fault, ..Options::default() });
    if !trace && outcome.failure.is_some() {
        println!("{} (what the run is made of, and its last {} events; all with --trace)", outcome.plan, LAST_EVENTS);
        outcome.last_events.iter().for_each(|line| println!("{line}"));
    }
    report(kind, &outcome);
    outcome.failure.is_none()
}

/// Does the runs of seeds `from..from + seeds`.
fn many(kinds: &[Kind], from: u64, seeds: u64, keep_going: bool, fault: Option<Fault>) -> ExitCode {
    #[allow(clippy::disallowed_methods)] // For the lines of progress; no run sees it.
    let began = Instant::now();
    let (mut runs, mut acked, mut seen, mut refused, mut failed) = (0u64, 0, 0, 0, Vec::new());
    for seed in from..from + seeds {
        for &kind in kinds {
            let outcome = kind.run(seed, Options { fault, ..Options::default() });
            runs += 1;
            acked += outcome.tally.acked;
            seen += outcome.tally.seen;
            refused += u64::from(outcome.refused_to_start);
            if outcome.failure.is_some() {
                report(kind, &outcome);
                failed.push((kind.name(), seed));
                if !keep_going {
                    return ExitCode::FAILURE;
                }
            }
        }
        let done = seed - from + 1;
        if done.is_multiple_of(PROGRESS_SEEDS) {
            println!(
                "{done} of {seeds} seeds (to {seed}) in {} s: {runs} runs, {} failed, {acked} records acknowledged, {seen} read, {refused} \
                 refused to start",
                began.elapsed().as_secs(),
                failed.len()
            );
            let _ = std::io::stdout().flush();
        }
    }
    if failed.is_empty() {
        println!("{runs} runs, all good: {acked} records acknowledged, {seen} read, {refused} refused to start");
        ExitCode::SUCCESS
    } else {
        println!("{} of {runs} runs failed: {failed:?}", failed.len());
        ExitCode::FAILURE
    }
}

fn report(kind: Kind, outcome: &Outcome) {
    let Outcome { seed, events, virtual_ms, tally, hash, .. } = outcome;
    let name = kind.name();
    match &outcome.failure {
        None => println!("seed {seed} ({name}): good; {events} events, {virtual_ms} ms, {tally:?}, trace {hash:016x}"),
        Some(failure) => {
            for note in &outcome.notes {
                println!("    {note}");
            }
            let place = PANIC.with_borrow_mut(std::mem::take);
            println!("seed {seed} ({name}) FAILED after {virtual_ms} ms, {events} events: {failure}");
            if failure.starts_with("panic") {
                println!("    at {place}");
            }
            println!("    replay: {}", kind.replay(*seed));
        }
    }
}
