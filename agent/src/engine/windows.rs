//! Where windows end: at multiples of their length on the wall clock, found by the monotonic clock that samples carry.

use std::time::Duration;

use flamekeeper_profile::{Timestamp, Window};

/// Clocks are read one after the other, and the wall clock is slewed: an edge this near is the one that was meant.
const JITTER_NS: u64 = 50_000_000;

/// The window that is open.
#[derive(Debug)]
pub(crate) struct OpenWindow {
    step: u64,
    from: Timestamp,
    to: Timestamp,
    /// The end on the monotonic clock.
    edge: u64,
}

impl OpenWindow {
    /// The window that is open at an instant, given on both clocks.
    pub(crate) fn at(length: Duration, wall: Timestamp, monotonic: u64) -> Self {
        let step = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX).max(1);
        let to = wall.align_down(step).saturating_add(step);
        Self { step, from: wall, to, edge: monotonic.saturating_add(to.0 - wall.0) }
    }

    /// The first instant after the window, on the monotonic clock.
    pub(crate) const fn edge(&self) -> u64 {
        self.edge
    }

    /// Ends the window at its edge and opens the next, by what both clocks say now. A wall clock that was set makes the
    /// next window begin at the time that holds now, and so leave a gap or overlap; samples are in exactly one all the same.
    pub(crate) fn advance(&mut self, wall: Timestamp, monotonic: u64) -> Window {
        let ended = Window::new(self.from, self.to);
        // What the wall clock that holds now says of the edge.
        let edge = Timestamp((wall.0.saturating_add(self.edge)).saturating_sub(monotonic));
        let on_time = edge.0.abs_diff(self.to.0) <= JITTER_NS.min(self.step / 4);
        let from = if on_time { self.to } else { edge };
        self.from = from;
        self.to = from.align_down(self.step).saturating_add(self.step);
        self.edge = self.edge.saturating_add(self.to.0.saturating_sub(edge.0).max(1));
        ended
    }

    /// Ends the window early.
    pub(crate) fn cut(&self, wall: Timestamp) -> Window {
        Window::new(self.from, wall.clamp(self.from.saturating_add(1), self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = Timestamp::SECOND;

    /// The first window is a partial one; then they follow each other without gap from edge to edge, though the clocks
    /// drift apart a little.
    #[test]
    fn windows_are_aligned() {
        let mut window = OpenWindow::at(Duration::from_secs(10), Timestamp(103 * S), 3 * S);
        assert_eq!(window.edge(), 10 * S);
        assert_eq!(window.advance(Timestamp(110 * S + 2_000), 10 * S), Window::new(Timestamp(103 * S), Timestamp(110 * S)));
        assert_eq!(window.edge(), 20 * S - 2_000);
        let second = window.advance(Timestamp(120 * S + 5), 20 * S - 2_000 + 5);
        assert_eq!(second, Window::new(Timestamp(110 * S), Timestamp(120 * S)));
        assert_eq!(window.cut(Timestamp(125 * S)), Window::new(Timestamp(120 * S), Timestamp(125 * S)));
    }

    /// A wall clock that is set moves the next window, forth or back, and the edge stays in the future.
    #[test]
    fn clock_steps() {
        for now in [5_000 * S, 50 * S] {
            let mut window = OpenWindow::at(Duration::from_secs(10), Timestamp(100 * S), 0);
            window.advance(Timestamp(now + 4 * S), 10 * S);
            assert_eq!((window.from, window.to), (Timestamp(now + 4 * S), Timestamp(now + 10 * S)));
            assert_eq!(window.edge(), 16 * S);
        }
    }
}
