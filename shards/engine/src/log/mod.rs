//! One shard's storage: the journal every append goes to, the memory that serves its tail, the segments it settles into, and how all of it
//! comes back after a crash.
//!
//! Invariants:
//! - An append is acknowledged, and shown to readers, when its commit has reached the tier of its topic; commits complete in order.
//! - A block that holds acknowledged bytes is never written again before those bytes lie, synced, somewhere else and a checkpoint says so.
//! - After a failed journal write or sync nothing more is appended: what is on disk is no longer known.

mod api;

pub use api::*;

use floe_wire::ids::TopicId;

use crate::event::{Boot, DiskError, DiskOutput, Effects, OpId};
use crate::partition::Partition;
use crate::time::{Deadline, Time};

/// The highest byte of every [`OpId`] that the log gives out.
pub const OP_TAG: u8 = 0x01;

/// The log of one shard.
#[derive(Debug)]
pub struct ShardLog {}

impl ShardLog {
    /// An empty log; [`ShardLog::start`] makes it usable.
    pub fn new(_boot: &Boot, _settings: LogSettings) -> ShardLog {
        ShardLog {}
    }
    /// Recovers these partitions (topic, partition, topic name for log lines, settings); [`LogEvent::Recovered`] comes when done.
    pub fn start(&mut self, _now: Time, _partitions: Vec<(TopicId, i32, String, LogConfig)>, _fx: &mut Effects) {}
    /// A new partition, usable at once.
    pub fn create(
        &mut self,
        _now: Time,
        _topic: TopicId,
        _partition: i32,
        _name: String,
        _config: LogConfig,
    ) -> PartitionIx {
        PartitionIx(0)
    }
    /// New settings.
    pub fn configure(&mut self, _ix: PartitionIx, _config: LogConfig) {}
    /// The topic was deleted: forgets the partition and deletes its files.
    pub fn remove(&mut self, _now: Time, _ix: PartitionIx, _fx: &mut Effects) {}
    /// Where a partition is.
    pub fn find(&self, _topic: TopicId, _partition: i32) -> Option<PartitionIx> {
        None
    }
    /// A partition's state; `None` after [`ShardLog::remove`].
    pub fn partition(&self, _ix: PartitionIx) -> Option<&Partition> {
        None
    }
    /// Appends one validated batch.
    pub fn append(
        &mut self,
        _now: Time,
        _ix: PartitionIx,
        _batch: &[u8],
        _info: &BatchInfo,
        _leader_epoch: i32,
    ) -> Result<Appended, AppendError> {
        Err(AppendError::Storage("not started".into()))
    }
    /// Reads whole batches from the one that contains `from`.
    pub fn read(
        &mut self,
        _now: Time,
        _ix: PartitionIx,
        _from: i64,
        _limits: ReadLimits,
        _fx: &mut Effects,
    ) -> Result<ReadOutcome, ReadError> {
        Err(ReadError::Removed)
    }
    /// The first record (below the high watermark) whose timestamp is at least this.
    pub fn lookup_timestamp(
        &mut self,
        _now: Time,
        _ix: PartitionIx,
        _timestamp_ms: i64,
        _fx: &mut Effects,
    ) -> Result<LookupOutcome, ReadError> {
        Err(ReadError::Removed)
    }
    /// The record with the highest timestamp.
    pub fn max_timestamp(
        &mut self,
        _now: Time,
        _ix: PartitionIx,
        _fx: &mut Effects,
    ) -> Result<LookupOutcome, ReadError> {
        Err(ReadError::Removed)
    }
    /// Moves the log start up to `before` (at most the high watermark). Gives the new start and what to wait for before answering.
    pub fn delete_records(
        &mut self,
        _now: Time,
        _ix: PartitionIx,
        _before: i64,
    ) -> Result<(i64, Option<CommitSeq>), ReadError> {
        Err(ReadError::Removed)
    }
    /// A disk operation tagged [`OP_TAG`] ended.
    pub fn handle_disk(&mut self, _now: Time, _op: OpId, _result: Result<DiskOutput, DiskError>, _fx: &mut Effects) {}
    /// Submits what was appended as a commit.
    pub fn end_of_round(&mut self, _now: Time, _fx: &mut Effects) {}
    /// A deadline may have come.
    pub fn timer(&mut self, _now: Time, _fx: &mut Effects) {}
    /// When [`ShardLog::timer`] is wanted.
    pub fn next_deadline(&self) -> Option<Deadline> {
        None
    }
    /// The next thing to tell; call until `None` after each other call that takes `fx`.
    pub fn poll_event(&mut self) -> Option<LogEvent> {
        None
    }
    /// All shards have drained older generations: removes their files (on one shard).
    pub fn drop_old_generations(&mut self, _fx: &mut Effects) {}
    /// Makes everything durable, then [`LogEvent::Stopped`].
    pub fn shutdown(&mut self, _now: Time, _fx: &mut Effects) {}
    /// How full the log is.
    pub fn pressure(&self) -> Pressure {
        Pressure::default()
    }
    /// Counters.
    pub fn metrics(&self) -> LogMetrics {
        LogMetrics::default()
    }
}
