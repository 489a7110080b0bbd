//! What people ask of the store, and do to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::{BuildId, Timestamp};

use super::SymbolStore;
use super::error::FailureReason;
use super::index::{Known, Listed};
use super::marker::{self, Marker};

/// An object that the store knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its build id.
    pub id: BuildId,
    /// What is known of it.
    pub state: StoredState,
    /// When it was used last, to the minute or so; to the hour for before the store was opened.
    pub used: Timestamp,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredState {
    /// It has symbols.
    Stored {
        /// What they were made from.
        source: SymbolsPresent,
        /// What they take on disk, in bytes.
        bytes: u64,
    },
    /// It was sent and could not be converted.
    Bad {
        /// Why.
        reason: String,
    },
}

/// Figures of a store. Counts are since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SymbolStatus {
    /// Objects with symbols.
    pub objects: usize,
    /// Bytes that they take on disk.
    pub bytes: u64,
    /// Most bytes that they may take.
    pub quota_bytes: u64,
    /// Objects that cannot be converted.
    pub bad: usize,
    /// Conversions that were begun.
    pub conversions: u64,
    /// Objects that were not added, by reason; those that there were.
    pub failures: BTreeMap<&'static str, u64>,
    /// Objects that made room for others.
    pub evictions: u64,
    /// Bytes that these took.
    pub evicted_bytes: u64,
    /// Memory that answers take which are kept, about.
    pub cache_bytes: usize,
    /// Lookups whose answer was kept.
    pub cache_hits: u64,
    /// Lookups whose answer was not.
    pub cache_misses: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    conversions: AtomicU64,
    evictions: AtomicU64,
    evicted_bytes: AtomicU64,
    failures: [AtomicU64; FailureReason::ALL.len()],
}

impl Counters {
    pub(super) fn converted(&self) {
        self.conversions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, objects: u64, bytes: u64) {
        self.evictions.fetch_add(objects, Ordering::Relaxed);
        self.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, reason: FailureReason) {
        self.failures[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn failures(&self) -> BTreeMap<&'static str, u64> {
        let counted = FailureReason::ALL.iter().zip(&self.failures).map(|(reason, count)| (reason.as_str(), count.load(Ordering::Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

impl SymbolStore {
    /// All objects that the store knows of, in the order of their last use, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<StoredObject> {
        self.note_uses();
        let mut listed = self.index.list();
        listed.sort_unstable_by(|a, b| (b.used, &a.id).cmp(&(a.used, &b.id)));
        listed.into_iter().map(|listed| self.describe(listed)).collect()
    }

    /// What the store knows of one object.
    #[must_use]
    pub fn get(&self, id: &BuildId) -> Option<StoredObject> {
        self.note_uses();
        self.index.list().into_iter().find(|listed| listed.id == *id).map(|listed| self.describe(listed))
    }

    fn describe(&self, Listed { id, known, used }: Listed) -> StoredObject {
        let state = match known {
            Known::Stored { source, bytes } => StoredState::Stored { source, bytes },
            Known::Bad => StoredState::Bad { reason: self.reason(&id).unwrap_or_else(|| "unknown".to_owned()) },
        };
        StoredObject { id, state, used }
    }

    fn reason(&self, id: &BuildId) -> Option<String> {
        let mut text = String::new();
        File::open(self.files.path(id, "bad")).ok()?.take(marker::MAX).read_to_string(&mut text).ok()?;
        Some(Marker::read(&text)?.reason)
    }

    /// Forgets an object: its symbols, or that it cannot be converted. It is welcome again. What was known; none where nothing
    /// was.
    ///
    /// # Errors
    /// When its file cannot be removed; then it is as it was.
    pub fn remove(&self, id: &BuildId) -> Result<Option<StoredObject>, std::io::Error> {
        let there = self.get(id);
        let _guard = self.placing();
        self.files.remove(id, "sym")?;
        self.files.remove(id, "bad")?;
        if let Some((_, generation)) = self.index.remove(id) {
            self.open.forget(generation);
            tracing::info!(build_id = %id, "symbols were removed");
        }
        self.postponed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(id);
        Ok(there)
    }

    /// The store's figures.
    #[must_use]
    pub fn status(&self) -> SymbolStatus {
        let totals = self.index.totals();
        let (cache_hits, cache_misses) = self.answers.counts();
        SymbolStatus {
            objects: totals.objects,
            bytes: totals.bytes,
            quota_bytes: self.limits.store_bytes,
            bad: totals.bad,
            conversions: self.counters.conversions.load(Ordering::Relaxed),
            failures: self.counters.failures(),
            evictions: self.counters.evictions.load(Ordering::Relaxed),
            evicted_bytes: self.counters.evicted_bytes.load(Ordering::Relaxed),
            cache_bytes: self.answers.bytes(),
            cache_hits,
            cache_misses,
        }
    }
}
