//! What a transaction coordinator is asked and what it answers: owned values, one per transactional id, free of the protocol's versions.
//!
//! `requests/txn/` makes them of what clients send; the produce path and TxnOffsetCommit ask by [`TxnRequest::AddPartitions`] for the partitions that a
//! producer writes to. Whoever asks finds the coordinator by [`crate::group::partition_of`] of the transactional id over the partitions of
//! [`super::TXN_TOPIC`], and sends `Call::Txn` to the shard that owns that partition; the answer comes back as `Answer::Txn`, once.

use crate::group::Name;

/// A request to the coordinator of one transactional id.
#[derive(Clone, Debug)]
pub struct TxnCall {
    /// The partition of `__transaction_state` that holds the id. For [`TxnRequest::List`]: the partition listed.
    pub partition: i32,
    /// The transactional id; empty for [`TxnRequest::List`].
    pub id: Name,
    /// What is asked.
    pub request: TxnRequest,
}

/// A producer as it names itself: its id and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// What is asked of a transactional id.
#[derive(Clone, Debug)]
pub enum TxnRequest {
    /// InitProducerId with a transactional id.
    Init {
        /// How long its transactions may take, in milliseconds.
        timeout_ms: i32,
        /// Who the caller is already (KIP-360), if it told.
        known: Option<Producer>,
        /// A producer id that nobody else was given, used when a new one is needed.
        fresh: i64,
    },
    /// The transaction is to write to these partitions. AddPartitionsToTxn, AddOffsetsToTxn (the group's partition of `__consumer_offsets`), Produce and
    /// TxnOffsetCommit. Partitions are known to exist. Adding what is there already costs no record.
    AddPartitions {
        /// Who writes. Another epoch than the current one is PRODUCER_FENCED, another id INVALID_PRODUCER_ID_MAPPING.
        producer: Producer,
        /// By topic name.
        topics: Vec<(Name, Vec<i32>)>,
        /// How.
        adding: Adding,
        /// All of them lie on the coordinator's shard, and whoever asks only appends to them there: as that goes behind this in one journal, the answer
        /// need not wait until this is durable.
        beside: bool,
    },
    /// EndTxn.
    End {
        /// Who ends it.
        producer: Producer,
        /// Whether what was written counts.
        committed: bool,
        /// EndTxn 5 and above: the end gives the producer another epoch (KIP-890).
        bumps_epoch: bool,
        /// A producer id that nobody else was given. Needed when `producer.epoch` is one of the last; see [`needs_fresh`].
        fresh: Option<i64>,
    },
    /// DescribeTransactions.
    Describe,
    /// ListTransactions, of one partition of `__transaction_state`.
    List(TxnFilter),
}

/// How partitions come into a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adding {
    /// The client said so (AddPartitionsToTxn, AddOffsetsToTxn): transaction version 1.
    Named,
    /// By writing to them (Produce 12 and above, TxnOffsetCommit 5 and above): transaction version 2.
    Implicit,
    /// Not at all: are they there (Produce 11 and below, TxnOffsetCommit 4 and below)? A partition that is not there is TRANSACTION_ABORTABLE, which the
    /// asker turns into INVALID_TXN_STATE for clients that do not know it.
    Verify,
}

/// Its answer. `Err` is Kafka's error code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnAnswer {
    /// Of an init: the producer's identity from now on.
    Initialized(Result<Producer, i16>),
    /// Of added or verified partitions: an error of the whole, or codes by topic and partition, in their order.
    Added(Result<Vec<Vec<i16>>, i16>),
    /// Of an end: the producer's identity from now on (for those whose end bumps the epoch).
    Ended(Result<Producer, i16>),
    /// Of a describe.
    Described(Result<DescribedTxn, i16>),
    /// Of a list.
    Listed(Result<Vec<ListedTxn>, i16>),
}

/// A transactional id, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTxn {
    /// As Kafka writes it.
    pub state: &'static str,
    /// Its producer.
    pub producer: Producer,
    /// In milliseconds.
    pub timeout_ms: i32,
    /// When the transaction began, in milliseconds since 1970, or -1.
    pub start_ms: i64,
    /// The partitions of the transaction by topic.
    pub topics: Vec<(Name, Vec<i32>)>,
}

/// Which transactional ids to list; empty: all.
#[derive(Clone, Debug, Default)]
pub struct TxnFilter {
    /// Names of states, as Kafka writes them.
    pub states: Vec<String>,
    /// Producers' ids.
    pub producers: Vec<i64>,
    /// Only those that have been open for longer than this, in milliseconds; negative: all.
    pub longer_than_ms: i64,
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTxn {
    /// The transactional id.
    pub id: Name,
    /// Its producer's id.
    pub producer_id: i64,
    /// As Kafka writes it.
    pub state: &'static str,
}

/// Whether the end of a transaction at this epoch may need a new producer id: no client is given the last epoch, so that it can always be fenced.
pub fn needs_fresh(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}
