//! The store: what the collector keeps, behind one narrow trait.
//!
//! Two implementations stand behind it: the embedded one (`fjall`, one directory, no server) and, for fleets that one machine
//! cannot hold, ClickHouse. So the trait asks whole questions (a merge, a time series) that an
//! engine can answer near its data, and never hands out rows.

mod clickhouse;
mod embedded;

use std::collections::BTreeMap;
use std::path::PathBuf;

use flamekeeper_profile::requests::Requests;
use flamekeeper_profile::{AgentFigures, Batch, Completeness, Labels, Ledger, Merged, SampleType, Timestamp, Window, label};
use flamekeeper_wire::BatchId;

use crate::selector::Selector;
use crate::watch::Stopped;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use clickhouse::fuzz::run as fuzz_clickhouse;
pub use clickhouse::{ClickHouseError, ClickHouseServer, ClickHouseStore, Migrated, migrate};
pub use embedded::{Checked, EmbeddedStore, Retained, Retention, RolledUp, StoreLimits};

/// Points of one series in one answer.
const MAX_POINTS: usize = 100_000;
/// Points of all series of one answer, 8 bytes each.
const MAX_CELLS: usize = 4 << 20;

/// Which samples a question is about.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The window; a stored window belongs to it when its start does. Where windows as they came are deleted already, the
    /// minutes or hours that they were merged into are the stored windows.
    pub window: Window,
    /// The profile type, as [`SampleType::query_name`] names it: `cpu`.
    pub profile_type: String,
    /// Which series.
    pub selector: Selector,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored and durable.
    Accepted,
    /// A batch of this identity was stored before; nothing changed.
    Duplicate,
}

/// Merged stacks of a selection, and what is known to be missing from them.
#[derive(Clone, Debug, Default)]
pub struct MergedProfile {
    /// Sums per distinct stack.
    pub merged: Merged,
    /// Unit of the weights; empty where nothing was selected.
    pub unit: String,
    /// Samples, truncated stacks, and the ledger of the selected hosts. Names are not the store's concern.
    pub completeness: Completeness,
}

/// Weights over time, by the value of one label.
#[derive(Clone, Debug, Default)]
pub struct TimeSeries {
    /// Unit of the weights.
    pub unit: String,
    /// Value of the label to the weight in each step; every vector has the same length.
    pub by_value: BTreeMap<String, Vec<u64>>,
    /// As in [`MergedProfile`].
    pub completeness: Completeness,
}

/// A group of series that the window holds: distinct labels and type, with what they add up to.
#[derive(Clone, Debug)]
pub struct SeriesSummary {
    /// Labels of the series.
    pub labels: Labels,
    /// Its type.
    pub sample_type: SampleType,
    /// Sum of the weights in the type's query unit.
    pub weight: u64,
    /// Sum of the samples.
    pub samples: u64,
    /// Samples whose stack ends early.
    pub truncated: u64,
}

impl SeriesSummary {
    /// Whether it was sampled or measured on a host; what somebody counted elsewhere and posted says nothing of what runs where.
    #[must_use]
    pub fn is_of_a_host(&self) -> bool {
        Requests::of_type(self.sample_type.query_name()).is_none()
    }
}

/// What a host reported in a window.
#[derive(Clone, Debug)]
pub struct HostSummary {
    /// Labels of the agent.
    pub labels: Labels,
    /// End of its newest stored window.
    pub last_seen: Timestamp,
    /// What it took and lost in the window.
    pub ledger: Ledger,
    /// What it said of itself at [`Self::last_seen`].
    pub figures: AgentFigures,
}

/// What was deleted since the program started, in slots of time: 3 hours of rows as they came, a day of minutes, a week of hours
/// and dictionaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// All that were deleted.
    pub slots: u64,
    /// Passes that deleted something because of size, not age.
    pub by_size: u64,
}

/// Totals since the store was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStatus {
    /// Batches stored.
    pub batches: u64,
    /// Ledger over all stored batches.
    pub ledger: Ledger,
    /// Samples in the stored series.
    pub samples_stored: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Whether batches can be stored.
    pub writable: bool,
    /// From when on rows are kept as they came.
    pub raw_from: Timestamp,
    /// From when on rows per minute are kept.
    pub minute_from: Timestamp,
    /// From when on anything is kept.
    pub hour_from: Timestamp,
    /// Minutes and hours, of a service and type each, that rows are still to be added to.
    pub lacking: u64,
    /// What was deleted since the program started.
    pub deleted: Deleted,
    /// Batches that were sent away since the program started because there was no room.
    pub refused_full: u64,
}

/// What could not be done with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the store failed to {what}: {source}")]
    Engine {
        /// What it was doing.
        what: &'static str,
        /// The engine's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is on disk is not what this version wrote.
    #[error("the store holds a damaged or foreign entry ({what}); restore it from a backup or move its directory away")]
    Corrupt {
        /// Which entry.
        what: String,
    },
    /// Another process has the store open.
    #[error("the store in {} is open in another process; stop that one, or name another directory", folder.display())]
    Locked {
        /// Its directory.
        folder: PathBuf,
    },
    /// Somebody else changed its files.
    #[error(
        "the files of the store are not as the collector left them: {}; `flamekeeper collector check` names all of them and what to do",
        what.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ")
    )]
    Changed {
        /// Its directory.
        folder: PathBuf,
        /// What is not as it was, one file each.
        what: Vec<String>,
    },
    /// There is no store to look at.
    #[error("there are no profiles in {}", folder.display())]
    Missing {
        /// The directory.
        folder: PathBuf,
    },
    /// The layout on disk is another version's.
    #[error(
        "the store has layout version {found}, this program reads version {expected}; use the program that wrote it, or another directory"
    )]
    Version {
        /// On disk.
        found: u32,
        /// What this program reads.
        expected: u32,
    },
    /// The schema at the server is missing or another version's.
    #[error(
        "the schema in ClickHouse {}, this program needs version {expected}; run `flamekeeper collector migrate`{}",
        found.map_or("is missing".to_owned(), |found| format!("has version {found}")),
        if found.is_some_and(|found| found > *expected) { " of the newest program, and start that one" } else { "" }
    )]
    Schema {
        /// At the server; none where there is none.
        found: Option<u32>,
        /// What this program reads and writes.
        expected: u32,
    },
    /// The tables at the server keep rows for a shorter time than is configured.
    #[error("the schema in ClickHouse keeps profiles for a shorter time than is configured; run `flamekeeper collector migrate`")]
    ShortRetention,
    /// An expression would be tried on too many values of a label.
    #[error("the label {label} has more than {limit} values in the window; choose them by = instead of an expression, or a shorter window")]
    TooManyValues {
        /// The label.
        label: String,
        /// The limit.
        limit: usize,
    },
    /// There is no room, and nothing old is left to make some. The batch may be sent again later.
    #[error("the store is full: {what}; raise the retention's max_bytes or shorten its ages, or free its disk")]
    Full {
        /// Which bound was reached.
        what: &'static str,
    },
    /// A write failed before, and what is on disk is not known until the store is opened again.
    #[error("the store takes no more batches since the disk refused one; look at the disk, then restart the collector")]
    Closed,
    /// The window of a batch is older than anything that is kept. Sending the batch again changes nothing.
    #[error("the window started before everything that is kept (from {kept_from:.0} s since the epoch on); the batch cannot be stored")]
    Expired {
        /// Seconds since the epoch.
        kept_from: f64,
    },
    /// A content is longer than a key of the engine can be. Sending the batch again changes nothing.
    #[error("a {what} takes {bytes} bytes, the store holds at most {limit}; the batch cannot be stored")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its bytes as a key.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A time series would have too many points.
    #[error(
        "the time series would have {points} points or more, the limit is {limit}; choose a longer step, a shorter window or a label with fewer values"
    )]
    TooManyPoints {
        /// Points asked for.
        points: usize,
        /// The limit.
        limit: usize,
    },
    /// The question is asked no more, or took too long.
    #[error(transparent)]
    Stopped(Stopped),
    /// A question would take more memory than the limit.
    #[error("the answer would merge more than {limit} distinct stacks; narrow the window or the selector")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// The store. All methods block; call them off the async threads.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Stores a batch. On return it is durable: it survives a crash of the machine.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch is stored, and it may be sent again.
    fn append(&self, id: &BatchId, batch: Batch) -> Result<Appended, StoreError>;

    /// Merges the stacks of a selection.
    ///
    /// # Errors
    /// [`StoreError`].
    fn merged(&self, selection: &Selection) -> Result<MergedProfile, StoreError>;

    /// Weights of a selection per step of `step` nanoseconds from the window's start, grouped by a label.
    ///
    /// # Errors
    /// [`StoreError`].
    fn time_series(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError>;

    /// Merges the stacks of a selection for each of some hosts, in their order. What hosts took and lost is left out: it is the same for
    /// every selection, and whoever asks for parts has asked for the whole.
    ///
    /// # Errors
    /// [`StoreError`].
    fn merged_by_host(&self, selection: &Selection, hosts: &[&str]) -> Result<Vec<MergedProfile>, StoreError> {
        let of_host = |host: &&str| {
            let selector = selection.selector.clone().with_equal(label::HOST, host);
            self.merged(&Selection { selector, ..selection.clone() })
        };
        hosts.iter().map(of_host).collect()
    }

    /// Which hosts reported anything in which steps of `step` nanoseconds from the window's start; none where what is stored does not say
    /// it. A host without an agent of ours may be missing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn reported(&self, _window: Window, _step: u64) -> Result<Option<BTreeMap<String, Vec<bool>>>, StoreError> {
        Ok(None)
    }

    /// The series that have samples in the window.
    ///
    /// # Errors
    /// [`StoreError`].
    fn series(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError>;

    /// The hosts that reported in the window.
    ///
    /// # Errors
    /// [`StoreError`].
    fn hosts(&self, window: Window) -> Result<Vec<HostSummary>, StoreError>;

    /// Totals.
    ///
    /// # Errors
    /// [`StoreError`].
    fn status(&self) -> Result<StoreStatus, StoreError>;
}
