//! The one writer's numbers of each slot's dictionaries.

use std::collections::BTreeMap;

use flamekeeper_profile::Timestamp;

use super::interner::Interner;
use super::keyspaces::Keyspaces;
use super::known::KnownStacks;
use super::tier::{Kind, Slot};
use super::words::Words;
use crate::store::StoreError;

/// Slots whose numbers are kept in memory at once: the present one, and one that late batches go to.
const MOST_SLOTS: usize = 2;

/// The interners of one slot.
#[derive(Debug)]
pub(super) struct Interners {
    pub(super) texts: Interner,
    pub(super) objects: Interner,
    pub(super) locations: Interner,
    /// Only asked for what `known` does not know.
    pub(super) stacks: Interner,
    pub(super) known: KnownStacks,
    pub(super) services: Interner,
    pub(super) types: Interner,
    pub(super) series: Interner,
    pub(super) hosts: Interner,
}

impl Interners {
    fn new(words: Words) -> Result<Self, StoreError> {
        Ok(Self {
            texts: Interner::new(words.texts)?,
            objects: Interner::new(words.objects)?,
            locations: Interner::new(words.locations)?,
            stacks: Interner::new(words.stacks)?,
            known: KnownStacks::default(),
            services: Interner::new(words.services)?,
            types: Interner::new(words.types)?,
            series: Interner::new(words.series)?,
            hosts: Interner::new(words.hosts)?,
        })
    }

    /// Stacks get three quarters: as long as they are all in memory, locations are asked for seldom.
    fn trim(&mut self, generation_bytes: usize) {
        self.known.trim(generation_bytes / 4 * 3);
        [
            &mut self.texts,
            &mut self.objects,
            &mut self.locations,
            &mut self.stacks,
            &mut self.services,
            &mut self.types,
            &mut self.series,
            &mut self.hosts,
        ]
        .into_iter()
        .for_each(|interner| interner.trim(generation_bytes / 4));
    }
}

/// The interners of the slots that were written to lately.
#[derive(Debug)]
pub(super) struct InternersBySlot {
    /// With the use that was its last.
    slots: BTreeMap<Slot, (u64, Interners)>,
    uses: u64,
    generation_bytes: usize,
}

impl InternersBySlot {
    /// In about so many bytes of memory: stacks and locations take most of it, in two generations.
    pub(super) fn new(bytes: u64) -> Self {
        let generation_bytes = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        Self { slots: BTreeMap::new(), uses: 0, generation_bytes }
    }

    /// The interners for a window that starts at `at`.
    pub(super) fn at(&mut self, keyspaces: &Keyspaces, at: Timestamp) -> Result<&mut Interners, StoreError> {
        self.uses += 1;
        let slot = Slot::of(Kind::Words, at);
        let interners = match self.slots.remove(&slot) {
            Some((_, interners)) => interners,
            None => Interners::new(Words::new(&keyspaces.slot(Kind::Words, at)?))?,
        };
        while self.slots.len() >= MOST_SLOTS {
            let oldest = self.slots.iter().min_by_key(|(_, (used, _))| *used).map(|(slot, _)| *slot);
            oldest.into_iter().for_each(|slot| drop(self.slots.remove(&slot)));
        }
        Ok(&mut self.slots.entry(slot).or_insert((self.uses, interners)).1)
    }

    /// Keeps the caches bounded. Only between writes.
    pub(super) fn trim(&mut self) {
        let generation = self.generation_bytes;
        self.slots.values_mut().for_each(|(_, interners)| interners.trim(generation));
    }

    /// Forgets all: after a write that was not committed, and when slots are deleted.
    pub(super) fn reset(&mut self) {
        self.slots.clear();
    }
}
