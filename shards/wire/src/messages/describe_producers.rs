//! DescribeProducers (61): the producers that a partition remembers (KIP-664).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which partitions.
    struct DescribeProducersRequest['a] flexible 0 {
        /// By topic.
        topics: Vec<TopicRequest<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct TopicRequest['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// Its partitions.
        partition_indexes: Vec<i32>, 0;
    }
}

message! {
    /// The producers.
    struct DescribeProducersResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// By topic.
        topics: Vec<TopicResponse<'a>>, 0;
    }
}

message! {
    /// A topic's.
    struct TopicResponse['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// By partition.
        partitions: Vec<PartitionResponse<'a>>, 0;
    }
}

message! {
    /// A partition's.
    struct PartitionResponse['a] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// Why, for people.
        error_message: Option<Cow<'a, str>>, 0;
        /// The producers.
        active_producers: Vec<ProducerState>, 0;
    }
}

message! {
    /// A producer.
    struct ProducerState[] {
        /// Its id.
        producer_id: i64, 0;
        /// Its epoch.
        producer_epoch: i32, 0;
        /// Its last sequence number; -1 is none.
        last_sequence: i32, 0, = -1;
        /// When it last wrote, in milliseconds; -1 is unknown.
        last_timestamp: i64, 0, = -1;
        /// Epoch of its coordinator.
        coordinator_epoch: i32, 0;
        /// Where its open transaction starts; -1 is none.
        current_txn_start_offset: i64, 0, = -1;
    }
}
