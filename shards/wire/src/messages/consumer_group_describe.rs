//! ConsumerGroupDescribe (69): groups of the next-generation protocol, with their members (KIP-848).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;

/// Kind of member: unknown (before version 1).
pub const MEMBER_UNKNOWN: i8 = -1;
/// Kind of member: one of the classic protocol in a group that is being migrated.
pub const MEMBER_CLASSIC: i8 = 0;
/// Kind of member: one of the next-generation protocol.
pub const MEMBER_CONSUMER: i8 = 1;

message! {
    /// Which groups.
    struct ConsumerGroupDescribeRequest['a] flexible 0 {
        /// The groups.
        group_ids: Vec<Cow<'a, str>>, 0;
        /// Whether the answer says what the caller may do with each.
        include_authorized_operations: bool, 0;
    }
}

message! {
    /// The groups.
    struct ConsumerGroupDescribeResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// The groups.
        groups: Vec<DescribedGroup<'a>>, 0;
    }
}

message! {
    /// A group.
    struct DescribedGroup['a] {
        /// Error code.
        error_code: i16, 0;
        /// What went wrong, for people.
        error_message: Option<Cow<'a, str>>, 0;
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// Its state's name.
        group_state: Cow<'a, str>, 0;
        /// Its epoch: grows with every change of members, subscriptions and topics.
        group_epoch: i32, 0;
        /// The group epoch that the target assignment was made for.
        assignment_epoch: i32, 0;
        /// The assignor chosen.
        assignor_name: Cow<'a, str>, 0;
        /// Its members.
        members: Vec<Member<'a>>, 0;
        /// Bits of what the caller may do with it.
        authorized_operations: i32, 0, = i32::MIN;
    }
}

message! {
    /// A member.
    struct Member['a] {
        /// Its id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        instance_id: Option<Cow<'a, str>>, 0;
        /// Its rack.
        rack_id: Option<Cow<'a, str>>, 0;
        /// Its epoch.
        member_epoch: i32, 0;
        /// Its client id.
        client_id: Cow<'a, str>, 0;
        /// Its host.
        client_host: Cow<'a, str>, 0;
        /// The topics it wants, by name.
        subscribed_topic_names: Vec<Cow<'a, str>>, 0;
        /// The topics it wants, by regular expression.
        subscribed_topic_regex: Option<Cow<'a, str>>, 0;
        /// What it has.
        assignment: Assignment<'a>, 0;
        /// What it is to have.
        target_assignment: Assignment<'a>, 0;
        /// [`MEMBER_UNKNOWN`], [`MEMBER_CLASSIC`] or [`MEMBER_CONSUMER`].
        member_type: i8, 1.., = MEMBER_UNKNOWN;
    }
}

message! {
    /// Partitions.
    struct Assignment['a] {
        /// By topic.
        topic_partitions: Vec<TopicPartitions<'a>>, 0;
    }
}

message! {
    /// Partitions of a topic.
    struct TopicPartitions['a] {
        /// The topic's id.
        topic_id: TopicId, 0;
        /// Its name.
        topic_name: Cow<'a, str>, 0;
        /// The partitions.
        partitions: Vec<i32>, 0;
    }
}
