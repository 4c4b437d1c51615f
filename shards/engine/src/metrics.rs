//! A shard's counters: plain numbers, read by the admin thread through [`crate::event::AdminRequest::Metrics`].

use crate::log::LogMetrics;

/// All counters of one shard; only ever growing unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {
    /// The log's.
    pub log: LogMetrics,
    /// Requests taken, by row of `floe_wire::api::APIS`.
    pub requests: [u64; floe_wire::api::APIS.len()],
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies.
    pub bytes_out: u64,
    /// Parts of requests (a partition, a topic) answered with an error.
    pub errors: u64,
    /// Connections open (goes up and down).
    pub connections: u64,
    /// Connections closed for what they sent.
    pub connections_refused: u64,
    /// Connections closed for not reading their answers while memory was spent.
    pub slow_readers_closed: u64,
    /// Times that reading from all connections was stopped.
    pub admissions_closed: u64,
    /// For how long it was, in nanoseconds.
    pub admission_closed_ns: u64,
    /// Bytes of requests without an answer yet (goes up and down).
    pub request_bytes_held: u64,
    /// Bytes of memory in answers that are not sent (goes up and down).
    pub answer_bytes_held: u64,
}
