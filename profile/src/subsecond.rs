//! Samples by the tenth of a second that they were taken in: what a subsecond heat map is drawn from.
//!
//! Beside its stacks, each process has its samples of a window counted in [`Tenth`]s, as a sample type of its own ([`sample_type`]): each
//! "stack" is the name of one tenth, its value the samples in it. A tenth is named by its place in its minute of the wall clock (`37.2`), so that
//! counts add up right over processes, hosts, the windows of a minute and the tier of minutes. A sum over an hour means nothing.
//!
//! (The picture is that of FlameScope: seconds to the right, fractions of a second upwards.)

use std::fmt;
use std::str::FromStr;

use crate::sample_type::SampleType;
use crate::time::{Timestamp, Window};

/// The name under which a query asks for these counts.
pub const QUERY_NAME: &str = "cpu_subsecond";
/// Tenths in a second.
pub const PER_SECOND: u16 = 10;
/// Tenths in a minute.
pub const PER_MINUTE: u16 = 60 * PER_SECOND;

/// The type of the series that hold these counts.
#[must_use]
pub fn sample_type() -> SampleType {
    SampleType::plain(QUERY_NAME, "count")
}

/// A tenth of a second in its minute of the wall clock (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenth(u16);

impl Tenth {
    /// Its length in nanoseconds.
    pub const LENGTH: u64 = Timestamp::SECOND / PER_SECOND as u64;
    /// A minute in nanoseconds.
    pub const MINUTE: u64 = 60 * Timestamp::SECOND;

    /// The tenth of a sample in a window. A sample that a clock read a moment apart puts outside of its window stands in the nearest
    /// tenth of it. None for what lies in another minute than the window's start: that minute's counts are not this window's.
    #[must_use]
    pub fn of(at: Timestamp, window: Window) -> Option<Self> {
        let last = Timestamp(window.to.0.saturating_sub(1));
        let at = if at < window.from && window.from.0 - at.0 <= Self::LENGTH {
            window.from
        } else if at > last && at.0 - last.0 <= Self::LENGTH {
            last
        } else {
            at
        };
        let minute = window.from.align_down(Self::MINUTE);
        let offset = at.0.checked_sub(minute.0).filter(|offset| *offset < Self::MINUTE)?;
        u16::try_from(offset / Self::LENGTH).ok().map(Self)
    }

    /// Its place in the minute, from 0, less than [`PER_MINUTE`].
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Tenth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / PER_SECOND, self.0 % PER_SECOND)
    }
}

/// Text is no tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenth of a second in its minute is written as 37.2, from 0.0 to 59.9")]
pub struct ParseTenthError;

impl FromStr for Tenth {
    type Err = ParseTenthError;

    fn from_str(text: &str) -> Result<Self, ParseTenthError> {
        let (second, tenth) = text.split_once('.').ok_or(ParseTenthError)?;
        let digits = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(second, 2) || !digits(tenth, 1) {
            return Err(ParseTenthError);
        }
        let number = |text: &str| text.parse::<u16>().map_err(|_| ParseTenthError);
        Some(number(second)? * PER_SECOND + number(tenth)?).filter(|tenth| *tenth < PER_MINUTE).map(Self).ok_or(ParseTenthError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = Timestamp::SECOND;

    /// A sample stands in the tenth that it was taken in, at the window's edges too, and not in another minute.
    #[test]
    fn tenths_of_samples() {
        let window = Window::new(Timestamp(130 * S), Timestamp(140 * S));
        let of = |nanoseconds: u64| Tenth::of(Timestamp(nanoseconds), window).map(Tenth::index);
        assert_eq!([130 * S, 130 * S + 99_999_999, 131 * S + 250_000_000].map(of), [Some(100), Some(100), Some(112)]);
        // Clocks that were read a moment apart.
        assert_eq!([130 * S - 1000, 140 * S + 1000].map(of), [Some(100), Some(199)]);
        // A window across a minute, or a clock that jumped.
        let across = Window::new(Timestamp(119 * S), Timestamp(121 * S));
        assert_eq!(Tenth::of(Timestamp(120 * S), across), None);
        assert_eq!([50 * S, 200 * S].map(of), [None, None]);
    }

    /// Names read back; nothing else is one.
    #[test]
    fn names() {
        for index in 0..PER_MINUTE {
            assert_eq!(Tenth(index).to_string().parse(), Ok(Tenth(index)));
        }
        assert_eq!(Tenth(372).to_string(), "37.2");
        for wrong in ["", ".", "37", "60.0", "1.10", "+1.0", "1.-", "001.0", "main"] {
            assert_eq!(wrong.parse::<Tenth>(), Err(ParseTenthError), "{wrong:?}");
        }
    }
}
