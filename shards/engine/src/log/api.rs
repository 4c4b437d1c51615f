//! The types of the log's interface to the rest of a shard: names, settings, outcomes, events. Plain data, no rules.

use floe_wire::batch::BatchHeader;
use floe_wire::ids::TopicId;

use crate::event::ReplyPart;
use crate::metrics::Histogram;

/// A partition on its shard: dense, given out by [`super::ShardLog::create`], not used again while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionIx(pub u32);

/// The number of a journal commit: what was appended with it has reached its durability tier once [`LogEvent::Committed`] names this or a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitSeq(pub u64);

/// What a record has reached before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tier {
    /// Stable storage.
    #[default]
    Flushed,
    /// The kernel: lost when the machine fails, not when the process does.
    Written,
    /// This process's memory.
    Memory,
}

/// The settings of a partition's log, resolved by the broker from topic and broker configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// What an acknowledgement promises.
    pub tier: Tier,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `retention.ms`; -1: no limit.
    pub retention_ms: i64,
    /// `retention.bytes`; -1: no limit.
    pub retention_bytes: i64,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `cleanup.policy` has `delete`: old records go by age and size.
    pub delete: bool,
    /// `cleanup.policy` has `compact`: of records with the same key the last one stays.
    pub compact: Option<Compaction>,
}

/// How a partition is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_ppm: u32,
    /// `min.compaction.lag.ms`.
    pub lag_ms_min: i64,
    /// `max.compaction.lag.ms`.
    pub lag_ms_max: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { dirty_ratio_ppm: 500_000, lag_ms_min: 0, lag_ms_max: i64::MAX, delete_retention_ms: 86_400_000 }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            tier: Tier::Flushed,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            log_append_time: false,
            delete: true,
            compact: None,
        }
    }
}

/// The settings of a shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Space of the journal, at most, in bytes.
    pub journal_bytes: u64,
    /// Size of one journal file in bytes, a multiple of the block; also the bound of one batch. At least three files make a journal.
    pub journal_file_bytes: u64,
    /// Memory for commits, unsettled and cached, in bytes.
    pub cache_bytes: u64,
    /// Unsettled bytes at which a settle round begins; lowered by the log to what journal and cache can bear.
    pub settle_bytes: u64,
    /// Bytes of entries in one commit.
    pub commit_bytes_max: u64,
    /// How long a commit with few bytes waits for more, in microseconds, while nothing is under way. 0: not at all.
    pub commit_wait_us: u64,
    /// Batches from this size on are written straight to their segment, in bytes; the journal holds their commit alone. 0: none.
    pub direct_bytes: u64,
    /// What the device is asked for at once of a read for a client, in bytes: larger ones go in pieces.
    pub cold_read_bytes: u64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// `log.cleaner.enable`.
    pub compaction: bool,
    /// `log.cleaner.backoff.ms`.
    pub compaction_backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`: of all shards together.
    pub compaction_bytes_max: u64,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings {
            journal_bytes: 256 << 20,
            journal_file_bytes: 16 << 20,
            cache_bytes: 128 << 20,
            settle_bytes: 48 << 20,
            commit_bytes_max: crate::limits::COMMIT_BYTES_MAX,
            commit_wait_us: 0,
            direct_bytes: 768 << 10,
            cold_read_bytes: 128 << 10,
            producer_expiration_ms: 86_400_000,
            retention_check_ms: 300_000,
            compaction: true,
            compaction_backoff_ms: 15_000,
            compaction_bytes_max: 128 << 20,
        }
    }
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// The time given to the batch, with `message.timestamp.type=LogAppendTime`.
    pub append_time_ms: Option<i64>,
    /// When it may be acknowledged; `None`: now.
    pub wait: Option<CommitSeq>,
}

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The log has this batch already: answer with its offset, once `wait` is over.
    Duplicate {
        /// As it was given then.
        base_offset: i64,
        /// As it was given then.
        append_time_ms: Option<i64>,
        /// When the first one may be acknowledged.
        wait: Option<CommitSeq>,
    },
    /// The producer's sequence has a gap or goes back past the window.
    OutOfOrderSequence {
        /// What would have been right.
        expected: i32,
        /// What came.
        got: i32,
    },
    /// A newer instance of the producer has written.
    InvalidProducerEpoch {
        /// The newest epoch known.
        known: i16,
        /// What came.
        got: i16,
    },
    /// It would open a transaction that nobody has vouched for: ask its coordinator, then append it again as verified.
    Unverified {
        /// To be given back with the answer.
        guard: u64,
    },
    /// It does not fit the producer's transaction: for people.
    NotInTransaction(&'static str),
    /// A newer transaction coordinator has written the end of a transaction.
    CoordinatorFenced {
        /// Its epoch.
        known: i32,
        /// What came.
        got: i32,
    },
    /// Too many transactions to remember another one: retriable.
    TooManyTransactions,
    /// The partition or the journal has failed; the reason for the log line.
    Storage(String),
    /// The batch can never fit a journal file.
    TooLarge {
        /// The bound in bytes.
        bytes_max: u64,
    },
    /// No room before something has settled: retriable.
    Full,
    /// The log has been shut down (or never started).
    Closed,
}

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes, at most.
    pub bytes_max: u64,
    /// Bytes behind the first batch, at most: that one may be larger.
    pub share: u64,
    /// Give the first batch even when it is larger than `bytes_max`.
    pub at_least_one: bool,
    /// Read batches below this offset only (high watermark or last stable offset).
    pub up_to: i64,
}

impl ReadLimits {
    /// Whether `bytes` more are over what may be given in all when there are `so_far`.
    pub(crate) fn are_passed(&self, so_far: u64, bytes: u64) -> bool {
        so_far + bytes > self.bytes_max || (so_far > 0 && so_far + bytes > self.share)
    }

    /// The most that is given, but for a single batch.
    pub(crate) fn most(&self) -> u64 {
        self.bytes_max.min(self.share)
    }
}

/// Whole batches, consecutive, the first of which contains the offset asked for.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    /// The bytes.
    pub parts: Vec<ReplyPart>,
    /// Their number.
    pub bytes: u64,
    /// Offset behind the last of them, when there are some.
    pub end: i64,
}

/// Names a read or a lookup that waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadTicket(pub u64);

/// What a read came to.
#[derive(Clone, Debug)]
pub enum ReadOutcome {
    /// Here it is.
    Ready(ReadData),
    /// [`LogEvent::ReadDone`] will bring it.
    Cold(ReadTicket),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Below the log start or past the log end.
    OffsetOutOfRange,
    /// The partition has failed; the reason.
    Storage(String),
    /// It was removed while the read was under way.
    Removed,
    /// No room in the journal at this moment (DeleteRecords): retriable.
    Full,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds.
    pub timestamp_ms: i64,
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupOutcome {
    /// The record, if there is one.
    Ready(Option<Found>),
    /// [`LogEvent::LookupDone`] will bring it.
    Cold(ReadTicket),
}

/// What the log tells its shard; taken with [`super::ShardLog::poll_event`].
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Recovery is over: the log can be used.
    Recovered,
    /// Everything of older numbers of shards now lies in this shard's own journal and checkpoint. When all shards have said so, one of
    /// them calls [`super::ShardLog::drop_old_generations`].
    OldGenerationsDrained,
    /// Appends that wait for this number or a lower one may be acknowledged.
    Committed {
        /// The number.
        up_to: CommitSeq,
    },
    /// The high watermark moved.
    Advanced {
        /// Whose.
        ix: PartitionIx,
    },
    /// The log start moved (DeleteRecords, retention).
    Trimmed {
        /// Whose.
        ix: PartitionIx,
    },
    /// A cold read ended.
    ReadDone {
        /// Which.
        ticket: ReadTicket,
        /// How.
        result: Result<ReadData, ReadError>,
    },
    /// A cold lookup ended.
    LookupDone {
        /// Which.
        ticket: ReadTicket,
        /// How.
        result: Result<Option<Found>, ReadError>,
    },
    /// The partition is damaged: it answers with a storage error from now on. Logged already.
    Failed {
        /// Which.
        ix: PartitionIx,
        /// File, place, what to do.
        reason: String,
    },
    /// The journal can no longer be trusted: nothing can be appended on this shard. Logged already.
    JournalFailed {
        /// What happened.
        reason: String,
    },
    /// The answer to [`super::ShardLog::shutdown`].
    Stopped,
}

/// How full the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Memory held by commits.
    pub memory_bytes: u64,
    /// Journal or memory is full, and room is being made: stop taking requests until there is. Never on a full disk.
    pub stalled: bool,
}

/// Counters of a shard's log; only ever growing unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct LogMetrics {
    /// Commits completed.
    pub commits: u64,
    /// Commits that were written durably (DSYNC or followed by a sync).
    pub commits_flushed: u64,
    /// Batches appended.
    pub batches: u64,
    /// Bytes of batches appended.
    pub batch_bytes: u64,
    /// Bytes written to the journal, with headers and padding.
    pub journal_bytes: u64,
    /// Batches written straight to their segment.
    pub direct_batches: u64,
    /// Bytes written straight to segments, with what went along of batches before.
    pub direct_bytes: u64,
    /// Batches whose commit completed, by the tier they reached before it: flushed, written, memory.
    pub acks: [u64; 3],
    /// From the first batch of a commit to its submission: it waits for commits before it, for company, for room.
    pub commit_wait_ns: Histogram,
    /// From a commit's submission to its completion: the device.
    pub commit_ns: Histogram,
    /// Settle rounds.
    pub settle_rounds: u64,
    /// Bytes written to segments.
    pub settled_bytes: u64,
    /// Bytes carried forward in the journal.
    pub carried_bytes: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Reads answered from memory.
    pub reads_hot: u64,
    /// Reads answered by file ranges of verified chunks.
    pub reads_sent_from_file: u64,
    /// Reads that waited for the disk.
    pub reads_cold: u64,
    /// Segments removed by retention or DeleteRecords.
    pub segments_removed: u64,
    /// Runs of compaction begun.
    pub compaction_runs: u64,
    /// Bytes of segments that compaction has read to write them anew.
    pub compaction_read_bytes: u64,
    /// Bytes of segments that it has written.
    pub compaction_written_bytes: u64,
    /// Bytes by which segments have become smaller.
    pub compaction_removed_bytes: u64,
    /// The highest share of bytes not compacted of any partition, in millionths, when it was last looked for (goes up and down).
    pub compaction_dirty_ppm_max: u64,
    /// Bytes in the journal that are not settled yet (goes up and down).
    pub unsettled_bytes: u64,
    /// Memory held by commits (goes up and down).
    pub memory_bytes: u64,
}

/// Bytes of one batch with what the log wants to know of it: `floe_wire::batch::validate` has looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// As the client sent it; the log gives it another.
    pub base_offset: i64,
    /// Offset of the last record, relative to the first.
    pub last_offset_delta: i32,
    /// Number of records.
    pub record_count: i32,
    /// Timestamp of the first record in ms.
    pub base_timestamp: i64,
    /// Highest timestamp in ms.
    pub max_timestamp: i64,
    /// Of the leader that appended it; the log stamps it.
    pub leader_epoch: i32,
    /// -1: not idempotent.
    pub producer_id: i64,
    /// Epoch of the producer.
    pub producer_epoch: i16,
    /// Sequence of the first record.
    pub base_sequence: i32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: i16,
    /// All bytes of the batch.
    pub bytes: u64,
    /// Of a control batch: the end of a transaction it stands for, if it was looked for ([`super::ShardLog`]'s own reading does).
    pub end: Option<TxnEnd>,
}

/// The end of a transaction, as a control batch tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnEnd {
    /// Committed, or aborted.
    pub committed: bool,
    /// Epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

impl BatchInfo {
    /// Offset of its last record; nothing on the disk makes it overflow.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Whether its records belong to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds no data, but the end of a transaction.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// From a header.
    pub fn of(header: &BatchHeader) -> BatchInfo {
        BatchInfo {
            base_offset: header.base_offset,
            last_offset_delta: header.last_offset_delta,
            record_count: header.records_count,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            leader_epoch: header.partition_leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            attributes: header.attributes,
            bytes: header.total_bytes() as u64,
            end: None,
        }
    }
}

/// A partition's name on disk: `<topic id>-<partition>`.
pub fn folder_name(topic: TopicId, partition: i32) -> String {
    format!("{}-{partition}", topic.to_hex())
}
