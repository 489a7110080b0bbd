//! What the engine has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::perf::session::Session;

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Counts since the engine was opened, for a line of progress. The truth about samples is each batch's ledger.
#[derive(Debug, Default)]
pub struct EngineStats {
    /// Samples taken, those lost included.
    pub samples: Counter,
    /// Samples lost, for any reason.
    pub lost: Counter,
    /// Samples whose stack does not reach its root.
    pub truncated: Counter,
    /// Processes known now.
    pub processes: Counter,
    /// Objects loaded now.
    pub objects: Counter,
    /// Objects that nobody could be told of because the channel was full.
    pub objects_unannounced: Counter,
    /// Records that came after a younger one: see `order`.
    pub late: Counter,
    /// Times that the kernel slowed sampling down.
    pub throttled: Counter,
    /// Mappings that were one too many for their process.
    pub mappings_refused: Counter,
    /// Windows closed.
    pub windows: Counter,
    /// Name of the event that is sampled.
    pub event: &'static str,
    /// Size of each ring in bytes.
    pub ring_bytes: usize,
    /// Whether the kernel's part of stacks is left out, for want of permission.
    pub user_only: bool,
}

impl EngineStats {
    pub(crate) fn new(session: &mut Session) -> Self {
        let ring_bytes = session.rings().first().map_or(0, |ring| ring.size());
        let spec = session.spec();
        Self { event: spec.name(), ring_bytes, user_only: spec.exclude_kernel, ..Self::default() }
    }
}
