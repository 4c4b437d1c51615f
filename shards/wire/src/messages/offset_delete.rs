//! OffsetDelete (47): offsets of a group are forgotten (KIP-496).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which offsets. No version of it has tagged fields.
    struct OffsetDeleteRequest['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// By topic.
        topics: Vec<OffsetDeleteRequestTopic<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct OffsetDeleteRequestTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<OffsetDeleteRequestPartition>, 0;
    }
}

message! {
    /// A partition.
    struct OffsetDeleteRequestPartition[] {
        /// The partition.
        partition_index: i32, 0;
    }
}

message! {
    /// What was forgotten.
    struct OffsetDeleteResponse['a] flexible 1 {
        /// Error of the whole request.
        error_code: i16, 0;
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By topic.
        topics: Vec<OffsetDeleteResponseTopic<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct OffsetDeleteResponseTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<OffsetDeleteResponsePartition>, 0;
    }
}

message! {
    /// A partition.
    struct OffsetDeleteResponsePartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
