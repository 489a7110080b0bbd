//! Batches: what an agent closes at a window's edge and ships.

use crate::figures::AgentFigures;
use crate::labels::Labels;
use crate::ledger::Ledger;
use crate::sample_type::SampleType;
use crate::tables::{StackId, Tables};
use crate::time::Window;

/// The samples of one process (or other source) and one sample type in a batch's window.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the samples belong to.
    pub labels: Labels,
    /// What the values mean.
    pub sample_type: SampleType,
    /// Stack to value, each stack once.
    pub values: Vec<(StackId, u64)>,
}

impl Series {
    /// The sum of the values, saturating.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.values.iter().fold(0, |sum, (_, value)| sum.saturating_add(*value))
    }
}

/// All series of a host in one window, over shared tables, with the ledger of that window.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The window that the samples were taken in.
    pub window: Window,
    /// Labels of the sender itself (its host); they hold for the ledger, and each series repeats them.
    pub labels: Labels,
    /// What the series' stacks are made of.
    pub tables: Tables,
    /// The series.
    pub series: Vec<Series>,
    /// What was taken and lost. `taken` may exceed what the series hold by exactly [`Ledger::lost_total`]. Losses of
    /// earlier batches that never reached the collector are counted (taken and lost) in a later one.
    pub ledger: Ledger,
    /// What the agent says of itself at the end of the window.
    pub figures: AgentFigures,
}

impl Batch {
    /// Samples that the periodic series hold, in samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        let periodic = self.series.iter().filter(|series| series.sample_type.is_periodic());
        periodic.fold(0, |sum, series| sum.saturating_add(series.total()))
    }
}
