//! The store at one moment: what a question reads.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use fjall::{Keyspace, Readable as _, Snapshot};
use flamekeeper_profile::{Timestamp, Window};

use super::dirty::{DirtyKey, Subject};
use super::keyspaces::Slots;
use super::plan::Dirty;
use super::tier::{Floors, Kind, Slot, Width};
use super::words::Words;
use super::{corrupt, engine};
use crate::store::StoreError;
use crate::watch::Ticker;

/// A snapshot over all keyspaces, with the slots and floors of its moment.
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    pub(super) slots: Arc<Slots>,
    pub(super) floors: Floors,
    pub(super) dirty: Keyspace,
    /// Of the question that it was made for.
    pub(super) ticker: Ticker,
}

impl View {
    /// The slots of a kind that overlap a window, oldest first.
    pub(super) fn slots(&self, kind: Kind, window: Window) -> impl DoubleEndedIterator<Item = (Slot, &Keyspace)> {
        let last = Slot::of(kind, window.to.saturating_sub(1));
        let range = if window.duration() == 0 {
            (Bound::Excluded(last), Bound::Included(last))
        } else {
            (Bound::Included(Slot::of(kind, window.from)), Bound::Included(last))
        };
        // An excluded and included bound of the same slot is an empty range.
        self.slots.range(range).map(|(slot, keyspace)| (*slot, keyspace))
    }

    /// The parts of a window by the dictionaries that belong to them, oldest first.
    pub(super) fn parts(&self, window: Window) -> impl Iterator<Item = (Window, Slot, Words)> {
        let clip = move |slot: Window| Window::new(slot.from.max(window.from), slot.to.min(window.to));
        self.slots(Kind::Words, window).map(move |(slot, keyspace)| (clip(slot.window()), slot, Words::new(keyspace)))
    }

    /// The entries whose key begins with `prefix` and goes on with a start in the window, over all slots of a kind.
    pub(super) fn entries(
        &self,
        kind: Kind,
        prefix: &[u8],
        window: Window,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.ticker.check().map_err(StoreError::Stopped)?;
        let bound = |at: Timestamp| [prefix, &at.0.to_be_bytes()].concat();
        for (_, keyspace) in self.slots(kind, window) {
            for entry in self.snapshot.range(keyspace, bound(window.from)..bound(window.to)) {
                let (key, value) = entry.into_inner().map_err(engine("read rows"))?;
                self.ticker.tick().map_err(StoreError::Stopped)?;
                visit(&key, &value)?;
            }
        }
        Ok(())
    }

    /// The markers in a window, which must not reach over the dictionaries of one slot.
    pub(super) fn dirty(&self, window: Window) -> Result<HashMap<Subject, Dirty>, StoreError> {
        let mut found: HashMap<Subject, Dirty> = HashMap::new();
        for width in [Width::Minute, Width::Hour] {
            let buckets = Window::new(width.bucket(window.from), window.to);
            for entry in self.snapshot.range(&self.dirty, DirtyKey::range(width, buckets)) {
                let (key, value) = entry.into_inner().map_err(engine("read markers"))?;
                let key = DirtyKey::decode(&key).map_err(corrupt("marker"))?;
                let since = (*value).try_into().map(u64::from_be_bytes).map_err(|_| super::codec::Damaged);
                let dirty = found.entry(key.subject).or_default();
                let buckets: &mut BTreeMap<u64, u64> = match width {
                    Width::Minute => &mut dirty.minutes,
                    Width::Hour => &mut dirty.hours,
                };
                buckets.insert(key.bucket.0, since.map_err(corrupt("marker"))?);
            }
        }
        Ok(found)
    }
}
