//! FindCoordinator (10): which broker coordinates a group or a transaction. Several keys at once from version 4 (KIP-699).

use std::borrow::Cow;

use crate::declare::message;

/// Kind of key: a consumer group.
pub const GROUP: i8 = 0;
/// Kind of key: a transactional id.
pub const TRANSACTION: i8 = 1;
/// Kind of key: a partition of a share group (KIP-932, version 6).
pub const SHARE: i8 = 2;

message! {
    /// Whose coordinator.
    struct FindCoordinatorRequest['a] flexible 3 {
        /// The group or transactional id.
        key: Cow<'a, str>, 0..=3;
        /// [`GROUP`], [`TRANSACTION`] or [`SHARE`].
        key_type: i8, 1..;
        /// The groups or transactional ids.
        coordinator_keys: Vec<Cow<'a, str>>, 4..;
    }
}

message! {
    /// The coordinators.
    struct FindCoordinatorResponse['a] flexible 3 {
        /// How long the request was delayed, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Error code.
        error_code: i16, 0..=3;
        /// What went wrong, for people.
        error_message: Option<Cow<'a, str>>, 1..=3, = Some(Cow::Borrowed(""));
        /// The coordinator's broker id.
        node_id: i32, 0..=3;
        /// Its host.
        host: Cow<'a, str>, 0..=3;
        /// Its port.
        port: i32, 0..=3;
        /// One for each key.
        coordinators: Vec<Coordinator<'a>>, 4..;
    }
}

message! {
    /// A key's coordinator.
    struct Coordinator['a] {
        /// The group or transactional id.
        key: Cow<'a, str>, 4..;
        /// The coordinator's broker id.
        node_id: i32, 4..;
        /// Its host.
        host: Cow<'a, str>, 4..;
        /// Its port.
        port: i32, 4..;
        /// Error code.
        error_code: i16, 4..;
        /// What went wrong, for people.
        error_message: Option<Cow<'a, str>>, 4.., = Some(Cow::Borrowed(""));
    }
}
