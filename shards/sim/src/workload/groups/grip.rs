//! What a member of the classic protocol may count on in a mixed group, whichever kind of group that is at the moment: until when it is a member for certain.
//!
//! A classic group gives a member that did not join again the rebalance timeout from the beginning of the rebalance, of which the member may not know yet. A
//! group of the next-generation protocol gives it that long from the moment it was told to join, and again from its join until it asks for its assignment.
//! Neither goes below what is counted here, and a session ends it in both.

use super::Style;

/// How firmly a member holds what it was given.
#[derive(Clone, Copy, Debug)]
pub struct Grip {
    /// When the last request was sent whose answer showed it to be a member that has nothing to do.
    heard_ns: u64,
    /// When it may be removed for not doing what it was told, or may have been told.
    deadline_ns: u64,
}

impl Default for Grip {
    fn default() -> Grip {
        Grip { heard_ns: 0, deadline_ns: u64::MAX }
    }
}

impl Grip {
    /// A heartbeat sent then was answered: nothing to do.
    pub fn heard(&mut self, sent_ns: u64) {
        self.heard_ns = sent_ns;
    }

    /// An assignment that was asked for then was given.
    pub fn synced(&mut self, sent_ns: u64) {
        *self = Grip { heard_ns: sent_ns, deadline_ns: u64::MAX };
    }

    /// By a request sent then it was told to do something, or nobody knows what it was told.
    pub fn told(&mut self, style: &Style, sent_ns: u64) {
        self.deadline_ns = self.deadline_ns.min(sent_ns + style.rebalance_ms * 1_000_000);
    }

    /// Until when the coordinator must count what it has as held.
    pub fn until_ns(&self, style: &Style) -> u64 {
        let silent_ns = self.heard_ns + style.session_ms.min(style.rebalance_ms) * 1_000_000;
        silent_ns.min(self.deadline_ns)
    }
}
