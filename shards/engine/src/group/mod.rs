//! Group coordinators of one shard: every group whose partition of `__consumer_offsets` this shard owns. Pure state; storage is the host's
//! (`owner/hosts.rs`), see [`crate::hosted`] for the way of a change.
//!
//! - `api.rs`: what is asked and answered. `records.rs`: what is written down. `decision.rs`: what comes back.
//! - `coordinator.rs`: partitions, groups and deadlines. `entry.rs`: one group of either protocol with its offsets.
//! - `classic/`: JoinGroup to LeaveGroup. `consumer/`: KIP-848. `offsets.rs`: committed offsets of both. `audit.rs`: what happened to them.
//!
//! Invariants: a group lives in exactly one partition; while its partition loads it answers COORDINATOR_LOAD_IN_PROGRESS; durable state is what
//! its records give when applied in order; deadlines are soft state and begin anew when a partition has loaded.

pub mod api;
mod audit;
mod classic;
pub mod codec;
mod consumer;
mod coordinator;
mod decision;
mod entry;
mod hosted;
mod offsets;
mod pending;
pub mod records;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use audit::{GroupMetrics, Look};
pub use coordinator::Coordinator;
pub use decision::Decision;
pub use settings::{GroupSettings, MigrationPolicy};

use audit::Audit;
#[cfg(test)]
pub(crate) use consumer::tests::image as test_image;

use crate::metadata::Image;
use crate::time::Time;
use crate::uuids::Uuids;

/// What a group sees of the world while it decides.
#[derive(Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Time,
    /// Topics and their partitions.
    pub image: &'a Image,
    /// The broker's settings.
    pub settings: &'a GroupSettings,
    /// Names for new members.
    pub ids: &'a mut Uuids,
    /// Lines for the broker's log (rebalances, and every reset, skip, rewind or expiry of a committed offset) with their counters. Taken back when the
    /// records of the decision are refused.
    pub audit: &'a mut Audit,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where the answer goes.
    pub asker: api::Asker,
    /// The client's name for itself.
    pub client_id: Name,
    /// Its address.
    pub client_host: Name,
}

/// Milliseconds as clients and settings give them; negative ones are none.
fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::from(ms.max(0).unsigned_abs()))
}

/// The partition of `__consumer_offsets` that holds a group: Kafka's rule, the hash of a Java string, its sign dropped, modulo the number of partitions.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

/// The topic that keeps what coordinators write down.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A name that several records share.
pub type Name = Arc<str>;
