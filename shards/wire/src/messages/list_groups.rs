//! ListGroups (16): the groups that a broker coordinates, filtered by state (KIP-518) and type (KIP-848).

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which groups.
    struct ListGroupsRequest['a] flexible 3 {
        /// States; none is all.
        states_filter: Vec<Cow<'a, str>>, 4..;
        /// Types; none is all.
        types_filter: Vec<Cow<'a, str>>, 5..;
    }
}

message! {
    /// The groups.
    struct ListGroupsResponse['a] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error code.
        error_code: i16, 0;
        /// The groups.
        groups: Vec<ListedGroup<'a>>, 0;
    }
}

message! {
    /// A group.
    struct ListedGroup['a] {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// What it is for: `consumer`; empty when it holds nothing but offsets.
        protocol_type: Cow<'a, str>, 0;
        /// Its state's name.
        group_state: Cow<'a, str>, 4..;
        /// Its type: `classic`, `consumer`.
        group_type: Cow<'a, str>, 5..;
    }
}
