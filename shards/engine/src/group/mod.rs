//! Group coordinators of one shard: every group whose partition of `__consumer_offsets` this shard owns. Pure state; storage is the host's
//! (`owner/groups.rs`), see [`Decision`] for the way of a change.
//!
//! - `api.rs`: what is asked and answered. `records.rs`: what is written down. `decision.rs`: what comes back.
//! - `classic/`: JoinGroup to LeaveGroup. `consumer/`: KIP-848. `offsets.rs`: committed offsets of both.
//!
//! Invariants: a group lives in exactly one partition; while its partition loads it answers COORDINATOR_LOAD_IN_PROGRESS; durable state is what
//! its records give when applied in order; deadlines are soft state and begin anew when a partition has loaded.

pub mod api;
mod decision;
pub mod records;
mod settings;

use std::sync::Arc;

pub use decision::Decision;
pub use settings::GroupSettings;

use crate::event::LogLevel;
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
    /// Lines for the broker's log (rebalances, and the auditor's: every reset, skip, rewind or expiry of a committed offset).
    pub lines: &'a mut Vec<(LogLevel, String)>,
}

/// The partition of `__consumer_offsets` that holds a group: Kafka's rule, the hash of a Java string, its sign dropped, modulo the number of partitions.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

/// A name that several records share.
pub type Name = Arc<str>;

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_lie_where_kafka_puts_them() {
        // Java: "hello".hashCode() is 99162322, "polygenelubricants".hashCode() is Integer.MIN_VALUE, "\u{1f980}" is two units.
        for (group, partitions, expected) in [
            ("hello", 50, 22),
            ("polygenelubricants", 50, 0),
            ("", 50, 0),
            ("hello", 1, 0),
            ("\u{1f980}", 50, (55358 * 31 + 56704) % 50),
        ] {
            assert_eq!(partition_of(group, partitions), expected, "{group}");
        }
    }
}
