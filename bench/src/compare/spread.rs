//! Several runs of the same thing as one figure: the median with the smallest and the largest, and the ratio of two such figures.

use serde::{Deserialize, Serialize};

/// A figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle run; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub runs: usize,
}

impl Spread {
    /// Of these values; those that are no numbers do not count. None when nothing is left.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let upper = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[upper] } else { (sorted[upper - 1] + sorted[upper]) / 2.0 };
        Some(Spread { median, min, max, runs: sorted.len() })
    }
}

/// How many times `left` is `right`, turn by turn where both have a run of the same turn: what changed on the machine between the turns
/// then hits both. None when nothing can be divided.
pub fn ratio(left: &[(usize, f64)], right: &[(usize, f64)]) -> Option<Spread> {
    let pairs = left.iter().filter_map(|&(turn, value)| {
        let (_, other) = right.iter().find(|&&(other_turn, other)| other_turn == turn && other != 0.0)?;
        Some(value / other)
    });
    Spread::of(&pairs.collect::<Vec<_>>())
}

/// Three digits or so: more would claim a precision that the runs do not have.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (min, max) = (short(self.min), short(self.max));
        if min == max {
            write!(f, "{}", short(self.median))
        } else {
            write!(f, "{} ({min}..{max})", short(self.median))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_the_ends() {
        for (values, want) in [
            (&[3.0, 1.0, 2.0][..], Some((2.0, 1.0, 3.0, 3))),
            (&[4.0, 1.0, 2.0, 100.0], Some((3.0, 1.0, 100.0, 4))),
            (&[7.0], Some((7.0, 7.0, 7.0, 1))),
            (&[f64::NAN, 5.0, f64::INFINITY], Some((5.0, 5.0, 5.0, 1))),
            (&[f64::NAN], None),
            (&[], None),
        ] {
            let got = Spread::of(values).map(|spread| (spread.median, spread.min, spread.max, spread.runs));
            assert_eq!(got, want, "{values:?}");
        }
    }

    #[test]
    fn a_ratio_pairs_the_turns() {
        // The machine was half as fast in the second turn: the ratio does not see it.
        let found = ratio(&[(1, 400.0), (2, 200.0), (3, 420.0)], &[(1, 100.0), (2, 50.0), (3, 100.0)]).expect("pairs");
        assert_eq!((found.median, found.min, found.max, found.runs), (4.0, 4.0, 4.2, 3));
        // A turn that only one of them has does not count, nor does a division by nothing.
        let found = ratio(&[(1, 10.0), (2, 30.0)], &[(2, 10.0), (3, 1.0)]).expect("one pair");
        assert_eq!((found.median, found.runs), (3.0, 1));
        assert_eq!(ratio(&[(1, 10.0)], &[(1, 0.0)]), None);
        assert_eq!(ratio(&[], &[(1, 1.0)]), None);
    }

    #[test]
    fn figures_are_shown_with_three_digits() {
        for (value, want) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (1234.4, "1234"),
            (99.96, "100"),
            (-5.0, "-5.00"),
        ] {
            assert_eq!(short(value), want);
        }
        let spread = Spread { median: 2.0, min: 1.0, max: 31.0, runs: 3 };
        assert_eq!(spread.to_string(), "2.00 (1.00..31.0)");
        assert_eq!(Spread { median: 2.0, min: 2.0, max: 2.0, runs: 1 }.to_string(), "2.00");
    }
}
