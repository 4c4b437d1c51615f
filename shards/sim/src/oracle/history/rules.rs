//! The rules themselves. Each is one function over what `order.rs` found; all together look at every step a few times.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::order::{Order, Place};
use super::{History, KeyIx, Kind, Malformed, MessageIx, Op, Outcome, Report, Rule, Step};

/// Skipped messages that an example names.
const NAMED_MAX: usize = 5;

/// Judges by all rules.
pub(super) fn check(history: &History) -> Result<Report, Malformed> {
    let order = Order::of(history).map_err(|(message, before, line)| {
        let sent = &history.messages[message as usize];
        let what = format!("{} was sent to {} before, in line {before}", sent.value, history.keys[sent.key as usize]);
        Malformed { line, what }
    })?;
    let report = Report { ops: history.ops.len(), messages: history.messages.len(), ..Report::default() };
    let mut judge = Judge { history, order: &order, report };
    judge.messages();
    judge.offsets();
    judge.transactions();
    judge.within_operations();
    judge.between_polls();
    judge.between_sends();
    Ok(judge.report)
}

struct Judge<'a> {
    history: &'a History,
    order: &'a Order,
    report: Report,
}

/// What a process has read and sent, by key.
type Positions = BTreeMap<KeyIx, (Place, usize)>;

impl Judge<'_> {
    /// Lost write, duplicate, aborted read, phantom read, unseen.
    fn messages(&mut self) {
        for message in 0..self.history.messages.len() as MessageIx {
            let known = &self.order.known[message as usize];
            let writer = known.writer.map(|at| &self.history.ops[at as usize]);
            let line = writer.map_or(0, |op| op.line);
            match writer {
                None if known.read => self.add(Rule::PhantomRead, message, || "polled, and nobody sent it".into()),
                Some(op) if known.read && op.outcome == Outcome::Fail => {
                    self.add(Rule::G1a, message, || format!("polled, though the operation of line {line} failed"));
                }
                _ => {}
            }
            if known.offsets > 1 {
                let log = &self.order.logs[self.history.messages[message as usize].key as usize];
                let at = || {
                    let at = log.entries.iter().filter(|(_, at)| *at == message).map(|(offset, _)| offset.to_string());
                    format!("at offsets {}", at.take(NAMED_MAX).collect::<Vec<_>>().join(", "))
                };
                self.add(Rule::Duplicate, message, at);
            }
            if self.is_lost(message) {
                let at = known.last.map_or(-1, |place| place.offset);
                self.add(Rule::LostWrite, message, || {
                    format!("committed at {at} in line {line}; later ones were polled, it never was")
                });
            }
            if known.committed && !known.read {
                self.add(Rule::Unseen, message, || format!("committed in line {line}, and never polled"));
            }
        }
    }

    /// One offset, one message.
    fn offsets(&mut self) {
        for log in &self.order.logs {
            for same in log.entries.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
                let (offset, message) = same[0];
                let history = self.history;
                self.add(Rule::InconsistentOffsets, message, || {
                    let others = same[1..].iter().map(|(_, other)| &*history.messages[*other as usize].value);
                    format!("at offset {offset}, and so is {}", others.take(NAMED_MAX).collect::<Vec<_>>().join(", "))
                });
            }
        }
    }

    /// Torn transactions, precommitted reads.
    fn transactions(&mut self) {
        let mut later_read: BTreeMap<KeyIx, MessageIx> = BTreeMap::new();
        for (at, op) in self.history.ops.iter().enumerate() {
            let steps = self.history.steps(op);
            for step in steps {
                let Step::Read { message, .. } = *step else { continue };
                if op.kind == Kind::Txn && self.order.known[message as usize].writer == Some(at as u32) {
                    self.add(Rule::PrecommittedRead, message, || {
                        format!("polled by its own transaction, line {}", op.line)
                    });
                }
            }
            if !self.order.txn_committed[at] {
                continue;
            }
            later_read.clear();
            let (mut seen, mut missing) = (None, None);
            for step in steps.iter().rev() {
                let Step::Send { message, .. } = *step else { continue };
                let key = self.history.messages[message as usize].key;
                if self.order.known[message as usize].read {
                    later_read.insert(key, message);
                    seen = Some(message);
                } else if self.is_lost(message) || later_read.contains_key(&key) {
                    // What one producer sends to a key stands there in that order: who polled the later one has passed the earlier one.
                    missing = Some(message);
                }
            }
            if let (Some(seen), Some(missing)) = (seen, missing) {
                let seen = self.name(seen);
                self.add(Rule::TornTransaction, missing, || {
                    format!("missing of the transaction of line {}; {seen} was polled", op.line)
                });
            }
        }
    }

    /// Order of polls and sends of one operation.
    fn within_operations(&mut self) {
        let keys = self.history.keys.len();
        let mut reads: Vec<(usize, Option<Place>)> = vec![(usize::MAX, None); keys];
        let mut sends = reads.clone();
        for (at, op) in self.history.ops.iter().enumerate() {
            for step in self.history.steps(op) {
                match *step {
                    Step::Read { message, offset } => {
                        let key = self.history.messages[message as usize].key as usize;
                        let place = self.place(message, offset);
                        if let Some(before) = previous(&mut reads[key], at, Some(place))
                            && !self.was_rebalanced(op, key as KeyIx)
                        {
                            let rules = (Rule::IntPollSkip, Rule::IntNonmonotonicPoll);
                            self.polled(rules, message, before, place, || format!("in line {}", op.line));
                        }
                    }
                    Step::Send { message, .. } => {
                        let key = self.history.messages[message as usize].key as usize;
                        let place = self.order.known[message as usize].first;
                        let before = previous(&mut sends[key], at, place);
                        if let (Some(before), Some(place)) = (before, place)
                            && place.index <= before.index
                        {
                            self.add(Rule::IntNonmonotonicSend, message, || {
                                format!(
                                    "at {}, sent after what is at {}, both in line {}",
                                    place.offset, before.offset, op.line
                                )
                            });
                        }
                    }
                    Step::Key(_) => {}
                }
            }
        }
    }

    /// Order of the polls of one process. As in Jepsen, only what was polled by an operation that was `ok` moves its position: after a transaction that
    /// failed the process goes back to where it was.
    fn between_polls(&mut self) {
        let mut processes: HashMap<u32, Positions, FxBuildHasher> = HashMap::default();
        let mut last: Positions = BTreeMap::new();
        for op in &self.history.ops {
            let positions = processes.entry(op.process).or_default();
            let steps = self.history.steps(op);
            let keys = || steps.iter().filter_map(|step| if let Step::Key(key) = step { Some(*key) } else { None });
            match op.kind {
                Kind::Assign if op.outcome == Outcome::Fail => continue,
                Kind::Assign => positions.retain(|known, _| keys().any(|key| key == *known)),
                Kind::Rebalance if steps.is_empty() => positions.clear(),
                _ if keys().next().is_none() => {}
                _ => positions.retain(|known, _| keys().all(|key| key != *known)),
            }
            last.clear();
            for step in steps {
                let Step::Read { message, offset } = *step else { continue };
                let place = self.place(message, offset);
                let key = self.history.messages[message as usize].key;
                let is_first = last.insert(key, (place, op.line)).is_none();
                if let (true, Some((before, line))) = (is_first, positions.get(&key)) {
                    let rules = (Rule::PollSkip, Rule::NonmonotonicPoll);
                    self.polled(rules, message, *before, place, || {
                        format!("by process {} in line {}, before in line {line}", op.process, op.line)
                    });
                }
            }
            if op.outcome == Outcome::Ok {
                if keys().next().is_some() {
                    last.retain(|known, _| keys().all(|key| key != *known));
                }
                positions.append(&mut last);
            }
        }
    }

    /// Order of what one process sent.
    fn between_sends(&mut self) {
        let mut processes: HashMap<u32, Positions, FxBuildHasher> = HashMap::default();
        let mut last: Positions = BTreeMap::new();
        for op in &self.history.ops {
            last.clear();
            for step in self.history.steps(op) {
                let Step::Send { message, .. } = *step else { continue };
                let Some(place) = self.order.known[message as usize].first else { continue };
                let key = self.history.messages[message as usize].key;
                let positions = processes.entry(op.process).or_default();
                let is_first = last.insert(key, (place, op.line)).is_none();
                if let (true, Some((before, line))) = (is_first, positions.get(&key))
                    && place.index <= before.index
                {
                    let (before, line) = (before.offset, *line);
                    self.add(Rule::NonmonotonicSend, message, || {
                        let (at, process) = (place.offset, op.process);
                        format!(
                            "at {at}, sent by process {process} in line {} after what is at {before}, line {line}",
                            op.line
                        )
                    });
                }
            }
            if !last.is_empty() {
                processes.entry(op.process).or_default().append(&mut last);
            }
        }
    }

    /// Two polls of a key one after the other: nothing may be between them, and the second is behind the first.
    fn polled(
        &mut self,
        (skip, back): (Rule, Rule),
        message: MessageIx,
        before: Place,
        place: Place,
        whence: impl Fn() -> String,
    ) {
        if place.index <= before.index {
            self.add(back, message, || {
                format!("polled at {} after what is at {}, {}", place.offset, before.offset, whence())
            });
        } else if place.index > before.index + 1 {
            let (history, order) = (self.history, self.order);
            self.add(skip, message, || {
                let entries = &order.logs[history.messages[message as usize].key as usize].entries;
                let from = entries.partition_point(|(offset, _)| *offset <= before.offset);
                let between = entries[from..].iter().take_while(|(offset, _)| *offset < place.offset);
                let named = between.map(|(offset, it)| format!("{} at {offset}", history.messages[*it as usize].value));
                let names = named.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
                let count = place.index - before.index - 1;
                format!(
                    "polled at {} after what is at {}: {count} left out ({names}), {}",
                    place.offset,
                    before.offset,
                    whence()
                )
            });
        }
    }

    /// Committed where somebody has been, and read by nobody.
    fn is_lost(&self, message: MessageIx) -> bool {
        let known = &self.order.known[message as usize];
        let read_to = self.order.logs[self.history.messages[message as usize].key as usize].read_to;
        known.committed && !known.read && known.last.is_some_and(|last| Some(last.offset) <= read_to)
    }

    fn was_rebalanced(&self, op: &Op, key: KeyIx) -> bool {
        self.history
            .steps(op)
            .iter()
            .rev()
            .map_while(|step| if let Step::Key(key) = step { Some(*key) } else { None })
            .any(|it| it == key)
    }

    /// Of what was polled at an offset.
    fn place(&self, message: MessageIx, offset: i64) -> Place {
        let known = &self.order.known[message as usize];
        if let Some(place) = known.first.into_iter().chain(known.last).find(|place| place.offset == offset) {
            return place;
        }
        // A message at three offsets or more: only the outer places are kept.
        let entries = &self.order.logs[self.history.messages[message as usize].key as usize].entries;
        let below = entries.partition_point(|(at, _)| *at < offset);
        let index = entries[..below].chunk_by(|a, b| a.0 == b.0).count();
        Place { index: index as u32, offset }
    }

    fn name(&self, message: MessageIx) -> String {
        let message = &self.history.messages[message as usize];
        format!("{} of {}", message.value, self.history.keys[message.key as usize])
    }

    fn add(&mut self, rule: Rule, message: MessageIx, what: impl FnOnce() -> String) {
        let message = &self.history.messages[message as usize];
        let key = &self.history.keys[message.key as usize];
        self.report.add(rule, key, || format!("{} {}", message.value, what()));
    }
}

/// The place noted in this operation before, and notes the new one.
fn previous(noted: &mut (usize, Option<Place>), at: usize, place: Option<Place>) -> Option<Place> {
    let before = if noted.0 == at { noted.1 } else { None };
    *noted = (at, place.or(before));
    before
}
