//! Transaction coordinators of one shard: every transactional id whose partition of `__transaction_state` this shard owns. Pure state; storage is the
//! host's.
//!
//! - `api.rs`: what is asked and answered.

pub mod api;

/// The topic that keeps what coordinators write down.
pub const TXN_TOPIC: &str = "__transaction_state";
