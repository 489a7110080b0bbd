//! Storing a batch.

use fjall::{Keyspace, OwnedWriteBatch};
use flamekeeper_profile::{Batch, Timestamp};
use flamekeeper_wire::BatchId;

use super::codec::put_bytes;
use super::dirty::{DirtyKey, Lacks, Markers, Subject};
use super::interners::InternersBySlot;
use super::keyspaces::{Keyspaces, TOTALS_KEY};
use super::ledgers::{RawLedger, ledger_key};
use super::numbers::Numbers;
use super::room::Room;
use super::tier::{Kind, Width};
use super::totals::Totals;
use super::{corrupt, engine};
use crate::store::{Appended, StoreError};

/// What the one writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) interners: InternersBySlot,
    pub(super) totals: Totals,
    pub(super) markers: Markers,
}

impl Writer {
    pub(super) fn new(keyspaces: &Keyspaces, dictionary_bytes: u64) -> Result<Self, StoreError> {
        let totals = keyspaces.totals()?;
        let mut markers = Markers::new();
        for entry in keyspaces.dirty.iter() {
            let (key, value) = entry.into_inner().map_err(engine("read markers"))?;
            let key = DirtyKey::decode(&key).map_err(corrupt("marker"))?;
            let first = (*value).try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Corrupt { what: "marker".into() })?;
            // Which batch touched it last is not known: the last of all, at most.
            markers.insert(key, Lacks { first, last: totals.batches.saturating_sub(1) });
        }
        Ok(Self { interners: InternersBySlot::new(dictionary_bytes), totals, markers })
    }

    /// Writes a batch, not yet durably.
    pub(super) fn append(&mut self, keyspaces: &Keyspaces, room: &Room, id: &BatchId, batch: &Batch) -> Result<Appended, StoreError> {
        let key = batch_key(id);
        if is_known(keyspaces, &key)? {
            return Ok(Appended::Duplicate);
        }
        room.check()?;
        let kept_from = keyspaces.floors().hour;
        if batch.window.from < kept_from {
            return Err(StoreError::Expired { kept_from: kept_from.as_seconds() });
        }
        let mut write = keyspaces.database.batch();
        let written = self.write(&mut write, keyspaces, batch, &key).and_then(|written| {
            write.commit().map_err(engine("write a batch"))?;
            Ok(written)
        });
        match written {
            Ok((totals, touched)) => {
                let ordinal = self.totals.batches;
                self.totals = totals;
                for key in touched {
                    self.markers.entry(key).or_insert(Lacks { first: ordinal, last: ordinal }).last = ordinal;
                }
                self.interners.trim();
                Ok(Appended::Accepted)
            }
            Err(error) => {
                // What was interned for it is not on disk; numbers are read from there again.
                self.interners.reset();
                Err(error)
            }
        }
    }

    /// Puts all that a batch changes into one write; with it the totals that hold then, and the buckets that were touched.
    fn write(
        &mut self,
        write: &mut OwnedWriteBatch,
        keyspaces: &Keyspaces,
        batch: &Batch,
        key: &[u8],
    ) -> Result<(Totals, Vec<DirtyKey>), StoreError> {
        let from = batch.window.from;
        let mut totals = self.totals;
        let ordinal = totals.batches;
        totals.batches += 1;
        totals.samples = totals.samples.saturating_add(batch.samples());
        totals.ledger.add(&batch.ledger);
        let raw = keyspaces.slot(Kind::Raw, from)?;
        let mut subjects = vec![Subject::Ledgers];
        let mut numbers = Numbers::new(self.interners.at(keyspaces, from)?, write, &batch.tables);
        // A series without values would be one without samples in every answer.
        for series in batch.series.iter().filter(|series| !series.values.is_empty()) {
            let (key, value) = numbers.row(from, series, ordinal)?;
            numbers.write.insert(&raw, key.encode(), value);
            subjects.push(Subject::Rows { service: key.service, sample_type: key.sample_type });
        }
        subjects.sort_unstable();
        subjects.dedup();
        write.insert(&raw, ledger_key(from, ordinal), RawLedger::of(batch).encode());
        write.insert(&keyspaces.slot(Kind::Batches, from)?, key, from.0.to_be_bytes());
        write.insert(&keyspaces.meta, TOTALS_KEY, totals.encode());
        let touched = self.mark(write, &keyspaces.dirty, from, &subjects, ordinal);
        Ok((totals, touched))
    }

    /// Marks the buckets that lack this batch now, where they are not marked already.
    fn mark(&self, write: &mut OwnedWriteBatch, dirty: &Keyspace, from: Timestamp, subjects: &[Subject], ordinal: u64) -> Vec<DirtyKey> {
        let keys = |subject: &Subject| [Width::Minute, Width::Hour].map(|width| DirtyKey::of(width, from, *subject));
        let touched: Vec<DirtyKey> = subjects.iter().flat_map(keys).collect();
        for key in touched.iter().filter(|key| !self.markers.contains_key(key)) {
            write.insert(dirty, key.encode(), ordinal.to_be_bytes());
        }
        touched
    }
}

/// Whether a batch of this identity was stored: its window may have been another.
fn is_known(keyspaces: &Keyspaces, key: &[u8]) -> Result<bool, StoreError> {
    let slots = keyspaces.slots();
    for (_, keyspace) in slots.iter().filter(|(slot, _)| slot.kind == Kind::Batches).rev() {
        if keyspace.contains_key(key).map_err(engine("look a batch up"))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn batch_key(id: &BatchId) -> Vec<u8> {
    [id.agent.as_str().as_bytes(), &[0], &id.sequence.to_be_bytes()].concat()
}

/// A key must not be empty, so a text stands with its length.
pub(super) fn text_content(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    put_bytes(&mut out, text.as_bytes());
    out
}
