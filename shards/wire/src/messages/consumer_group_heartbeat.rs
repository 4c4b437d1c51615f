//! ConsumerGroupHeartbeat (68): all that a member of the next-generation protocol says to its coordinator (KIP-848).

use std::borrow::Cow;

use crate::declare::message;
use crate::ids::TopicId;
use crate::primitives::Structure;

/// Member epoch with which a member joins.
pub const JOIN_EPOCH: i32 = 0;
/// Member epoch with which a member leaves for good.
pub const LEAVE_EPOCH: i32 = -1;
/// Member epoch with which a static member leaves for a while.
pub const LEAVE_STATIC_EPOCH: i32 = -2;

message! {
    /// A member's state; null stands for "as said before".
    struct ConsumerGroupHeartbeatRequest['a] flexible 0 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The member's id: its own from version 1, the coordinator's before where it is empty.
        member_id: Cow<'a, str>, 0;
        /// The member's epoch, or [`JOIN_EPOCH`], [`LEAVE_EPOCH`], [`LEAVE_STATIC_EPOCH`].
        member_epoch: i32, 0;
        /// Its name as a static member.
        instance_id: Option<Cow<'a, str>>, 0;
        /// Its rack.
        rack_id: Option<Cow<'a, str>>, 0;
        /// How long it may take to give up partitions, in milliseconds; -1 is as said before.
        rebalance_timeout_ms: i32, 0, = -1;
        /// The topics it wants, by name.
        subscribed_topic_names: Option<Vec<Cow<'a, str>>>, 0;
        /// The topics it wants, by regular expression.
        subscribed_topic_regex: Option<Cow<'a, str>>, 1..;
        /// The assignor it wants.
        server_assignor: Option<Cow<'a, str>>, 0;
        /// The partitions it owns.
        topic_partitions: Option<Vec<TopicPartitions>>, 0;
    }
}

message! {
    /// Partitions of a topic.
    struct TopicPartitions[] {
        /// The topic.
        topic_id: TopicId, 0;
        /// The partitions.
        partitions: Vec<i32>, 0;
    }
}

message! {
    /// What the member has to do.
    struct ConsumerGroupHeartbeatResponse['a] flexible 0 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// Error code.
        error_code: i16, 0;
        /// What went wrong, for people.
        error_message: Option<Cow<'a, str>>, 0;
        /// The member's id.
        member_id: Option<Cow<'a, str>>, 0;
        /// Its epoch.
        member_epoch: i32, 0;
        /// When to come again, in milliseconds.
        heartbeat_interval_ms: i32, 0;
        /// Its partitions; null is as said before.
        assignment: Option<Assignment>, 0;
    }
}

message! {
    /// The partitions that a member may use now.
    struct Assignment[] {
        /// By topic.
        topic_partitions: Vec<TopicPartitions>, 0;
    }
}

impl Structure for Assignment {}
