//! The embedded store: one directory, no server, on `fjall` (a log-structured merge tree with a journal).
//!
//! # Invariants
//!
//! 1. **One batch, one write.** Rows, ledger, new dictionary entries, totals, markers and the batch's identity are one atomic
//!    write. After a crash all of it is there or none.
//! 2. **Acknowledged means durable.** [`Store::append`] returns only after an `fsync` of the journal that began after the
//!    write ([`group_sync`]); also for a duplicate, whose first copy may still be on its way to the disk.
//! 3. **Twice is once.** A batch whose identity is there changes nothing. Identities are kept as long as raw rows of
//!    their window can be, and ingest refuses batches that are older than that.
//! 4. **References point backwards.** A row, stack, location or object names only entries of its slot's dictionaries that were
//!    written before or with it. A reference to nothing is [`StoreError::Corrupt`], and says which.
//! 5. **One writer.** Numbers of dictionary entries are given under one lock; a failed write closes the store for writing, since
//!    what the engine kept of it is not known until it is opened again.
//! 6. **One process.** `fjall` locks the directory.
//! 7. **A row is in a bucket or marked.** The derived tiers hold, per bucket, the sum of all raw rows of batches before the
//!    bucket's marker ([`dirty`]), or of all where there is none. The sums and the marker's end are one write ([`rollup`]), so a row
//!    is never added twice and never left out, whenever it comes. What is derived needs no sync: what a crash takes away is
//!    marked still.
//! 8. **A question is answered from one snapshot**, and each raw row in its window counts exactly once, whatever tier it is
//!    read from ([`plan`]). The same holds for ledgers.
//! 9. **Nobody else writes.** What is done to the files of a store that was closed in order is told before the engine opens them ([`seal`]).
//! 10. **A tier below its floor is not read**, and floors are durable before what lies below them is deleted ([`retention`]).
//!
//! # Layout (version 2)
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `version`, `totals`, `floors` | u32 little endian; [`totals`]; three instants ([`tier`]) |
//! | `dirty` | width, bucket, service, type | ordinal of the first batch that the bucket lacks ([`dirty`]) |
//! | `raw-N` (3 h) | service, type, window start, series, ordinal | values per stack of a process and window ([`row`]) |
//! | | window start, ordinal | ledger of a batch ([`ledgers`]) |
//! | `minute-N` (1 day) | service, type, minute, labels | values per stack of a service and version ([`row`]) |
//! | | minute | ledgers of agents ([`ledgers`]) |
//! | `hour-N` (7 days) | as `minute-N`, of hours | |
//! | | service, type, hour, series | values per stack of a series |
//! | `words-N` (7 days) | tag, content or number u32 | the other ([`words`], [`records`]) |
//! | `batches-N` (1 day) | agent, 0, sequence u64 | window start u64 |
//!
//! `N` counts spans of time since the epoch ([`tier`]): a slot is deleted as a whole, which gives its bytes back at once, and
//! dictionaries go with it. Integers in keys are big endian, so that keys sort as numbers.

mod append;
mod by_host;
mod cache;
mod check;
mod codec;
mod dirty;
mod group_sync;
mod hosts;
mod interner;
mod interners;
mod keyspaces;
mod known;
mod ledgers;
mod lexicon;
mod migrate;
mod numbers;
mod part;
pub(super) mod plan;
mod records;
mod resolve;
mod retention;
mod rollup;
mod room;
mod row;
mod scan;
mod seal;
mod sums;
pub(super) mod tier;
mod totals;
mod view;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flamekeeper_profile::{Batch, Timestamp, Window};
use flamekeeper_wire::BatchId;

use self::append::Writer;
use self::group_sync::GroupSync;
use self::keyspaces::Keyspaces;
use self::lexicon::Lexicon;
use self::room::Room;
use self::seal::Seal;
use self::tier::Kind;
use super::{Appended, Deleted, HostSummary, MergedProfile, Selection, SeriesSummary, Store, StoreError, StoreStatus, TimeSeries};

pub use self::check::Checked;
pub use self::retention::{Retained, Retention};
pub use self::rollup::RolledUp;

/// Bounds on what one question may take.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Distinct stacks that one answer may merge.
    pub merged_stacks: usize,
    /// Bytes of memory for what was read: half for blocks, half for entries of dictionaries.
    pub cache_bytes: u64,
    /// About how many bytes of memory the writer's dictionaries may take: where a fleet's stacks do not fit, they are read from disk.
    pub dictionary_bytes: u64,
    /// Bytes of the engine's journals above which it writes its oldest memory to disk, at least 64 MiB: what is in memory only is in a
    /// journal too.
    pub write_bytes: u64,
    /// Bytes that stay free on the file system: below, the oldest is deleted, and batches are sent away until there is room.
    pub min_free_bytes: u64,
}

/// The part of [`StoreLimits::cache_bytes`] that entries of dictionaries may take.
const fn lexicon_bytes(limits: &StoreLimits) -> u64 {
    limits.cache_bytes / 2
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { merged_stacks: 2_000_000, cache_bytes: 128 << 20, dictionary_bytes: 128 << 20, write_bytes: 128 << 20, min_free_bytes: 0 }
    }
}

/// The store in a directory.
#[derive(Debug)]
pub struct EmbeddedStore {
    keyspaces: Keyspaces,
    writer: Mutex<Writer>,
    sync: GroupSync,
    /// Held by the one who derives tiers or deletes.
    keeper: Mutex<()>,
    room: Room,
    deleted: Mutex<Deleted>,
    lexicon: Lexicon,
    limits: StoreLimits,
    /// Last, since it is written when all of the above is closed.
    seal: Seal,
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if self.sync.failed() || self.writer.is_poisoned() {
            self.seal.distrust();
        }
    }
}

impl EmbeddedStore {
    /// Opens the store in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where another process has it open, [`StoreError::Version`] for another layout,
    /// [`StoreError::Changed`] where its files are not as it was closed with, [`StoreError::Engine`] where the disk refuses.
    pub fn open(folder: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        let what = Self::changed(folder)?;
        if !what.is_empty() {
            return Err(StoreError::Changed { folder: folder.to_owned(), what });
        }
        seal::open(folder).map_err(unreadable("open its directory"))?;
        let keyspaces = Keyspaces::open(folder, &limits)?;
        let writer = Mutex::new(Writer::new(&keyspaces, limits.dictionary_bytes)?);
        let room = Room::new(folder, limits.min_free_bytes);
        let (sync, keeper, deleted) = (GroupSync::default(), Mutex::default(), Mutex::default());
        let lexicon = Lexicon::new(lexicon_bytes(&limits));
        Ok(Self { keyspaces, writer, sync, keeper, room, deleted, lexicon, limits, seal: Seal::new(folder) })
    }

    /// What somebody else did to the files of a store since it was closed in order, in words. After a crash nobody knows.
    ///
    /// # Errors
    /// [`StoreError::Engine`] where they cannot be read.
    pub fn changed(folder: &Path) -> Result<Vec<String>, StoreError> {
        seal::broken(folder).map_err(unreadable("read its files"))
    }

    /// Looks at every entry; to be called while nothing else is done with the store.
    ///
    /// # Errors
    /// Where it could not be looked at; damage is no error, but in [`Checked`].
    pub fn check(&self) -> Result<Checked, StoreError> {
        check::check(self)
    }

    /// The time by which ages count: `now`, but at most a day after the slot of the newest rows. So a clock that jumps far ahead
    /// deletes nothing but what would have gone within a day; and the last rows stay while no newer ones come.
    #[must_use]
    pub fn trusted(&self, now: Timestamp) -> Timestamp {
        let slots = self.keyspaces.slots();
        let newest = |kind: Kind| slots.keys().rfind(|slot| slot.kind == kind).map(|slot| slot.window().to);
        let newest = [Kind::Raw, Kind::Minute, Kind::Hour].into_iter().find_map(newest);
        newest.map_or(now, |newest| now.min(newest.saturating_add(Kind::Minute.slot_length())))
    }

    /// Deletes what is too old or too much. See [`Retention`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn retain(&self, retention: &Retention, now: Timestamp) -> Result<Retained, StoreError> {
        let _alone = self.keeper.lock().map_err(|_| StoreError::Closed)?;
        let mut writer = self.writer.lock().map_err(|_| StoreError::Closed)?;
        if self.sync.failed() {
            return Err(StoreError::Closed);
        }
        let retained = retention::retain(&self.keyspaces, &mut writer, &self.room, retention, now)?;
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.slots += retained.slots as u64;
        deleted.by_size += u64::from(retained.by_size);
        Ok(retained)
    }

    /// Derives the tiers of minutes and hours from what was stored since; to be called every few seconds. Answers are the same
    /// before and after, only faster.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn roll_up(&self, now: Timestamp) -> Result<RolledUp, StoreError> {
        let _alone = self.keeper.lock().map_err(|_| StoreError::Closed)?;
        rollup::roll_up(&self.keyspaces, &self.writer, &self.sync, now)
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
            let appended = writer.append(&self.keyspaces, &self.room, id, &batch).inspect_err(|error| {
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
        scan::merged(&self.keyspaces.view(), &self.lexicon, selection, self.limits.merged_stacks)
    }

    fn time_series(&self, selection: &Selection, by: &str, step: u64) -> Result<TimeSeries, StoreError> {
        scan::time_series(&self.keyspaces.view(), selection, by, step)
    }

    fn merged_by_host(&self, selection: &Selection, hosts: &[&str]) -> Result<Vec<MergedProfile>, StoreError> {
        by_host::merged((&self.keyspaces.view(), &self.lexicon), selection, hosts, self.limits.merged_stacks)
    }

    fn reported(&self, window: Window, step: u64) -> Result<Option<BTreeMap<String, Vec<bool>>>, StoreError> {
        hosts::reported(&self.keyspaces.view(), window, step).map(Some)
    }

    fn series(&self, window: Window) -> Result<Vec<SeriesSummary>, StoreError> {
        scan::series(&self.keyspaces.view(), window)
    }

    fn hosts(&self, window: Window) -> Result<Vec<HostSummary>, StoreError> {
        hosts::hosts(&self.keyspaces.view(), window)
    }

    fn status(&self) -> Result<StoreStatus, StoreError> {
        let totals = self.keyspaces.totals()?;
        let bytes = self.keyspaces.database.disk_space().map_err(engine("measure its size"))?;
        let writable = !self.sync.failed() && !self.writer.is_poisoned() && !self.room.is_full();
        let floors = self.keyspaces.floors();
        let markers = self.writer.lock().map_err(|_| StoreError::Closed)?.markers.len();
        Ok(StoreStatus {
            batches: totals.batches,
            ledger: totals.ledger,
            samples_stored: totals.samples,
            bytes,
            writable,
            raw_from: floors.raw,
            minute_from: floors.minute,
            hour_from: floors.hour,
            lacking: markers as u64,
            deleted: *self.deleted.lock().unwrap_or_else(PoisonError::into_inner),
            refused_full: self.room.refused(),
        })
    }
}

fn unreadable(what: &'static str) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError::Engine { what, source: Box::new(error) }
}

/// An error of the engine while it was doing something.
fn engine(what: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| StoreError::Engine { what, source: Box::new(error) }
}

#[cfg(test)]
mod tests;

/// Damage in an entry.
fn corrupt(what: &str) -> impl Fn(codec::Damaged) -> StoreError + '_ {
    move |_| StoreError::Corrupt { what: what.to_owned() }
}
