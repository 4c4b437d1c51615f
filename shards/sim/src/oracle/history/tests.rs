//! The judge judged: each row is a history with the rules it breaks; histories of a broker that does nothing wrong break none.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

fn judged(lines: &str) -> Report {
    parse(lines.as_bytes()).expect("a history").check().expect("can be judged")
}

/// A line: process, how it ended, what it was, its steps.
fn line(process: u32, outcome: &str, f: &str, value: &str) -> String {
    format!("{{\"process\":{process},\"type\":\"{outcome}\",\"f\":\"{f}\",\"value\":[{value}]}}\n")
}

type Ops = &'static [(u32, &'static str, &'static str, &'static str)];

const SEND_ABC: (u32, &str, &str, &str) =
    (0, "ok", "send", r#"["send","k",[0,"a"]],["send","k",[1,"b"]],["send","k",[3,"c"]]"#);
const POLL_ABC: (u32, &str, &str, &str) = (9, "ok", "poll", r#"["poll",{"k":[[0,"a"],[1,"b"],[3,"c"]]}]"#);

#[test]
fn each_anomaly_is_found_by_its_rule() {
    use Rule::*;
    let rows: &[(&str, &[Rule], Ops)] = &[
        ("nothing", &[], &[]),
        ("all is well, with a hole", &[], &[SEND_ABC, POLL_ABC]),
        (
            "lost write",
            &[LostWrite, Unseen],
            &[
                SEND_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (2, "ok", "poll", r#"["poll",{"k":[[3,"c"]]}]"#),
            ],
        ),
        (
            "not polled to the end is not lost",
            &[Unseen],
            &[SEND_ABC, (1, "ok", "poll", r#"["poll",{"k":[[0,"a"],[1,"b"]]}]"#)],
        ),
        (
            "an unknown send that nobody saw is not lost",
            &[],
            &[
                (0, "info", "send", r#"["send","k",[0,"a"]]"#),
                (0, "ok", "send", r#"["send","k",[1,"b"]]"#),
                (1, "ok", "poll", r#"["poll",{"k":[[1,"b"]]}]"#),
            ],
        ),
        (
            "sends outside of transactions stand for themselves",
            &[],
            &[
                (0, "info", "send", r#"["send","k",[0,"a"]],["send","k",[1,"b"]]"#),
                (1, "ok", "poll", r#"["poll",{"k":[[1,"b"]]}]"#),
            ],
        ),
        (
            "duplicate",
            &[Duplicate],
            &[SEND_ABC, (9, "ok", "poll", r#"["poll",{"k":[[0,"a"],[1,"b"],[3,"c"],[4,"a"]]}]"#)],
        ),
        (
            "answered at one offset, polled at another",
            &[Duplicate],
            &[(0, "ok", "send", r#"["send","k",[5,"a"]]"#), (9, "ok", "poll", r#"["poll",{"k":[[4,"a"]]}]"#)],
        ),
        (
            "aborted read",
            &[G1a],
            &[(0, "fail", "txn", r#"["send","k","a"]"#), (9, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#)],
        ),
        (
            "aborted read by a transaction that failed",
            &[G1a],
            &[(0, "fail", "txn", r#"["send","k","a"]"#), (9, "fail", "txn", r#"["poll",{"k":[[0,"a"]]}]"#)],
        ),
        (
            "torn: one half was passed, by their offsets",
            &[LostWrite, TornTransaction, Unseen],
            &[
                (0, "info", "txn", r#"["send","k",[0,"a"]],["send","j",[0,"b"]]"#),
                (1, "ok", "send", r#"["send","j",[2,"c"]]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"a"]],"j":[[2,"c"]]}]"#),
            ],
        ),
        (
            "torn: the earlier half of one key is missing, without offsets",
            &[TornTransaction, Unseen],
            &[
                (0, "info", "txn", r#"["send","k","a"],["send","k","b"]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[1,"b"]]}]"#),
            ],
        ),
        (
            "not torn: the other half was not polled to its end",
            &[Unseen],
            &[
                (0, "ok", "txn", r#"["send","k",[0,"a"]],["send","j",[5,"b"]]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
            ],
        ),
        (
            "not torn: all of a transaction nobody knows of",
            &[],
            &[
                (0, "info", "txn", r#"["send","k","a"],["send","j","b"]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"a"]],"j":[[0,"b"]]}]"#),
            ],
        ),
        (
            "a killed process: what it invoked is unknown, and may be there",
            &[],
            &[(0, "invoke", "txn", r#"["send","k","a"]"#), (9, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#)],
        ),
        (
            "precommitted read",
            &[PrecommittedRead],
            &[(0, "ok", "txn", r#"["send","k",[0,"a"]],["poll",{"k":[[0,"a"]]}]"#)],
        ),
        ("phantom read", &[PhantomRead], &[(9, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#)]),
        (
            "skipped within an operation",
            &[IntPollSkip],
            &[SEND_ABC, POLL_ABC, (1, "ok", "poll", r#"["poll",{"k":[[0,"a"],[3,"c"]]}]"#)],
        ),
        (
            "skipped within a transaction, in two polls",
            &[IntPollSkip],
            &[SEND_ABC, POLL_ABC, (1, "ok", "txn", r#"["poll",{"k":[[0,"a"]]}],["poll",{"k":[[3,"c"]]}]"#)],
        ),
        (
            "back within an operation",
            &[IntNonmonotonicPoll],
            &[SEND_ABC, POLL_ABC, (1, "ok", "poll", r#"["poll",{"k":[[1,"b"],[0,"a"]]}]"#)],
        ),
        (
            "the same again within an operation",
            &[IntNonmonotonicPoll],
            &[SEND_ABC, POLL_ABC, (1, "ok", "poll", r#"["poll",{"k":[[1,"b"]]}],["poll",{"k":[[1,"b"]]}]"#)],
        ),
        (
            "skipped between operations",
            &[PollSkip],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "poll", r#"["poll",{"k":[[3,"c"]]}]"#),
            ],
        ),
        (
            "back between operations",
            &[NonmonotonicPoll],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"],[1,"b"]]}]"#),
                (1, "ok", "poll", r#"["poll",{"k":[[1,"b"],[3,"c"]]}]"#),
            ],
        ),
        (
            "after a transaction that failed the process goes back",
            &[],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "fail", "txn", r#"["poll",{"k":[[0,"a"],[1,"b"]]}]"#),
                (1, "ok", "txn", r#"["poll",{"k":[[0,"a"]]}]"#),
            ],
        ),
        (
            "keys that it keeps go on",
            &[PollSkip],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "assign", r#""k","j""#),
                (1, "ok", "poll", r#"["poll",{"k":[[3,"c"]]}]"#),
            ],
        ),
        (
            "keys that it gave away begin anew",
            &[],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "assign", r#""j""#),
                (1, "ok", "poll", r#"["poll",{"k":[[3,"c"]]}]"#),
            ],
        ),
        (
            "and those that a rebalance names",
            &[],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "rebalance", r#""k""#),
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
            ],
        ),
        (
            "others go on",
            &[NonmonotonicPoll],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "rebalance", r#""j""#),
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
            ],
        ),
        (
            "a subscription takes all",
            &[],
            &[
                SEND_ABC,
                POLL_ABC,
                (1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (1, "ok", "subscribe", ""),
                (1, "ok", "poll", r#"["poll",{"k":[[3,"c"]]}]"#),
            ],
        ),
        (
            "sends of one operation stand in another order",
            &[IntNonmonotonicSend],
            &[
                (0, "ok", "send", r#"["send","k",[1,"a"]],["send","k",[0,"b"]]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"b"],[1,"a"]]}]"#),
            ],
        ),
        (
            "sends of two operations stand in another order",
            &[NonmonotonicSend],
            &[
                (0, "ok", "send", r#"["send","k","a"]"#),
                (0, "info", "send", r#"["send","k","b"]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"b"],[1,"a"]]}]"#),
            ],
        ),
        (
            "sends of two processes have no order",
            &[],
            &[
                (0, "ok", "send", r#"["send","k",[1,"a"]]"#),
                (1, "ok", "send", r#"["send","k",[0,"b"]]"#),
                (9, "ok", "poll", r#"["poll",{"k":[[0,"b"],[1,"a"]]}]"#),
            ],
        ),
        (
            "one offset with two messages",
            &[InconsistentOffsets],
            &[
                (0, "ok", "send", r#"["send","k",[0,"a"]]"#),
                (1, "ok", "send", r#"["send","k",[0,"b"]]"#),
                (2, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#),
                (3, "ok", "poll", r#"["poll",{"k":[[0,"b"]]}]"#),
            ],
        ),
        ("unseen", &[Unseen], &[(0, "ok", "send", r#"["send","k",7]"#)]),
    ];
    let mut found = Vec::new();
    for (rule, expected, ops) in rows {
        let lines: String = ops.iter().map(|(process, outcome, f, value)| line(*process, outcome, f, value)).collect();
        let report = judged(&lines);
        assert_eq!(report.broken(), *expected, "{rule}: {report}");
        assert_eq!(
            report.examples().iter().map(|it| it.rule).collect::<std::collections::BTreeSet<_>>().len(),
            expected.len()
        );
        found.extend(report.broken());
    }
    for rule in Rule::ALL {
        assert!(found.contains(&rule), "{} has a row", rule.name());
        assert_eq!(Rule::of(rule.name()), Some(rule));
    }
}

#[test]
fn keys_that_move_while_an_operation_goes_on_are_not_held_against_it() {
    let mut lines =
        line(SEND_ABC.0, SEND_ABC.1, SEND_ABC.2, SEND_ABC.3) + &line(POLL_ABC.0, POLL_ABC.1, POLL_ABC.2, POLL_ABC.3);
    let moved = r#"{"process":1,"type":"ok","f":"txn","value":[["poll",{"k":[[3,"c"],[0,"a"]]}],["poll",{"k":[[3,"c"]]}]],"rebalanced":["k"]}"#;
    writeln!(lines, "{moved}").unwrap();
    lines += &line(1, "ok", "poll", r#"["poll",{"k":[[0,"a"]]}]"#);
    assert_eq!(judged(&lines).broken(), []);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let rows = [
        ("{", 1, "EOF"),
        ("{\"process\":0}", 1, "`type`"),
        ("{\"process\":-1,\"type\":\"ok\"}", 1, "`process`"),
        ("\n{\"process\":0,\"type\":\"ok\",\"f\":\"eat\",\"value\":[]}", 2, "`f`"),
        ("{\"process\":0,\"type\":\"ok\",\"f\":\"send\"}", 1, "`value`"),
        ("{\"process\":0,\"type\":\"ok\",\"f\":\"send\",\"value\":[[\"send\",\"k\",[1]]]}", 1, "a send"),
        ("{\"process\":0,\"type\":\"ok\",\"f\":\"poll\",\"value\":[[\"poll\",{\"k\":[7]}]]}", 1, "without its offset"),
        ("{\"process\":0,\"type\":\"ok\",\"f\":\"poll\",\"value\":[[]]}", 1, "not a step"),
        ("{\"process\":0,\"type\":\"ok\",\"f\":\"poll\",\"value\":[[\"poll\",{\"k\":[[7,null]]}]]}", 1, "value"),
    ];
    for (text, at, what) in rows {
        let error = parse(text.as_bytes()).expect_err(text);
        assert!(error.line == at && error.what.contains(what), "{text}: {error}");
    }
    let twice = line(0, "ok", "send", r#"["send","k","a"]"#) + &line(1, "ok", "send", r#"["send","k","a"]"#);
    let error = parse(twice.as_bytes()).unwrap().check().expect_err("twice");
    assert_eq!((error.line, error.what.as_str()), (2, "a was sent to k before, in line 1"));
}

/// What a broker that does nothing wrong lets its clients see: one operation after the other, some transactions aborted, some processes killed.
fn serial(seed: u64, operations: usize) -> History {
    let mut rng = Rng::new(seed);
    let (keys, processes) = (1 + rng.index(4), 1 + rng.index(4));
    let names: Vec<String> = (0..keys).map(|key| format!("k-{key}")).collect();
    let mut history = History::new();
    // Committed messages by key, and the next offset.
    let mut logs: Vec<(Vec<(i64, String)>, i64)> = vec![(Vec::new(), 0); keys];
    let mut positions = vec![vec![0_usize; keys]; processes];
    let mut ids: Vec<u32> = (0..processes as u32).collect();
    for number in 0..operations {
        let process = rng.index(processes);
        if rng.below(20) == 0 {
            // A new assignment: it begins anew in a key.
            let key = rng.index(keys);
            history.begin(ids[process], Kind::Rebalance, Outcome::Ok);
            history.key(&names[key]);
            positions[process][key] = 0;
            continue;
        }
        let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Ok, Outcome::Fail, Outcome::Info][rng.index(5)];
        let commits = outcome == Outcome::Ok || (outcome == Outcome::Info && rng.below(2) == 0);
        let kind = if rng.below(2) == 0 { Kind::Txn } else { Kind::Plain };
        history.begin(ids[process], kind, outcome);
        let mut reached = positions[process].clone();
        let mut sent = Vec::new();
        for step in 0..1 + rng.index(5) {
            let key = rng.index(keys);
            if rng.below(2) == 0 {
                let (value, offset) = (format!("{number}.{step}"), logs[key].1);
                logs[key].1 += 1;
                let told = outcome == Outcome::Ok && rng.below(4) > 0 || outcome != Outcome::Ok && rng.below(4) == 0;
                history.send(&names[key], told.then_some(offset), &value);
                sent.push((key, offset, value));
            } else {
                let log = &logs[key].0;
                let to = (reached[key] + rng.index(4)).min(log.len());
                log[reached[key]..to].iter().for_each(|(offset, value)| history.read(&names[key], *offset, value));
                reached[key] = to;
            }
        }
        for (key, offset, value) in sent {
            if commits {
                logs[key].0.push((offset, value));
            }
            // The marker.
            logs[key].1 = logs[key].1.max(offset + 2);
        }
        match outcome {
            Outcome::Ok => positions[process] = reached,
            Outcome::Fail => {}
            // It was killed; another takes its place, and goes on wherever.
            Outcome::Info => ids[process] += processes as u32,
        }
    }
    history.begin(u32::MAX, Kind::Plain, Outcome::Ok);
    for (name, (log, _)) in names.iter().zip(&logs) {
        log.iter().for_each(|(offset, value)| history.read(name, *offset, value));
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_serial_history_has_no_anomaly(seed in any::<u64>(), operations in 0..200_usize) {
        let report = serial(seed, operations).check().unwrap();
        prop_assert!(report.is_clean(&[]), "{}", report);
    }
}

#[test]
fn many_operations_are_judged() {
    let history = serial(1, 100_000);
    let report = history.check().unwrap();
    assert!(report.is_clean(&[]), "{report}");
    assert_eq!(report.ops, history.len());
}
