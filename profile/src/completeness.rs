//! What an answer does not know.

use std::collections::BTreeMap;

use crate::frame::UnnamedReason;
use crate::ledger::Ledger;
use crate::stack::{StackEnd, StopReason};

/// How complete an answer is: it stands in every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// Samples behind the answer.
    pub samples: u64,
    /// Samples taken and lost on the selected hosts in the window.
    pub ledger: Ledger,
    /// Samples whose stack ends early, by reason.
    pub truncated: BTreeMap<StopReason, u64>,
    /// Samples whose sender did not say how their stack ends.
    pub unstated: u64,
    /// Samples whose leaf frame has no name.
    pub unnamed: u64,
    /// The same by reason.
    pub unnamed_reasons: BTreeMap<UnnamedReason, u64>,
    /// Distinct frames looked at.
    pub frames: u64,
    /// Distinct frames without a name.
    pub frames_unnamed: u64,
}

impl Completeness {
    /// Counts samples by how their stack ends.
    pub fn count(&mut self, samples: u64, end: StackEnd) {
        self.samples = self.samples.saturating_add(samples);
        match end {
            StackEnd::Root => {}
            StackEnd::Unstated => self.unstated = self.unstated.saturating_add(samples),
            StackEnd::Truncated(reason) => {
                let count = self.truncated.entry(reason).or_default();
                *count = count.saturating_add(samples);
            }
        }
    }

    /// Counts samples whose leaf frame has no name.
    pub fn count_unnamed(&mut self, samples: u64, reason: UnnamedReason) {
        self.unnamed = self.unnamed.saturating_add(samples);
        let count = self.unnamed_reasons.entry(reason).or_default();
        *count = count.saturating_add(samples);
    }

    /// Samples whose stack ends early, for any reason.
    #[must_use]
    pub fn truncated_total(&self) -> u64 {
        self.truncated.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}
