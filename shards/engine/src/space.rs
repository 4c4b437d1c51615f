//! How much room the data directory's file system has: what the driver last saw there, less what this shard has taken since. Lives on the shard.
//!
//! Invariant: nothing is appended while what is left is less than the reserve and what lies in journals only, which has to find a place in segments.
//! The driver looks about once a second, and a fast producer fills gigabytes in that time, so every allocation counts at once. The other
//! shards are taken to be like this one.

use crate::limits::{DISK_RESERVE_BYTES, DISK_RESUME_BYTES};

/// What the log of a shard has taken of the disk, and will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceTaken {
    /// Bytes of new space asked for since the start; only ever growing.
    pub asked_bytes: u64,
    /// Of these, what was asked for by operations that have not ended.
    pub under_way_bytes: u64,
    /// Bytes that lie in the journal only.
    pub unsettled_bytes: u64,
}

/// The room there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    /// What the driver saw last, free and in all; `None` before it has looked.
    seen: Option<(u64, u64)>,
    /// [`SpaceTaken::asked_bytes`] of which that look knew.
    known_bytes: u64,
    full: bool,
}

impl Space {
    /// The driver has looked.
    pub fn look(&mut self, free_bytes: u64, total_bytes: u64, taken: SpaceTaken) {
        self.seen = Some((free_bytes, total_bytes));
        self.known_bytes = taken.asked_bytes - taken.under_way_bytes;
    }

    /// Free and total bytes as the driver saw them last.
    pub fn seen(&self) -> Option<(u64, u64)> {
        self.seen
    }

    /// Judges: `Err((free, needed))` in bytes while nothing may be appended. Once that was said it takes more to go on, so that it does not flap.
    pub fn judge(&mut self, taken: SpaceTaken, shards: u16) -> Result<(), (u64, u64)> {
        let Some((seen_bytes, _)) = self.seen else { return Ok(()) };
        let shards = u64::from(shards);
        let free = seen_bytes.saturating_sub((taken.asked_bytes - self.known_bytes).saturating_mul(shards));
        let more = if self.full { DISK_RESUME_BYTES } else { 0 };
        let needed = DISK_RESERVE_BYTES + more + taken.unsettled_bytes * shards;
        self.full = free < needed;
        if self.full {
            Err((free, DISK_RESERVE_BYTES + DISK_RESUME_BYTES + taken.unsettled_bytes * shards))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn taken(asked: u64, under_way: u64, unsettled: u64) -> SpaceTaken {
        SpaceTaken { asked_bytes: asked * MIB, under_way_bytes: under_way * MIB, unsettled_bytes: unsettled * MIB }
    }

    #[test]
    fn the_reserve_holds_between_looks() {
        let reserve = DISK_RESERVE_BYTES / MIB;
        let mut space = Space::default();
        assert!(space.judge(taken(500, 0, 500), 4).is_ok(), "nothing is known");
        space.look((reserve + 100) * MIB, 1 << 40, taken(500, 10, 0));
        assert!(space.judge(taken(500, 0, 90), 1).is_ok(), "10 MiB were under way when the look was taken");
        assert!(space.judge(taken(500, 0, 91), 1).is_err());
        // What has been said holds until there is clearly more.
        let resume = DISK_RESUME_BYTES / MIB;
        space.look((reserve + resume - 1) * MIB, 1 << 40, taken(500, 0, 0));
        assert_eq!(space.judge(taken(500, 0, 0), 1), Err(((reserve + resume - 1) * MIB, (reserve + resume) * MIB)));
        space.look((reserve + resume) * MIB, 1 << 40, taken(500, 0, 0));
        assert!(space.judge(taken(500, 0, 0), 1).is_ok());
        // Four shards take four times as much.
        assert!(space.judge(taken(500 + resume / 4, 0, 0), 4).is_ok());
        assert!(space.judge(taken(501 + resume / 4, 0, 0), 4).is_err());
    }
}
