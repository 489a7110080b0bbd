//! Where windows end: at multiples of their length on the wall clock, found by the monotonic clock that samples carry.
//!
//! **Guarantee.** Samples are told apart by the monotonic clock alone, so each is in exactly one window, whatever happens to
//! the wall clock; windows follow each other without gap on the monotonic clock. The wall clock gives them their names: a
//! window `[from, to)` lasted `to - from` on both clocks, up to [`JITTER_NS`].
//!
//! The two clocks run at one speed (the kernel slews both). They part when the wall clock is set, and in suspend, where the
//! monotonic clock stands still. Both are noticed at the next look at the clocks ([`OpenWindow::observe`], at least once a
//! second): the window ends at the last look at which the clocks agreed, and the next begins there, by the wall clock that
//! holds now. It ends at a multiple again. So a window never spans a suspend, and what is set back is a window that overlaps
//! those before: the wall clock had that time twice. Samples between the two looks are in the second window.

use std::time::Duration;

use flamekeeper_profile::{Timestamp, Window};

use crate::perf::clock::Moment;

/// The wall clock may be set by so little without a window ending: an edge this near is the one that was meant.
const JITTER_NS: u64 = 50_000_000;
/// A moment that is known better than this corrects the edges.
const EXACT_NS: u64 = 1_000_000;

/// The window that is open.
#[derive(Debug)]
pub(crate) struct OpenWindow {
    step: u64,
    from: Timestamp,
    to: Timestamp,
    /// The start on the monotonic clock.
    start: u64,
    /// The end on the monotonic clock.
    edge: u64,
    /// By how much the wall clock is ahead of the monotonic one in this window, in nanoseconds.
    ahead: i128,
    /// When the clocks were last seen to agree, on the monotonic clock.
    agreed: u64,
    /// Whether the clocks have parted since, so that the window ends early.
    parted: bool,
}

impl OpenWindow {
    /// The window that is open at a moment.
    pub(crate) fn at(length: Duration, now: &Moment) -> Self {
        let step = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).max(1);
        let to = next_multiple(now.wall, step);
        let edge = now.monotonic.saturating_add(to.0 - now.wall.0);
        Self { step, from: now.wall, to, start: now.monotonic, edge, ahead: ahead(now), agreed: now.monotonic, parted: false }
    }

    /// The first instant after the window, on the monotonic clock.
    pub(crate) const fn edge(&self) -> u64 {
        self.edge
    }

    /// Compares the clocks. Returns by how much the wall clock has jumped, in nanoseconds, when that is why the window now ends.
    pub(crate) fn observe(&mut self, now: &Moment) -> Option<i128> {
        if self.parted {
            return None;
        }
        let jump = ahead(now) - self.ahead;
        if jump.unsigned_abs() <= u128::from(self.tolerance(now)) {
            self.agreed = self.agreed.max(now.monotonic);
            return None;
        }
        self.parted = true;
        let edge = self.agreed.clamp(self.start, self.edge);
        if edge < self.edge {
            self.to = self.from.saturating_add(edge - self.start).min(self.to);
            self.edge = edge;
        }
        Some(jump)
    }

    /// Ends the window at its edge and opens the next, by what both clocks say now. None where nothing was in it: the clocks
    /// parted as soon as it began.
    pub(crate) fn advance(&mut self, now: &Moment) -> Option<Window> {
        let ended = (self.start < self.edge).then(|| Window::new(self.from, self.to));
        if self.parted && self.agreed > self.edge {
            // They parted after this edge: what lies between is named by the clock that held then.
            (self.from, self.start, self.edge) = (self.to, self.edge, self.agreed);
            self.to = self.from.saturating_add(self.edge - self.start);
            return ended;
        }
        // What the wall clock that holds now says of the edge.
        let said = (i128::from(self.edge) + ahead(now)).max(0);
        let said = Timestamp(u64::try_from(said).unwrap_or(u64::MAX));
        let on_time = !self.parted && said.0.abs_diff(self.to.0) <= self.tolerance(now);
        self.from = if on_time { self.to } else { said };
        let exact = if on_time && now.doubt > EXACT_NS { self.to } else { said };
        self.to = next_multiple(self.from, self.step);
        self.start = self.edge;
        self.edge = self.edge.saturating_add(self.to.0.saturating_sub(exact.0).max(1));
        self.ahead = i128::from(exact.0) - i128::from(self.start);
        self.agreed = self.agreed.max(now.monotonic);
        self.parted = false;
        ended
    }

    /// Ends the window early, before its edge, at an instant of the monotonic clock, and begins the next there.
    pub(crate) fn split(&mut self, at: u64) -> Window {
        let first = self.start.saturating_add(1);
        let at = at.clamp(first, self.edge.saturating_sub(1).max(first));
        let ended = Window::new(self.from, self.from.saturating_add(at - self.start));
        (self.from, self.start) = (ended.to, at);
        self.to = self.to.max(self.from.saturating_add(1));
        self.edge = self.edge.max(at.saturating_add(1));
        ended
    }

    /// Ends the window early.
    pub(crate) fn cut(&self, now: &Moment) -> Window {
        let lasted = now.monotonic.saturating_sub(self.start).max(1);
        Window::new(self.from, self.from.saturating_add(lasted).clamp(self.from.saturating_add(1), self.to))
    }

    fn tolerance(&self, now: &Moment) -> u64 {
        JITTER_NS.min(self.step / 4).saturating_add(now.doubt)
    }
}

fn ahead(now: &Moment) -> i128 {
    i128::from(now.wall.0) - i128::from(now.monotonic)
}

fn next_multiple(after: Timestamp, step: u64) -> Timestamp {
    after.align_down(step).saturating_add(step)
}

#[cfg(test)]
mod tests;
