//! Requests that services served, as sample types.
//!
//! No sample knows of a request: whoever counts them tells the counts, each of a service in a span of time. Both types add up, over time,
//! versions and hosts, so every tier, selector and store takes them as they come. How long the counts stand for is kept beside them: a
//! time without requests and a time that nobody counted are two things.

use crate::sample_type::SampleType;

/// What is kept of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requests {
    /// How many were served.
    Served,
    /// How long that was counted for, in nanoseconds.
    Counted,
}

impl Requests {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Served, Self::Counted];

    /// The type's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "requests",
            Self::Counted => "requests_counted",
        }
    }

    /// What the one frame of its stacks says.
    #[must_use]
    pub const fn frame(self) -> &'static str {
        match self {
            Self::Served => "requests served",
            Self::Counted => "time in which requests were counted",
        }
    }

    /// The sample type.
    #[must_use]
    pub fn sample_type(self) -> SampleType {
        SampleType::plain(self.as_str(), if matches!(self, Self::Served) { "count" } else { "nanoseconds" })
    }

    /// The one that a type of this name is.
    #[must_use]
    pub fn of_type(query_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.as_str() == query_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type is known by its name, and no other is taken for one.
    #[test]
    fn known_by_name() {
        for of in Requests::ALL {
            assert_eq!(Requests::of_type(of.sample_type().query_name()), Some(of));
        }
        assert_eq!(["cpu", "requests_", ""].map(Requests::of_type), [None; 3]);
    }
}
