//! What every store must hold, by questions to it and the plain truth. Each test program runs it on its store.
#![allow(dead_code)] // Each test program uses a part of it.

pub(crate) mod hour;
pub(crate) mod leaks;
pub(crate) mod requests;
pub(crate) mod tiers;

use flamekeeper_collector::store::{EmbeddedStore, Retained, Retention, Store, StoreLimits};
use flamekeeper_profile::Timestamp;

/// A retention that keeps all.
pub(crate) const ALL: Retention = {
    let years = 3650 * 24 * 3600 * Timestamp::SECOND;
    Retention { raw: years, minute: years, hour: years, bytes: u64::MAX }
};

/// A store under test.
pub(crate) trait Subject {
    /// How many random sequences to try.
    const SEEDS: u64;
    /// How many questions to ask at each stop of one.
    const QUESTIONS: u64;

    /// An empty store.
    fn start(limits: StoreLimits, retention: Retention) -> Self;

    fn store(&self) -> &dyn Store;

    /// Ends the store and opens it again.
    fn reopen(&mut self);

    /// Derives what it derives in the background.
    fn roll_up(&self, now: Timestamp);

    /// Lets it forget what is too old at this time; what is kept then.
    fn retain(&self, now: Timestamp) -> Retained;
}

/// The embedded store.
pub(crate) struct Embedded {
    folder: tempfile::TempDir,
    store: Option<EmbeddedStore>,
    limits: StoreLimits,
    retention: Retention,
}

impl Embedded {
    fn embedded(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }
}

impl Subject for Embedded {
    const SEEDS: u64 = 6;
    const QUESTIONS: u64 = 12;

    fn start(limits: StoreLimits, retention: Retention) -> Self {
        let folder = crate::store_fixture::folder();
        let store = Some(EmbeddedStore::open(folder.path(), limits).unwrap());
        Self { folder, store, limits, retention }
    }

    fn store(&self) -> &dyn Store {
        self.embedded()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(EmbeddedStore::open(self.folder.path(), self.limits).unwrap());
    }

    fn roll_up(&self, now: Timestamp) {
        self.embedded().roll_up(now).unwrap();
    }

    fn retain(&self, now: Timestamp) -> Retained {
        self.embedded().retain(&self.retention, now).unwrap()
    }
}
