//! JoinGroup (11): a member of the classic protocol comes into a group's next generation.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// A member and what it can do.
    struct JoinGroupRequest['a] flexible 6 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// A member not heard of for so long is dead, in milliseconds.
        session_timeout_ms: i32, 0;
        /// How long members have for joining again, in milliseconds; before version 1 it is the session timeout.
        rebalance_timeout_ms: i32, 1.., = -1;
        /// The member's id; empty when it has none yet.
        member_id: Cow<'a, str>, 0;
        /// Name of a static member (KIP-345).
        group_instance_id: Option<Cow<'a, str>>, 5..;
        /// What the group is for: `consumer`, `connect`.
        protocol_type: Cow<'a, str>, 0;
        /// The assignment strategies that the member knows, best first.
        protocols: Vec<JoinGroupRequestProtocol<'a>>, 0;
        /// Why it joins, for people (KIP-800).
        reason: Option<Cow<'a, str>>, 8..;
    }
}

message! {
    /// An assignment strategy.
    struct JoinGroupRequestProtocol['a] {
        /// Its name.
        name: Cow<'a, str>, 0;
        /// What the leader needs to know of the member for it: for consumers a subscription.
        metadata: Cow<'a, [u8]>, 0;
    }
}

message! {
    /// The generation that the member is in.
    struct JoinGroupResponse['a] flexible 6 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// Error code.
        error_code: i16, 0;
        /// The generation.
        generation_id: i32, 0, = -1;
        /// What the group is for.
        protocol_type: Option<Cow<'a, str>>, 7..;
        /// The strategy chosen; null only since version 7, so an empty one for those before.
        protocol_name: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// The leader's member id.
        leader: Cow<'a, str>, 0;
        /// Whether the leader has nothing to compute: a static leader came back (KIP-814).
        skip_assignment: bool, 9..;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
        /// All members, told to the leader only.
        members: Vec<JoinGroupResponseMember<'a>>, 0;
    }
}

message! {
    /// A member.
    struct JoinGroupResponseMember['a] {
        /// Its id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 5..;
        /// What it gave for the chosen strategy.
        metadata: Cow<'a, [u8]>, 0;
    }
}
