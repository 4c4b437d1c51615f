//! CreatePartitions (37): more partitions for topics.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Topics to widen.
    struct CreatePartitionsRequest['a] flexible 2 {
        /// The topics.
        topics: Vec<CreatePartitionsTopic<'a>>, 0;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 0;
        /// Only say whether it would work.
        validate_only: bool, 0;
    }
}

message! {
    /// A topic to widen.
    struct CreatePartitionsTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Partitions afterwards.
        count: i32, 0;
        /// Where the new ones go; null leaves it to the broker.
        assignments: Option<Vec<CreatePartitionsAssignment>>, 0, = Some(Vec::new());
    }
}

message! {
    /// Where a new partition's replicas go.
    struct CreatePartitionsAssignment[] {
        /// The brokers.
        broker_ids: Vec<i32>, 0;
    }
}

message! {
    /// What became of it.
    struct CreatePartitionsResponse['a] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By topic.
        results: Vec<CreatePartitionsTopicResult<'a>>, 0;
    }
}

message! {
    /// What became of a topic.
    struct CreatePartitionsTopicResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0;
    }
}
