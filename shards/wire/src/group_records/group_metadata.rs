//! A group of the classic protocol: one generation with its members, written when its assignment is there.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which group.
    struct GroupMetadataKey['a] flexible 1 {
        /// The group.
        group: Cow<'a, str>, 0;
    }
}

message! {
    /// The generation.
    struct GroupMetadataValue['a] flexible 4 {
        /// What the group is for; empty when it holds nothing but offsets.
        protocol_type: Cow<'a, str>, 0;
        /// The generation's number.
        generation: i32, 0;
        /// The strategy chosen; null when the group is empty.
        protocol: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// The leader's member id; null when the group is empty.
        leader: Option<Cow<'a, str>>, 0, = Some(Cow::Borrowed(""));
        /// When the group came into its state, in milliseconds since 1970; -1 is unknown.
        current_state_timestamp: i64, 2.., = -1;
        /// The members.
        members: Vec<MemberMetadata<'a>>, 0;
    }
}

message! {
    /// A member.
    struct MemberMetadata['a] {
        /// Its id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3..;
        /// Its client id.
        client_id: Cow<'a, str>, 0;
        /// Its host.
        client_host: Cow<'a, str>, 0;
        /// How long it has for joining again, in milliseconds; -1 (before version 1) is its session timeout.
        rebalance_timeout: i32, 1.., = -1;
        /// Not heard of for so long it is dead, in milliseconds.
        session_timeout: i32, 0;
        /// What it gave for the chosen strategy.
        subscription: Cow<'a, [u8]>, 0;
        /// What the leader gave it.
        assignment: Cow<'a, [u8]>, 0;
    }
}
