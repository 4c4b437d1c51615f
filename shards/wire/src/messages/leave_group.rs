//! LeaveGroup (13): members of the classic protocol go. Several at once, and static ones by name, from version 3 (KIP-345).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Who goes.
    struct LeaveGroupRequest['a] flexible 4 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0..=2;
        /// The members.
        members: Vec<MemberIdentity<'a>>, 3..;
    }
}

message! {
    /// A member.
    struct MemberIdentity['a] {
        /// Its id; empty for a static member removed by name.
        member_id: Cow<'a, str>, 3..;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3..;
        /// Why it goes, for people (KIP-800).
        reason: Option<Cow<'a, str>>, 5..;
    }
}

message! {
    /// Who is gone.
    struct LeaveGroupResponse['a] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error code.
        error_code: i16, 0;
        /// One for each member.
        members: Vec<MemberResponse<'a>>, 3..;
    }
}

message! {
    /// What became of a member.
    struct MemberResponse['a] {
        /// Its id.
        member_id: Cow<'a, str>, 3..;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3.., = Some(Cow::Borrowed(""));
        /// Error code.
        error_code: i16, 3..;
    }
}
