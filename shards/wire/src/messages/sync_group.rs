//! SyncGroup (14): the leader hands in the assignment, every member gets its part.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// A member that waits for its assignment, or the leader that brings all of them.
    struct SyncGroupRequest['a] flexible 4 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The generation.
        generation_id: i32, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3..;
        /// What the group is for, to be checked against the group (KIP-559).
        protocol_type: Option<Cow<'a, str>>, 5..;
        /// The strategy, to be checked as well.
        protocol_name: Option<Cow<'a, str>>, 5..;
        /// One for each member, from the leader only.
        assignments: Vec<SyncGroupRequestAssignment<'a>>, 0;
    }
}

message! {
    /// A member's assignment.
    struct SyncGroupRequestAssignment['a] {
        /// The member's id.
        member_id: Cow<'a, str>, 0;
        /// The assignment: for consumers topics and partitions.
        assignment: Cow<'a, [u8]>, 0;
    }
}

message! {
    /// The member's assignment.
    struct SyncGroupResponse['a] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error code.
        error_code: i16, 0;
        /// What the group is for.
        protocol_type: Option<Cow<'a, str>>, 5..;
        /// The strategy.
        protocol_name: Option<Cow<'a, str>>, 5..;
        /// The assignment.
        assignment: Cow<'a, [u8]>, 0;
    }
}
