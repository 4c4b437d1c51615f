//! What a member is to have.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

message! {
    /// Which member.
    struct ConsumerGroupTargetAssignmentMemberKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
    }
}

message! {
    /// Its target.
    struct ConsumerGroupTargetAssignmentMemberValue[] flexible 0 {
        /// By topic.
        topic_partitions: Vec<TopicPartition>, 0;
    }
}

message! {
    /// Partitions of a topic.
    struct TopicPartition[] {
        /// The topic.
        topic_id: TopicId, 0;
        /// The partitions.
        partitions: Vec<i32>, 0;
    }
}
