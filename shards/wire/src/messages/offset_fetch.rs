//! OffsetFetch (9): how far groups have come. One group up to version 7, several from version 8 (KIP-709), topics by id from version 10.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Which offsets.
    struct OffsetFetchRequest['a] flexible 6 {
        /// The group.
        group_id: Cow<'a, str>, 0..=7;
        /// Which topics; null is all (since version 2).
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>>, 0..=7, = Some(Vec::new());
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup<'a>>, 8..;
        /// Whether offsets of open transactions are an error (KIP-447) instead of being passed over.
        require_stable: bool, 7..;
    }
}

message! {
    /// A topic of the one group.
    struct OffsetFetchRequestTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0..=7;
        /// The partitions.
        partition_indexes: Vec<i32>, 0..=7;
    }
}

message! {
    /// A group.
    struct OffsetFetchRequestGroup['a] {
        /// The group.
        group_id: Cow<'a, str>, 8..;
        /// Id of the member that asks.
        member_id: Option<Cow<'a, str>>, 9..;
        /// Its epoch (KIP-848); -1 for all others.
        member_epoch: i32, 9.., = -1;
        /// Which topics; null is all.
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>>, 8.., = Some(Vec::new());
    }
}

message! {
    /// A topic of one of several groups.
    struct OffsetFetchRequestTopics['a] {
        /// By name.
        name: Cow<'a, str>, 8..=9;
        /// By id.
        topic_id: TopicId, 10..;
        /// The partitions.
        partition_indexes: Vec<i32>, 8..;
    }
}

message! {
    /// The offsets.
    struct OffsetFetchResponse['a] flexible 6 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// Of the one group, by topic.
        topics: Vec<OffsetFetchResponseTopic<'a>>, 0..=7;
        /// Error of the one group.
        error_code: i16, 2..=7;
        /// The groups.
        groups: Vec<OffsetFetchResponseGroup<'a>>, 8..;
    }
}

message! {
    /// A topic of the one group.
    struct OffsetFetchResponseTopic['a] {
        /// Its name.
        name: Cow<'a, str>, 0..=7;
        /// Its partitions.
        partitions: Vec<OffsetFetchResponsePartition<'a>>, 0..=7;
    }
}

message! {
    /// A partition of the one group.
    struct OffsetFetchResponsePartition['a] {
        /// The partition.
        partition_index: i32, 0..=7;
        /// The next offset to read; -1 is none committed.
        committed_offset: i64, 0..=7;
        /// Leader epoch of the last record read; -1 is unknown.
        committed_leader_epoch: i32, 5..=7, = -1;
        /// What the client wanted kept beside it.
        metadata: Option<Cow<'a, str>>, 0..=7, = Some(Cow::Borrowed(""));
        /// Error code.
        error_code: i16, 0..=7;
    }
}

message! {
    /// A group.
    struct OffsetFetchResponseGroup['a] {
        /// The group.
        group_id: Cow<'a, str>, 8..;
        /// By topic.
        topics: Vec<OffsetFetchResponseTopics<'a>>, 8..;
        /// Error of the group.
        error_code: i16, 8..;
    }
}

message! {
    /// A topic of one of several groups.
    struct OffsetFetchResponseTopics['a] {
        /// By name.
        name: Cow<'a, str>, 8..=9;
        /// By id.
        topic_id: TopicId, 10..;
        /// Its partitions.
        partitions: Vec<OffsetFetchResponsePartitions<'a>>, 8..;
    }
}

message! {
    /// A partition of one of several groups.
    struct OffsetFetchResponsePartitions['a] {
        /// The partition.
        partition_index: i32, 8..;
        /// The next offset to read; -1 is none committed.
        committed_offset: i64, 8..;
        /// Leader epoch of the last record read; -1 is unknown.
        committed_leader_epoch: i32, 8.., = -1;
        /// What the client wanted kept beside it.
        metadata: Option<Cow<'a, str>>, 8.., = Some(Cow::Borrowed(""));
        /// Error code.
        error_code: i16, 8..;
    }
}
