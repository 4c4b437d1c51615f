//! What happened in the groups of a shard: lines for the broker's log and counters for `/metrics`. Above all the offset auditor: no committed offset
//! goes back, expires or disappears without a line that names the cause.

use crate::event::LogLevel;
use crate::limits::AUDIT_LINES_MAX;
use crate::metrics::Histogram;

/// What a scrape shows of the groups of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMetrics {
    /// Groups by protocol and state, as Kafka writes these.
    pub groups: Vec<(&'static str, &'static str, u64)>,
    /// Members of all groups.
    pub members: u64,
    /// Partitions with a committed offset.
    pub offsets: u64,
    /// What was counted since the start.
    pub counts: GroupCounts,
}

/// Counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Rebalances that began.
    pub rebalances: u64,
    /// From the beginning of a rebalance until every member could have its assignment.
    pub rebalance_ns: Histogram,
    /// Offsets committed.
    pub commits: u64,
    /// Of them lower than the one before.
    pub rewinds: u64,
    /// Offsets moved ahead by hand: by somebody who is no member, in a group whose members commit.
    pub skips: u64,
    /// Offsets that expired.
    pub expired: u64,
    /// Offsets deleted on request, with their group or their topic.
    pub deleted: u64,
}

/// Lines and counts of one decision: they hold when its records do.
#[derive(Debug, Default)]
pub struct Audit {
    lines: Vec<(LogLevel, String)>,
    suppressed: usize,
    /// Rebalances begun.
    pub rebalances: u64,
    /// Offsets going back.
    pub rewinds: u64,
    /// Offsets moved ahead by hand.
    pub skips: u64,
    /// Offsets expiring.
    pub expired: u64,
    /// Offsets deleted.
    pub deleted: u64,
}

impl Audit {
    /// A line of its own. Of one decision only the first hundred are written, with the number of the others.
    pub fn line(&mut self, level: LogLevel, text: impl FnOnce() -> String) {
        if self.lines.len() < AUDIT_LINES_MAX {
            self.lines.push((level, text()));
        } else {
            self.suppressed += 1;
        }
    }

    /// It has happened.
    pub fn keep(&mut self, lines: &mut Vec<(LogLevel, String)>, counts: &mut GroupCounts) {
        lines.append(&mut self.lines);
        if self.suppressed > 0 {
            lines.push((LogLevel::Info, format!("and {} more of the same", self.suppressed)));
        }
        counts.rebalances += self.rebalances;
        counts.rewinds += self.rewinds;
        counts.skips += self.skips;
        counts.expired += self.expired;
        counts.deleted += self.deleted;
        *self = Audit::default();
    }

    /// It has not.
    pub fn forget(&mut self) {
        *self = Audit::default();
    }
}
