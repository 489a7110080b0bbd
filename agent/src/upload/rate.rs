//! How fast symbols are sent.

use std::time::{Duration, Instant};

/// Spreads bytes over time. A part is sent at once; the next waits until the first has been paid for.
#[derive(Debug)]
pub(super) struct Rate {
    /// Bytes a second.
    limit: u64,
    /// When the next may go.
    free: Instant,
}

impl Rate {
    pub(super) fn new(limit: u64, now: Instant) -> Self {
        Self { limit: limit.max(1), free: now }
    }

    /// How long to wait before the next part.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.free.saturating_duration_since(now)
    }

    /// So many bytes are sent now.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        let seconds = bytes as f64 / self.limit as f64;
        self.free = self.free.max(now) + Duration::from_secs_f64(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over a time no more is sent than the limit and one part; time in which nothing was sent is not saved up.
    #[test]
    fn holds_the_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(1000, start);
        let mut now = start;
        for _ in 0..10 {
            now += rate.wait(now);
            rate.sent(500, now);
        }
        assert_eq!(now - start, Duration::from_millis(4500));
        now += Duration::from_secs(60);
        assert_eq!(rate.wait(now), Duration::ZERO);
        rate.sent(500, now);
        assert_eq!(rate.wait(now), Duration::from_millis(500));
    }
}
