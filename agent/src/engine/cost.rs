//! What samples cost: that part of the agent's CPU time which the frequency decides.
//!
//! Asking for a thread's CPU time is a system call, so only some samples are timed: the first few of each tick of the budget (at a
//! low frequency there are no more), and one in sixteen of the rest. What the kernel spends on taking a sample is the sampled
//! program's time, and no part of this.

use std::time::Duration;

use crate::budget::measure::thread_cpu;

/// Samples of each tick that are timed in any case.
const FIRST: u64 = 4;
/// Of the others, one in so many.
const EVERY: u64 = 16;
/// What a tick's timings still count for at the next: what single samples cost differs by a thousand times.
const KEEP: f64 = 0.9;

/// The cost of samples.
#[derive(Debug, Default)]
pub(crate) struct SampleCost {
    /// Samples since the last tick.
    samples: u64,
    /// Timed samples, and their time in nanoseconds: those of earlier ticks count for less.
    timed: f64,
    nanoseconds: f64,
}

impl SampleCost {
    /// A sample begins: the thread's CPU time, if this one is to be timed.
    pub(crate) fn begin(&mut self) -> Option<Duration> {
        self.samples += 1;
        (self.samples <= FIRST || self.samples.is_multiple_of(EVERY)).then(thread_cpu)
    }

    /// The sample has been dealt with.
    pub(crate) fn end(&mut self, begun: Option<Duration>) {
        if let Some(begun) = begun {
            self.timed(thread_cpu().saturating_sub(begun));
        }
    }

    fn timed(&mut self, time: Duration) {
        self.timed += 1.0;
        self.nanoseconds += time.as_secs_f64() * 1e9;
    }

    /// What samples have cost since this was asked before.
    #[allow(clippy::cast_precision_loss)] // Samples of a tick are far below 2^52.
    pub(crate) fn take(&mut self) -> Duration {
        let mean = self.nanoseconds / self.timed.max(1.0);
        let cost = mean * std::mem::take(&mut self.samples) as f64;
        (self.timed, self.nanoseconds) = (self.timed * KEEP, self.nanoseconds * KEEP);
        Duration::try_from_secs_f64(cost / 1e9).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All samples cost what the timed ones do on average, and a tick without any costs nothing.
    #[test]
    fn all_cost_what_some_do() {
        let mut cost = SampleCost::default();
        assert_eq!(cost.take(), Duration::ZERO);
        let timed = (0..64).filter(|_| cost.begin().is_some()).count();
        assert_eq!(timed, 8);
        (0..timed).for_each(|_| cost.timed(Duration::from_micros(5)));
        assert_eq!(cost.take(), Duration::from_micros(320));
        assert_eq!(cost.take(), Duration::ZERO);
        // At a low frequency each is timed.
        assert!(cost.begin().is_some() && cost.begin().is_some());
    }

    /// Time is that of the thread, also where it is not the one before.
    #[test]
    fn is_the_threads_time() {
        let mut cost = SampleCost::default();
        for _ in 0..3 {
            let begun = cost.begin();
            while thread_cpu() - begun.unwrap() < Duration::from_millis(2) {}
            cost.end(begun);
        }
        let taken = cost.take();
        assert!((Duration::from_millis(6)..Duration::from_millis(60)).contains(&taken), "{taken:?}");
    }
}
