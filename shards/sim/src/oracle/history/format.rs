//! Histories as lines of JSON, one for each operation that began or ended, in Jepsen's shape:
//!
//! ```json
//! {"process":0,"type":"invoke","f":"txn","value":[["send","out-0","v7"]]}
//! {"process":0,"type":"ok","f":"txn","value":[["poll",{"in-0":[[3,"a"],[4,"b"]]}],["send","out-0",[12,"v7"]]],"rebalanced":["in-1"]}
//! {"process":1,"type":"ok","f":"assign","value":["in-0","in-1"]}
//! ```
//!
//! - `type`: `invoke`, `ok`, `fail`, `info`. What a process invoked and did not complete, because it was killed or went on to another, is `info`.
//! - `f`: `send`, `poll`, `txn`; `assign`; `subscribe` and `rebalance` (with the keys that were given or taken; positions in them are void; without
//!   keys: in all). `rebalanced`: keys that were given or taken while the operation went on.
//! - a send is `["send", key, value]`, or `["send", key, [offset, value]]` when the offset is known, a poll is `["poll", {key: [[offset, value], ...]}]`.
//!   Values are strings or integers; a value is sent to a key once in the whole history.

use std::fmt;
use std::io::BufRead;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde_json::Value;

use super::{History, Kind, Outcome};

/// A history that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// From 1; of operations that were made by hand, their number.
    pub line: usize,
    /// Why.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Malformed {}

/// Reads a history.
///
/// # Errors
/// A line that cannot be read or is not an operation.
pub fn parse(from: impl BufRead) -> Result<History, Malformed> {
    let mut history = History::new();
    // What each process is at.
    let mut open: HashMap<u32, (usize, Value), FxBuildHasher> = HashMap::default();
    for (at, line) in from.lines().enumerate() {
        let at = at + 1;
        let wrong = |what: String| Malformed { line: at, what };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let op: Value = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        let process = op["process"].as_u64().and_then(|n| u32::try_from(n).ok());
        let process = process.ok_or_else(|| wrong("`process` is not a number".into()))?;
        let outcome = match op["type"].as_str() {
            Some("invoke") => None,
            Some("ok") => Some(Outcome::Ok),
            Some("fail") => Some(Outcome::Fail),
            Some("info") => Some(Outcome::Info),
            _ => return Err(wrong(format!("`type` is {}", op["type"]))),
        };
        let Some(outcome) = outcome else {
            if let Some((line, before)) = open.insert(process, (at, op)) {
                add(&mut history, &before, process, Outcome::Info, line).map_err(|what| Malformed { line, what })?;
            }
            continue;
        };
        open.remove(&process);
        add(&mut history, &op, process, outcome, at).map_err(wrong)?;
    }
    let mut left: Vec<_> = open.into_iter().collect();
    left.sort_unstable_by_key(|(_, (line, _))| *line);
    for (process, (line, op)) in left {
        add(&mut history, &op, process, Outcome::Info, line).map_err(|what| Malformed { line, what })?;
    }
    Ok(history)
}

fn add(history: &mut History, op: &Value, process: u32, outcome: Outcome, line: usize) -> Result<(), String> {
    let value = op["value"].as_array().ok_or("`value` is not a list")?;
    let kind = match op["f"].as_str() {
        Some("send" | "poll") => Kind::Plain,
        Some("txn") => Kind::Txn,
        Some("assign") => Kind::Assign,
        Some("subscribe" | "rebalance") => Kind::Rebalance,
        _ => return Err(format!("`f` is {}", op["f"])),
    };
    history.begin(process, kind, outcome);
    history.ops.last_mut().expect("begun").line = line;
    if matches!(kind, Kind::Assign | Kind::Rebalance) {
        return keys(history, value);
    }
    for step in value {
        let Some((what, rest)) = step.as_array().and_then(|step| step.split_first()) else {
            return Err(format!("not a step: {step}"));
        };
        match (what.as_str(), rest) {
            (Some("send"), [Value::String(key), sent]) => {
                let (offset, value) = match sent.as_array().map(Vec::as_slice) {
                    None => (None, sent),
                    Some([offset, value]) => (offset.as_i64(), value),
                    Some(_) => return Err("a send is not [\"send\", key, [offset, value]]".into()),
                };
                history.send(key, offset, &text(value)?);
            }
            (Some("poll"), [Value::Object(polled)]) => {
                for (key, messages) in polled {
                    let messages = messages.as_array().ok_or("what was polled is not a list")?;
                    for message in messages {
                        let offset = message[0].as_i64().ok_or("a message was polled without its offset")?;
                        history.read(key, offset, &text(&message[1])?);
                    }
                }
            }
            // Jepsen's form of a poll that nobody knows the result of.
            (Some("poll"), []) => {}
            _ => return Err(format!("not a step: {step}")),
        }
    }
    keys(history, op["rebalanced"].as_array().map_or(&[], Vec::as_slice))
}

fn keys(history: &mut History, all: &[Value]) -> Result<(), String> {
    for key in all {
        history.key(key.as_str().ok_or("a key is not a string")?);
    }
    Ok(())
}

fn text(value: &Value) -> Result<std::borrow::Cow<'_, str>, String> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Number(number) => Ok(number.to_string().into()),
        _ => Err(format!("{value} is not a message's value")),
    }
}
