//! When records are due and where they go: pure functions of a record's number, and of a seeded generator of random numbers.
//!
//! The schedule is absolute: record n is due at start + n / rate, whatever happened before. A record that could not be sent then stays due, so that a
//! broker which stalls is charged for every record that had to wait (no coordinated omission).

use crate::workload::{Keys, Partitioning, Workload};

/// Skew of [`Keys::Zipf`]: the usual one of cache and key-value benchmarks.
const ZIPF_EXPONENT: f64 = 0.99;

/// Due times of one producer's records. Producer p of P has the records p, p + P, p + 2 P, ... of the whole load.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_ns: u64,
    ns_per_record: f64,
    first: u64,
    step: u64,
}

impl Schedule {
    /// Of producer `index` of `producers`, for a load of `rate` records a second which begins at `start_ns`.
    pub fn new(start_ns: u64, rate: f64, index: u32, producers: u32) -> Schedule {
        Schedule { start_ns, ns_per_record: 1e9 / rate, first: u64::from(index), step: u64::from(producers) }
    }

    /// When this producer's record `ordinal` is due.
    pub fn due_ns(&self, ordinal: u64) -> u64 {
        self.start_ns + ((self.first + ordinal * self.step) as f64 * self.ns_per_record) as u64
    }

    /// How many of this producer's records are due at `now_ns`.
    pub fn due_until(&self, now_ns: u64) -> u64 {
        if now_ns < self.due_ns(0) {
            return 0;
        }
        let whole = ((now_ns - self.start_ns) as f64 / self.ns_per_record) as u64;
        let mut count = whole.saturating_sub(self.first) / self.step + 1;
        // The division and the product above round in different ways: the due time decides.
        while count > 0 && self.due_ns(count - 1) > now_ns {
            count -= 1;
        }
        while self.due_ns(count) <= now_ns {
            count += 1;
        }
        count
    }
}

/// Chooses keys and partitions.
#[derive(Clone, Debug)]
pub struct Chooser {
    random: fastrand::Rng,
    keys: Keys,
    key_count: u64,
    zipf: Option<Zipf>,
    partitioning: Partitioning,
    partitions: u32,
    step: u32,
    next_key: u64,
    next_partition: u32,
}

impl Chooser {
    /// For producer `index` of the workload.
    pub fn new(workload: &Workload, index: u32) -> Chooser {
        let partitions = workload.partitions_total();
        Chooser {
            random: fastrand::Rng::with_seed(u64::from(index) + 1),
            keys: workload.keys,
            key_count: workload.key_count,
            zipf: (workload.keys == Keys::Zipf).then(|| Zipf::new(workload.key_count)),
            partitioning: workload.partitioning,
            partitions,
            step: workload.producers,
            next_key: u64::from(index),
            // Several producers begin at different places, not all at partition 0.
            next_partition: (u64::from(index) * u64::from(partitions) / u64::from(workload.producers)) as u32,
        }
    }

    /// Have records keys?
    pub fn has_keys(&self) -> bool {
        self.keys != Keys::None
    }

    /// Partitions of all topics.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The next record's key; none when the workload has no keys.
    pub fn key(&mut self) -> Option<u64> {
        match self.keys {
            Keys::None => None,
            Keys::Uniform => Some(self.random.u64(0..self.key_count)),
            Keys::Zipf => self.zipf.as_ref().map(|zipf| zipf.draw(self.random.f64())),
            Keys::Sequential => {
                self.next_key += u64::from(self.step);
                Some(self.next_key)
            }
        }
    }

    /// The partition of a key, counted over all topics.
    pub fn partition_of(&self, key: u64) -> u32 {
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((u128::from(mixed ^ (mixed >> 29)) * u128::from(self.partitions)) >> 64) as u32
    }

    /// The partition of the next batch of records without keys, counted over all topics.
    pub fn partition(&mut self) -> u32 {
        match self.partitioning {
            Partitioning::Random => self.random.u32(0..self.partitions),
            Partitioning::RoundRobin => {
                let partition = self.next_partition;
                self.next_partition = (partition + 1) % self.partitions;
                partition
            }
        }
    }
}

/// Zipf's distribution over 0..count without a table (Gray et al., "Quickly generating billion-record synthetic databases").
#[derive(Clone, Debug)]
struct Zipf {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: u64) -> Zipf {
        let zeta_of = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-ZIPF_EXPONENT)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - ZIPF_EXPONENT)) / (1.0 - zeta_of(2.min(count)) / zeta);
        Zipf { count, zeta, alpha: 1.0 / (1.0 - ZIPF_EXPONENT), eta }
    }

    fn draw(&self, uniform: f64) -> u64 {
        let scaled = uniform * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(ZIPF_EXPONENT) {
            return 1.min(self.count - 1);
        }
        let rank = self.count as f64 * (self.eta * uniform - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_share_one_absolute_schedule() {
        let start = 1_700_000_000_000_000_000;
        for (rate, producers) in [(2000.0, 1), (3.0, 2), (1e6 / 7.0, 3), (3e8, 4)] {
            let schedules: Vec<_> = (0..producers).map(|at| Schedule::new(start, rate, at, producers)).collect();
            for number in [0u64, 1, 2, 3, 1000, 123_457] {
                let schedule = schedules[(number % u64::from(producers)) as usize];
                let ordinal = number / u64::from(producers);
                let due = schedule.due_ns(ordinal);
                let wanted = start as f64 + number as f64 * 1e9 / rate;
                assert!((due as f64 - wanted).abs() < 1000.0, "{rate} {number}");
                // Due at its time, not before; the schedule does not depend on when it is asked.
                assert!(schedule.due_until(due) > ordinal, "{rate} {number}");
                assert!(schedule.due_until(due - 1) <= ordinal, "{rate} {number}");
            }
        }
        assert_eq!(Schedule::new(start, 10.0, 0, 1).due_until(start - 1), 0);
    }

    #[test]
    fn a_second_of_the_load_has_its_rate() {
        for producers in [1, 3, 7] {
            let due: u64 =
                (0..producers).map(|at| Schedule::new(5, 100_000.0, at, producers).due_until(5 + 999_999_999)).sum();
            assert_eq!(due, 100_000);
        }
    }

    fn chooser(more: &str, producer: u32) -> Chooser {
        Chooser::new(&Workload::parse(&format!("kind = 'produce'\n{more}"), "").expect("parses"), producer)
    }

    #[test]
    fn keys_are_distributed_as_said() {
        let draw = |keys: &str| {
            let mut chooser = chooser(&format!("keys = '{keys}'\nkey_count = 1000"), 0);
            let mut counts = vec![0u32; 100_001];
            for _ in 0..100_000 {
                counts[chooser.key().expect("has keys") as usize] += 1;
            }
            counts
        };
        let (uniform, zipf, sequential) = (draw("uniform"), draw("zipf"), draw("sequential"));
        assert!(uniform[..1000].iter().all(|&count| (40..200).contains(&count)));
        // The first key has 1/H(1000) of all, about an eighth; twice as many as the second.
        assert!((11_000..15_000).contains(&zipf[0]) && (5_000..8_000).contains(&zipf[1]), "{} {}", zipf[0], zipf[1]);
        assert_eq!(zipf[1000..].iter().sum::<u32>(), 0);
        assert!(sequential.iter().all(|&count| count <= 1));
        assert_eq!(chooser("", 0).key(), None);
    }

    #[test]
    fn partitions_are_all_reached() {
        let mut turns = chooser("topics = 2\npartitions = 3\nproducers = 2", 1);
        assert_eq!((0..7).map(|_| turns.partition()).collect::<Vec<_>>(), [3, 4, 5, 0, 1, 2, 3]);
        for more in ["partitions = 50\npartitioning = 'random'", "partitions = 50\nkeys = 'uniform'"] {
            let mut chooser = chooser(more, 0);
            let mut counts = [0u32; 50];
            for _ in 0..50_000 {
                let partition = match chooser.key() {
                    Some(key) => chooser.partition_of(key),
                    None => chooser.partition(),
                };
                counts[partition as usize] += 1;
            }
            assert!(counts.iter().all(|&count| (700..1300).contains(&count)), "{more}: {counts:?}");
        }
    }
}
