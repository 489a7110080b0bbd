//! The sampling period: near to what is configured, and out of step with everything that works by a timer.
//!
//! The software clock's timer expires on a fixed grid. Work that begins on a grid of its own in a simple ratio to it (a
//! server's tick of 100 Hz under a profiler of 100 Hz) would be met always at the same moments of its round, and so counted
//! much too often or never, however long one looks. So the period is the configured one made longer by 1 to 5 per cent: by
//! as much as keeps it, for rounds of all usual frequencies and of the configured one itself, from meeting the same few
//! moments again and again within a window.
//!
//! The period depends on the frequency alone, so samples of different hosts and times have the same worth and can be added.

/// Usual frequencies of timers, in Hz: decimal fractions of a second, screens and films, kernels' ticks, powers of two.
const TIMERS: [u64; 35] = [
    1, 2, 4, 5, 8, 10, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 75, 90, 100, 120, 125, 128, 144, 150, 200, 240, 250, 256, 300, 400, 500,
    512, 1000, 1024,
];
/// A timer's round is met at this many moments at least before a period counts as out of step with it.
const MOMENTS: u64 = 10;
/// By how much a period may be made longer, in thousandths.
const LONGER: std::ops::RangeInclusive<u64> = 10..=50;
/// One turn: a timer's round in parts per 2^32.
const TURN: u64 = 1 << 32;

/// Nanoseconds from sample to sample for so many samples a second.
pub(crate) fn period_ns(frequency: u32) -> u64 {
    let frequency = u64::from(frequency.max(1));
    let candidates = LONGER.map(|longer| 1_000_000 * (1000 + longer) / frequency);
    // The first of equals, so the shortest; the range is not empty.
    let best = candidates.rev().max_by_key(|period| drift(*period, frequency));
    best.unwrap_or(1_000_000_000 / frequency)
}

/// How fast the moments wander at which this period meets the timer that it is most nearly in step with: parts of a turn in
/// as many samples as come back to nearly the same moment.
fn drift(period: u64, frequency: u64) -> u64 {
    let timers = TIMERS.into_iter().chain([frequency]);
    timers.map(|timer| timer_drift(period, timer)).min().unwrap_or_default()
}

fn timer_drift(period: u64, timer: u64) -> u64 {
    // How far the timer's round has turned from one sample to the next.
    let turned = u128::from(period) * u128::from(timer) * u128::from(TURN) / 1_000_000_000;
    let after = |samples: u64| u64::try_from(turned * u128::from(samples) % u128::from(TURN)).unwrap_or_default();
    (1..=MOMENTS).map(|samples| after(samples).min(TURN - after(samples))).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest part of a timer's round that no sample of `samples` meets.
    fn largest_gap(period: u64, timer: u64, samples: u64) -> f64 {
        let round = 1_000_000_000_000 / u128::from(timer);
        let mut met: Vec<u128> = (0..u128::from(samples)).map(|n| n * u128::from(period) * 1000 % round).collect();
        met.sort_unstable();
        let inside = met.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(round);
        let gap = inside.max(round - met[met.len() - 1] + met[0]);
        gap as f64 / round as f64
    }

    /// In ten seconds, samples at every usual rate meet all parts of the round of every usual timer, and of one that has the
    /// very frequency that was configured; the nominal period would not.
    #[test]
    fn out_of_step_with_timers() {
        for frequency in [10, 11, 13, 19, 25, 49, 50, 60, 73, 91, 97, 99, 100, 125, 199, 200, 250, 253, 337, 400, 406, 520, 999] {
            let period = period_ns(frequency);
            let samples = (10_000_000_000 / period).min(600);
            for timer in TIMERS.into_iter().chain([u64::from(frequency)]).filter(|timer| *timer > 1) {
                let gap = largest_gap(period, timer, samples);
                assert!(gap < 0.15, "{frequency} Hz misses {gap:.3} of the round of a timer of {timer} Hz");
            }
        }
        assert!(largest_gap(10_000_000, 100, 1000) > 0.99);
    }

    /// The period is near to the configured one and never shorter: the agent does not sample more often than it was told to.
    #[test]
    fn near_the_configured_one() {
        for frequency in 1..=999 {
            let (period, nominal) = (period_ns(frequency), 1_000_000_000 / u64::from(frequency));
            assert!((nominal..=nominal * 1051 / 1000).contains(&period), "{frequency} Hz: {period} ns");
        }
    }
}
