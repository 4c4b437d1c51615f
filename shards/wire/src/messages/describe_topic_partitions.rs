//! DescribeTopicPartitions (75): topics page by page (KIP-966).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;
use crate::primitives::Structure;

message! {
    /// Which topics.
    struct DescribeTopicPartitionsRequest['a] flexible 0 {
        /// By name; none is all.
        topics: Vec<TopicRequest<'a>>, 0;
        /// Partitions in an answer, at the most.
        response_partition_limit: i32, 0, = 2000;
        /// Where to go on.
        cursor: Option<Cursor<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct TopicRequest['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
    }
}

message! {
    /// Where to go on.
    struct Cursor['a] {
        /// The topic.
        topic_name: Cow<'a, str>, 0;
        /// The partition.
        partition_index: i32, 0;
    }
}

impl Structure for Cursor<'_> {}

message! {
    /// The topics.
    struct DescribeTopicPartitionsResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// The topics.
        topics: Vec<DescribeTopicPartitionsResponseTopic<'a>>, 0;
        /// Where to go on; null is the end.
        next_cursor: Option<Cursor<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct DescribeTopicPartitionsResponseTopic['a] {
        /// Error code.
        error_code: i16, 0;
        /// Its name.
        name: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// Its id.
        topic_id: TopicId, 0;
        /// Whether it is the broker's own.
        is_internal: bool, 0;
        /// Its partitions.
        partitions: Vec<DescribeTopicPartitionsResponsePartition>, 0;
        /// Bits of what the caller may do with it.
        topic_authorized_operations: i32, 0, = i32::MIN;
    }
}

message! {
    /// A partition.
    struct DescribeTopicPartitionsResponsePartition[] {
        /// Error code.
        error_code: i16, 0;
        /// The partition.
        partition_index: i32, 0;
        /// Its leader's broker id.
        leader_id: i32, 0;
        /// The leader's epoch.
        leader_epoch: i32, 0, = -1;
        /// All replicas.
        replica_nodes: Vec<i32>, 0;
        /// Replicas in sync.
        isr_nodes: Vec<i32>, 0;
        /// Replicas that may be elected though not in sync.
        eligible_leader_replicas: Option<Vec<i32>>, 0;
        /// The last ones of those.
        last_known_elr: Option<Vec<i32>>, 0;
        /// Replicas that are down.
        offline_replicas: Vec<i32>, 0;
    }
}
