//! What was counted.

use std::ops::AddAssign;

/// The sample types that the counts travel and are stored as. Their stacks have an [`AgeClass`](super::AgeClass) as the outermost frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survived {
    /// Sampled blocks that reached the age.
    Reached,
    /// The bytes that these stand for.
    Space,
    /// Sampled blocks that were freed at the age.
    Freed,
    /// What sampled blocks lived at the age, in milliseconds.
    Lived,
    /// How long processes of the age were observed, in milliseconds; the age is the whole stack.
    Observed,
}

impl Survived {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Reached, Self::Space, Self::Freed, Self::Lived, Self::Observed];

    /// The name of the sample type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reached => "heap_aged_objects",
            Self::Space => "heap_aged_space",
            Self::Freed => "heap_freed_objects",
            Self::Lived => "heap_lived",
            Self::Observed => "heap_observed",
        }
    }

    /// The unit of its values.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Reached | Self::Freed => "count",
            Self::Space => "bytes",
            Self::Lived | Self::Observed => "milliseconds",
        }
    }
}

/// Of one stack, beyond one age, in one part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Survival {
    /// Sampled blocks that reached the age.
    pub reached: f64,
    /// Bytes that these stand for.
    pub bytes: f64,
    /// Sampled blocks that were freed after it.
    pub freed: f64,
    /// What sampled blocks lived beyond it, in block-seconds.
    pub lived: f64,
}

impl AddAssign for Survival {
    fn add_assign(&mut self, other: Self) {
        self.reached += other.reached;
        self.bytes += other.bytes;
        self.freed += other.freed;
        self.lived += other.lived;
    }
}

/// What was observed in one part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// How long the part is, in seconds.
    pub seconds: f64,
    /// Processes over time, in process-seconds.
    pub processes: f64,
    /// Of these, processes of the age or above.
    pub aged: f64,
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.processes += other.processes;
        self.aged += other.aged;
    }
}
