//! Where each message stands: per key, what was seen at which offset, and each message's place among those that are known to exist.
//!
//! From polls, all of them; from sends only where the message is known to have been committed: by an operation that was `ok`, or one nobody knows of
//! that somebody read from.

use super::{History, Kind, MessageIx, Outcome, Step};

/// What is known of one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The operation that sent it, and its outcome.
    pub writer: Option<u32>,
    /// Somebody polled it.
    pub read: bool,
    /// It is certain that it was committed.
    pub committed: bool,
    /// Offsets at which it was seen, and its last place among the messages of its key (dense: holes do not count).
    pub offsets: u32,
    /// Of its first offset.
    pub first: Option<Place>,
    /// Of its last.
    pub last: Option<Place>,
}

/// A place in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Dense: the next offset where anything is known has the next one.
    pub index: u32,
    pub offset: i64,
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Offset and message, rising, without repetitions. Two entries of one offset: the broker contradicted itself.
    pub entries: Vec<(i64, MessageIx)>,
    /// The highest offset that somebody polled.
    pub read_to: Option<i64>,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Order {
    pub logs: Vec<Log>,
    pub known: Vec<Known>,
    /// By operation: it is a transaction that must have been committed.
    pub txn_committed: Vec<bool>,
}

impl Order {
    /// Of a history.
    ///
    /// # Errors
    /// A message that two operations sent.
    pub fn of(history: &History) -> Result<Order, (MessageIx, usize, usize)> {
        let mut order = Order {
            logs: vec![Log::default(); history.keys.len()],
            known: vec![Known::default(); history.messages.len()],
            txn_committed: vec![false; history.ops.len()],
        };
        order.polls(history);
        order.sends(history)?;
        order.places();
        Ok(order)
    }

    fn polls(&mut self, history: &History) {
        for step in &history.steps {
            let Step::Read { message, offset } = *step else { continue };
            let log = &mut self.logs[history.messages[message as usize].key as usize];
            log.entries.push((offset, message));
            log.read_to = log.read_to.max(Some(offset));
            self.known[message as usize].read = true;
        }
    }

    fn sends(&mut self, history: &History) -> Result<(), (MessageIx, usize, usize)> {
        for (at, op) in history.ops.iter().enumerate() {
            let sends = || {
                history.steps(op).iter().filter_map(|step| match *step {
                    Step::Send { message, offset } => Some((message, offset)),
                    _ => None,
                })
            };
            let seen = |known: &[Known]| sends().any(|(message, _)| known[message as usize].read);
            let all = match op.outcome {
                Outcome::Ok => true,
                Outcome::Info => op.kind == Kind::Txn && seen(&self.known),
                Outcome::Fail => false,
            };
            self.txn_committed[at] = all && op.kind == Kind::Txn;
            for (message, offset) in sends() {
                let known = &mut self.known[message as usize];
                if let Some(before) = known.writer {
                    return Err((message, history.ops[before as usize].line, op.line));
                }
                known.writer = Some(at as u32);
                known.committed = all || (op.outcome == Outcome::Info && known.read);
                if let (true, Some(offset)) = (known.committed, offset) {
                    self.logs[history.messages[message as usize].key as usize].entries.push((offset, message));
                }
            }
        }
        Ok(())
    }

    fn places(&mut self) {
        for log in &mut self.logs {
            log.entries.sort_unstable();
            log.entries.dedup();
            let mut at: Option<Place> = None;
            for (offset, message) in &log.entries {
                let place = match at {
                    Some(place) if place.offset == *offset => place,
                    Some(place) => Place { index: place.index + 1, offset: *offset },
                    None => Place { index: 0, offset: *offset },
                };
                at = Some(place);
                let known = &mut self.known[*message as usize];
                known.offsets += 1;
                known.first.get_or_insert(place);
                known.last = Some(place);
            }
        }
    }
}
