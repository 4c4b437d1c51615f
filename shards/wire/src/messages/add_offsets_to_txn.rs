//! AddOffsetsToTxn (25): a transaction will commit offsets of a group.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which group, of which transaction.
    struct AddOffsetsToTxnRequest['a] flexible 3 {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
        /// Its producer's id.
        producer_id: i64, 0;
        /// Its producer's epoch.
        producer_epoch: i16, 0;
        /// The group.
        group_id: Cow<'a, str>, 0;
    }
}

message! {
    /// Whether it may.
    struct AddOffsetsToTxnResponse[] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
