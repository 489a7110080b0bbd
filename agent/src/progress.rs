//! What the shipping side is doing, for a line of live progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters since the start, written by the service's threads, read by whoever shows them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Samples that the kernel took.
    pub samples_taken: AtomicU64,
    /// Samples lost on this host so far, for any reason but refusal.
    pub samples_lost: AtomicU64,
    /// Windows closed.
    pub windows: AtomicU64,
    /// Batches that the collector has taken.
    pub batches_accepted: AtomicU64,
    /// Batches that the collector already had.
    pub batches_duplicate: AtomicU64,
    /// Batches that the collector refused for good.
    pub batches_refused: AtomicU64,
    /// Batches that wait in the spool.
    pub spool_batches: AtomicU64,
    /// Bytes that wait in the spool.
    pub spool_bytes: AtomicU64,
    /// Objects whose symbols were uploaded.
    pub objects_uploaded: AtomicU64,
    /// Objects whose symbols were not uploaded: too large, unreadable, or without symbols.
    pub objects_skipped: AtomicU64,
    /// Whether the last batch sent was taken.
    pub reachable: AtomicBool,
}

impl Progress {
    /// Reads one of the counters.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
