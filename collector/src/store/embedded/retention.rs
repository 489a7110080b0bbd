//! Deleting what is too old, and the oldest where there is too much.

use flamekeeper_profile::Timestamp;

use super::engine;
use super::keyspaces::Keyspaces;
use super::row::RowKey;
use crate::store::StoreError;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Rows whose window started longer ago, in nanoseconds, are deleted.
    pub age: u64,
    /// Above this many bytes on disk the oldest rows are deleted first, a twentieth of the kept age a pass: the engine gives
    /// space back with a delay, and a pass that waited for it would delete too much.
    pub bytes: u64,
}

/// What a pass deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Rows deleted.
    pub rows: u64,
    /// The start of what is kept now.
    pub kept_from: Timestamp,
    /// Whether size and not age decided it.
    pub by_size: bool,
}

/// Keys deleted in one write.
const CHUNK: usize = 4096;

pub(super) fn retain(keyspaces: &Keyspaces, retention: &Retention, now: Timestamp) -> Result<Retained, StoreError> {
    let mut retained = Retained { kept_from: now.saturating_sub(retention.age), ..Retained::default() };
    let bytes = keyspaces.database.disk_space().map_err(engine("measure its size"))?;
    if bytes > retention.bytes
        && let Some(oldest) = oldest(keyspaces)?
    {
        let span = now.0.saturating_sub(oldest.0);
        let cut = oldest.saturating_add((span / 20).max(60 * Timestamp::SECOND));
        retained.by_size = cut > retained.kept_from;
        retained.kept_from = retained.kept_from.max(cut);
    }
    let ranges = dividers(keyspaces)?;
    for (service, sample_type) in ranges {
        let range = RowKey::first(service, sample_type, Timestamp(0))..RowKey::first(service, sample_type, retained.kept_from);
        retained.rows += delete(keyspaces, &keyspaces.rows, keyspaces.rows.range(range))?;
    }
    let end = retained.kept_from.0.to_be_bytes();
    delete(keyspaces, &keyspaces.ledgers, keyspaces.ledgers.range(..end))?;
    forget_batches(keyspaces, now.saturating_sub(retention.age))?;
    if retained.rows > 0 && retained.by_size {
        keyspaces.rows.major_compact().map_err(engine("compact"))?;
    }
    Ok(retained)
}

fn oldest(keyspaces: &Keyspaces) -> Result<Option<Timestamp>, StoreError> {
    let Some(first) = keyspaces.ledgers.first_key_value() else { return Ok(None) };
    let key = first.key().map_err(engine("read ledgers"))?;
    Ok(key.first_chunk().copied().map(|bytes| Timestamp(u64::from_be_bytes(bytes))))
}

/// Each pair of service and type that may have rows.
fn dividers(keyspaces: &Keyspaces) -> Result<Vec<(u32, u32)>, StoreError> {
    let numbers = |entry: Result<(u32, fjall::Slice), StoreError>| Ok(entry?.0);
    let types: Vec<u32> = keyspaces.types.entries(&[]).map(numbers).collect::<Result<_, StoreError>>()?;
    let services: Vec<u32> = keyspaces.services.entries(&[]).map(numbers).collect::<Result<_, StoreError>>()?;
    Ok(services.into_iter().flat_map(|service| types.iter().map(move |sample_type| (service, *sample_type))).collect())
}

/// Identities of batches by age only: one that could be sent again must be known, whatever the size.
fn forget_batches(keyspaces: &Keyspaces, before: Timestamp) -> Result<(), StoreError> {
    let mut write = keyspaces.database.batch();
    for entry in keyspaces.batches.iter() {
        let (key, from) = entry.into_inner().map_err(engine("read batches"))?;
        let from = from.first_chunk().copied().map_or(0, u64::from_be_bytes);
        if from < before.0 {
            write.remove(&keyspaces.batches, key);
            if write.len() >= CHUNK {
                std::mem::replace(&mut write, keyspaces.database.batch()).commit().map_err(engine("delete"))?;
            }
        }
    }
    write.commit().map_err(engine("delete"))
}

fn delete(keyspaces: &Keyspaces, keyspace: &fjall::Keyspace, entries: fjall::Iter) -> Result<u64, StoreError> {
    let mut deleted = 0;
    let mut write = keyspaces.database.batch();
    for entry in entries {
        write.remove(keyspace, entry.key().map_err(engine("read what to delete"))?);
        deleted += 1;
        if write.len() >= CHUNK {
            std::mem::replace(&mut write, keyspaces.database.batch()).commit().map_err(engine("delete"))?;
        }
    }
    write.commit().map_err(engine("delete"))?;
    Ok(deleted)
}
