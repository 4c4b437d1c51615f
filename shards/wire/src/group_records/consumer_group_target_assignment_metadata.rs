//! Which epoch of a group the target assignment is for; written behind the records of its members.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which group.
    struct ConsumerGroupTargetAssignmentMetadataKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
    }
}

message! {
    /// Its target assignment.
    struct ConsumerGroupTargetAssignmentMetadataValue[] flexible 0 {
        /// The epoch.
        assignment_epoch: i32, 0;
        /// When it was computed, in milliseconds since 1970; 0 is unknown.
        assignment_timestamp: i64, 0, tag 0;
    }
}
