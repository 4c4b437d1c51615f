//! Compaction: of records with the same key only the last one stays, in partitions with `cleanup.policy=compact`. Lives in the [`ShardLog`], one
//! partition at a time.
//!
//! Old segments are never written to. New ones, with a version in their name, take their place in memory once they are whole and durable;
//! the next checkpoint makes that last, and the old files go when no checkpoint refers to them any more. So a crash anywhere leaves the old ones
//! or the new ones, and who reads an old file goes on reading it.

mod job;
mod keys;
mod leave;
mod output;
mod plan;
mod txns;

use super::ops::Op;
use super::read::segment_end;
use super::{PartitionIx, ShardLog};
use crate::event::{DiskError, DiskErrorKind, DiskOp, DiskOutput, Effect, Effects, LogLevel};
use crate::time::{Deadline, Time};
use job::{Job, Stop, Want};
use keys::Keys;
use output::Output;
use plan::Plan;

/// The cleaner of a shard.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    job: Option<Box<Job>>,
    /// Not before then is it looked for something to do.
    next_look: Deadline,
    /// Old segments that a checkpoint may still refer to.
    replaced: Vec<Replaced>,
    /// It has been logged that there is no space to compact.
    no_space_told: bool,
}

/// Files of segments that have been replaced.
#[derive(Debug)]
struct Replaced {
    paths: Vec<String>,
    /// The last checkpoint that may refer to them, unless an older one is all there is.
    since: u64,
    /// Which of the two names hold a later one.
    gone_from: [bool; 2],
}

impl ShardLog {
    /// Begins to compact the partition that needs it most, if it is time.
    pub(super) fn compact_on(&mut self, now: Time, fx: &mut Effects) {
        // Two checkpoints later the old files can go: they are not left waiting for somebody to write something.
        self.settle.checkpoint_wanted |= !self.cleaner.replaced.is_empty();
        let is_possible = self.settings.compaction && self.journal.failed.is_none() && self.ready && !self.stopping;
        if !is_possible || self.cleaner.job.is_some() || !now.reached(self.cleaner.next_look) {
            return;
        }
        let backoff = std::time::Duration::from_millis(self.settings.compaction_backoff_ms);
        self.cleaner.next_look = now.after(backoff);
        let mut dirtiest: Option<(PartitionIx, Plan)> = None;
        let mut dirty_ppm_max = 0;
        for (i, p) in self.partitions.iter().enumerate() {
            let Some((p, plan)) = p.as_ref().and_then(|p| Some((p, plan::plan(p, now.wall_ms)?))) else { continue };
            dirty_ppm_max = dirty_ppm_max.max(plan.dirty_ppm);
            let rank = |plan: &Plan| (plan.is_due, plan.dirty_ppm);
            if plan.is_worth_it(p) && dirtiest.as_ref().is_none_or(|(_, other)| rank(other) < rank(&plan)) {
                dirtiest = Some((PartitionIx(i as u32), plan));
            }
        }
        self.metrics.compaction_dirty_ppm_max = u64::from(dirty_ppm_max);
        let Some((ix, plan)) = dirtiest else { return };
        let settings = self.partition(ix).and_then(|p| p.config.compact).expect("it has a plan");
        let bytes_max = self.settings.compaction_bytes_max / u64::from(self.shards.max(1));
        let keys = Keys::new(&self.seed, plan.records_max(), bytes_max);
        self.metrics.compaction_runs += 1;
        let job = Box::new(Job::new(ix, &plan, settings, keys, now));
        self.compact_next(job, now, fx);
    }

    /// An operation of the run ended.
    pub(super) fn compact_step(&mut self, now: Time, result: Result<DiskOutput, DiskError>, fx: &mut Effects) {
        let mut job = self.cleaner.job.take().expect("an operation belongs to a run");
        if !self.may_compact(job.ix) {
            return self.compact_stop(job, fx);
        }
        let output = match result {
            Ok(output) => output,
            Err(_) if job.does_without() => DiskOutput::Data(bytes::Bytes::new()),
            Err(error) => return self.compact_failed(job, &error, fx),
        };
        let p = self.partition(job.ix).expect("looked at just now");
        match job.take(p, output) {
            Ok(orphans) => {
                for path in orphans {
                    if !self.cleaner.replaced.iter().any(|old| old.paths.contains(&path)) {
                        self.ops.issue(Op::Nothing("remove what a compaction left"), DiskOp::Remove { path }, fx);
                    }
                }
            }
            Err(stop) => return self.compact_stopped(job, stop, fx),
        }
        self.compact_next(job, now, fx);
    }

    fn may_compact(&self, ix: PartitionIx) -> bool {
        let wanted = |p: &crate::partition::Partition| p.failed.is_none() && p.config.compact.is_some();
        !self.stopping && self.journal.failed.is_none() && self.partition(ix).is_some_and(wanted)
    }

    fn compact_next(&mut self, mut job: Box<Job>, now: Time, fx: &mut Effects) {
        let ix = job.ix;
        loop {
            let p = self.partitions[ix.0 as usize].as_deref().expect("a partition being compacted is kept");
            match job.ask(p, self.journal.buffers()) {
                Ok(Want::Do(what)) => {
                    self.ops.issue(Op::Compact, what, fx);
                    self.cleaner.job = Some(job);
                    return;
                }
                Ok(Want::Swap) => {
                    self.metrics.compaction_read_bytes += std::mem::take(&mut job.read_bytes);
                    let output = job.output.take().expect("it is whole");
                    if !self.swap(ix, output, fx) {
                        return self.compact_stopped(job, Stop::Changed, fx);
                    }
                }
                Ok(Want::End) => {
                    let p = self.partitions[ix.0 as usize].as_mut().expect("as above");
                    p.cleaned_to = p.cleaned_to.max(job.end);
                    // Of aborted transactions that ended below, no record is left: not in segments, and not in memory either.
                    let below = job.end.min(p.released_end);
                    p.forget_tail(below);
                    p.producers.forget_aborted(below);
                    self.metrics.compaction_read_bytes += job.read_bytes;
                    self.cleaner.no_space_told = false;
                    self.settle.checkpoint_wanted = true;
                    // There may be more to do.
                    self.cleaner.next_look = now.after(std::time::Duration::ZERO);
                    return;
                }
                Err(stop) => return self.compact_stopped(job, stop, fx),
            }
        }
    }

    /// Puts a new segment where the old ones were. `false`: they are not there any more as they were.
    fn swap(&mut self, ix: PartitionIx, output: Output, fx: &mut Effects) -> bool {
        let since = self.checkpoint_sequence;
        let p = self.partitions[ix.0 as usize].as_mut().expect("a partition being compacted is kept");
        let Output { sources, mut segment, end, is_less, .. } = output;
        let found = p.segments.iter().position(|s| (s.base, s.version) == sources[0]);
        let same = |at: usize| {
            let there = p.segments.range(at..).map(|s| (s.base, s.version));
            // The first is not about to be removed: what is done about it then would be done to the new one.
            there.take(sources.len()).eq(sources.iter().copied()) && segment_end(p, sources[0].0) > p.log_start
        };
        let at = found.filter(|at| at + sources.len() < p.segments.len() && same(*at));
        let (Some(at), true) = (at, is_less || sources.len() > 1) else {
            let path = p.segment_path_of(&segment);
            self.discard(&path, fx);
            return at.is_some();
        };
        let old: Vec<_> = p.segments.drain(at..at + sources.len()).collect();
        let old_bytes: u64 = old.iter().map(|s| s.len).sum();
        self.metrics.compaction_written_bytes += segment.len;
        self.metrics.compaction_removed_bytes += old_bytes.saturating_sub(segment.len);
        let paths = old.iter().flat_map(|s| {
            let path = p.segment_path_of(s);
            [format!("{path}.log"), format!("{path}.idx")]
        });
        let paths = paths.collect();
        segment.close(false);
        // What is gone is not shown from memory either.
        p.forget_tail(end.min(p.released_end));
        p.segments.insert(at, segment);
        self.cleaner.replaced.push(Replaced { paths, since, gone_from: [false; 2] });
        self.settle.checkpoint_wanted = true;
        true
    }

    /// A checkpoint is durable: removes the segments to which neither of the two refers.
    pub(super) fn compaction_kept(&mut self, fx: &mut Effects) {
        let sequence = self.checkpoint_sequence;
        for old in &mut self.cleaner.replaced {
            old.gone_from[(sequence % 2) as usize] |= sequence > old.since;
        }
        for old in self.cleaner.replaced.extract_if(.., |old| old.gone_from == [true; 2]) {
            for path in old.paths {
                self.ops.issue(Op::Nothing("remove a compacted segment"), DiskOp::Remove { path }, fx);
            }
        }
    }

    /// Whether a run may still make a file in this partition's folder.
    pub(super) fn is_compacting(&self, ix: PartitionIx) -> bool {
        self.cleaner.job.as_ref().is_some_and(|job| job.ix == ix)
    }

    fn compact_failed(&mut self, job: Box<Job>, error: &DiskError, fx: &mut Effects) {
        if error.kind == DiskErrorKind::NoSpace {
            if !std::mem::replace(&mut self.cleaner.no_space_told, true) {
                let line = format!("shard {}: the disk is too full to compact: {}", self.shard, error.message);
                fx.push(Effect::Log { level: LogLevel::Warn, line });
            }
            return self.compact_stop(job, fx);
        }
        self.compact_stopped(job, Stop::Damaged(error.message.clone()), fx);
    }

    fn compact_stopped(&mut self, job: Box<Job>, stop: Stop, fx: &mut Effects) {
        if let (Stop::Damaged(reason), Some(p)) = (stop, self.partition_mut(job.ix)) {
            p.uncleanable = true;
            let line = format!("partition {} is not compacted any more before a restart: {reason}", p.name);
            fx.push(Effect::Log { level: LogLevel::Warn, line });
        }
        self.compact_stop(job, fx);
    }

    /// Gives a run up: what it was writing goes, all else is as it was.
    fn compact_stop(&mut self, job: Box<Job>, fx: &mut Effects) {
        let ix = job.ix;
        self.metrics.compaction_read_bytes += job.read_bytes;
        let p = self.partitions[ix.0 as usize].as_ref().expect("a partition being compacted is kept");
        if p.removed {
            if self.is_at_rest(ix) {
                self.remove_files(ix, fx);
            }
        } else if let Some(output) = &job.output {
            let path = p.segment_path_of(&output.segment);
            self.discard(&path, fx);
        }
    }

    /// Removes a new segment that is not wanted; its index first, as that is what makes it count.
    fn discard(&mut self, path: &str, fx: &mut Effects) {
        for ending in ["idx", "log"] {
            let path = format!("{path}.{ending}");
            self.ops.issue(Op::Nothing("remove what a compaction left"), DiskOp::Remove { path }, fx);
        }
    }
}
