//! When each connection of a shard is to be looked at for idleness: `connections.max.idle.ms`.
//!
//! A connection has one entry, which is not moved when it does something: when its moment has come the shard looks whether it has been idle
//! all the time, and if not it is entered again. So a request costs nothing here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::ConnId;
use crate::time::{Deadline, Time};

/// Connections by the moment at which they are looked at.
#[derive(Debug, Default)]
pub struct Idle {
    /// None: connections may be idle for ever.
    after: Option<Duration>,
    checks: BTreeSet<(Deadline, ConnId)>,
}

impl Idle {
    /// Nobody yet. `max_ms` is `connections.max.idle.ms`; below 0: no bound.
    pub fn new(max_ms: i64) -> Idle {
        Idle { after: u64::try_from(max_ms).ok().map(Duration::from_millis), checks: BTreeSet::new() }
    }

    /// When one that was last active then has been idle for too long.
    pub fn deadline(&self, active_ns: u64) -> Option<Deadline> {
        let active = Time { mono_ns: active_ns, wall_ms: 0 };
        self.after.map(|after| active.after(after))
    }

    /// Looks at it again when it would have been idle for too long: gives that moment, with which it is forgotten.
    pub fn watch(&mut self, conn: ConnId, active_ns: u64) -> Option<Deadline> {
        let deadline = self.deadline(active_ns)?;
        self.checks.insert((deadline, conn));
        Some(deadline)
    }

    /// It is gone.
    pub fn forget(&mut self, conn: ConnId, check: Option<Deadline>) {
        if let Some(check) = check {
            self.checks.remove(&(check, conn));
        }
    }

    /// One whose moment has come; it is no longer watched.
    pub fn due(&mut self, now: Time) -> Option<ConnId> {
        let first = self.checks.first().filter(|(deadline, _)| now.reached(*deadline))?;
        let conn = first.1;
        self.checks.pop_first();
        Some(conn)
    }

    /// When the next one is to be looked at.
    pub fn next_deadline(&self) -> Option<Deadline> {
        self.checks.first().map(|(deadline, _)| *deadline)
    }
}
