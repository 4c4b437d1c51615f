//! What a member has, and how far it is on its way to its target.

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

/// State of a member: it has what its epoch's target gives it.
pub const STATE_STABLE: i8 = 0;
/// State of a member: it still has to give up partitions.
pub const STATE_UNREVOKED_PARTITIONS: i8 = 1;
/// State of a member: partitions of its target are not given up by others yet.
pub const STATE_UNRELEASED_PARTITIONS: i8 = 2;

message! {
    /// Which member.
    struct ConsumerGroupCurrentMemberAssignmentKey['a] flexible 1 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
    }
}

message! {
    /// What it has.
    struct ConsumerGroupCurrentMemberAssignmentValue[] flexible 0 {
        /// The member's epoch.
        member_epoch: i32, 0;
        /// The one before: a member whose answer was lost comes with it once more.
        previous_member_epoch: i32, 0;
        /// [`STATE_STABLE`], [`STATE_UNREVOKED_PARTITIONS`] or [`STATE_UNRELEASED_PARTITIONS`].
        state: i8, 0;
        /// What it owns.
        assigned_partitions: Vec<TopicPartitions>, 0;
        /// What it has to give up.
        partitions_pending_revocation: Vec<TopicPartitions>, 0;
    }
}

message! {
    /// Partitions of a topic.
    struct TopicPartitions[] {
        /// The topic.
        topic_id: TopicId, 0;
        /// The partitions.
        partitions: Vec<i32>, 0;
        /// For each of them the epoch at which the member got it, against commits of a member that lost it since (KIP-1251).
        /// None in records of before it.
        assignment_epochs: Option<Vec<i32>>, 0, tag 0, = Some(Vec::new());
    }
}
