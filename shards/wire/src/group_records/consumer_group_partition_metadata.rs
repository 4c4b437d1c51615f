//! The topics of a group as they were when its target was computed. Kafka 4.0 wrote it; since KIP-1101 it is read and deleted only.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Which group.
    struct ConsumerGroupPartitionMetadataKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
    }
}

message! {
    /// Its topics.
    struct ConsumerGroupPartitionMetadataValue['a] flexible 0 {
        /// The topics.
        topics: Vec<TopicMetadata<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct TopicMetadata['a] {
        /// Its id.
        topic_id: TopicId, 0;
        /// Its name.
        topic_name: Cow<'a, str>, 0;
        /// How many partitions it has.
        num_partitions: i32, 0;
        /// Racks of its partitions; none where there are none.
        partition_metadata: Vec<PartitionMetadata<'a>>, 0;
    }
}

message! {
    /// A partition.
    struct PartitionMetadata['a] {
        /// The partition.
        partition: i32, 0;
        /// Racks of its replicas.
        racks: Vec<Cow<'a, str>>, 0;
    }
}
