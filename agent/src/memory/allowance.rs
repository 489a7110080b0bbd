//! CPU time that a part of the work may use.

use std::time::{Duration, Instant};

use crate::budget::measure;

/// Waits are within these: neither so short that they are none, nor longer than a change of the rate may be overlooked.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What is left of the rate while the agent is to do less.
const SLOW: f64 = 0.5;

/// So much CPU time a second, and some at once. Work is charged when it is done, so it may run into debt.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Cores.
    rate: f64,
    /// Whether half of that has to do.
    slow: bool,
    /// Seconds of CPU time.
    most: f64,
    /// Likewise; below 0 is debt.
    left: f64,
    as_of: Instant,
}

impl Allowance {
    /// `rate` in cores, and `at_once` in seconds of CPU time.
    pub(super) fn new(rate: f64, at_once: f64) -> Self {
        Self { rate, slow: false, most: at_once, left: at_once, as_of: Instant::now() }
    }

    /// The same with nothing saved: at first only so much as comes.
    pub(super) fn without_savings(self) -> Self {
        Self { left: 0.0, ..self }
    }

    /// Whether half of the rate has to do from now on, since the agent is to do less.
    pub(super) fn slow(&mut self, slow: bool) {
        // What has passed was at the rate of before.
        self.is_open(Instant::now());
        self.slow = slow;
    }

    /// Cores, now.
    fn rate(&self) -> f64 {
        if self.slow { self.rate * SLOW } else { self.rate }
    }

    /// Whether anything is left.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        self.left = (self.left + now.saturating_duration_since(self.as_of).as_secs_f64() * self.rate()).min(self.most);
        self.as_of = now;
        self.left >= 0.0
    }

    /// How long to wait until something is left, if nothing is charged meanwhile; zero where something is.
    pub(super) fn until_open(&mut self, now: Instant) -> Duration {
        if self.is_open(now) {
            return Duration::ZERO;
        }
        // Without a rate it never comes back; a minute is looked at again.
        Duration::try_from_secs_f64(-self.left / self.rate()).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT).max(SHORTEST_WAIT)
    }

    /// Takes what the calling thread has used since it had used `begun` ([`measure::thread_cpu`]).
    pub(super) fn charge(&mut self, begun: Duration) {
        self.left -= measure::thread_cpu().saturating_sub(begun).as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is used up comes back at the rate, and no more than may be used at once is saved.
    #[test]
    fn comes_back() {
        let mut allowance = Allowance::new(0.5, 2.0);
        let begun = allowance.as_of;
        let after = |seconds| begun + Duration::from_secs(seconds);
        allowance.left = -3.0;
        assert_eq!(allowance.until_open(after(4)), Duration::from_secs(2));
        assert!(!allowance.is_open(after(5)) && allowance.is_open(after(6)) && allowance.until_open(after(6)).is_zero());
        assert!(allowance.is_open(after(1000)) && allowance.left <= 2.0);
        allowance.left = -1.0;
        allowance.slow = true;
        assert_eq!(allowance.until_open(after(1000)), Duration::from_secs(4));
        allowance.left = 2.0;
        // A thread that has used nothing is charged nothing; time that goes back gives nothing.
        allowance.charge(Duration::MAX);
        assert!(allowance.is_open(begun) && allowance.left <= 2.0);
    }
}
