//! Classes of age.

use std::fmt;

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// A class of age: from `2^n` seconds to twice that, for `n` from 1 to 18; the last one has no end. Younger blocks have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgeClass(u8);

impl AgeClass {
    /// From 2 s on.
    pub const YOUNGEST: Self = Self(1);
    /// From three days on.
    pub const OLDEST: Self = Self(18);

    /// All classes, the youngest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::YOUNGEST.0..=Self::OLDEST.0).map(Self)
    }

    /// The class of an age in nanoseconds.
    #[must_use]
    pub fn of(age: u64) -> Option<Self> {
        let seconds = age / SECOND;
        // At most 63.
        let exponent = seconds.checked_ilog2()? as u8;
        (exponent >= Self::YOUNGEST.0).then(|| Self(exponent.min(Self::OLDEST.0)))
    }

    /// The age that counts as old in an observed span of so many seconds: at most its sixth part.
    #[must_use]
    pub fn for_span(seconds: f64) -> Option<Self> {
        Self::all().rev().find(|class| class.seconds() as f64 * 6.0 <= seconds)
    }

    /// The youngest age of the class, in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        1 << self.0
    }

    /// The age at which a block leaves it, in seconds; none for the oldest.
    #[must_use]
    pub fn end_seconds(self) -> Option<u64> {
        (self < Self::OLDEST).then(|| 2 << self.0)
    }

    /// The class of a text that [`fmt::Display`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let seconds: u64 = text.strip_prefix("[age ")?.strip_suffix(" s]")?.parse().ok()?;
        Self::all().find(|class| class.seconds() == seconds)
    }
}

/// As the outermost frame of a stack that is counted by age.
impl fmt::Display for AgeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[age {} s]", self.seconds())
    }
}

/// What a block does in a class of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It becomes as old as the class.
    Reached,
    /// It is that old for so many nanoseconds.
    Lived(u64),
}

/// Hands out what something born at `birth` does in each class of age in `[from, to)`; all in nanoseconds of one clock.
pub fn account(birth: u64, from: u64, to: u64, mut visit: impl FnMut(AgeClass, Step)) {
    for class in AgeClass::all() {
        let begin = birth.saturating_add(class.seconds() * SECOND);
        if begin >= to {
            return;
        }
        if begin >= from {
            visit(class, Step::Reached);
        }
        let end = class.end_seconds().map_or(u64::MAX, |seconds| birth.saturating_add(seconds * SECOND));
        let lived = end.min(to).saturating_sub(begin.max(from));
        if lived > 0 {
            visit(class, Step::Lived(lived));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ages have the class that begins before them; texts come back as they went.
    #[test]
    fn ages_have_classes() {
        let of = |seconds: u64| AgeClass::of(seconds * SECOND).map(AgeClass::seconds);
        assert_eq!([0, 1, 2, 3, 4, 1000, u64::MAX / SECOND].map(of), [None, None, Some(2), Some(2), Some(4), Some(512), Some(262_144)]);
        for class in AgeClass::all() {
            assert_eq!(AgeClass::parse(&class.to_string()), Some(class));
        }
        assert_eq!(["[age 3 s]", "[age s]", "age 4 s", "[age 4 s", "[age -4 s]"].map(AgeClass::parse), [None; 5]);
        assert_eq!(AgeClass::for_span(3600.0).map(AgeClass::seconds), Some(512));
        assert_eq!(AgeClass::for_span(11.0), None);
    }

    /// However a life is cut into windows, it adds up to the same.
    #[test]
    fn parts_add_up() {
        let sums = |edges: &[u64]| {
            let (mut reached, mut lived) = ([0; 19], [0; 19]);
            for pair in edges.windows(2) {
                account(5 * SECOND + 17, pair[0] * SECOND, pair[1] * SECOND, |class, step| match step {
                    Step::Reached => reached[usize::from(class.0)] += 1,
                    Step::Lived(time) => lived[usize::from(class.0)] += time,
                });
            }
            (reached, lived)
        };
        let whole = sums(&[0, 1000]);
        assert_eq!(whole, sums(&[0, 7, 10, 11, 100, 517, 518, 999, 1000]));
        assert_eq!((whole.0[1..10].to_vec(), whole.0[10]), (vec![1; 9], 0));
        assert_eq!(whole.1.iter().sum::<u64>(), (1000 - 7) * SECOND - 17);
        let mut late = Vec::new();
        account(0, 3 * SECOND, 5 * SECOND, |class, step| late.push((class.seconds(), step)));
        assert_eq!(late, [(2, Step::Lived(SECOND)), (4, Step::Reached), (4, Step::Lived(SECOND))]);
    }
}
