//! The last offset of each key in the part of a partition that is being compacted: a table of a size that is known when it is made. Lives in
//! a cleaner's job.
//!
//! Keys are known by a keyed hash of 128 bits: two keys that share one would lose a record, which nobody meets by chance (2^-88 for a
//! million keys) nor on purpose, as the hash's key never leaves the process.

use siphasher::sip128::SipHasher13;

/// Hash of the key, offset + 1 of its last record; all zero: free.
type Slot = [u64; 3];

/// Bytes of one key in the table.
pub(super) const SLOT_BYTES: u64 = size_of::<Slot>() as u64;
/// The table is full when this many of a hundred places are taken.
const LOAD_PERCENT: u64 = 75;
const SLOTS_MIN: u64 = 16;

/// The table.
#[derive(Debug)]
pub(super) struct Keys {
    hasher: SipHasher13,
    slots: Vec<Slot>,
    taken: u64,
    taken_max: u64,
}

impl Keys {
    /// A table for up to `records_max` keys, within `bytes_max`.
    pub(super) fn new(seed: &[u8; 32], records_max: u64, bytes_max: u64) -> Keys {
        let word = |at: usize| u64::from_le_bytes(seed[at..at + 8].try_into().expect("8 bytes"));
        let wanted = records_max.saturating_mul(100) / LOAD_PERCENT + 1;
        let slots = wanted.min(bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        Keys {
            hasher: SipHasher13::new_with_keys(word(16), word(24)),
            // Zeros come from the system as they are touched: making it takes no time.
            slots: vec![[0; 3]; slots as usize],
            taken: 0,
            taken_max: slots * LOAD_PERCENT / 100,
        }
    }

    /// Enters a record. `false`: there is no room for another key.
    pub(super) fn enter(&mut self, key: &[u8], offset: i64) -> bool {
        let (at, found) = self.find(key);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.taken == self.taken_max {
                return false;
            }
            self.taken += 1;
            *slot = [found[0], found[1], 0];
        }
        slot[2] = slot[2].max(offset as u64 + 1);
        true
    }

    /// The last offset entered of a key.
    pub(super) fn last(&self, key: &[u8]) -> Option<i64> {
        let (at, _) = self.find(key);
        self.slots[at][2].checked_sub(1).map(|offset| offset as i64)
    }

    /// The place of a key, or the free one where it belongs; its hash.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let hash = self.hasher.hash(key);
        let (one, two) = (hash.h1, hash.h2);
        let len = self.slots.len();
        let mut at = ((u128::from(one) * len as u128) >> 64) as usize;
        while self.slots[at][2] != 0 && (self.slots[at][0], self.slots[at][1]) != (one, two) {
            at = if at + 1 == len { 0 } else { at + 1 };
        }
        (at, [one, two])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_key_within_the_room_there_is() {
        let mut keys = Keys::new(&[3; 32], 1 << 40, 4000 * SLOT_BYTES);
        let key = |i: i64| format!("key {i}").into_bytes();
        let fits = (0..10_000).take_while(|i| keys.enter(&key(*i), *i)).count() as i64;
        assert_eq!(fits, 3000);
        assert!((0..fits).all(|i| keys.enter(&key(i), i + 20_000)), "what is there has its place");
        assert!((0..fits).all(|i| keys.last(&key(i)) == Some(i + 20_000)));
        assert!((fits..10_000).all(|i| keys.last(&key(i)).is_none()));
        assert!(Keys::new(&[0; 32], 1000, 1 << 30).slots.len() < 2000, "no larger than it has to be");
    }

    #[test]
    fn the_first_offset_and_the_empty_key_are_like_others() {
        let mut keys = Keys::new(&[0; 32], 1, 0);
        assert_eq!(keys.last(b""), None);
        assert!(keys.enter(b"", 0));
        assert_eq!((keys.last(b""), keys.last(b"\0")), (Some(0), None));
    }
}
