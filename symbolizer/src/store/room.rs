//! The quota, and which objects make room for others.

use std::sync::atomic::{AtomicU64, Ordering};

use flamekeeper_profile::{BuildId, Timestamp};

use super::SymbolStore;
use super::index::Known;

/// An object that was used this lately should not have had to go.
const LATELY: u64 = 24 * 3600 * Timestamp::SECOND;

/// The wall clock, made to go forward.
#[derive(Debug)]
pub(super) struct Clock {
    wall: fn() -> Timestamp,
    last: AtomicU64,
}

impl Clock {
    pub(super) const fn new(wall: fn() -> Timestamp, last: Timestamp) -> Self {
        Self { wall, last: AtomicU64::new(last.0) }
    }

    /// Later than all that it said before.
    pub(super) fn now(&self) -> Timestamp {
        let wall = (self.wall)().0;
        let later = |last: u64| Some(wall.max(last.saturating_add(1)));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).unwrap_or_else(|last| last);
        Timestamp(wall.max(last.saturating_add(1)))
    }
}

impl SymbolStore {
    /// Turns the lookups since the last call into uses, and notes on disk what was not noted for an hour. Cheap; to be called
    /// every minute or so, so that uses outlive a restart.
    pub fn note_uses(&self) {
        let now = self.clock.now();
        for id in self.index.settle(now) {
            if let Err(error) = self.files.note_use(&id, now) {
                // The order of uses is then older after a restart.
                tracing::debug!(build_id = %id, %error, "the use of symbols could not be noted");
            }
        }
    }

    /// Makes room for `more` bytes, at the cost of objects other than `id`. `placing` is held.
    pub(super) fn make_room(&self, more: u64, id: &BuildId) -> Result<(), std::io::Error> {
        let excess = self.bytes().saturating_add(more).saturating_sub(self.limits.store_bytes);
        if excess == 0 {
            return Ok(());
        }
        self.note_uses();
        let now = self.clock.now();
        let (mut objects, mut freed, mut lately) = (0_u64, 0, 0_u64);
        for victim in self.index.least_used(excess, id) {
            self.files.remove(&victim.id, "sym")?;
            if let Some((Known::Stored { bytes, .. }, generation)) = self.index.remove(&victim.id) {
                self.open.forget(generation);
                objects += 1;
                freed += bytes;
                lately += u64::from(now.0.saturating_sub(victim.used.0) < LATELY);
                tracing::info!(build_id = %victim.id, bytes, last_used = victim.used.as_seconds(), "symbols made room for others");
            }
        }
        self.counters.evicted(objects, freed);
        if lately > 0 {
            tracing::warn!(
                objects = lately,
                limit = self.limits.store_bytes,
                "the symbol store is at its limit: symbols that were used within the last day made room for others; raise symbols.max_bytes"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that stands, or jumps back, still goes forward.
    #[test]
    fn clock_goes_forward() {
        let clock = Clock::new(|| Timestamp(5), Timestamp(0));
        assert_eq!([clock.now(), clock.now(), clock.now()], [5, 6, 7].map(Timestamp));
        let clock = Clock::new(|| Timestamp(5), Timestamp(100));
        assert_eq!([clock.now(), clock.now()], [101, 102].map(Timestamp));
    }
}
