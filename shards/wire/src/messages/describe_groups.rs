//! DescribeGroups (15): groups of the classic protocol, with their members.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which groups.
    struct DescribeGroupsRequest['a] flexible 5 {
        /// The groups.
        groups: Vec<Cow<'a, str>>, 0;
        /// Whether the answer says what the caller may do with each.
        include_authorized_operations: bool, 3..;
    }
}

message! {
    /// The groups.
    struct DescribeGroupsResponse['a] flexible 5 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
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
        error_message: Option<Cow<'a, str>>, 6..;
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// Its state's name.
        group_state: Cow<'a, str>, 0;
        /// What it is for.
        protocol_type: Cow<'a, str>, 0;
        /// The strategy chosen.
        protocol_data: Cow<'a, str>, 0;
        /// Its members.
        members: Vec<DescribedGroupMember<'a>>, 0;
        /// Bits of what the caller may do with it.
        authorized_operations: i32, 3.., = i32::MIN;
    }
}

message! {
    /// A member.
    struct DescribedGroupMember['a] {
        /// Its id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 4..;
        /// Its client id.
        client_id: Cow<'a, str>, 0;
        /// Its host.
        client_host: Cow<'a, str>, 0;
        /// What it gave for the chosen strategy: for consumers a subscription.
        member_metadata: Cow<'a, [u8]>, 0;
        /// What the leader gave it: for consumers topics and partitions.
        member_assignment: Cow<'a, [u8]>, 0;
    }
}
