//! What clients saw, judged afterwards: a history of sends and polls, and the rules of Jepsen's Kafka workload under the names they have there.
//!
//! The workload's model: a *key* is one partition; a *message* is a value sent to a key, and no value is sent to a key twice; the broker places messages
//! at offsets, with holes where it keeps its own (markers of transactions). A process does one operation after the other; each ends `ok` (it took effect),
//! `fail` (it did not, and never will) or `info` (nobody knows). An operation that sends and polls in a transaction is `txn`: all of its sends take
//! effect or none. Polls are of `read_committed` consumers, and believed whatever became of the operation they stand in: what was handed out was seen.
//!
//! `format.rs` reads histories from lines of JSON (also `sim history FILE`), `order.rs` finds the order of each key's messages, `rules.rs` judges.
//!
//! Not judged: topics whose log start moves or that are compacted (old messages may rightly be gone), and cycles of transactions (Elle's G1c: Kafka's
//! writes are not isolated, so that most of them are legal).

mod format;
mod order;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

pub use format::{Malformed, parse};

/// Anomalies of one rule that a report tells in full; all are counted.
pub const EXAMPLES_MAX: usize = 8;

/// What can be wrong, named as in Jepsen's Kafka workload where it has a name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Committed, at or below an offset that somebody read of its key, and read by nobody.
    LostWrite,
    /// At more than one offset of its key.
    Duplicate,
    /// Aborted read: somebody polled what an operation that failed had sent.
    G1a,
    /// Some of a transaction's messages were polled; others must have been passed, and were not.
    TornTransaction,
    /// A transaction polled what it had itself sent, before it was committed.
    PrecommittedRead,
    /// Somebody polled what nobody sent.
    PhantomRead,
    /// Polls of one operation left out messages of a key.
    IntPollSkip,
    /// Polls of one operation came back to an earlier message of a key.
    IntNonmonotonicPoll,
    /// A process went on behind messages of a key that it had not polled.
    PollSkip,
    /// A process went back in a key, or polled a message again.
    NonmonotonicPoll,
    /// What one operation sent to a key stands there in another order.
    IntNonmonotonicSend,
    /// What a process sent to a key in later operations stands before what it sent in earlier ones.
    NonmonotonicSend,
    /// One offset with several messages.
    InconsistentOffsets,
    /// Committed, and polled by nobody until the end.
    Unseen,
}

impl Rule {
    /// All, in the order of reports.
    pub const ALL: [Rule; 14] = [
        Rule::LostWrite,
        Rule::Duplicate,
        Rule::G1a,
        Rule::TornTransaction,
        Rule::PrecommittedRead,
        Rule::PhantomRead,
        Rule::IntPollSkip,
        Rule::IntNonmonotonicPoll,
        Rule::PollSkip,
        Rule::NonmonotonicPoll,
        Rule::IntNonmonotonicSend,
        Rule::NonmonotonicSend,
        Rule::InconsistentOffsets,
        Rule::Unseen,
    ];

    /// As reports and the command line write it.
    pub fn name(self) -> &'static str {
        match self {
            Rule::LostWrite => "lost-write",
            Rule::Duplicate => "duplicate",
            Rule::G1a => "G1a",
            Rule::TornTransaction => "torn-transaction",
            Rule::PrecommittedRead => "precommitted-read",
            Rule::PhantomRead => "phantom-read",
            Rule::IntPollSkip => "int-poll-skip",
            Rule::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Rule::PollSkip => "poll-skip",
            Rule::NonmonotonicPoll => "nonmonotonic-poll",
            Rule::IntNonmonotonicSend => "int-nonmonotonic-send",
            Rule::NonmonotonicSend => "nonmonotonic-send",
            Rule::InconsistentOffsets => "inconsistent-offsets",
            Rule::Unseen => "unseen",
        }
    }

    /// The rule of a name.
    pub fn of(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Ok,
    /// It did not, and never will.
    Fail,
    /// Nobody knows.
    Info,
}

/// What an operation does to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends and polls, each send for itself.
    Plain,
    /// Sends and polls in one transaction.
    Txn,
    /// The process reads these keys from now on and no others. It goes on in those that it read before.
    Assign,
    /// Positions in these keys are void: the group gave them to the process, or took them from it, or it sought.
    Rebalance,
}

/// A message, by the order in which the history names them.
type MessageIx = u32;
/// A key, likewise.
type KeyIx = u32;

/// A part of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The offset that the broker answered, if it did.
    Send {
        message: MessageIx,
        offset: Option<i64>,
    },
    Read {
        message: MessageIx,
        offset: i64,
    },
    /// Of assignments and rebalances; in other operations: was given or taken during it.
    Key(KeyIx),
}

#[derive(Clone, Debug)]
struct Op {
    process: u32,
    kind: Kind,
    outcome: Outcome,
    /// In `History::steps`.
    steps: Range<usize>,
    /// Where a reader of the file finds it.
    line: usize,
}

#[derive(Clone, Debug)]
struct Message {
    key: KeyIx,
    value: Box<str>,
}

/// Operations in the order in which they ended, with the messages and keys they name.
#[derive(Clone, Debug, Default)]
pub struct History {
    keys: Vec<Box<str>>,
    key_of: HashMap<Box<str>, KeyIx, FxBuildHasher>,
    messages: Vec<Message>,
    message_of: HashMap<(KeyIx, Box<str>), MessageIx, FxBuildHasher>,
    ops: Vec<Op>,
    steps: Vec<Step>,
}

impl History {
    /// Nothing happened.
    pub fn new() -> History {
        History::default()
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// An operation ended; its parts follow by [`History::send`], [`History::read`] and [`History::key`].
    pub fn begin(&mut self, process: u32, kind: Kind, outcome: Outcome) {
        let (at, line) = (self.steps.len(), self.ops.len() + 1);
        self.ops.push(Op { process, kind, outcome, steps: at..at, line });
    }

    /// It sent a value to a key.
    pub fn send(&mut self, key: &str, offset: Option<i64>, value: &str) {
        let message = self.message(key, value);
        self.push(Step::Send { message, offset });
    }

    /// It polled a message.
    pub fn read(&mut self, key: &str, offset: i64, value: &str) {
        let message = self.message(key, value);
        self.push(Step::Read { message, offset });
    }

    /// A key of an assignment or rebalance, or one that was given or taken while the operation went on.
    pub fn key(&mut self, key: &str) {
        let key = self.key_ix(key);
        self.push(Step::Key(key));
    }

    /// Judges.
    ///
    /// # Errors
    /// When a value was sent to a key by two operations: the rules tell messages apart by their values.
    pub fn check(&self) -> Result<Report, Malformed> {
        rules::check(self)
    }

    fn push(&mut self, step: Step) {
        self.steps.push(step);
        self.ops.last_mut().expect("an operation has begun").steps.end = self.steps.len();
    }

    fn key_ix(&mut self, key: &str) -> KeyIx {
        if let Some(known) = self.key_of.get(key) {
            return *known;
        }
        let ix = u32::try_from(self.keys.len()).expect("fewer than 2^32 keys");
        self.keys.push(key.into());
        self.key_of.insert(key.into(), ix);
        ix
    }

    fn message(&mut self, key: &str, value: &str) -> MessageIx {
        let key = self.key_ix(key);
        let next = u32::try_from(self.messages.len()).expect("fewer than 2^32 messages");
        let ix = *self.message_of.entry((key, value.into())).or_insert(next);
        if ix == next {
            self.messages.push(Message { key, value: value.into() });
        }
        ix
    }

    fn steps(&self, op: &Op) -> &[Step] {
        &self.steps[op.steps.clone()]
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What kind.
    pub rule: Rule,
    /// Of which key.
    pub key: String,
    /// What was seen, with the lines of the operations.
    pub what: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By [`Rule::ALL`]'s order.
    counts: [u64; Rule::ALL.len()],
    examples: Vec<Anomaly>,
    /// Operations judged.
    pub ops: usize,
    /// Messages in them.
    pub messages: usize,
}

impl Report {
    /// How often a rule was broken.
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts[rule as usize]
    }

    /// The rules that were broken.
    pub fn broken(&self) -> Vec<Rule> {
        Rule::ALL.into_iter().filter(|rule| self.count(*rule) > 0).collect()
    }

    /// The first of each rule.
    pub fn examples(&self) -> &[Anomaly] {
        &self.examples
    }

    /// Whether nothing is wrong but what `allowed` allows.
    pub fn is_clean(&self, allowed: &[Rule]) -> bool {
        self.broken().iter().all(|rule| allowed.contains(rule))
    }

    fn add(&mut self, rule: Rule, key: &str, what: impl FnOnce() -> String) {
        self.counts[rule as usize] += 1;
        if self.counts[rule as usize] <= EXAMPLES_MAX as u64 {
            self.examples.push(Anomaly { rule, key: key.into(), what: what() });
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.broken();
        if broken.is_empty() {
            return write!(f, "{} operations, {} messages: no anomaly", self.ops, self.messages);
        }
        write!(f, "{} operations, {} messages:", self.ops, self.messages)?;
        for rule in broken {
            write!(f, "\n{}: {}", rule.name(), self.count(rule))?;
            for anomaly in self.examples.iter().filter(|anomaly| anomaly.rule == rule) {
                write!(f, "\n    {}: {}", anomaly.key, anomaly.what)?;
            }
        }
        Ok(())
    }
}
