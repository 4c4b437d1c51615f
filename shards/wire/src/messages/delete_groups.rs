//! DeleteGroups (42): groups without members are forgotten, with their offsets.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Which groups.
    struct DeleteGroupsRequest['a] flexible 2 {
        /// The groups.
        groups_names: Vec<Cow<'a, str>>, 0;
    }
}

message! {
    /// What was forgotten.
    struct DeleteGroupsResponse['a] flexible 2 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 0;
        /// One for each group.
        results: Vec<DeletableGroupResult<'a>>, 0;
    }
}

message! {
    /// A group.
    struct DeletableGroupResult['a] {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// Error code.
        error_code: i16, 0;
    }
}
