//! Axes: from values to places, and which values get a mark. Linear from zero, or logarithmic.

use crate::compare::spread::short;

/// A scale of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From zero to this.
    Linear {
        /// The end.
        max: f64,
    },
    /// Powers of ten between these.
    Log {
        /// The beginning, more than zero.
        min: f64,
        /// The end.
        max: f64,
    },
}

impl Scale {
    /// From zero to a round number that holds `max`.
    pub fn linear(max: f64) -> Scale {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = step(max);
        Scale::Linear { max: (max / step - 1e-9).ceil() * step }
    }

    /// From a round number (1, 2 or 5 of a power of ten) to one.
    pub fn log(min: f64, max: f64) -> Scale {
        let min = if min.is_finite() && min > 0.0 { min } else { 0.001 };
        let max = if max.is_finite() && max > min { max } else { min * 10.0 };
        let (below, above) = (round_down(min), round_up(max));
        Scale::Log { min: below, max: if above > below { above } else { below * 10.0 } }
    }

    /// Where a value is, 0 to 1; what lies outside is put at the edge.
    pub fn share(&self, value: f64) -> f64 {
        let share = match *self {
            Scale::Linear { max } => value / max,
            Scale::Log { min, max } => (value.max(min) / min).ln() / (max / min).ln(),
        };
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }

    /// Values that get a mark, with what is written at it.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match *self {
            Scale::Linear { max } => {
                let step = step(max);
                (0..=(max / step).round() as usize).map(|at| at as f64 * step).collect()
            }
            Scale::Log { min, max } => {
                // With few powers of ten in it there is room for the 2 and the 5.
                let factors: &[f64] = if max / min <= 1000.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let (first, last) = (min.log10().floor() as i32, max.log10().ceil() as i32);
                let all = (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
                all.filter(|value| *value >= min * 0.999 && *value <= max * 1.001).collect()
            }
        };
        values.into_iter().map(|value| (value, mark(value))).collect()
    }
}

/// A round step that cuts the span into four to eight.
fn step(max: f64) -> f64 {
    let power = 10f64.powf((max / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().rev().find(|step| max / step >= 4.0 - 1e-9).unwrap_or(power)
}

fn round_down(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].map(|factor| factor * power).into_iter().find(|&round| round <= value * 1.000_001).unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|&round| round >= value * 0.999_999)
        .unwrap_or(power)
}

/// As short as it can be said.
fn mark(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= 1e6 {
        return format!("{}M", trim(&short(value / 1e6)));
    }
    if value.abs() >= 1e4 {
        return format!("{}k", trim(&short(value / 1e3)));
    }
    if value.abs() < 0.1 { trim(&format!("{value:.5}")) } else { trim(&short(value)) }
}

fn trim(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_their_values() {
        assert_eq!(Scale::linear(3.9), Scale::Linear { max: 4.0 });
        assert_eq!(Scale::linear(1000.0), Scale::Linear { max: 1000.0 });
        assert_eq!(Scale::linear(0.0), Scale::Linear { max: 1.0 });
        for max in [0.013, 0.4, 1.0, 7.3, 99.0, 123_456.0] {
            let scale = Scale::linear(max);
            assert!(scale.share(max) > 0.7, "{max}: {scale:?}");
            assert!((4..=9).contains(&scale.marks().len()), "{max}: {:?}", scale.marks());
        }
        let scale = Scale::log(0.131, 264.0);
        assert_eq!(scale, Scale::Log { min: 0.1, max: 500.0 });
        assert_eq!((scale.share(0.1), scale.share(500.0), scale.share(1e9)), (0.0, 1.0, 1.0));
        let marks: Vec<String> = scale.marks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(marks, ["0.1", "1", "10", "100"]);
        assert_eq!(Scale::log(f64::NAN, 0.0).share(f64::NAN), 0.0);
    }

    #[test]
    fn marks_are_short() {
        for (value, want) in
            [(0.0, "0"), (0.001, "0.001"), (0.25, "0.25"), (20_000.0, "20k"), (1_500_000.0, "1.5M"), (5.0, "5")]
        {
            assert_eq!(mark(value), want);
        }
    }
}
