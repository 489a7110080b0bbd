//! Whether measured shares agree with the truth, given how many samples there are.

/// How many standard deviations a share may be off. Four are exceeded by chance once in 16,000 comparisons.
const SIGMAS: f64 = 4.0;

/// The error that the sampling itself causes, as a share: four standard deviations of a binomial share, and one sample for
/// the rounding at the edges of the window.
#[must_use]
pub fn tolerance(truth: f64, samples: u64) -> f64 {
    // Sample counts are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let samples = samples.max(1) as f64;
    SIGMAS * (truth * (1.0 - truth) / samples).sqrt() + 1.0 / samples
}

/// Asserts that `measured` of `total` (in any unit) is the share `truth`, as far as so many samples can tell.
///
/// # Panics
/// When it is not, with all numbers.
#[track_caller]
pub fn assert_share(what: &str, (measured, total): (u64, u64), truth: f64, samples: u64) {
    assert!(samples >= 100, "{what}: only {samples} samples, too few to tell");
    #[allow(clippy::cast_precision_loss)]
    let share = measured as f64 / total as f64;
    let allowed = tolerance(truth, samples);
    assert!((share - truth).abs() <= allowed, "{what}: measured {share:.4}, the truth is {truth:.4} ± {allowed:.4} ({samples} samples)");
    eprintln!("{what}: measured {share:.4}, truth {truth:.4} ± {allowed:.4} ({samples} samples)");
}

/// Asserts that the measured CPU time is what the workload spent: off by four standard deviations of a count of that many
/// samples at most, and one per cent, by which the machine's clocks may disagree.
///
/// # Panics
/// When it is not, with all numbers.
#[track_caller]
pub fn assert_time(what: &str, measured_ns: u64, spent_ns: u64, frequency: u32) {
    #[allow(clippy::cast_precision_loss)]
    let (measured, spent) = (measured_ns as f64 / 1e9, spent_ns as f64 / 1e9);
    let samples = (spent * f64::from(frequency)).max(1.0);
    let allowed = spent * (SIGMAS / samples.sqrt() + 0.01);
    assert!((measured - spent).abs() <= allowed, "{what}: measured {measured:.3} s of CPU time, spent {spent:.3} ± {allowed:.3} s");
    eprintln!("{what}: measured {measured:.3} s of CPU time, spent {spent:.3} ± {allowed:.3} s");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More samples allow less error, and no share is compared more strictly than one sample.
    #[test]
    fn tolerance_shrinks_with_samples() {
        assert!((tolerance(0.7, 1000) - 0.0590).abs() < 0.0001);
        assert!(tolerance(0.7, 4000) < tolerance(0.7, 1000));
        assert!(tolerance(0.0, 1000) >= 0.001);
    }
}
