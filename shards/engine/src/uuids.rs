//! Random UUIDs (version 4) out of the seed of a start: SplitMix64. The engine has no randomness of its own; the driver brings a seed that nobody can guess.

/// A source of UUIDs.
#[derive(Debug, Default)]
pub struct Uuids([u64; 2]);

impl Uuids {
    /// From [`crate::event::Boot::seed`]; another `salt` gives other ones.
    pub fn new(seed: &[u8; 32], salt: u64) -> Uuids {
        let word = |at: usize| u64::from_le_bytes(seed[at..at + 8].try_into().expect("8 bytes"));
        Uuids([word(0) ^ word(16) ^ mix(salt), word(8) ^ word(24)])
    }

    /// The next one.
    pub fn next_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (word, half) in self.0.iter_mut().zip(bytes.chunks_exact_mut(8)) {
            *word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            half.copy_from_slice(&mix(*word).to_le_bytes());
        }
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }

    /// The next one, as people write it: `xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx`.
    pub fn next_text(&mut self) -> String {
        let mut text = String::with_capacity(36);
        for (at, byte) in self.next_bytes().into_iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(char::from_digit(u32::from(byte >> 4), 16).expect("a digit"));
            text.push(char::from_digit(u32::from(byte & 15), 16).expect("a digit"));
        }
        text
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::Uuids;

    #[test]
    fn they_look_like_uuids_and_differ() {
        let mut uuids = Uuids::new(&[7; 32], 3);
        let (one, two) = (uuids.next_text(), uuids.next_text());
        assert_ne!(one, two);
        assert_ne!(one, Uuids::new(&[7; 32], 4).next_text());
        assert_eq!(one, Uuids::new(&[7; 32], 3).next_text());
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!((parts.as_slice(), &one[14..15]), ([8, 4, 4, 4, 12].as_slice(), "4"));
    }
}
