//! What members wrote down (bench/clients/rebalance_member.py), and the gaps in it. No I/O.

use std::collections::{BTreeMap, BTreeSet};

/// A span of time, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from_ns: u64,
    /// Its end.
    pub until_ns: u64,
}

/// What one member saw.
#[derive(Debug, Default)]
pub struct Log {
    /// Offset and moment of each record, by partition, in the order of arrival.
    arrivals: BTreeMap<i32, Vec<(i64, u64)>>,
    /// When which partitions came or went.
    changes: Vec<(u64, bool, Vec<i32>)>,
}

impl Log {
    /// Reads it; a last line that was cut off by a kill is left out.
    pub fn parse(text: &str) -> Log {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut log = Log::default();
        for line in whole.lines() {
            let mut words = line.split(' ');
            let what = words.next();
            let mut numbers = words.filter_map(|word| word.parse::<u64>().ok());
            match (what, numbers.next()) {
                (Some("r"), Some(partition)) => {
                    if let (Some(offset), Some(at_ns)) = (numbers.next(), numbers.next()) {
                        log.arrivals.entry(partition as i32).or_default().push((offset as i64, at_ns));
                    }
                }
                (Some(change @ ("a" | "v")), Some(at_ns)) => {
                    log.changes.push((at_ns, change == "a", numbers.map(|partition| partition as i32).collect()));
                }
                _ => {}
            }
        }
        log
    }

    /// What it has now.
    pub fn has(&self) -> BTreeSet<i32> {
        self.had_at(u64::MAX)
    }

    fn had_at(&self, moment_ns: u64) -> BTreeSet<i32> {
        let mut has = BTreeSet::new();
        for (_, came, partitions) in self.changes.iter().filter(|(at_ns, ..)| *at_ns <= moment_ns) {
            for partition in partitions {
                if *came {
                    has.insert(*partition)
                } else {
                    has.remove(partition)
                };
            }
        }
        has
    }

    /// What it had all the time.
    pub fn kept(&self, span: Span) -> BTreeSet<i32> {
        let mut kept = self.had_at(span.from_ns);
        for (at_ns, came, partitions) in &self.changes {
            if !came && (span.from_ns..=span.until_ns).contains(at_ns) {
                partitions.iter().for_each(|partition| {
                    kept.remove(partition);
                });
            }
        }
        kept
    }
}

/// The longest time within `span` without a new record of a partition, over what all these members saw, in nanoseconds. A record that comes again is none.
pub fn longest_gap_ns(logs: &[&Log], partition: i32, span: Span) -> u64 {
    let mut arrivals: Vec<(u64, i64)> = logs
        .iter()
        .filter_map(|log| log.arrivals.get(&partition))
        .flatten()
        .map(|(offset, at_ns)| (*at_ns, *offset))
        .collect();
    arrivals.sort_unstable();
    let (mut last_ns, mut next, mut longest) = (span.from_ns, 0, 0);
    for (at_ns, offset) in arrivals {
        if offset < next {
            continue;
        }
        next = offset + 1;
        if at_ns > span.until_ns {
            break;
        }
        // What began before the span counts from its beginning.
        if at_ns > span.from_ns {
            longest = longest.max(at_ns - last_ns);
            last_ns = at_ns;
        }
    }
    longest.max(span.until_ns - last_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from_ns: 100, until_ns: 200 };

    #[test]
    fn gaps_of_one_and_of_several_members() {
        let one = Log::parse("a 1 0 1\nr 0 5 90\nr 0 6 110\nr 0 7 150\nr 0 8 190\nr 0 9 260\nr 1 1 105\nr 0 10 2");
        let two = Log::parse("r 0 7 155\nr 0 8 170\nr 1 2 195\n");
        for (logs, partition, want) in [
            (&[&one][..], 0, 40),
            // 7 came again, 8 came earlier.
            (&[&one, &two], 0, 40),
            (&[&one], 1, 95),
            (&[&one, &two], 1, 90),
            (&[&one], 2, 100),
        ] {
            assert_eq!(longest_gap_ns(logs, partition, SPAN), want, "{partition} of {}", logs.len());
        }
    }

    #[test]
    fn what_was_kept_is_what_was_there_and_never_went() {
        let log = Log::parse("a 10 0 1 2\nv 20 2\na 50 3\nv 150 1\na 160 1\nv 300 0\n");
        assert_eq!(log.kept(SPAN), BTreeSet::from([0, 3]));
        assert_eq!(log.has(), BTreeSet::from([1, 3]));
    }
}
