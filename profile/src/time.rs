//! Wall-clock instants and windows.

use std::fmt;

/// A wall-clock instant: nanoseconds since the Unix epoch, UTC.
///
/// This crate reads no clock; the programs do, each in one module of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Nanoseconds in a second.
    pub const SECOND: u64 = 1_000_000_000;

    /// The instant `seconds` after the epoch; the nearest representable one for what is out of range or not a number.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        // A float-to-integer cast saturates, and maps NaN to 0: that is what the doc promises.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Self((seconds * 1e9) as u64)
    }

    /// Seconds since the epoch, with the fraction that a float holds (about 0.2 us).
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The instant `nanoseconds` later, or the last representable one.
    #[must_use]
    pub const fn saturating_add(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }

    /// The instant `nanoseconds` earlier, or the epoch.
    #[must_use]
    pub const fn saturating_sub(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_sub(nanoseconds))
    }

    /// The latest multiple of `step` nanoseconds that is not after this instant (`step` 0 is taken as 1).
    #[must_use]
    pub const fn align_down(self, step: u64) -> Self {
        let step = if step == 0 { 1 } else { step };
        Self(self.0 - self.0 % step)
    }
}

/// A half-open span of time: `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
}

impl Window {
    /// The window `[from, to)`; empty where `to` is not after `from`.
    #[must_use]
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to }
    }

    /// Its length in nanoseconds.
    #[must_use]
    pub const fn duration(&self) -> u64 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// Whether the instant lies inside.
    #[must_use]
    pub const fn contains(&self, at: Timestamp) -> bool {
        self.from.0 <= at.0 && at.0 < self.to.0
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:.3}, {:.3})", self.from.as_seconds(), self.to.as_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window holds its start and not its end, and odd times saturate instead of panicking.
    #[test]
    fn half_open_and_saturating() {
        let window = Window::new(Timestamp(10), Timestamp(20));
        assert!(window.contains(Timestamp(10)) && !window.contains(Timestamp(20)));
        assert_eq!(Window::new(Timestamp(20), Timestamp(10)).duration(), 0);
        assert_eq!(Timestamp(25).align_down(10), Timestamp(20));
        assert_eq!(Timestamp(25).align_down(0), Timestamp(25));
        assert_eq!(Timestamp::from_seconds(f64::NAN), Timestamp(0));
        assert_eq!(Timestamp::from_seconds(-1.0), Timestamp(0));
        assert_eq!(Timestamp::from_seconds(1e300), Timestamp(u64::MAX));
    }
}
