//! Transactions: producers with transactional ids that commit, abort, fall silent, lose answers, are taken over and go on all the same; requests that come
//! a second time, late and on another connection; readers of committed records; and the last look, which must find nothing open.
//!
//! One file for the producer (`producer.rs`, with `batches.rs` for what it has sent of a transaction, and
//! `copier.rs` for one that copies and commits offsets), one for readers (`reader.rs`), one for late requests
//! (`ghost.rs`), one for the last look (`inspector.rs`). What was sent and seen goes into [`crate::oracle::txns::Book`].

pub mod batches;
pub mod copier;
pub mod ghost;
pub mod inspector;
pub mod plan;
pub mod producer;
pub mod reader;

/// What a transactional producer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Version 1: partitions are added by AddPartitionsToTxn, the epoch stays. A delayed EndTxn of it may end the next transaction, so such a producer takes
    /// another epoch when it does not know what became of a request.
    Named,
    /// Version 2 (KIP-890): partitions come in by being written to, every end gives another epoch.
    Implicit,
}

/// How a transactional producer behaves.
#[derive(Clone, Debug)]
pub struct Style {
    /// Its transactional id.
    pub id: String,
    /// What it speaks.
    pub speech: Speech,
    /// The version of Produce.
    pub produce_version: i16,
    /// `transaction.timeout.ms`.
    pub timeout_ms: u64,
    /// Nobody else has its id and its timeout never comes: nothing but a late request of its own can fence it.
    pub alone: bool,
    /// Transactions to begin.
    pub steps: u32,
    /// Batches of a transaction at most.
    pub batches_max: u64,
    /// Partitions of a transaction at most.
    pub partitions_max: u64,
    /// Records of a batch at most.
    pub records_max: u64,
    /// Longest pause within a transaction and between two, in nanoseconds.
    pub pause_ns: u64,
    /// Percent of transactions that are to be aborted.
    pub abort_percent: u32,
    /// Percent of calls in a transaction at which it falls silent for longer than its timeout, or (a copier) than its session.
    pub silent_percent: u32,
    /// Percent of calls at which the process is gone, and another one comes.
    pub restart_percent: u32,
    /// Percent of calls before which its connection ends.
    pub hang_up_percent: u32,
    /// Percent of requests that come a second time.
    pub ghost_percent: u32,
    /// It must succeed: it goes on until it has committed a few transactions, or copied everything.
    pub must_succeed: bool,
    /// It copies records, as a member of a group.
    pub copies: Option<Copying>,
}

/// How a copier behaves, beyond what it is as a producer.
#[derive(Clone, Debug)]
pub struct Copying {
    /// Its session timeout in milliseconds.
    pub session_ms: u64,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_ms: u64,
    /// Records of a transaction at most.
    pub records_max: u64,
}
