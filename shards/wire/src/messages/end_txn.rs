//! EndTxn (26): commit or abort. From version 5 every end gives the producer another epoch (KIP-890).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which transaction, and how it ends.
    struct EndTxnRequest['a] flexible 3 {
        /// The transactional id.
        transactional_id: Cow<'a, str>, 0;
        /// Its producer's id.
        producer_id: i64, 0;
        /// Its producer's epoch.
        producer_epoch: i16, 0;
        /// Whether what was written counts.
        committed: bool, 0;
    }
}

message! {
    /// Whether it has ended.
    struct EndTxnResponse[] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// The producer's id from now on; -1 with an error.
        producer_id: i64, 5.., = -1;
        /// The producer's epoch from now on; -1 with an error.
        producer_epoch: i16, 5.., = -1;
    }
}
