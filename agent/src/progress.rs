//! What the agent is doing, for a line of live progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::engine::EngineStats;
use crate::spool::SpoolStats;

/// Counters since the start, written by the service's threads, read by whoever shows them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Batches that the collector has taken.
    pub batches_accepted: AtomicU64,
    /// Batches that the collector already had.
    pub batches_duplicate: AtomicU64,
    /// Batches that the collector refused for good.
    pub batches_refused: AtomicU64,
    /// Requests that the collector turned away for want of a right token or certificate.
    pub requests_denied: AtomicU64,
    /// Batches that wait in the spool.
    pub spool_batches: AtomicU64,
    /// Bytes that wait in the spool.
    pub spool_bytes: AtomicU64,
    /// Objects whose symbols were uploaded.
    pub objects_uploaded: AtomicU64,
    /// Objects whose symbols were not uploaded: too large, unreadable, without symbols, or refused.
    pub objects_skipped: AtomicU64,
    /// Objects that name no function, on this host: nothing to upload.
    pub objects_without_symbols: AtomicU64,
    /// Bytes of symbols that were sent, compressed.
    pub symbol_bytes_sent: AtomicU64,
    /// Heap profiles that were scraped.
    pub heaps_scraped: AtomicU64,
    /// Heap profiles that were to be scraped, and could not be fetched or read.
    pub heaps_not_scraped: AtomicU64,
    /// Which collector answered last, as its header [`flamekeeper_wire::COLLECTOR_ID`] says; 0 where none did.
    pub collector: AtomicU64,
    /// Whether the collector answered the last request.
    pub reachable: AtomicBool,
    engine: OnceLock<Arc<EngineStats>>,
}

impl Progress {
    /// Reads one of the counters.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// What the engine has done; none before it runs.
    #[must_use]
    pub fn engine(&self) -> Option<&EngineStats> {
        self.engine.get().map(|stats| &**stats)
    }

    pub(crate) fn show_spool(&self, stats: &SpoolStats) {
        self.spool_batches.store(stats.batches as u64, Ordering::Relaxed);
        self.spool_bytes.store(stats.bytes, Ordering::Relaxed);
    }

    pub(crate) fn attach(&self, stats: Arc<EngineStats>) {
        // A second engine in one process would keep the first one's line.
        _ = self.engine.set(stats);
    }
}
