//! A group of the next-generation protocol (KIP-848): its epoch. A tombstone ends the group.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which group.
    struct ConsumerGroupMetadataKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
    }
}

message! {
    /// The group.
    struct ConsumerGroupMetadataValue[] flexible 0 {
        /// Its epoch.
        epoch: i32, 0;
        /// Hash of the topics it is subscribed to, by which a restarted coordinator sees that they changed (KIP-1101).
        metadata_hash: i64, 0, tag 0;
    }
}
