//! What a partition may have of an answer to a fetch beside others. Lives with the connection.
//!
//! A consumer that follows some partitions closely and is given another one, with much to catch up (of a member that is gone, or one that was just added),
//! gets the records of those that it follows behind all that came in the same answer: a client hands records over in the order in which they
//! came. So a connection that has just followed a partition gets little of each at a time. Who only catches up gets as much as it asks for.

use super::Shard;
use crate::event::ConnId;
use crate::limits::FOLLOWS_FOR;
use crate::time::Time;

impl Shard {
    /// Bytes that a partition may have of an answer with this many, but for a first batch that is larger.
    pub(super) fn share(&self, now: Time, conn: ConnId, partitions: usize) -> u64 {
        let follows = || {
            let until = self.connections.get(&conn).and_then(|connection| connection.follows_until);
            until.is_some_and(|until| !now.reached(until))
        };
        match self.fetch_share {
            0 => u64::MAX,
            share if partitions > 1 && follows() => share,
            _ => u64::MAX,
        }
    }

    /// An answer has come to the end of a partition that is written to a little at a time.
    pub(super) fn follows(&mut self, now: Time, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.follows_until = Some(now.after(FOLLOWS_FOR));
        }
    }
}
