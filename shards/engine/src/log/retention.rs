//! What goes by age and by size: whole segments from the old end, closed segments by age, producers not heard of. Called from the timer.

use super::ops::Op;
use super::read::segment_end;
use super::{PartitionIx, ShardLog};
use crate::event::{DiskOp, Effects};
use crate::partition::Partition;
use crate::time::Time;

impl ShardLog {
    /// Looks after the age of every partition's segment and producers.
    pub(super) fn housekeeping(&mut self, now: Time) {
        if self.journal.failed.is_some() {
            return;
        }
        self.transactions = self.partitions.iter().flatten().map(|p| p.producers.transactions().remembered()).sum();
        for i in 0..self.partitions.len() {
            let ix = PartitionIx(i as u32);
            let producer_expiration_ms = self.settings.producer_expiration_ms;
            let Some(p) = self.partition_mut(ix).filter(|p| p.failed.is_none()) else { continue };
            p.producers.expire(now.wall_ms.saturating_sub(producer_expiration_ms), now.wall_ms);
            let has_data = p.log_end > p.segments.back().map_or(p.settled_end, |s| s.base);
            // The last segment is never compacted, so it is closed in time for it.
            let age_ms_max = p.config.compact.map_or(i64::MAX, |c| c.lag_ms_max).min(p.config.segment_ms);
            let old = p.segment_since_ms > 0 && now.wall_ms.saturating_sub(p.segment_since_ms) >= age_ms_max;
            p.roll_wanted |= has_data && (old || !p.may_lose_segments());
            // Once more each time: with a full disk, or something else under way there, the round that was to do it could not.
            self.settle.rolls_wanted |= p.roll_wanted;
        }
    }

    /// Moves the start of every partition past what is too old or too much. `false`: not of all, the journal has no room now.
    pub(super) fn retain(&mut self, now: Time) -> bool {
        if self.journal.failed.is_some() {
            return true;
        }
        let mut all = true;
        for i in 0..self.partitions.len() {
            let ix = PartitionIx(i as u32);
            let Some(p) = self.partition(ix).filter(|p| p.failed.is_none() && p.config.delete) else { continue };
            let start = retained_from(p, now.wall_ms);
            if start > p.log_start {
                all &= self.move_log_start(now, ix, start).is_ok();
                self.settle.checkpoint_wanted = true;
            }
        }
        all
    }

    /// Removes a segment that lies below the log start; a durable checkpoint knows the log start.
    pub(super) fn drop_segment(&mut self, ix: PartitionIx, base: i64, fx: &mut Effects) {
        let Some(p) = self.partition_mut(ix) else { return };
        // Its place may have been taken by one that compaction made, of more than it.
        if p.segments.len() < 2 || p.segments[0].base != base || p.segments[1].base > p.log_start {
            return;
        }
        let segment = p.segments.pop_front().expect("there are two");
        let path = p.segment_path_of(&segment);
        self.metrics.segments_removed += 1;
        for path in [format!("{path}.log"), format!("{path}.idx")] {
            self.ops.issue(Op::Nothing("remove a segment"), DiskOp::Remove { path }, fx);
        }
    }
}

/// Where the log should start by `retention.ms` and `retention.bytes`.
fn retained_from(p: &Partition, wall_ms: i64) -> i64 {
    let mut start = p.log_start;
    let mut kept_bytes = p.size_bytes();
    let oldest_ms = if p.config.retention_ms >= 0 { wall_ms.saturating_sub(p.config.retention_ms) } else { i64::MIN };
    let mut all_closed = true;
    for segment in p.segments.range(..p.segments.len().saturating_sub(1)) {
        let too_old = segment.max_timestamp < oldest_ms;
        let too_many = p.config.retention_bytes >= 0 && kept_bytes - segment.len >= p.config.retention_bytes as u64;
        if !(too_old || too_many) {
            all_closed = false;
            break;
        }
        kept_bytes -= segment.len;
        start = segment_end(p, segment.base);
    }
    // The last segment and the tail go together, once the newest of them is too old and nothing is on its way.
    let idle = p.high_watermark == p.log_end && p.log_end > start;
    let newest = p.tail.iter().map(|e| e.max_timestamp).chain(p.segments.back().map(|s| s.max_timestamp)).max();
    if all_closed && idle && newest.is_some_and(|newest| newest < oldest_ms) {
        start = p.log_end;
    }
    start.max(p.log_start)
}
