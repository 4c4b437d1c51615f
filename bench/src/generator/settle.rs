//! When is a broker settled under a load? When it has stopped getting faster.

/// A slice counts as a rise when it beats the best so far by more than this: less is noise.
const RISE: f64 = 1.05;

/// Do the slices still get faster? Not when two of them in a row brought nothing above the best before.
pub fn still_rising(slices: &[f64]) -> bool {
    let Some(quiet_from) = slices.len().checked_sub(2).filter(|&at| at > 0) else { return true };
    let best = slices[..quiet_from].iter().copied().fold(0.0, f64::max);
    slices[quiet_from..].iter().any(|&slice| slice > best * RISE)
}

#[cfg(test)]
mod tests {
    use super::still_rising;

    #[test]
    fn warm_is_what_has_stopped_rising() {
        for (slices, rising) in [
            (&[][..], true),
            (&[1.0, 1.0], true),
            (&[1.0, 1.0, 1.0], false),
            (&[100.0, 104.0, 103.0], false),
            (&[100.0, 150.0, 151.0], true),
            (&[100.0, 150.0, 151.0, 152.0], false),
            // One slow slice does not make it warm: the next one beat the best.
            (&[100.0, 90.0, 140.0], true),
        ] {
            assert_eq!(still_rising(slices), rising, "{slices:?}");
        }
    }
}
