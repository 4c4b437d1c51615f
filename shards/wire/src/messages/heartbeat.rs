//! Heartbeat (12): a member of the classic protocol is alive, and learns when it has to join again.

use std::borrow::Cow;

use crate::declare::message;

message! {
    /// Who is alive.
    struct HeartbeatRequest['a] flexible 4 {
        /// The group.
        group_id: Cow<'a, str>, 0;
        /// The generation.
        generation_id: i32, 0;
        /// The member's id.
        member_id: Cow<'a, str>, 0;
        /// Its name as a static member.
        group_instance_id: Option<Cow<'a, str>>, 3..;
    }
}

message! {
    /// Whether all is well.
    struct HeartbeatResponse[] flexible 4 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error code.
        error_code: i16, 0;
    }
}
