//! How far a group has come in a partition. Keys of kind 0 are from before Kafka 0.9 and read only; their fields are the same.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Which group, where.
    struct OffsetCommitKey['a] flexible 1 {
        /// The group.
        group: Cow<'a, str>, 0;
        /// The topic.
        topic: Cow<'a, str>, 0;
        /// The partition.
        partition: i32, 0;
    }
}

message! {
    /// What was committed.
    struct OffsetCommitValue['a] flexible 4 {
        /// The next offset to read.
        offset: i64, 0;
        /// Leader epoch of the last record read; -1 is unknown.
        leader_epoch: i32, 3.., = -1;
        /// What the client wants kept beside it.
        metadata: Cow<'a, str>, 0;
        /// When it was committed, in milliseconds since 1970.
        commit_timestamp: i64, 0;
        /// When it is forgotten, where the client set that (KIP-211 took it away); -1 is by the broker's setting.
        expire_timestamp: i64, 1..=1, = -1;
        /// Identity of the topic, so that one made again under the same name does not take it over.
        topic_id: TopicId, 4.., tag 0;
    }
}

impl OffsetCommitValue<'_> {
    /// The version that Kafka 4.3 writes a commit in: only version 1 has room for an expiry.
    pub fn version(&self) -> i16 {
        if self.expire_timestamp != -1 { 1 } else { super::OFFSET_COMMIT_VERSION }
    }
}
