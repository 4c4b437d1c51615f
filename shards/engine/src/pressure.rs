//! How much memory requests and answers of a shard hold, and what follows: whether sockets are read, how much a fetch may answer, which slow
//! reader has to go. Lives on the shard.
//!
//! Two budgets stop the reading, each for itself: `memory.bytes` for requests at work and answers not sent yet, counted here, and the log's own
//! (`cache.bytes` and the journal), which tells by `stalled`. Answers may take half of `memory.bytes`: clients that read slowly get smaller ones
//! before they can stop those who write.

use std::time::Duration;

use crate::limits::{ANSWER_BYTES_MIN, SLOW_READER_CHECK_MS, SLOW_READER_MS};
use crate::time::{Deadline, Time};

/// What is held, and whether sockets are read.
#[derive(Clone, Debug)]
pub struct Pressure {
    budget: u64,
    /// Bytes of requests that have come and have no answer yet.
    requests: u64,
    /// Bytes of memory in answers that are not sent.
    answers: u64,
    /// Whether the budget was spent, and has not been free again since.
    spent: bool,
    /// Whether sockets are read, as the driver was told.
    closed: bool,
    closed_since_ns: u64,
    closed_ns: u64,
    next_check: Option<Deadline>,
}

impl Default for Pressure {
    fn default() -> Pressure {
        Pressure::new(u64::MAX)
    }
}

impl Pressure {
    /// Nothing is held yet. `budget` is `memory.bytes`.
    pub fn new(budget: u64) -> Pressure {
        Pressure {
            budget,
            requests: 0,
            answers: 0,
            spent: false,
            closed: false,
            closed_since_ns: 0,
            closed_ns: 0,
            next_check: None,
        }
    }

    /// A request of so many bytes came in.
    pub fn request_came(&mut self, bytes: u64) {
        self.requests += bytes;
    }

    /// It has its answer, or its connection is gone.
    pub fn request_went(&mut self, bytes: u64) {
        self.requests = self.requests.checked_sub(bytes).expect("what went has come");
    }

    /// An answer holds so many bytes of memory from now on.
    pub fn answer_came(&mut self, bytes: u64) {
        self.answers += bytes;
    }

    /// It was sent, or its connection is gone.
    pub fn answer_went(&mut self, bytes: u64) {
        self.answers = self.answers.checked_sub(bytes).expect("what went has come");
    }

    /// Bytes held by requests and by answers.
    pub fn held(&self) -> (u64, u64) {
        (self.requests, self.answers)
    }

    /// Whether no socket is read.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nanoseconds for which sockets were not read, up to now.
    pub fn closed_ns(&self, now: Time) -> u64 {
        self.closed_ns + if self.closed { now.mono_ns.saturating_sub(self.closed_since_ns) } else { 0 }
    }

    /// Bytes that a fetch may answer, of those it wants: what remains of the answers' half is not for one alone.
    pub fn answer_bytes(&self, wanted: u64) -> u64 {
        let free = (self.budget / 2).saturating_sub(self.answers);
        wanted.min((free / 4).max(ANSWER_BYTES_MIN))
    }

    /// Looks at the budgets once a round: `Some(open)` when the driver is to be told. It opens again at three quarters, so as not to flap.
    pub fn admission(&mut self, now: Time, log_stalled: bool) -> Option<bool> {
        let held = self.requests + self.answers;
        self.spent = held > if self.spent { self.budget / 4 * 3 } else { self.budget };
        if self.spent && self.next_check.is_none() {
            self.next_check = Some(now.after(Duration::from_millis(SLOW_READER_CHECK_MS)));
        }
        let closed = self.spent || log_stalled;
        if closed == self.closed {
            return None;
        }
        if closed {
            self.closed_since_ns = now.mono_ns;
        } else {
            self.closed_ns = self.closed_ns(now);
        }
        self.closed = closed;
        Some(!closed)
    }

    /// When [`Pressure::too_old`] wants to be asked.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.next_check
    }

    /// While the budget is spent: connections whose oldest unsent answer is from before this moment hold up all the others, and are to be closed.
    pub fn too_old(&mut self, now: Time) -> Option<u64> {
        self.next_check.take_if(|check| now.reached(*check))?;
        self.spent.then(|| {
            self.next_check = Some(now.after(Duration::from_millis(SLOW_READER_CHECK_MS)));
            now.mono_ns.saturating_sub(SLOW_READER_MS * 1_000_000)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time { mono_ns: ms * 1_000_000, wall_ms: 0 }
    }

    #[test]
    fn it_closes_when_spent_and_opens_at_three_quarters() {
        let mut p = Pressure::new(1000);
        p.request_came(600);
        p.answer_came(400);
        assert_eq!(p.admission(at(0), false), None, "exactly the budget");
        p.request_came(1);
        assert_eq!(p.admission(at(10), false), Some(false));
        p.answer_went(200);
        assert_eq!(p.admission(at(20), false), None, "801 of 1000: not yet");
        assert_eq!(p.closed_ns(at(30)), 20_000_000);
        p.request_went(51);
        assert_eq!(p.admission(at(40), true), None, "the log has no room now");
        assert_eq!(p.admission(at(50), false), Some(true));
        assert_eq!(p.closed_ns(at(90)), 40_000_000);
    }

    #[test]
    fn answers_get_smaller_before_they_take_all() {
        let mut p = Pressure::new(80 << 20);
        assert_eq!(p.answer_bytes(u64::MAX), 10 << 20);
        assert_eq!(p.answer_bytes(500), 500);
        p.answer_came(36 << 20);
        assert_eq!(p.answer_bytes(u64::MAX), 1 << 20);
        p.answer_came(36 << 20);
        assert_eq!(p.answer_bytes(u64::MAX), ANSWER_BYTES_MIN);
    }

    #[test]
    fn slow_readers_are_looked_for_only_while_the_budget_is_spent() {
        let mut p = Pressure::new(1000);
        assert_eq!((p.admission(at(0), true), p.next_deadline()), (Some(false), None), "not for the log");
        p.answer_came(1001);
        p.admission(at(0), true);
        let check = p.next_deadline().unwrap();
        assert_eq!(p.too_old(at(SLOW_READER_CHECK_MS - 1)), None);
        assert!(at(SLOW_READER_CHECK_MS).reached(check));
        let later = SLOW_READER_MS + 7;
        assert_eq!(p.too_old(at(later)), Some(7_000_000));
        p.answer_went(1001);
        p.admission(at(later), false);
        assert_eq!((p.too_old(at(later * 2)), p.next_deadline()), (None, None));
    }
}
