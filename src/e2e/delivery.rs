//! The programs of docs/DELIVERY.md, as they stand there: killed with -9 in the middle of their work, each keeps what its heading promises.

use std::fs;

use crate::broker::Broker;
use crate::clients::{finish, python};

const DELIVERY: &str = include_str!("../../docs/DELIVERY.md");

/// The program that stands under a name.
fn example(mode: &str) -> &'static str {
    let begin = format!("```python {mode}\n");
    let at = DELIVERY.find(&begin).unwrap_or_else(|| panic!("docs/DELIVERY.md has no program {mode}")) + begin.len();
    &DELIVERY[at..at + DELIVERY[at..].find("```").expect("an end of the program")]
}

/// Runs a program against a broker of two shards: results, inputs without one, inputs with several.
fn deliver(mode: &str) -> (u64, u64, u64) {
    let settings = ["--set", "group.initial.rebalance.delay.ms=0"];
    let broker = Broker::start_with(2, &settings);
    let program = broker.dir.join("app.py");
    fs::write(&program, example(mode)).expect("a program");
    let said = finish(python("delivery.py").args([&broker.bootstrap(), mode, program.to_str().expect("a path")]))
        .unwrap_or_else(|said| panic!("{mode}: {said}\n{}", broker.log()));
    let counts: serde_json::Value = serde_json::from_str(said.trim()).expect("counts");
    let count = |name: &str| counts[name].as_u64().expect("a count");
    (count("results"), count("lost"), count("repeated"))
}

#[test]
fn at_most_once_repeats_nothing() {
    let (results, _, repeated) = deliver("at-most-once");
    assert_eq!(repeated, 0, "{results} results");
    assert!(results > 3000, "most is there: {results}");
}

#[test]
fn at_least_once_loses_nothing() {
    let (results, lost, _) = deliver("at-least-once");
    assert_eq!(lost, 0, "{results} results");
}

#[test]
fn exactly_once_does_neither() {
    let (results, lost, repeated) = deliver("exactly-once");
    assert_eq!((lost, repeated), (0, 0), "{results} results");
}
