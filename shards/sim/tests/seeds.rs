//! The engine under simulation: many histories, the same history twice, histories that once found a bug, and a disk that lies (which must be found out).

use std::panic;
use std::sync::Once;

use floe_sim::disk::Breach;
use floe_sim::kind::Kind;
use floe_sim::run::{Options, Outcome};

/// Seeds that found a bug, and what it was. A change of the plan's drawing changes what a seed stands for: the list then keeps its use as more seeds.
const REGRESSIONS: &[(Kind, u64, &str)] = &[
    (Kind::Log, 339, "a full journal stopped settling for good: copies found no place"),
    (Kind::Log, 380, "a remainder too small to be written held the oldest journal file"),
    (Kind::Log, 464, "the same with an append that was never answered"),
    (Kind::Log, 768, "the same, and a clean stop that did not end"),
    (Kind::Log, 1412, "the same"),
    (Kind::Log, 1414, "the same"),
    (Kind::Log, 169, "the rest of a removed generation was taken for damage"),
    (Kind::Log, 1046, "a failed sync of a segment made a partition refuse for good"),
    (Kind::Log, 1147, "a batch behind a refused one was taken, the refused one could not follow"),
    (Kind::Broker, 516, "the metadata log went on from what a killed process had left in the cache, unsynced"),
    (Kind::Broker, 685, "a batch behind one refused for a full disk was taken, the refused one could not follow"),
    (Kind::Broker, 2945, "ListOffsets told the ends of a partition that had lost records"),
    (Kind::Broker, 5, "files of a topic deleted just before a crash stayed for ever"),
    (Kind::Broker, 66_732, "what was acknowledged from memory while the broker stopped was never written"),
    (Kind::Broker, 14, "a stopping broker answered with a storage error"),
    (Kind::Log, 9_006, "room in a buffer depended on where the memory lay: the same inputs, other effects"),
    (Kind::Log, 23, "what a killed process left in the cache counted without being synced"),
    (
        Kind::Log,
        303_658,
        "a checkpoint built on a batch that the journal did not hold durably (tier written, power loss)",
    ),
    (Kind::Log, 301_699, "the same, after the journal was taken over by another number of shards"),
    (
        Kind::Log,
        402_031,
        "a partition held the oldest file of a full journal, but not by its first unsettled batch: Full for ever",
    ),
    (Kind::Log, 403_210, "the same"),
    (Kind::Log, 403_451, "the same"),
    (Kind::Tiny, 800_324, "the same"),
    (Kind::Tiny, 800_555, "the same"),
    (
        Kind::Tiny,
        801_830,
        "what followed a lost batch was taken for settled in the block where that one began, and never left the journal",
    ),
    (
        Kind::Tiny,
        804_499,
        "a segment was closed while the batch that it holds the beginning of was still being taken over",
    ),
    (Kind::Groups, 320, "a half-read consumer group wrote its first epoch behind its newest"),
    (Kind::Groups, 352, "a member of a classic group had the subscription of the oldest record that names it"),
    (Kind::Groups, 496, "the same"),
    (Kind::Log, 201_030, "a carried copy behind a damaged commit cleared the partition that had lost records there"),
    (
        Kind::Tiny,
        400_536,
        "of two generations' checkpoints the older one was believed, which named files that had been compacted since",
    ),
    (Kind::Tiny, 400_947, "the same"),
    (
        Kind::Tiny,
        400_459,
        "a damaged offset behind a compacted segment's end was taken for the end of what can be read",
    ),
    (
        Kind::Groups,
        14_354,
        "a segment was removed that held the beginning of a batch of which the journal had the rest",
    ),
    (Kind::Tiny, 401_830, "with an older checkpoint a commit that followed an unwritten one was believed"),
    (
        Kind::Mixed,
        109,
        "a group that was a classic one for a moment gave away what a member had not been told to give up",
    ),
    (Kind::Mixed, 105, "the same"),
    (Kind::Mixed, 236, "the same"),
    (Kind::Mixed, 622, "the same, of what a member was to give up by its leader's decision, which it did not know yet"),
    (Kind::Txns, 402, "a late repeat of an earlier transaction was waited for before the first batch of the next one"),
    (Kind::Txns, 1073, "the same"),
    (
        Kind::Txns,
        7_000_122,
        "a producer waited for ever for a coordinator whose partition was damaged (the judge's fault)",
    ),
    (
        Kind::Txns,
        8_000_257,
        "the end of a transaction was taken over from what a killed process had left in the cache, its marker lost with the power",
    ),
    (Kind::Txns, 8_008_438, "a produce that came back from its partition once more was passed by the one behind it"),
    (Kind::Txns, 9_005_382, "a produce passed one that was on its way back from its partition"),
    (
        Kind::Groups,
        7_300_073,
        "the judge's: what a member holds was counted as held although the answer that told it to give it up was lost",
    ),
    (Kind::Log, 730_445, "an offset damaged in a compacted segment fitted between its neighbours, and was given"),
    (
        Kind::Broker,
        920_564,
        "the judge's: a record shown, lost with the power, and sent again to its old offset was asked of an answer from before that",
    ),
];

/// Seeds of the test run: a run of each kind for each, in four parts so that they use as many cores as there are.
const SEEDS: u64 = 400;
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

fn explain(kind: Kind, outcome: &Outcome) -> String {
    let notes = outcome.notes.join("\n    ");
    let (seed, failure) = (outcome.seed, outcome.failure.as_deref().unwrap_or("none"));
    let (name, replay) = (kind.name(), kind.replay(seed));
    format!("seed {seed} ({name}) failed: {failure}\n    {notes}\n    replay: {replay}")
}

fn part(n: u64) {
    quiet();
    for kind in Kind::ALL {
        let (mut acked, mut seen, mut refused) = (0, 0, 0);
        let (mut assigned, mut committed, mut fetched, mut migrated) = (0, 0, 0, 0);
        let (mut txns, mut aborted, mut read, mut copied) = (0, 0, 0, 0);
        for seed in (n..SEEDS).step_by(PARTS as usize) {
            let outcome = kind.run(seed, Options::default());
            assert!(outcome.failure.is_none(), "{}", explain(kind, &outcome));
            acked += outcome.tally.acked;
            seen += outcome.tally.seen;
            assigned += outcome.tally.assigned;
            migrated += outcome.tally.migrated;
            committed += outcome.tally.committed;
            fetched += outcome.tally.fetched;
            txns += outcome.tally.txns_committed;
            aborted += outcome.tally.txns_aborted;
            read += outcome.tally.txns_read;
            copied += outcome.tally.copied;
            refused += u64::from(outcome.refused_to_start);
        }
        // A simulation that does nothing finds nothing.
        let runs = SEEDS / PARTS;
        assert!(acked > 30 * runs, "{acked} records acknowledged in {runs} runs ({})", kind.name());
        assert!(seen > acked, "{seen} records read of {acked} acknowledged ({})", kind.name());
        if matches!(kind, Kind::Groups | Kind::Mixed) {
            assert!(assigned > 30 * runs, "{assigned} assignments judged in {runs} runs");
            assert!(committed > 20 * runs, "{committed} offsets committed in {runs} runs");
            assert!(fetched > 20 * runs, "{fetched} committed offsets read in {runs} runs");
        }
        if kind == Kind::Mixed {
            // In less than half of the runs a group changes at all, in some of those many times.
            assert!(4 * migrated > runs, "{migrated} changes of protocol in {runs} runs");
        }
        if kind == Kind::Txns {
            assert!(txns > 10 * runs, "{txns} transactions committed in {runs} runs");
            assert!(aborted > 5 * runs, "{aborted} transactions aborted in {runs} runs");
            assert!(read > 100 * runs, "{read} committed records read in {runs} runs");
            assert!(copied > 3 * runs, "{copied} transactions of copies committed in {runs} runs");
        }
        assert!(refused < runs / 10, "{refused} of {runs} runs ended in a refusal to start ({})", kind.name());
    }
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
    for (kind, seed, what) in REGRESSIONS {
        let outcome = kind.run(*seed, Options::default());
        assert!(outcome.failure.is_none(), "{what}: {}", explain(*kind, &outcome));
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    quiet();
    let all = Options { keep_events: usize::MAX, ..Options::default() };
    for (seed, kind) in (9_000..9_012).flat_map(|seed| Kind::ALL.map(|kind| (seed, kind))) {
        let (once, again) = (kind.run(seed, all), kind.run(seed, all));
        if (once.hash, once.events, once.tally) != (again.hash, again.events, again.tally) {
            let both = once.last_events.iter().zip(&again.last_events);
            let parting = both.enumerate().find(|(_, (a, b))| a != b);
            panic!("seed {seed} ({}) is two histories, parting at {parting:#?}", kind.name());
        }
    }
}

/// With this breach some run must be condemned, and for a reason of the kind that the breach causes.
fn found_out(breach: Breach, reasons: &[&str]) {
    quiet();
    for seed in 0..600 {
        let outcome = Kind::Log.run(seed, Options { breach: Some(breach), ..Options::default() });
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
