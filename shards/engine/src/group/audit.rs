//! What happened in the groups of a shard: lines for the broker's log and counters for `/metrics`. Above all the offset auditor: no committed offset
//! goes back, expires or disappears without a line that names the cause, and none that lies beyond the end of its partition.

use std::mem;

use floe_wire::ids::TopicId;

use super::Name;
use crate::event::LogLevel;
use crate::limits::{AUDIT_LINES_MAX, OFFSET_LOOKS_MAX};
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
    /// Offsets committed that lay beyond the end of their partition when it was looked at.
    pub beyond_end: u64,
    /// Offsets that expired.
    pub expired: u64,
    /// Offsets deleted on request, with their group or their topic.
    pub deleted: u64,
}

/// An offset that was committed and is not the one before: does its partition reach that far? Its owner knows (`owner/ends.rs`).
#[derive(Clone, Debug)]
pub struct Look {
    /// The group.
    pub group: Name,
    /// The topic.
    pub topic: Name,
    /// Its id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// What was committed.
    pub offset: i64,
    /// By which member, or client.
    pub who: Name,
    /// From where.
    pub host: Name,
}

/// What was audited and holds.
#[derive(Debug, Default)]
pub struct Audited {
    /// Lines for the broker's log, until they are taken.
    pub lines: Vec<(LogLevel, String)>,
    /// Counted since the start.
    pub counts: GroupCounts,
    /// To be looked at, until they are taken.
    pub looks: Vec<Look>,
}

/// Lines and counts of one decision: they hold when its records do.
#[derive(Debug, Default)]
pub struct Audit {
    looks: Vec<Look>,
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

    /// Something to look at; as much as one round takes.
    pub fn look(&mut self, look: impl FnOnce() -> Look) {
        if self.looks.len() < OFFSET_LOOKS_MAX {
            self.looks.push(look());
        }
    }

    /// It has happened.
    pub fn keep(&mut self, audited: &mut Audited) {
        let Audited { lines, counts, looks } = audited;
        lines.append(&mut self.lines);
        self.looks.truncate(OFFSET_LOOKS_MAX.saturating_sub(looks.len()));
        looks.append(&mut self.looks);
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

impl Audited {
    /// Partitions were looked at: where they end. Of these, too, only the first hundred get a line.
    pub fn looked<'a>(&mut self, looked: impl Iterator<Item = (&'a Look, i64)>) {
        let mut audit = Audit::default();
        for (look, end) in looked.filter(|(look, end)| look.offset > *end) {
            self.counts.beyond_end += 1;
            audit.line(LogLevel::Warn, || {
                let Look { group, topic, partition, offset, who, host, .. } = look;
                format!(
                    "group {group}: offset of {topic}-{partition} committed as {offset} by {who} at {host}, beyond the partition's end {end}"
                )
            });
        }
        audit.keep(self);
    }

    /// What is to be looked at since the last call.
    pub fn take_looks(&mut self) -> Vec<Look> {
        mem::take(&mut self.looks)
    }
}
