//! What of a partition can be compacted now, and whether it is worth it. Pure.
//!
//! Never: the last segment, segments that a start still needs as they are, what is not settled, what lies past the last stable offset, what is younger
//! than `min.compaction.lag.ms`. Nor the segment that holds the newest record of all: a log whose end is a gap would look to its readers as if they
//! never reached it.

use std::collections::VecDeque;

use crate::log::read::segment_end;
use crate::partition::Partition;

const MILLION: u128 = 1_000_000;

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The offset from which on nothing has been compacted.
    pub(super) first_dirty: i64,
    /// Behind what can be compacted.
    pub(super) limit: i64,
    /// Segments with something between the two, by base and version.
    pub(super) dirty: VecDeque<(i64, u32)>,
    /// Share of the bytes that is not compacted, in millionths.
    pub(super) dirty_ppm: u32,
    /// Some of it has waited for `max.compaction.lag.ms`.
    pub(super) is_due: bool,
}

impl Plan {
    /// Records that can have a key of their own, at most.
    pub(super) fn records_max(&self) -> u64 {
        (self.limit - self.first_dirty).max(0) as u64
    }

    /// Whether it is to be done now.
    pub(super) fn is_worth_it(&self, p: &Partition) -> bool {
        self.is_due || p.config.compact.is_some_and(|c| self.dirty_ppm > c.dirty_ratio_ppm)
    }
}

/// What there is to compact in a partition; `None`: nothing.
pub(super) fn plan(p: &Partition, wall_ms: i64) -> Option<Plan> {
    let settings = p.config.compact?;
    if p.failed.is_some() || p.uncleanable || p.removed || !p.may_lose_segments() {
        return None;
    }
    let last = p.segments.back()?;
    let is_behind = p.log_end > last.base;
    let closed = p.segments.len() - 1;
    let closed = match is_behind {
        true => closed,
        false => p.segments.range(..closed).rposition(|s| s.len > 0).unwrap_or(0),
    };
    let first_dirty = p.cleaned_to.max(p.log_start);
    let (mut dirty_bytes, mut clean_bytes) = (0_u128, 0_u128);
    let mut plan = Plan { first_dirty, limit: first_dirty, dirty: VecDeque::new(), dirty_ppm: 0, is_due: false };
    for segment in p.segments.range(..closed) {
        let end = segment_end(p, segment.base);
        if end <= first_dirty {
            clean_bytes += u128::from(segment.len);
            continue;
        }
        // What an open transaction holds back has not its meaning yet.
        if end > p.last_stable() {
            break;
        }
        let youngest_ms = wall_ms.saturating_sub(settings.lag_ms_min);
        if settings.lag_ms_min > 0 && segment.max_timestamp > youngest_ms {
            break;
        }
        // The last of its records have come later than this: closed by age, the segment is due in time.
        plan.is_due |= wall_ms.saturating_sub(segment.created_ms) > settings.lag_ms_max;
        dirty_bytes += u128::from(segment.len);
        plan.limit = end;
        plan.dirty.push_back((segment.base, segment.version));
    }
    plan.dirty_ppm = (dirty_bytes * MILLION).checked_div(dirty_bytes + clean_bytes).unwrap_or(0) as u32;
    (dirty_bytes > 0).then_some(plan)
}
