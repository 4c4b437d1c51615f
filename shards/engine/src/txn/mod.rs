//! Transaction coordinators of one shard: every transactional id whose partition of `__transaction_state` this shard owns. Pure state; storage is the
//! host's (`owner/hosts.rs`, see [`crate::hosted`] for the way of a change), markers are sent by `owner/txns.rs`.
//!
//! - `api.rs`: what is asked and answered. `records.rs`: what is written down. `hosted.rs`: the host's view.
//! - `rules.rs`: what becomes of one transactional id, as Kafka has it. `coordinator.rs`: partitions, deadlines, markers.

pub mod api;
mod coordinator;
mod hosted;
pub mod records;
mod rules;
mod settings;
#[cfg(test)]
mod tests;

pub use coordinator::{Coordinator, Ending, Key};
pub use settings::TxnSettings;

use crate::metrics::Histogram;

/// The topic that keeps what coordinators write down.
pub const TXN_TOPIC: &str = "__transaction_state";

/// What was decided.
pub type Decision = crate::hosted::Decision<Coordinator>;

/// What the coordinators of a shard count.
#[derive(Clone, Debug, Default)]
pub struct TxnMetrics {
    /// Transactional ids by state, in the order of [`records::State::ALL`] (goes up and down).
    pub states: [u64; records::State::ALL.len()],
    /// Transactions committed.
    pub committed: u64,
    /// Transactions aborted.
    pub aborted: u64,
    /// Markers that partitions have taken.
    pub markers: u64,
    /// Ends some of whose markers had to be sent again.
    pub marker_retries: u64,
    /// From an end's being decided to its completion: next to nothing where markers stand in the same journal.
    pub marker_ns: Histogram,
}
