//! The engine under simulation: many histories, the same history twice, histories that once found a bug, and a disk that lies (which must be found out).

use std::panic;
use std::sync::Once;

use floe_sim::bare::run;
use floe_sim::disk::Breach;
use floe_sim::run::{Options, Outcome};

/// Seeds that found a bug, and what it was. A change of the plan's drawing changes what a seed stands for: the list then keeps its use as more seeds.
const REGRESSIONS: &[(u64, &str)] = &[
    (339, "a full journal stopped settling for good: copies found no place"),
    (380, "a remainder too small to be written held the oldest journal file"),
    (464, "the same with an append that was never answered"),
    (768, "the same, and a clean stop that did not end"),
    (1412, "the same"),
    (1414, "the same"),
    (169, "the rest of a removed generation was taken for damage"),
    (1046, "a failed sync of a segment made a partition refuse for good"),
    (1147, "a batch behind a refused one was taken, the refused one could not follow"),
    (23, "what a killed process left in the cache counted without being synced"),
];

/// Runs of the test run, in four parts so that they use as many cores as there are.
const RUNS: u64 = 520;
const PARTS: u64 = 4;

/// A panic inside a run is that run's outcome, not noise.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let in_engine = info.location().is_some_and(|l| !l.file().contains("sim/tests"));
            if in_engine {
                println!("panic inside a run: {info}");
            } else {
                usual(info);
            }
        }));
    });
}

fn explain(outcome: &Outcome) -> String {
    let notes = outcome.notes.join("\n    ");
    let (seed, failure) = (outcome.seed, outcome.failure.as_deref().unwrap_or("none"));
    format!("seed {seed} failed: {failure}\n    {notes}\n    replay: scripts/dev sim {seed} --trace")
}

fn part(n: u64) {
    quiet();
    let (mut acked, mut seen, mut refused) = (0, 0, 0);
    for seed in (n..RUNS).step_by(PARTS as usize) {
        let outcome = run(seed, Options::default());
        assert!(outcome.failure.is_none(), "{}", explain(&outcome));
        acked += outcome.tally.acked;
        seen += outcome.tally.seen;
        refused += u64::from(outcome.refused_to_start);
    }
    // A simulation that does nothing finds nothing.
    assert!(acked > 50 * RUNS / PARTS, "{acked} records acknowledged");
    assert!(seen > acked, "{seen} records read of {acked} acknowledged");
    assert!(refused < RUNS / PARTS / 10, "{refused} runs ended in a refusal to start");
}

#[test]
fn histories_1() {
    part(0);
}

#[test]
fn histories_2() {
    part(1);
}

#[test]
fn histories_3() {
    part(2);
}

#[test]
fn histories_4() {
    part(3);
}

#[test]
fn regressions() {
    quiet();
    for (seed, what) in REGRESSIONS {
        let outcome = run(*seed, Options::default());
        assert!(outcome.failure.is_none(), "{what}: {}", explain(&outcome));
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    quiet();
    for seed in 9_000..9_012 {
        let (once, again) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!((once.hash, once.events, once.tally), (again.hash, again.events, again.tally), "seed {seed}");
    }
}

/// With this breach some run must be condemned, and for a reason of the kind that the breach causes.
fn found_out(breach: Breach, reasons: &[&str]) {
    quiet();
    for seed in 0..600 {
        let outcome = run(seed, Options { breach: Some(breach), ..Options::default() });
        if let Some(failure) = outcome.failure
            && reasons.iter().any(|reason| failure.contains(reason))
        {
            return;
        }
    }
    panic!("{breach:?} was not found out in 600 runs");
}

#[test]
fn a_disk_that_forgets_dsync_writes_is_found_out() {
    found_out(Breach::DsyncIsNotDurable, &["is lost", "went back", "was record"]);
}

#[test]
fn a_disk_that_forgets_synced_writes_is_found_out() {
    found_out(Breach::SyncDoesNothing, &["is lost", "went back", "no injected fault", "was record", "does not start"]);
}

#[test]
fn bits_flipped_behind_the_brokers_back_are_found_out() {
    found_out(
        Breach::SendfileFlipsBits,
        &["bad batch", "does not parse", "other bytes", "behind the response", "nobody sent"],
    );
}
