//! The period of each ring's samples: changed while they run, and told for each sample.
//!
//! `PERF_EVENT_IOC_PERIOD` starts the event's timer anew, with the whole new period before the next sample. Two things
//! follow. *Whose period a sample has* is told by its time: one of the new period is at least that period younger than the
//! call (cycles of a CPU that runs faster than its nominal speed: at least half of it), and one of the old is older than the
//! call's end, which is microseconds after its beginning. *What passed since the last sample is not counted by any:* to keep that
//! part small beside a long period, the call waits for a moment shortly after a tick of the old period.

use std::io;

use crate::engine::faults::FaultPace;
use crate::perf::session::Session;

/// How long after a tick of the old period the period may change, in nanoseconds: as long as the engine may sleep while it is to.
pub(super) const SHORTLY: u64 = 110_000_000;
/// Periods without a sample after which a CPU counts as idle: there is nothing to lose on it then.
const IDLE_PERIODS: u64 = 4;

/// A ring's periods, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct RingPace {
    /// That of samples from `since` on.
    current: u64,
    /// That of samples before.
    before: u64,
    /// On the monotonic clock.
    since: u64,
    /// The time of the youngest sample.
    last: u64,
    /// When this ring was first seen or its period changed.
    begun: u64,
}

impl RingPace {
    const fn period_at(&self, time: u64) -> u64 {
        if time >= self.since { self.current } else { self.before }
    }

    /// Whether now is a moment to change the period.
    const fn is_due(&self, now: u64) -> bool {
        let last = if self.last > self.begun { self.last } else { self.begun };
        let passed = now.saturating_sub(last);
        passed > self.current.saturating_mul(IDLE_PERIODS) || passed % self.current <= SHORTLY
    }

    /// The period was changed by a call that began at `called`.
    const fn change(&mut self, period: u64, called: u64) {
        *self = Self { current: period, before: self.period_at(called), since: called.saturating_add(period / 2), begun: called, ..*self };
    }
}

/// The periods of all rings.
#[derive(Debug)]
pub(crate) struct Pace {
    configured: u64,
    wanted: u64,
    rings: Vec<RingPace>,
    /// Those of page faults.
    pub(super) faults: FaultPace,
}

impl Pace {
    /// All rings sample at the configured period, in nanoseconds, and page faults at theirs.
    pub(crate) const fn new(configured: u64, faults: FaultPace) -> Self {
        Self { configured, wanted: configured, rings: Vec::new(), faults }
    }

    /// The period that a sample stands for, by the ring that it came in and its time.
    pub(crate) fn sampled(&mut self, ring: usize, time: u64) -> u64 {
        let pace = self.ring(ring, time);
        pace.last = pace.last.max(time);
        pace.period_at(time)
    }

    /// The event of a ring was opened anew, with the configured period.
    pub(crate) fn begin_anew(&mut self, ring: usize, now: u64) {
        let configured = self.configured;
        *self.ring(ring, now) = RingPace { current: configured, before: configured, since: 0, last: 0, begun: now };
    }

    /// The longest period of any ring, in nanoseconds.
    pub(crate) fn longest(&self) -> u64 {
        self.rings.iter().map(|ring| ring.current).fold(self.configured, u64::max)
    }

    /// Wants another period on all rings.
    pub(crate) const fn want(&mut self, period: u64) {
        self.wanted = if period == 0 { self.configured } else { period };
    }

    /// Whether a ring has yet to get the period that is wanted.
    pub(crate) fn is_changing(&self) -> bool {
        self.rings.iter().any(|ring| ring.current != self.wanted)
    }

    /// Changes the period of the rings that are due. A ring whose event refuses stays as it is, and is tried again.
    pub(crate) fn apply(&mut self, session: &mut Session, now: impl Fn() -> u64) {
        if let Some(events) = session.faults() {
            self.faults.apply(events, self.wanted, now());
        }
        if !self.is_changing() && self.rings.len() == session.rings().len() {
            return;
        }
        for ring in 0..session.rings().len() {
            let (wanted, called) = (self.wanted, now());
            let pace = self.ring(ring, called);
            if pace.current == wanted || !pace.is_due(called) {
                continue;
            }
            match session.set_period(ring, wanted) {
                Ok(()) => pace.change(wanted, called),
                Err(error) => note(&error),
            }
        }
    }

    fn ring(&mut self, ring: usize, now: u64) -> &mut RingPace {
        let new = RingPace { current: self.configured, before: self.configured, since: 0, last: 0, begun: now };
        if ring >= self.rings.len() {
            self.rings.resize(ring + 1, new);
        }
        &mut self.rings[ring]
    }
}

fn note(error: &io::Error) {
    tracing::debug!(%error, "the period of a perf event could not be changed");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ring(period: u64) -> RingPace {
        RingPace { current: period, before: period, since: 0, last: 0, begun: 0 }
    }

    /// Samples of both periods are told apart by their time, however late they are read.
    #[test]
    fn samples_keep_their_period() {
        let mut pace = Pace::new(50 * MS, FaultPace::new(0));
        assert_eq!(pace.sampled(1, 1000 * MS), 50 * MS);
        pace.rings[1].change(100 * MS, 1010 * MS);
        assert_eq!(pace.sampled(1, 1010 * MS), 50 * MS);
        assert_eq!(pace.sampled(1, 1010 * MS + 3), 50 * MS);
        assert_eq!(pace.sampled(1, 1110 * MS), 100 * MS);
        assert_eq!(pace.sampled(0, 1110 * MS), 50 * MS);
        pace.rings[1].change(50 * MS, 1120 * MS);
        assert_eq!((pace.sampled(1, 1119 * MS), pace.sampled(1, 1170 * MS)), (100 * MS, 50 * MS));
    }

    /// A long period changes shortly after a tick, a short one at any time, one of an idle CPU too.
    #[test]
    fn changes_shortly_after_a_tick() {
        let mut long = ring(1000 * MS);
        long.last = 5000 * MS;
        assert!(long.is_due(5050 * MS) && long.is_due(6100 * MS));
        assert!(!long.is_due(5200 * MS) && !long.is_due(6999 * MS));
        assert!(long.is_due(9200 * MS));
        assert!((0..500).all(|passed| ring(52 * MS).is_due(passed * MS)));
    }
}
