//! The keyspaces of the store: those that are always there, and those of slots, which come and go.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use flamekeeper_profile::Timestamp;

use super::tier::{Floors, Kind, Slot};
use super::totals::Totals;
use super::view::View;
use super::{StoreLimits, corrupt, engine, migrate};
use crate::store::StoreError;
use crate::watch::Ticker;

/// The layout that this version writes and reads.
const VERSION: u32 = 2;
/// The layout that it brings to its own.
const MIGRATED_FROM: u32 = 1;
const VERSION_KEY: &[u8] = b"version";
const FLOORS_KEY: &[u8] = b"floors";
pub(super) const TOTALS_KEY: &[u8] = b"totals";
/// The engine takes no lower limit for its journals.
const LEAST_JOURNAL_BYTES: u64 = 64 << 20;

/// The keyspaces of slots.
pub(super) type Slots = BTreeMap<Slot, Keyspace>;

/// All keyspaces.
pub(super) struct Keyspaces {
    pub(super) database: Database,
    pub(super) meta: Keyspace,
    /// Markers of buckets that lack something ([`super::dirty`]).
    pub(super) dirty: Keyspace,
    slots: RwLock<State>,
}

struct State {
    slots: Arc<Slots>,
    floors: Floors,
}

impl std::fmt::Debug for Keyspaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspaces").finish_non_exhaustive()
    }
}

impl Keyspaces {
    pub(super) fn open(folder: &Path, limits: &StoreLimits) -> Result<Self, StoreError> {
        let opened = Database::builder(folder)
            .cache_size(limits.cache_bytes - super::lexicon_bytes(limits))
            .max_journaling_size(limits.write_bytes.max(LEAST_JOURNAL_BYTES))
            .open();
        let database = opened.map_err(|error| match error {
            fjall::Error::Locked => StoreError::Locked { folder: folder.to_owned() },
            error => engine("open its directory")(error),
        })?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default).map_err(engine("open a keyspace"));
        let meta = keyspace("meta")?;
        let version = read_version(&database, &meta)?;
        if version == MIGRATED_FROM {
            migrate::clean(&database)?;
        }
        let floors = meta.get(FLOORS_KEY).map_err(engine("read its floors"))?;
        let floors = floors.map_or_else(|| Ok(Floors::default()), |bytes| Floors::decode(&bytes).map_err(corrupt("floors")))?;
        let mut slots = Slots::new();
        for name in database.list_keyspace_names() {
            if let Some(slot) = Slot::parse(&name) {
                slots.insert(slot, keyspace(&name)?);
            }
        }
        let slots = RwLock::new(State { slots: Arc::new(slots), floors });
        let keyspaces = Self { dirty: keyspace("dirty")?, slots, meta, database };
        if version == MIGRATED_FROM {
            tracing::info!(folder = %folder.display(), "the store is brought from layout version 1 to 2");
            migrate::take_over(&keyspaces)?;
            write_version(&keyspaces.database, &keyspaces.meta)?;
        }
        // What is left of layout 1, also where the program ended before it had deleted it.
        migrate::delete_old(&keyspaces.database)?;
        Ok(keyspaces)
    }

    pub(super) fn totals(&self) -> Result<Totals, StoreError> {
        let found = self.meta.get(TOTALS_KEY).map_err(engine("read its totals"))?;
        found.map_or_else(|| Ok(Totals::default()), |bytes| Totals::decode(&bytes))
    }

    /// The store as it is now. Slots are made before anything is written into them and taken away together with the floors
    /// that say so, so that slots, floors and snapshot fit each other.
    pub(super) fn view(&self) -> View {
        let state = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let (snapshot, ticker) = (self.database.snapshot(), Ticker::current());
        View { snapshot, slots: Arc::clone(&state.slots), floors: state.floors, dirty: self.dirty.clone(), ticker }
    }

    /// The keyspace of a slot, which is made where it is not there.
    pub(super) fn slot(&self, kind: Kind, at: Timestamp) -> Result<Keyspace, StoreError> {
        let slot = Slot::of(kind, at);
        if let Some(keyspace) = self.slots.read().unwrap_or_else(PoisonError::into_inner).slots.get(&slot) {
            return Ok(keyspace.clone());
        }
        let mut state = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let keyspace = self.database.keyspace(&slot.keyspace(), KeyspaceCreateOptions::default).map_err(engine("make a keyspace"))?;
        Arc::make_mut(&mut state.slots).insert(slot, keyspace.clone());
        Ok(keyspace)
    }

    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner).slots)
    }

    pub(super) fn floors(&self) -> Floors {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).floors
    }

    /// Raises the floors, with other changes in the same write, and deletes slots that no question looks at any more.
    /// The write is durable before anything is deleted.
    pub(super) fn delete(&self, mut write: OwnedWriteBatch, floors: &Floors, gone: &[Slot]) -> Result<(), StoreError> {
        let mut state = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let mut raised = state.floors;
        raised.raise(floors);
        write.insert(&self.meta, FLOORS_KEY, raised.encode());
        write.commit().map_err(engine("raise its floors"))?;
        self.database.persist(PersistMode::SyncAll).map_err(engine("raise its floors"))?;
        state.floors = raised;
        let slots = Arc::make_mut(&mut state.slots);
        let gone: Vec<Keyspace> = gone.iter().filter_map(|slot| slots.remove(slot)).collect();
        drop(state);
        gone.into_iter().try_for_each(|keyspace| self.database.delete_keyspace(keyspace)).map_err(engine("delete old profiles"))
    }
}

/// The version on disk; a store without one is new and gets this version's.
fn read_version(database: &Database, meta: &Keyspace) -> Result<u32, StoreError> {
    match meta.get(VERSION_KEY).map_err(engine("read its version"))? {
        None => write_version(database, meta).map(|()| VERSION),
        Some(found) => match found.first_chunk().copied().map_or(0, u32::from_le_bytes) {
            known @ (VERSION | MIGRATED_FROM) => Ok(known),
            found => Err(StoreError::Version { found, expected: VERSION }),
        },
    }
}

fn write_version(database: &Database, meta: &Keyspace) -> Result<(), StoreError> {
    meta.insert(VERSION_KEY, VERSION.to_le_bytes()).map_err(engine("write its version"))?;
    database.persist(PersistMode::SyncAll).map_err(engine("write its version"))
}
