//! The embedded store: one directory, no server, on `fjall` (a log-structured merge tree with a journal).
//!
//! # Invariants
//!
//! 1. **One batch, one write.** Rows, ledger, new dictionary entries, totals and the batch's identity are one atomic write.
//!    After a crash all of it is there or none.
//! 2. **Acknowledged means durable.** [`Store::append`] returns only after an `fsync` of the journal that began after the
//!    write ([`group_sync`]); also for a duplicate, whose first copy may still be on its way to the disk.
//! 3. **Twice is once.** A batch whose identity is there changes nothing. Identities are kept as long as the rows of
//!    their window can be, and ingest refuses batches that are older than that.
//! 4. **References point backwards.** A row, stack, location or object names only entries that were written before or with
//!    it. A reference to nothing is [`StoreError::Corrupt`], and says which.
//! 5. **One writer.** Numbers of dictionary entries are given under one lock; a failed write closes the store for writing, since
//!    what the engine kept of it is not known until it is opened again.
//! 6. **One process.** `fjall` locks the directory.
//!
//! # Layout (version 1)
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `version`, `totals` | u32 little endian; [`totals`] |
//! | `texts_*`, `objects_*`, `locations_*`, `types_*`, `services_*`, `series_*` | content, or number u32 | the other ([`records`], [`interner`]) |
//! | `stacks_*` | service u32, then content or number u32 | the other |
//! | `rows` | service, type, window start, series, ordinal | values per stack ([`row`]) |
//! | `ledgers` | window start u64, ordinal u64 | window end, labels of the agent, ledger |
//! | `batches` | agent, 0, sequence u64 | window start u64 |
//!
//! Integers in keys are big endian, so that keys sort as numbers.

mod append;
mod codec;
mod group_sync;
mod interner;
mod keyspaces;
mod records;
mod resolve;
mod retention;
mod row;
mod scan;
mod totals;

use std::path::Path;
use std::sync::Mutex;

use flamekeeper_profile::{Batch, Timestamp, Window};
use flamekeeper_wire::BatchId;

use self::append::Writer;
use self::group_sync::GroupSync;
use self::keyspaces::Keyspaces;
use super::{Appended, HostSummary, MergedProfile, Selection, SeriesSummary, Store, StoreError, StoreStatus, TimeSeries};

pub use self::retention::{Retained, Retention};

/// Bounds on what one question may take.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Distinct stacks that one answer may merge.
    pub merged_stacks: usize,
    /// Bytes of memory for blocks that were read.
    pub cache_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { merged_stacks: 2_000_000, cache_bytes: 128 << 20 }
    }
}

/// The store in a directory.
#[derive(Debug)]
pub struct EmbeddedStore {
    keyspaces: Keyspaces,
    writer: Mutex<Writer>,
    sync: GroupSync,
    limits: StoreLimits,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another process has it open, [`StoreError::Version`] for another layout,
    /// [`StoreError::Engine`] where the disk refuses.
    pub fn open(folder: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let keyspaces = Keyspaces::open(folder, &limits)?;
        let writer = Mutex::new(Writer::new(&keyspaces)?);
        Ok(Self { keyspaces, writer, sync: GroupSync::default(), limits })
    }

    /// Deletes what is too old or too much. See [`Retention`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retain(&self, retention: &Retention, now: Timestamp) -> Result<Retained, StoreError> {
        retention::retain(&self.keyspaces, retention, now)
    }
}

impl Store for EmbeddedStore {
    fn append(&self, id: &BatchId, batch: Batch) -> Result<Appended, StoreError> {
        let (appended, ticket) = {
            // A writer that panicked may hold numbers that no write has brought to the disk.
            let mut writer = self.writer.lock().map_err(|_| StoreError::Closed)?;
            if self.sync.failed() {
                return Err(StoreError::Closed);
            }
            let appended = writer.append(&self.keyspaces, id, &batch).inspect_err(|error| {
                if matches!(error, StoreError::Engine { .. }) {
                    self.sync.fail();
                }
            })?;
            (appended, self.sync.written())
        };
        let persisted = self.sync.wait(ticket, || self.keyspaces.database.persist(fjall::PersistMode::SyncAll));
        match persisted {
            Ok(()) => Ok(appended),
            Err(Ok(error)) => Err(engine("make a batch durable")(error)),
            Err(Err(_)) => Err(StoreError::Closed),
        }
    }

    fn merged(&self, selection: &Selection) -> Result<MergedProfile, StoreError> {
        scan::merged(&self.keyspaces, selection, self.limits.merged_stacks)
    }

    fn time_series(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
        scan::time_series(&self.keyspaces, selection, by, step)
    }

    fn series(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
        scan::series(&self.keyspaces, window)
    }

    fn hosts(&self, window: Window) -> Result<Vec<HostSummary>, StoreError> {
        scan::hosts(&self.keyspaces, window)
    }

    fn status(&self) -> Result<StoreStatus, StoreError> {
        let totals = self.keyspaces.totals()?;
        let bytes = self.keyspaces.database.disk_space().map_err(engine("measure its size"))?;
        let writable = !self.sync.failed() && !self.writer.is_poisoned();
        Ok(StoreStatus { batches: totals.batches, ledger: totals.ledger, samples_stored: totals.samples, bytes, writable })
    }
}

/// An error of the engine while it was doing something.
fn engine(what: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| StoreError::Engine { what, source: Box::new(error) }
}

/// Damage in an entry.
fn corrupt(what: &str) -> impl Fn(codec::Damaged) -> StoreError + '_ {
    move |_| StoreError::Corrupt { what: what.to_owned() }
}
