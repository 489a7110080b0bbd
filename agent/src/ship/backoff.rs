//! How long to wait before the next try.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest pause that a collector may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Pauses that double from half a second to 30 seconds, each shortened at random by up to half, so that agents that
/// lost the collector together do not come back together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The pause before the next try; at least what the collector asked for (`Retry-After`), up to five minutes.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = FIRST.saturating_mul(1 << self.tries.min(6)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        // The standard library seeds each hasher from the system's random numbers: enough for a spread.
        let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
        let jittered = full - full.mul_f64(0.5 * f64::from(random) / f64::from(u32::MAX));
        match asked {
            // The spread lies on top: all agents were asked for the same.
            Some(asked) => asked.min(LONGEST_ASKED) + jittered.min(Duration::from_secs(1)),
            None => jittered,
        }
    }

    /// After a success.
    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses grow to their limit and stay within half of it; what is asked for is kept, within reason.
    #[test]
    fn grows_and_obeys() {
        let mut backoff = Backoff::default();
        for full in [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000] {
            let pause = backoff.next(None);
            assert!((full / 2..=full).contains(&u64::try_from(pause.as_millis()).unwrap()), "{pause:?} of {full}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
        let asked = backoff.next(Some(Duration::from_secs(7)));
        assert!((7..=8).contains(&asked.as_secs()), "{asked:?}");
        assert!(backoff.next(Some(Duration::MAX)) <= Duration::from_secs(301));
    }
}
