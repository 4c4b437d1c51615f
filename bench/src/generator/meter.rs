//! What is counted: one [`Meter`] for each direction, with the span in which it counts.

use hdrhistogram::Histogram;

use crate::outcome::{self, Flow};

/// Seconds of the line over time that are kept at most; a longer run has the rest in its sums only.
const SECONDS_MAX: u64 = 100_000;

/// Counts one direction of records.
pub struct Meter {
    begin_ns: u64,
    end_ns: u64,
    last_ns: u64,
    flow: Flow,
    latency: Histogram<u64>,
}

impl Meter {
    /// Counts from `begin_ns` until `end_ns`.
    pub fn new(begin_ns: u64, end_ns: u64) -> Meter {
        Meter { begin_ns, end_ns, last_ns: begin_ns, flow: Flow::default(), latency: outcome::histogram() }
    }

    /// Counts nothing.
    pub fn off() -> Meter {
        Meter::new(u64::MAX, u64::MAX)
    }

    /// Is this moment in the span?
    pub fn counts(&self, now_ns: u64) -> bool {
        (self.begin_ns..self.end_ns).contains(&now_ns)
    }

    /// An answer at `now_ns` with so many records, each of `record_bytes` bytes.
    pub fn answered(&mut self, now_ns: u64, records: u64, bytes: u64, errors: u64) {
        if !self.counts(now_ns) {
            return;
        }
        self.last_ns = self.last_ns.max(now_ns);
        self.flow.records += records;
        self.flow.bytes += bytes;
        self.flow.requests += 1;
        self.flow.errors += errors;
        let second = ((now_ns - self.begin_ns) / 1_000_000_000).min(SECONDS_MAX) as usize;
        if self.flow.records_per_second.len() <= second {
            self.flow.records_per_second.resize(second + 1, 0);
        }
        self.flow.records_per_second[second] += records;
    }

    /// A record that was due at `due_ns` was finished at `now_ns`. It counts when it was due in the span, however late it is.
    pub fn due(&mut self, due_ns: u64, now_ns: u64) {
        if self.counts(due_ns) {
            self.latency.record(now_ns.saturating_sub(due_ns)).expect("the histogram grows");
        }
    }

    /// The same for `count` records at once.
    pub fn due_many(&mut self, due_ns: u64, now_ns: u64, count: u64) {
        if self.counts(due_ns) {
            self.latency.record_n(now_ns.saturating_sub(due_ns), count).expect("the histogram grows");
        }
    }

    /// The span ends here: later answers do not count.
    pub fn end_at(&mut self, now_ns: u64) {
        self.end_ns = self.end_ns.min(now_ns);
    }

    /// The counts, and the latencies. A span that ended by itself takes until its end, one without an end until its last answer.
    pub fn finish(mut self) -> (Flow, Histogram<u64>) {
        let end = if self.end_ns == u64::MAX { self.last_ns } else { self.end_ns };
        self.flow.seconds = end.saturating_sub(self.begin_ns) as f64 / 1e9;
        // The last second is whole only by chance.
        if self.flow.records_per_second.len() as f64 > self.flow.seconds {
            self.flow.records_per_second.pop();
        }
        (self.flow, self.latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_what_was_answered_in_it_and_what_was_due_in_it() {
        const S: u64 = 1_000_000_000;
        let mut meter = Meter::new(10 * S, 12 * S);
        meter.answered(10 * S - 1, 100, 100, 0);
        meter.answered(10 * S, 3, 30, 0);
        meter.answered(11 * S, 4, 40, 1);
        meter.answered(12 * S, 100, 100, 0);
        meter.due(10 * S - 1, 11 * S);
        meter.due(12 * S - 1, 15 * S);
        let (flow, latency) = meter.finish();
        assert_eq!((flow.records, flow.bytes, flow.requests, flow.errors, flow.seconds), (7, 70, 2, 1, 2.0));
        assert_eq!(flow.records_per_second, [3, 4]);
        assert_eq!(latency.len(), 1);
        assert!((latency.max() as f64 / (3 * S + 1) as f64 - 1.0).abs() < 1e-3);
    }
}
