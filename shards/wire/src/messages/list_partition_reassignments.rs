//! ListPartitionReassignments (46): partitions on their way to other brokers (KIP-455).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which partitions.
    struct ListPartitionReassignmentsRequest['a] flexible 0 {
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 0, = 60_000;
        /// By topic; null is all.
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>>, 0;
    }
}

message! {
    /// A topic.
    struct ListPartitionReassignmentsTopics['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partition_indexes: Vec<i32>, 0;
    }
}

message! {
    /// What is under way.
    struct ListPartitionReassignmentsResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// By topic.
        topics: Vec<OngoingTopicReassignment<'a>>, 0;
    }
}

message! {
    /// A topic's.
    struct OngoingTopicReassignment['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partitions: Vec<OngoingPartitionReassignment>, 0;
    }
}

message! {
    /// A partition's.
    struct OngoingPartitionReassignment[] {
        /// The partition.
        partition_index: i32, 0;
        /// Its replicas now.
        replicas: Vec<i32>, 0;
        /// Those to come.
        adding_replicas: Vec<i32>, 0;
        /// Those to go.
        removing_replicas: Vec<i32>, 0;
    }
}
