//! Makes hostile bytes: random ones, and damaged copies of valid ones. Deterministic: the seed and the number of the round decide everything.

/// SplitMix64: eight lines, every seed good, no dependency to change its sequence under a recorded seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of one round, so that a round can be repeated without those before it.
    pub fn of_round(seed: u64, round: u64) -> Rng {
        let mut rng = Rng(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rng.next();
        rng
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }
}

/// Largest input made here.
const INPUT_BYTES_MAX: usize = 256 << 10;

/// One input: mostly a valid one with a few things wrong, sometimes nothing but noise.
pub fn input(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    if corpus.is_empty() || rng.below(16) == 0 {
        return (0..rng.below(512)).map(|_| rng.next() as u8).collect();
    }
    let mut bytes = corpus[rng.below(corpus.len())].clone();
    for _ in 0..=rng.below(4) {
        damage(rng, &mut bytes, corpus);
        bytes.truncate(INPUT_BYTES_MAX);
    }
    bytes
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = rng.below(bytes.len());
    let end = at + rng.below((bytes.len() - at).min(64) + 1);
    match rng.below(8) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
        1 if !bytes.is_empty() => bytes[at] = rng.next() as u8,
        // Lengths, counts and offsets are what decoders trust too much.
        2 | 3 => number(rng, bytes, at),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let other = &corpus[rng.below(corpus.len())];
            let from = rng.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// Writes a number that lies at some edge over whatever stands at `at`, in either byte order and any width.
fn number(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    let left = bytes.len() as i64;
    let edges =
        [0, -1, 1, i64::MAX, i64::MIN, i64::from(i32::MAX), i64::from(i32::MIN), 0x7fff, -0x8000, left, left + 1, -2];
    let value = edges[rng.below(edges.len())];
    let width = [1, 2, 4, 8][rng.below(4)];
    let mut image = if rng.below(2) == 0 {
        value.to_le_bytes()[..width].to_vec()
    } else {
        value.to_be_bytes()[8 - width..].to_vec()
    };
    // A varint that never seems to end is the same trick in another spelling.
    if rng.below(8) == 0 {
        image = vec![0xff; rng.below(12)];
    }
    for (to, from) in bytes.iter_mut().skip(at).zip(image) {
        *to = from;
    }
}
