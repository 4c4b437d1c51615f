//! The messages that shards send each other. The connection's shard splits a request by owner, calls each, and puts the answers together.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use floe_wire::ids::TopicId;

use crate::event::ConnId;
use crate::group::api::{GroupAnswer, GroupCall};
use crate::log::{BatchInfo, ReadData};
use crate::metadata::{Change, ChangeDone, Image};
pub use crate::producers::Verified;
use crate::requests::Pauser;
use crate::time::Deadline;
use crate::txn::api::{TxnAnswer, TxnCall};

/// A message between shards.
#[derive(Debug)]
pub enum MeshMsg {
    /// Shard 0 shows a new image.
    Image {
        /// The image.
        image: Arc<Image>,
        /// The topics that changed; `None`: look at all.
        changed: Option<Arc<[TopicId]>>,
    },
    /// A shard uses the image of this version, or a newer one.
    ImageShown {
        /// Its version.
        version: u64,
    },
    /// Asks the controller for a change.
    Change {
        /// Comes back with the answer.
        token: u64,
        /// What.
        change: Change,
    },
    /// The controller's answer: every shard has what changed.
    Changed {
        /// As it came.
        token: u64,
        /// What became of it.
        done: ChangeDone,
    },
    /// A shard has taken over what older numbers of shards left to it.
    Drained,
    /// Work on the receiver's partitions.
    Call {
        /// Comes back with the answer.
        token: u64,
        /// What.
        call: Call,
    },
    /// The answer to a call, whole.
    Answer {
        /// As it came.
        token: u64,
        /// What came of it.
        answer: Answer,
    },
    /// A partition that a fetch watches has more to read. Comes once per call; the watch goes on until [`MeshMsg::Unwatch`].
    Wake {
        /// The fetch's.
        token: u64,
    },
    /// A fetch no longer waits.
    Unwatch {
        /// The fetch's.
        token: u64,
    },
    /// A client connected to the sender: may it stay? To shard 0, which counts the connections of every address.
    Came {
        /// The connection, on the sender.
        conn: ConnId,
        /// The client's address.
        ip: IpAddr,
    },
    /// Shard 0's answer. If it may stay it is counted.
    MayStay {
        /// As it came.
        conn: ConnId,
        /// As it came.
        ip: IpAddr,
        /// Whether.
        may_stay: bool,
    },
    /// A connection that was counted is gone. To shard 0.
    Went {
        /// The client's address.
        ip: IpAddr,
    },
    /// How much the sender's connections make it work, about once a second when that has changed.
    Load {
        /// In nanoseconds a second, estimated ([`crate::moves`]).
        ns_per_s: u64,
    },
    /// A member of this client takes in a change of its group: fetches of the client wait ([`crate::requests::Holds`]).
    HoldFetches {
        /// Whose.
        client: Arc<Pauser>,
        /// No longer than that.
        until: Deadline,
    },
    /// The member takes longer.
    HoldLonger {
        /// As it came.
        client: Arc<Pauser>,
        /// No longer than that.
        until: Deadline,
    },
    /// The member has taken it in.
    AnswerFetches {
        /// As it came.
        client: Arc<Pauser>,
    },
    /// A connection that the receiver accepted and that had moved is gone.
    Gone,
}

/// Work for the owner of partitions. `at` tells the parts of the request apart that they came with.
#[derive(Clone, Debug)]
pub enum Call {
    /// Append batches.
    Produce {
        /// They.
        parts: Vec<ProducePart>,
        /// When the request came, on the monotonic clock of [`crate::time::Time`].
        since_ns: u64,
    },
    /// Read batches.
    Fetch {
        /// Where. Shared, as a fetch may ask several times.
        parts: Arc<[FetchPart]>,
        /// Bytes of all of them together; the first batch of all may be larger.
        bytes_max: u64,
        /// Only what no open transaction holds back, with the aborted transactions of it (`read_committed`).
        committed: bool,
        /// When fewer bytes than this can be read at once, send a [`MeshMsg::Wake`] when there is more. 0: never.
        watch_below: u64,
        /// The same partitions as before, after a wake: those that had nothing then and have nothing new are left out of the answer.
        again: bool,
    },
    /// Find offsets.
    Lookup(Vec<LookupPart>),
    /// Look at partitions, or move their start.
    Visit(Vec<Visit>),
    /// End transactions: append their markers.
    Markers(Vec<MarkerPart>),
    /// Ask a transaction coordinator.
    Txn {
        /// Which part of the request.
        at: u32,
        /// What.
        call: Box<TxnCall>,
    },
    /// Ask a group.
    Group {
        /// Which part of the request.
        at: u32,
        /// What.
        call: Box<GroupCall>,
    },
}

/// Where a part stands in its request, and its answer in the response: index of the topic, index of the partition in it.
pub type Place = (u32, u32);

/// One batch.
#[derive(Clone, Debug)]
pub struct ProducePart {
    /// Which part of the request.
    pub at: Place,
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// The batch, found good.
    pub batch: Bytes,
    /// What its header says.
    pub info: BatchInfo,
    /// For a transactional batch that was sent before: its coordinator has vouched for it, with the guard of [`Produced::guard`].
    pub verified: Option<Verified>,
}

/// The end of a transaction on one partition.
#[derive(Clone, Debug)]
pub struct MarkerPart {
    /// Which part of the call; comes back with the answer. The caller's own.
    pub at: u32,
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// What ends, and how.
    pub marker: Marker,
}

/// What a transaction coordinator writes to each partition of a transaction that has ended (Kafka's WriteTxnMarkers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The producer whose transaction it was.
    pub producer_id: i64,
    /// The epoch of the marker: that of the transaction's records, or with `transaction_version` 2 a greater one (KIP-890).
    pub producer_epoch: i16,
    /// The epoch of the coordinator that writes it: one that is older than that of an earlier marker of the producer is refused.
    pub coordinator_epoch: i32,
    /// Committed, or aborted.
    pub committed: bool,
    /// The level of the feature `transaction.version` that the transaction ran with: 0, 1 or 2. From 2 on a marker of the epoch of an open
    /// transaction is refused: it is a late one of the transaction before.
    pub transaction_version: i16,
}

/// What became of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// As it came.
    pub at: u32,
    /// `NONE`, or Kafka's code. The coordinator is to try again after: `NOT_ENOUGH_REPLICAS` (no room at this moment), `KAFKA_STORAGE_ERROR`
    /// (until a restart has mended the partition), `NOT_LEADER_OR_FOLLOWER` (the broker is stopping). It is to give the partition up after:
    /// `UNKNOWN_TOPIC_OR_PARTITION` (deleted), `INVALID_PRODUCER_EPOCH` (a newer epoch has been here: this transaction is over),
    /// `TRANSACTION_COORDINATOR_FENCED` (a newer coordinator has been here).
    pub error_code: i16,
}

/// A place to read from.
#[derive(Clone, Debug)]
pub struct FetchPart {
    /// Which part of the request.
    pub at: u32,
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub offset: i64,
    /// Bytes, at most.
    pub bytes_max: u64,
    /// Bytes behind the first batch, at most.
    pub share: u64,
}

/// An offset to find.
#[derive(Clone, Debug)]
pub struct LookupPart {
    /// Which part of the request.
    pub at: Place,
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// Timestamp, or one of the constants of `floe_wire::messages::list_offsets`.
    pub timestamp: i64,
    /// Only what no open transaction holds back (`read_committed`).
    pub committed: bool,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of a produce.
    Produced {
        /// By batch.
        parts: Vec<Produced>,
        /// When the last of them had reached its tier, on the monotonic clock.
        durable_ns: u64,
    },
    /// Of a fetch.
    Fetched {
        /// By partition.
        parts: Vec<Fetched>,
        /// Whether a [`MeshMsg::Wake`] will come when there is more.
        watches: bool,
    },
    /// Of a lookup.
    Found(Vec<Found>),
    /// Of visits; starts that were moved are durable.
    Visited(Vec<Visited>),
    /// Of markers; those without an error are durable (stable storage, whatever the topic's tier).
    Marked(Vec<Marked>),
    /// Of a transaction coordinator; what it tells is durable. It may take as long as an end that is under way.
    Txn {
        /// Which part of the request.
        at: u32,
        /// Its answer.
        answer: Box<TxnAnswer>,
    },
    /// Of a group; what it tells is durable. It may take as long as a rebalance.
    Group {
        /// Which part of the request.
        at: u32,
        /// Its answer.
        answer: Box<GroupAnswer>,
    },
}

/// A partition to look at, or to move the start of.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Which part of the request.
    pub at: u32,
    /// Topic.
    pub topic: TopicId,
    /// Partition.
    pub partition: i32,
    /// What for.
    pub errand: Errand,
}

/// What a visit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Move the start of the partition: gives [`Seen::LogStart`].
    Trim {
        /// The first offset that stays; -1 is the high watermark.
        before: i64,
    },
    /// Where it ends for readers: gives [`Seen::End`].
    End,
    /// Who writes to it: gives [`Seen::Producers`].
    Producers,
    /// How large it is: gives [`Seen::Bytes`].
    Size,
}

/// What became of a visit.
#[derive(Clone, Debug)]
pub struct Visited {
    /// Which part of the request.
    pub at: u32,
    /// What was seen, or Kafka's error code.
    pub result: Result<Seen, i16>,
}

/// What a visit sees.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The first offset.
    LogStart(i64),
    /// The high watermark.
    End(i64),
    /// Idempotent producers, by rising id.
    Producers(Vec<ProducerSeen>),
    /// Bytes of all batches.
    Bytes(u64),
}

/// An idempotent producer.
#[derive(Clone, Copy, Debug)]
pub struct ProducerSeen {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence of its last record, or -1.
    pub last_sequence: i32,
    /// Timestamp of its last batch, or -1.
    pub last_timestamp_ms: i64,
    /// Epoch of the coordinator that ended its last transaction, or -1.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, or -1.
    pub txn_first_offset: i64,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Produced {
    /// Which part of the request.
    pub at: Place,
    /// Kafka's error code.
    pub error_code: i16,
    /// Why, for people.
    pub message: Option<String>,
    /// Offset of its first record, or -1.
    pub base_offset: i64,
    /// The broker's timestamp, or -1.
    pub append_time_ms: i64,
    /// First offset of the partition, or -1.
    pub log_start: i64,
    /// Nothing was appended, as it would open a transaction here that nobody has vouched for: ask its coordinator, then send the batch again as
    /// [`Verified`] with this.
    pub guard: Option<u64>,
}

/// What was read of a partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which part of the request.
    pub at: u32,
    /// Kafka's error code.
    pub error_code: i16,
    /// The high watermark, or -1.
    pub high_watermark: i64,
    /// The last stable offset, or -1.
    pub last_stable: i64,
    /// First offset of the partition, or -1.
    pub log_start: i64,
    /// Offset that the partition's next record gets, or -1.
    pub log_end: i64,
    /// The batches.
    pub data: ReadData,
    /// Of a fetch of what is committed: aborted transactions with records in `data`, by producer and first offset.
    pub aborted: Vec<(i64, i64)>,
}

/// An offset that was looked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which part of the request.
    pub at: Place,
    /// Kafka's error code.
    pub error_code: i16,
    /// The record's timestamp, or -1.
    pub timestamp_ms: i64,
    /// The offset, or -1.
    pub offset: i64,
}
