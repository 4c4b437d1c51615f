//! The records of `__transaction_state`, as Kafka 4.3 writes them: what a coordinator knows of a transactional id.
//!
//! A key begins with its kind, a value with its version, both as 16 bits; a record without value is a tombstone. Version 0 of the value is what Kafka
//! wrote before KIP-890, without tagged fields.

use std::borrow::Cow;

use bytes::Bytes;

use crate::declare::message;
use crate::group_records::{decode_value, encode};
use crate::messages::Message;
use crate::primitives::{DecodeError, Reader};

/// The only kind of key.
const TRANSACTION_LOG: i16 = 0;
/// Last version of the value.
const VALUE_VERSION_MAX: i16 = 1;

message! {
    /// Which transactional id.
    struct TransactionLogKey['a] flexible 1 {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
    }
}

message! {
    /// What is known of it.
    struct TransactionLogValue['a] flexible 1 {
        /// The producer's id.
        producer_id: i64, 0, = -1;
        /// Its id before a new one was given; -1 is none.
        previous_producer_id: i64, 1.., tag 0, = -1;
        /// The id that the client was given and that holds once the transaction has ended; -1 is none.
        next_producer_id: i64, 1.., tag 1, = -1;
        /// The producer's epoch.
        producer_epoch: i16, 0;
        /// How long a transaction may take, in milliseconds.
        transaction_timeout_ms: i32, 0;
        /// Number of its state.
        transaction_status: i8, 0;
        /// The partitions of the transaction; null when there is none.
        transaction_partitions: Option<Vec<PartitionsSchema<'a>>>, 0;
        /// When this was written, in milliseconds since 1970.
        transaction_last_update_timestamp_ms: i64, 0;
        /// When the transaction began, in milliseconds since 1970; -1 is none.
        transaction_start_timestamp_ms: i64, 0;
        /// Level of `transaction.version` that the client follows.
        client_transaction_version: i16, 1.., tag 2;
    }
}

message! {
    /// A topic.
    struct PartitionsSchema['a] {
        /// Its name.
        topic: Cow<'a, str>, 0;
        /// Its partitions.
        partition_ids: Vec<i32>, 0;
    }
}

/// A record of `__transaction_state`; `None` is a tombstone.
pub type TxnRecord<'a> = (TransactionLogKey<'a>, Option<TransactionLogValue<'a>>);

/// Reads a record; `None` is one of a kind that is not known here.
pub fn decode<'a>(key: &'a [u8], value: Option<&'a [u8]>) -> Result<Option<TxnRecord<'a>>, DecodeError> {
    let mut reader = Reader::new(key);
    if reader.fixed::<i16>()? != TRANSACTION_LOG {
        return Ok(None);
    }
    let key = TransactionLogKey::decode_all(&key[key.len() - reader.remaining()..], 0)?;
    Ok(Some((key, decode_value(value, VALUE_VERSION_MAX)?)))
}

/// The bytes of a key.
pub fn encode_key(key: &TransactionLogKey<'_>) -> Bytes {
    encode(TRANSACTION_LOG, key, 0)
}

/// The bytes of a value, in version 0 or 1.
pub fn encode_value(value: &TransactionLogValue<'_>, version: i16) -> Bytes {
    encode(version, value, version)
}

#[cfg(test)]
mod tests;
