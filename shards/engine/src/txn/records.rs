//! What a transaction coordinator writes down, in its own terms, and Kafka's bytes of it (`floe_wire::txn_records`).
//!
//! Invariant: a coordinator's durable state is what these records give when they are applied in order, the last one of an id alone.

use std::sync::Arc;

use bytes::Bytes;
use floe_wire::primitives::DecodeError;
use floe_wire::txn_records::{
    self as wire, PartitionsSchema, TransactionLogKey, TransactionLogValue, encode_key, encode_value,
};

use super::api::Producer;
use crate::group::Name;

/// A transactional id as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnRecord {
    /// The transactional id.
    pub id: Name,
    /// `None`: it is forgotten.
    pub value: Option<Txn>,
}

/// All that is durable of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// Its producer. While a transaction ends: the identity that its markers carry.
    pub producer: Producer,
    /// The producer id before the last change; that of `producer` when the last change was of something else.
    pub previous_id: i64,
    /// The producer id that the client was told already and that holds when the transaction has ended, or -1.
    pub next_id: i64,
    /// How long a transaction may take, in milliseconds.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// Partitions of the transaction by topic, both rising.
    pub topics: Vec<(Name, Vec<i32>)>,
    /// When this was written, in milliseconds since 1970.
    pub updated_ms: i64,
    /// When the transaction began, or -1.
    pub start_ms: i64,
    /// The level of `transaction.version` that the client follows: 2, or 0 for those before.
    pub version: i16,
    /// The epoch before the last change, or -1, for a client that asks for the change again. Not in Kafka's bytes: a restart forgets it, and the client is
    /// fenced (as in Kafka).
    pub last_epoch: i16,
}

/// Where a transactional id stands, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No transaction yet.
    Empty = 0,
    /// A transaction is open.
    Ongoing = 1,
    /// It will be committed, whatever happens; markers are on their way.
    PrepareCommit = 2,
    /// It will be aborted, whatever happens; markers are on their way.
    PrepareAbort = 3,
    /// Every partition has its marker.
    CompleteCommit = 4,
    /// Every partition has its marker.
    CompleteAbort = 5,
    /// Kafka's, while an id is forgotten. Never written.
    Dead = 6,
    /// Kafka's, on the way from `Ongoing` to an abort that fences the producer. Never written: the two are one step here.
    PrepareEpochFence = 7,
}

impl State {
    /// All of them.
    pub const ALL: [State; 8] = [
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
        State::Dead,
        State::PrepareEpochFence,
    ];

    /// Kafka's name, which its tools show and filter by.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
            State::Dead => "Dead",
            State::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// Whether its end is decided and not everywhere yet.
    pub fn is_ending(self) -> bool {
        matches!(self, State::PrepareCommit | State::PrepareAbort)
    }
}

/// A key and its value; no value is a tombstone. In version 1 of the value, as Kafka writes it at `transaction.version` 2.
pub fn encode(record: &TxnRecord) -> (Bytes, Option<Bytes>) {
    let key = encode_key(&TransactionLogKey { transactional_id: (&*record.id).into() });
    let value = record.value.as_ref().map(|txn| {
        let topic = |(topic, partitions): &(Name, Vec<i32>)| PartitionsSchema {
            topic: topic.to_string().into(),
            partition_ids: partitions.clone(),
        };
        let value = TransactionLogValue {
            producer_id: txn.producer.id,
            previous_producer_id: txn.previous_id,
            next_producer_id: txn.next_id,
            producer_epoch: txn.producer.epoch,
            transaction_timeout_ms: txn.timeout_ms,
            transaction_status: txn.state as i8,
            // Kafka has no partitions as null before the first transaction alone.
            transaction_partitions: (txn.state != State::Empty).then(|| txn.topics.iter().map(topic).collect()),
            transaction_last_update_timestamp_ms: txn.updated_ms,
            transaction_start_timestamp_ms: txn.start_ms,
            client_transaction_version: txn.version,
        };
        encode_value(&value, 1)
    });
    (key, value)
}

/// `None`: a record of a kind, or of a state, that no coordinator here has.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, DecodeError> {
    let Some((key, value)) = wire::decode(key, value)? else { return Ok(None) };
    let id: Name = Arc::from(&*key.transactional_id);
    let Some(value) = value else { return Ok(Some(TxnRecord { id, value: None })) };
    let state = State::ALL.into_iter().find(|state| *state as i8 == value.transaction_status);
    let Some(state) = state.filter(|state| !matches!(state, State::Dead | State::PrepareEpochFence)) else {
        return Ok(None);
    };
    let topics = value.transaction_partitions.unwrap_or_default();
    let mut txn = Txn {
        producer: Producer { id: value.producer_id, epoch: value.producer_epoch },
        previous_id: value.previous_producer_id,
        next_id: value.next_producer_id,
        timeout_ms: value.transaction_timeout_ms,
        state,
        topics: Vec::new(),
        updated_ms: value.transaction_last_update_timestamp_ms,
        start_ms: value.transaction_start_timestamp_ms,
        version: value.client_transaction_version,
        last_epoch: -1,
    };
    for topic in topics {
        txn.add(&[(Arc::from(&*topic.topic), topic.partition_ids)]);
    }
    Ok(Some(TxnRecord { id, value: Some(txn) }))
}

impl Txn {
    /// Whether the partition belongs to the transaction.
    pub fn has(&self, topic: &str, partition: i32) -> bool {
        let found = self.topics.binary_search_by(|(name, _)| (**name).cmp(topic));
        found.is_ok_and(|at| self.topics[at].1.binary_search(&partition).is_ok())
    }

    /// Adds partitions; those that are there stay once.
    pub fn add(&mut self, topics: &[(Name, Vec<i32>)]) {
        for (name, partitions) in topics {
            let at = match self.topics.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(at) => at,
                Err(at) => {
                    self.topics.insert(at, (name.clone(), Vec::new()));
                    at
                }
            };
            let known = &mut self.topics[at].1;
            known.extend(partitions);
            known.sort_unstable();
            known.dedup();
        }
    }

    /// Partitions of the transaction.
    pub fn partitions(&self) -> usize {
        self.topics.iter().map(|(_, partitions)| partitions.len()).sum()
    }
}
