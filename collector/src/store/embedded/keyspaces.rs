//! The keyspaces of the store, opened and versioned.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::interner::Dictionary;
use super::totals::Totals;
use super::{StoreLimits, engine};
use crate::store::StoreError;

/// The layout that this version writes and reads.
const VERSION: u32 = 1;
const VERSION_KEY: &[u8] = b"version";
pub(super) const TOTALS_KEY: &[u8] = b"totals";

/// All keyspaces.
#[derive(Clone)]
pub(super) struct Keyspaces {
    pub(super) database: Database,
    pub(super) meta: Keyspace,
    pub(super) rows: Keyspace,
    pub(super) ledgers: Keyspace,
    pub(super) batches: Keyspace,
    pub(super) texts: Dictionary,
    pub(super) objects: Dictionary,
    pub(super) locations: Dictionary,
    pub(super) stacks: Dictionary,
    pub(super) services: Dictionary,
    pub(super) types: Dictionary,
    pub(super) series: Dictionary,
}

impl std::fmt::Debug for Keyspaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspaces").finish_non_exhaustive()
    }
}

impl Keyspaces {
    pub(super) fn open(folder: &Path, limits: &StoreLimits) -> Result<Self, StoreError> {
        let opened = Database::builder(folder).cache_size(limits.cache_bytes).open();
        let database = opened.map_err(|error| match error {
            fjall::Error::Locked => StoreError::Locked { folder: folder.to_owned() },
            error => engine("open its directory")(error),
        })?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default).map_err(engine("open a keyspace"));
        let meta = keyspace("meta")?;
        check_version(&database, &meta)?;
        Ok(Self {
            rows: keyspace("rows")?,
            ledgers: keyspace("ledgers")?,
            batches: keyspace("batches")?,
            texts: Dictionary::open(&database, "texts")?,
            objects: Dictionary::open(&database, "objects")?,
            locations: Dictionary::open(&database, "locations")?,
            stacks: Dictionary::open(&database, "stacks")?,
            services: Dictionary::open(&database, "services")?,
            types: Dictionary::open(&database, "types")?,
            series: Dictionary::open(&database, "series")?,
            meta,
            database,
        })
    }

    pub(super) fn totals(&self) -> Result<Totals, StoreError> {
        let found = self.meta.get(TOTALS_KEY).map_err(engine("read its totals"))?;
        found.map_or_else(|| Ok(Totals::default()), |bytes| Totals::decode(&bytes))
    }
}

fn check_version(database: &Database, meta: &Keyspace) -> Result<(), StoreError> {
    match meta.get(VERSION_KEY).map_err(engine("read its version"))? {
        Some(found) if *found == VERSION.to_le_bytes() => Ok(()),
        Some(found) => {
            let found = found.first_chunk().copied().map_or(0, u32::from_le_bytes);
            Err(StoreError::Version { found, expected: VERSION })
        }
        None => {
            meta.insert(VERSION_KEY, VERSION.to_le_bytes()).map_err(engine("write its version"))?;
            database.persist(fjall::PersistMode::SyncAll).map_err(engine("write its version"))
        }
    }
}
