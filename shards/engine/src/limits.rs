//! Every bound of the engine with its unit, and the assertions that relate them. A number that limits something and is
//! not a setting stands here and nowhere else.

use std::time::Duration;

/// Alignment and granularity of direct I/O, in bytes. 4 KiB: the logical block of every disk in use, and the page size.
pub const BLOCK_BYTES: u64 = 4096;

/// The smallest frame that can be a request: api key and version, 2 bytes each.
pub const FRAME_BYTES_MIN: u32 = 4;

/// Journal commits under way at once on one shard. More hide the latency of a device that syncs in parallel; each costs a commit buffer.
pub const COMMITS_IN_FLIGHT_MAX: usize = 4;

/// Bytes from which a commit is written beside another one that is under way. Below, a write costs mostly its submission and completion
/// (here 120 us of device time and about as much CPU), and what waits for the one before shares its own.
pub const COMMIT_BYTES_BESIDE: usize = 64 << 10;

/// Bytes up to which a commit that need not be durable goes through the page cache: copying it is cheaper than waiting for the device. Above, the
/// copy costs more CPU than the wait is worth.
pub const COMMIT_BYTES_CACHED_MAX: usize = 64 << 10;

/// Bytes of entries in one journal commit. A commit is one write; larger ones gain nothing (measured: flat past 1 MiB) and delay those behind.
/// A single batch larger than this gets a commit of its own size.
pub const COMMIT_BYTES_MAX: u64 = 1 << 20;

/// Requests of one connection at work: begun and not yet answered. Kafka takes one at a time; the order of answers is the same.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// Clients whose fetches wait at once, on one shard, because a member of theirs takes in a change of its group. Those of others are answered.
pub const HOLDS_MAX: usize = 1024;

/// How much earlier a client's fetches begin to wait than its member hears of its assignment: what was answered before is read by then, most likely, by
/// a client that shares its core with others.
pub const HOLD_LEAD: Duration = Duration::from_millis(3);

/// How many times `rebalance.fetch.hold.ms` a fetch waits while the member commits what it is to give up.
pub const HOLD_COMMITS: u32 = 10;

/// A partition is followed, not caught up with, when an answer to a fetch comes to its end with no more bytes than this.
pub const TRICKLE_BYTES_MAX: u64 = 16 << 10;

/// How long a connection counts as following after such an answer.
pub const FOLLOWS_FOR: Duration = Duration::from_secs(1);

/// Batches an idempotent producer may have in flight (Kafka: max.in.flight.requests.per.connection <= 5), and so the length of the window in which
/// a repeat is recognised.
pub const PRODUCER_WINDOW_BATCHES: usize = 5;

/// Bytes of one commit that go straight to segments, beside one batch that is larger.
pub const DIRECT_BYTES_MAX: usize = 4 << 20;
/// Files that one commit writes to straight: each is a write and a flush of its own.
pub const DIRECT_PIECES_MAX: usize = 8;
/// Segments of a shard held open to be written to straight.
pub const DIRECT_FILES_MAX: usize = 256;
/// Bytes of batches in the journal that are written to the segment along with one that goes straight to it; with more of them settling comes
/// first, at full speed; at 1 GB/s some 40 MB have come again when that is done.
pub const DIRECT_HEAD_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one read of a segment for a client, and so of what it brings to an answer, unless a single batch is larger.
pub const COLD_READ_BYTES_MAX: u64 = 1 << 20;
/// Bytes of segments that a shard reads at once for clients: two reads, so that the device has the next piece while one is on its way back. A single
/// larger read goes alone.
pub const COLD_BYTES_MAX: u64 = 2 * (COLD_READ_BYTES_MAX + BLOCK_BYTES);
/// Reads of segments under way or done before a client has asked for them; each has a megabyte at most.
pub const READS_AHEAD_MAX: usize = 16;
/// Segments of a shard kept open from one round of settling to the next.
pub const SETTLE_FILES_MAX: usize = 2048;

/// Bytes of records that compaction looks at in one round of a shard, and of one of its reads and writes; a single larger batch is one round's.
pub const COMPACTION_STEP_BYTES: u64 = 256 << 10;

const _: () = assert!(COMPACTION_STEP_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(COMMIT_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// Bytes of one change in the metadata log: creating some ten thousand topics with settings fits.
pub const METADATA_FRAME_BYTES_MAX: usize = 16 << 20;

/// Bytes of the metadata log that are read at start.
pub const METADATA_BYTES_MAX: u64 = 1 << 30;

/// Deleted topics that are remembered, so that a start can remove what a crash left of their files.
pub const DELETED_TOPICS_MAX: usize = 100_000;

/// Changes that wait for the one before; more are refused.
pub const CHANGES_WAITING_MAX: usize = 4096;

/// Resources that one DescribeConfigs describes: each takes some kilobytes of answer for a few bytes of request.
pub const DESCRIBED_RESOURCES_MAX: usize = 10_000;

/// Partitions in one answer to DescribeTopicPartitions (Kafka: max.request.partition.size.limit).
pub const DESCRIBED_PARTITIONS_MAX: i32 = 2000;

/// Partitions that one request makes (Kafka's number): they are made on their shards without a pause.
pub const NEW_PARTITIONS_MAX: i32 = 10_000;

/// Partitions of one topic.
pub const PARTITIONS_MAX: i32 = 100_000;

/// Length of a topic's name in bytes (Kafka: a folder's name with room for `-<partition>`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Producer ids that a shard takes at once (Kafka's block).
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Free bytes on the data directory's file system below which no records are taken: room for the metadata log, checkpoints and what is settled.
pub const DISK_RESERVE_BYTES: u64 = 128 << 20;

/// Bytes beyond that from which records are taken again, once they were not: what settling alone moves to and fro shall not open and shut.
pub const DISK_RESUME_BYTES: u64 = 64 << 20;

/// How long a batch waits for room in the journal that is being made, in milliseconds, before it is refused: a third of the time after which clients
/// give a request up (Kafka's `request.timeout.ms`: 30 s).
pub const PRODUCE_HOLD_MS_MAX: u64 = 10_000;

/// Memory of batches that wait for such room on one shard, in bytes; what comes beyond is refused. As much as `memory.bytes` holds by default, and
/// true also when those who sent them have gone.
pub const HELD_BYTES_MAX: u64 = 256 << 20;

/// Records of one batch that an error answer names; the first ones.
pub const RECORD_ERRORS_MAX: usize = 100;

/// Partitions in all fetch sessions of one shard. At some 150 bytes each: 40 MB.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 1 << 18;

/// How long a fetch session stays unused before it may go for a new one, in milliseconds (Kafka's number).
pub const FETCH_SESSION_IDLE_MS: u64 = 120_000;

/// Bytes in memory of one connection's unsent answers past which none of its requests is begun. One answer may be larger.
pub const UNSENT_BYTES_MAX: u64 = 8 << 20;

/// Memory that small answers are written into one behind the other, in bytes: an allocation for some fifty. All of it is held as long as one of them
/// is not sent, so it stays small.
pub const SHARED_ANSWERS_BYTES: usize = 4 << 10;

/// Answers to Produce kept for their memory when they have been given, for the next ones: as many as a busy round has.
pub const SPARE_ANSWERS_MAX: usize = 256;

/// Room for partitions that an answer kept so may have.
pub const SPARE_PARTITIONS_MAX: usize = 16;

/// What a fetch may always answer, in bytes, however much memory unsent answers hold: less would not be worth its overhead.
pub const ANSWER_BYTES_MIN: u64 = 64 << 10;

/// How long an answer may lie unread while `memory.bytes` is spent, in milliseconds, before its connection is closed. Clients time out about then
/// as well (Kafka's `request.timeout.ms`: 30 s).
pub const SLOW_READER_MS: u64 = 30_000;

/// How often such connections are looked for while `memory.bytes` is spent, in milliseconds.
pub const SLOW_READER_CHECK_MS: u64 = 1000;

const _: () = assert!(ANSWER_BYTES_MIN <= UNSENT_BYTES_MAX);
const _: () = assert!(SLOW_READER_CHECK_MS < SLOW_READER_MS);

/// Topics and partitions that one Produce, Fetch or ListOffsets may name: answers take hundreds of bytes for each, of requests as small as 8 bytes
/// for each. A client with more on one broker asks in turns.
pub const REQUEST_PARTITIONS_MAX: usize = 200_000;

/// Connections that one shard gives to others within a second. Each costs some system calls on both sides; a thousand new ones find their places
/// in seconds.
pub const MOVES_PER_SECOND_MAX: u32 = 64;

/// What a request costs the shard of its connection, in nanoseconds, beside its bytes: about what a small produce was measured at. It only weighs
/// connections against each other.
pub const REQUEST_COST_NS: u64 = 4000;

/// What 1024 bytes of requests and answers cost that shard, in nanoseconds (0.6 s a GB).
pub const KIBIBYTE_COST_NS: u64 = 600;

/// The load, in nanoseconds a second, up to which a shard takes connections in however little the others have to do: half a core.
pub const LOAD_LIGHT_NS: u64 = 500_000_000;

/// Lines that one decision of a group coordinator writes to the log, such as one for each offset that goes back.
pub const AUDIT_LINES_MAX: usize = 100;

/// Committed offsets that a shard compares with the ends of their partitions in one round, see [`OFFSET_LOOKS_MS`]; what was committed beside them is not.
pub const OFFSET_LOOKS_MAX: usize = 1024;

/// Between an offset that is committed and its comparison with the end of its partition, with all that came meanwhile: nothing waits for it.
pub const OFFSET_LOOKS_MS: u64 = 1000;

/// Groups whose coordinator one shard is; what would make another is answered COORDINATOR_NOT_AVAILABLE.
pub const GROUPS_MAX: usize = 1 << 20;

/// Members of one group that were given an id and have not come back with it (KIP-394): an id costs the client nothing.
pub const PENDING_MEMBERS_MAX: usize = 10_000;

/// Offsets that one decision lets expire, or deletes with their group; the rest is for the next one.
pub const OFFSETS_EXPIRED_AT_ONCE: usize = 1000;

/// How long a new classic member may wait in a join, in milliseconds (Kafka's number): it cannot send heartbeats, and its connection may be gone.
pub const NEW_MEMBER_JOIN_MS: u64 = 300_000;

/// Bytes of a partition of `__consumer_offsets` that are read into its coordinator in one step: some thousand records, so some milliseconds.
pub const GROUP_LOAD_BYTES: u64 = 256 << 10;

/// Partitions of `__consumer_offsets` that are looked at in one such step, as most are empty.
pub const GROUP_LOADS_AT_ONCE: usize = 256;

/// Bytes of records of one decision of a group coordinator, which are one batch. A KIP-848 group with thousands of members fits.
pub const GROUP_BATCH_BYTES_MAX: usize = 8 << 20;

/// Decisions that are due which are carried out between two inputs.
pub const GROUP_DECISIONS_AT_ONCE: usize = 256;

/// After what time what is due is tried again when it could not be written, such as the end of a rebalance, in milliseconds.
pub const GROUP_RETRY_MS: u64 = 1000;

/// Rounds in which the assignor `uniform` evens out groups of different subscriptions. Two or three do; what is left after the last is valid, less even.
pub const UNIFORM_ROUNDS_MAX: usize = 64;

/// Bytes of a regular expression that a group's member subscribes with. Many times what names of topics could need.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// Memory that one compiled expression may take, in bytes, and as much again while it is matched; it lives for one matching.
pub const EXPRESSION_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// The shortest time between two matchings of a group's expressions against all topics, in milliseconds (Kafka: 10 s).
pub const EXPRESSION_MATCH_MS: u64 = 1000;

/// Aborted transactions that one partition remembers, as long as records of them may be in its log (32 bytes each, in memory and in the checkpoint).
/// With as many, no transaction begins there before retention, DeleteRecords or compaction have removed some.
pub const ABORTED_MAX: usize = 1 << 20;

/// Aborted and open transactions that all partitions of one shard remember together: 64 MiB. With as many, none begins on the shard: nobody can fill memory
/// by aborting on many partitions.
pub const ABORTED_SHARD_MAX: usize = 1 << 21;

const _: () = assert!(ABORTED_MAX <= ABORTED_SHARD_MAX);

/// Producers of one partition whose transaction's coordinator is being asked whether a batch may open a transaction.
pub const GUARDS_MAX: usize = 10_000;

/// How often the coordinator is asked about one produce, as what it says may be void by the end of the transaction before. That end comes once; a client
/// that ends transactions faster than it is vouched for is told INVALID_TXN_STATE.
pub const VOUCH_ROUNDS_MAX: u32 = 3;

/// How long such an answer is waited for, in milliseconds.
pub const GUARD_MS_MAX: i64 = 60_000;

/// Transactional ids whose coordinator one shard is; what would make another is answered COORDINATOR_NOT_AVAILABLE.
pub const TXNS_MAX: usize = 1 << 20;

/// Partitions of one transaction: each request that adds one writes all of them down.
pub const TXN_PARTITIONS_MAX: usize = 100_000;

/// Requests that wait for the end of one transaction; the next is answered CONCURRENT_TRANSACTIONS.
pub const TXN_WAITING_MAX: usize = 100;

/// How long they wait, in milliseconds: Kafka's brokers ask that long in each other's place, far more than markers take.
pub const TXN_WAIT_MS: u64 = 1000;

/// After what time a marker that a partition did not take is sent again, in milliseconds.
pub const MARKER_RETRY_MS: u64 = 100;
/// How often that time is doubled while it goes on refusing: up to 1.6 s.
pub const MARKER_RETRY_DOUBLINGS: u32 = 4;
