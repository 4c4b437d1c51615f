//! CreateTopics (19).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Topics to make.
    struct CreateTopicsRequest['a] flexible 5 {
        /// The topics.
        topics: Vec<CreatableTopic<'a>>, 0;
        /// How long the broker may take, in milliseconds.
        timeout_ms: i32, 0, = 60_000;
        /// Only say whether it would work.
        validate_only: bool, 1..;
    }
}

message! {
    /// A topic to make.
    struct CreatableTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Partitions; -1 is the broker's default.
        num_partitions: i32, 0;
        /// Replicas; -1 is the broker's default.
        replication_factor: i16, 0;
        /// Where they go, when the caller wants to say so.
        assignments: Vec<CreatableReplicaAssignment>, 0;
        /// Its settings.
        configs: Vec<CreatableTopicConfig<'a>>, 0;
    }
}

message! {
    /// Where a partition's replicas go.
    struct CreatableReplicaAssignment[] {
        /// The partition.
        partition_index: i32, 0;
        /// The brokers.
        broker_ids: Vec<i32>, 0;
    }
}

message! {
    /// A setting.
    struct CreatableTopicConfig['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its value.
        value: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
    }
}

message! {
    /// What became of the topics.
    struct CreateTopicsResponse['a] flexible 5 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// By topic.
        topics: Vec<CreatableTopicResult<'a>>, 0;
    }
}

message! {
    /// What became of a topic.
    struct CreatableTopicResult['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its id.
        topic_id: TopicId, 7..;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 1.., = Some(Cow::Borrowed(""));
        /// Error of describing its settings.
        topic_config_error_code: i16, 5.., tag 0;
        /// Its partitions.
        num_partitions: i32, 5.., = -1;
        /// Its replicas.
        replication_factor: i16, 5.., = -1;
        /// Its settings; null when not allowed to see them.
        configs: Option<Vec<CreatableTopicConfigs<'a>>>, 5.., = Some(Vec::new());
    }
}

message! {
    /// A setting in force.
    struct CreatableTopicConfigs['a] {
        /// Its name.
        name: Cow<'a, str>, 5..;
        /// Its value.
        value: Option<Cow<'a, str>>, 5.., = Some(Cow::Borrowed(""));
        /// Whether it cannot be changed.
        read_only: bool, 5..;
        /// Where the value comes from.
        config_source: i8, 5.., = -1;
        /// Whether the value is a secret.
        is_sensitive: bool, 5..;
    }
}
