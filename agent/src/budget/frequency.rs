//! The steps of the sampling frequency.

use crate::perf::period;

/// Periods from the configured frequency down to one sample a second, each of half the frequency before.
///
/// Each is the period that an agent configured so would have, so it is as well out of step with timers.
#[derive(Clone, Debug)]
pub(crate) struct Ladder(Vec<u64>);

impl Ladder {
    /// The steps below a configured frequency.
    pub(crate) fn new(hertz: u32) -> Self {
        let hertz = hertz.max(1);
        Self((0..=hertz.ilog2()).map(|step| period::period_ns(hertz >> step)).collect())
    }

    /// The period of a step in nanoseconds; step 0 is the configured one, those after the last are the last.
    pub(crate) fn period(&self, step: u8) -> u64 {
        self.0.get(usize::from(step)).or(self.0.last()).copied().unwrap_or(u64::MAX)
    }

    /// The last step: none lowers the frequency further.
    pub(crate) fn last(&self) -> u8 {
        u8::try_from(self.0.len() - 1).unwrap_or(u8::MAX)
    }
}

/// Samples a second of a period, in thousandths.
pub(crate) fn millihertz(period_ns: u64) -> u64 {
    1_000_000_000_000 / period_ns.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the configured frequency down to one sample a second, and no further.
    #[test]
    fn steps() {
        let ladder = Ladder::new(19);
        let periods: Vec<u64> = (0..=ladder.last()).map(|step| ladder.period(step)).collect();
        assert_eq!(periods, [19, 9, 4, 2, 1].map(period::period_ns));
        assert_eq!(ladder.period(200), period::period_ns(1));
        assert_eq!((Ladder::new(1).last(), Ladder::new(0).last(), Ladder::new(999).last()), (0, 0, 9));
        assert_eq!((millihertz(52_631_578), millihertz(1_000_000_000)), (19_000, 1_000));
    }
}
