//! Which partition a record goes to: Kafka's murmur2 of its key, so that a key lands where the Java client would put it; in turn without.

/// Chooses partitions for one topic.
#[derive(Debug)]
pub(in crate::cli) struct Partitioner {
    turn: usize,
}

impl Partitioner {
    /// Begins at the first partition.
    pub(in crate::cli) fn new() -> Partitioner {
        Partitioner { turn: 0 }
    }

    /// The partition for a record. `partitions` is how many the topic has; at least 1.
    pub(in crate::cli) fn partition(&mut self, key: Option<&[u8]>, partitions: i32) -> i32 {
        match key {
            // Java's `Utils.toPositive`: drop the sign bit, not `abs`.
            Some(key) => (murmur2(key) & 0x7fff_ffff) as i32 % partitions,
            None => (self.turn as u32 % partitions as u32) as i32,
        }
    }

    /// The next partition's turn for records without a key. Called once per batch, not per record: batches of one
    /// partition are larger that way (Kafka's sticky partitioner, KIP-480).
    pub(in crate::cli) fn next_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }
}

/// Murmur 2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    for (i, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * i);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own UtilsTest.
    #[test]
    fn hashes_as_the_java_client_does() {
        let rows: &[(&[u8], i32)] = &[
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expect) in rows {
            assert_eq!(murmur2(key) as i32, *expect, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn records_without_a_key_take_turns() {
        let mut partitioner = Partitioner::new();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(partitioner.partition(None, 3));
            partitioner.next_turn();
        }
        assert_eq!(seen, [0, 1, 2, 0]);
        assert_eq!(partitioner.partition(Some(b"foobar"), 3), ((-790_332_482_i32 & 0x7fff_ffff) % 3));
    }
}
