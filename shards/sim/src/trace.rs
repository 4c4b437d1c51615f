//! What happened in a run: every event goes into a running hash (two runs of a seed must agree on it), and is printed as a line when asked for.

use std::collections::VecDeque;
use std::fmt;

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    print: bool,
    /// The last events as lines, for the report of a failure; at most `keep`.
    last_events: VecDeque<String>,
    keep: usize,
    /// The last lines of the broker's log, kept even when nothing is printed, so that a failure shows what led to it.
    last_log_lines: Vec<String>,
}

/// How many of the broker's own log lines are kept for a failure's report.
const LAST_LOG_LINES: usize = 40;

impl Trace {
    /// An empty record. With `print` each event goes to standard output; else the last `keep` are kept.
    pub fn new(print: bool, keep: usize) -> Trace {
        let keep = if print { 0 } else { keep };
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            print,
            last_events: VecDeque::new(),
            keep,
            last_log_lines: Vec::new(),
        }
    }

    /// Notes an event: `code` and `values` are hashed, `line` is only made when lines are printed.
    pub fn event(&mut self, at_ns: u64, code: u8, values: &[u64], line: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(at_ns ^ (u64::from(code) << 56));
        for &value in values {
            self.mix(value);
        }
        if self.prints() {
            self.line(format!("{:>14.6} ms  {}", at_ns as f64 / 1e6, line()));
        }
    }

    fn line(&mut self, line: String) {
        if self.print {
            println!("{line}");
        } else if self.keep > 0 {
            if self.last_events.len() == self.keep {
                self.last_events.pop_front();
            }
            self.last_events.push_back(line);
        }
    }

    /// Notes bytes that went over the wire or to the disk.
    pub fn bytes(&mut self, data: &[u8]) {
        let (chunks, rest) = data.as_chunks::<8>();
        for chunk in chunks {
            self.mix(u64::from_le_bytes(*chunk));
        }
        for &byte in rest {
            self.mix(u64::from(byte));
        }
        self.mix(data.len() as u64);
    }

    /// Notes a line of the broker's log.
    pub fn log(&mut self, at_ns: u64, line: impl fmt::Display) {
        let line = format!("{:>14.6} ms  {line}", at_ns as f64 / 1e6);
        self.bytes(line.as_bytes());
        self.line(line.clone());
        if self.last_log_lines.len() == LAST_LOG_LINES {
            self.last_log_lines.remove(0);
        }
        self.last_log_lines.push(line);
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether events are made into lines.
    pub fn prints(&self) -> bool {
        self.print || self.keep > 0
    }

    /// The last events as lines.
    pub fn take_last_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last_events).into()
    }

    /// The broker's last log lines.
    pub fn last_log_lines(&self) -> &[String] {
        &self.last_log_lines
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}
