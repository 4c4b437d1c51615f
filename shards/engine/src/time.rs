//! Time as the engine knows it: it comes in with every input, and deadlines go out; nobody in here asks a clock.

use std::time::Duration;

/// "Now", as the driver read it when the input arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Nanoseconds on a clock that never goes back; its zero means nothing. Deadlines are made of it.
    pub mono_ns: u64,
    /// Milliseconds since the Unix epoch, as the host believes: record timestamps and retention are made of it. May jump.
    pub wall_ms: i64,
}

impl Time {
    /// The deadline `after` from now.
    pub fn after(&self, after: Duration) -> Deadline {
        Deadline(self.mono_ns.saturating_add(after.as_nanos().min(u128::from(u64::MAX)) as u64))
    }

    /// Whether `deadline` has come.
    pub fn reached(&self, deadline: Deadline) -> bool {
        self.mono_ns >= deadline.0
    }
}

/// A moment on the monotonic clock of [`Time`], in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub u64);
