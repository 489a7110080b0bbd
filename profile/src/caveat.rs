//! Caveats: samples that are kept, and are less than what was configured.

/// What is missing from a sample that was stored all the same, or how it differs from what was configured.
///
/// A lost sample has a [`crate::LossReason`], a stack that ends early a [`crate::StopReason`]; this is the rest of what a
/// reader must know to trust a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caveat {
    /// The frames of an interpreter (Python) could not be read as they were at the sampled moment; its native frames stand
    /// in their place.
    InterpreterFrames,
    /// Taken at a lower frequency than the configured one, to keep within the budget. The sample's period says which.
    LowerFrequency,
    /// A caveat that this version does not know.
    Other,
}

impl Caveat {
    /// All caveats.
    pub const ALL: [Self; 3] = [Self::InterpreterFrames, Self::LowerFrequency, Self::Other];

    /// The caveat's name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InterpreterFrames => "interpreter_frames",
            Self::LowerFrequency => "lower_frequency",
            Self::Other => "other",
        }
    }

    /// The caveat of a name; [`Self::Other`] for one that is not known.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|caveat| caveat.as_str() == name).unwrap_or(Self::Other)
    }
}
