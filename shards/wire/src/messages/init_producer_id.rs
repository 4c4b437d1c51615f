//! InitProducerId (22): an identity for an idempotent or transactional producer.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Asks for a producer id.
    struct InitProducerIdRequest['a] flexible 2 {
        /// Null for a producer that is only idempotent.
        transactional_id: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// When an idle transaction is aborted, in milliseconds.
        transaction_timeout_ms: i32, 0;
        /// The caller's id so far (KIP-360); -1 is none.
        producer_id: i64, 3.., = -1;
        /// Its epoch; -1 is none.
        producer_epoch: i16, 3.., = -1;
    }
}

message! {
    /// The producer id.
    struct InitProducerIdResponse[] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// The id; -1 is none.
        producer_id: i64, 0, = -1;
        /// Its epoch.
        producer_epoch: i16, 0;
    }
}
