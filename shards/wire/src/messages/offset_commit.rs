//! OffsetCommit (8): how far a group has come. Topics by id from version 10.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// What is committed.
    struct OffsetCommitRequest['a] flexible 8 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// Generation (classic) or member epoch (KIP-848); -1 from a consumer that is in no group.
        generation_id_or_member_epoch: i32, 1.., = -1;
        /// The member's id; empty from a consumer that is in no group.
        member_id: Cow<'a, str>, 1..;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 7..;
        /// How long the offsets are kept, in milliseconds; -1 is the broker's setting (KIP-211 took it away).
        retention_time_ms: i64, 2..=4, = -1;
        /// By topic.
        topics: Vec<OffsetCommitRequestTopic<'a>>, 0;
    }
}

message! {
    /// A topic's offsets.
    struct OffsetCommitRequestTopic['a] {
        /// By name.
        name: Cow<'a, str>, 0..=9;
        /// By id.
        topic_id: TopicId, 10..;
        /// Its partitions.
        partitions: Vec<OffsetCommitRequestPartition<'a>>, 0;
    }
}

message! {
    /// A partition's offset.
    struct OffsetCommitRequestPartition['a] {
        /// The partition.
        partition_index: i32, 0;
        /// The next offset to read.
        committed_offset: i64, 0;
        /// Leader epoch of the last record read; -1 is unknown.
        committed_leader_epoch: i32, 6.., = -1;
        /// What the client wants kept beside it.
        committed_metadata: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
    }
}

message! {
    /// What was committed.
    struct OffsetCommitResponse['a] flexible 8 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// By topic.
        topics: Vec<OffsetCommitResponseTopic<'a>>, 0;
    }
}

message! {
    /// A topic.
    struct OffsetCommitResponseTopic['a] {
        /// By name.
        name: Cow<'a, str>, 0..=9;
        /// By id.
        topic_id: TopicId, 10..;
        /// Its partitions.
        partitions: Vec<OffsetCommitResponsePartition>, 0;
    }
}

message! {
    /// A partition.
    struct OffsetCommitResponsePartition[] {
        /// The partition.
        partition_index: i32, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
