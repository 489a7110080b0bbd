//! What questions read of the dictionaries, decoded, and kept for the next question.
//!
//! A flamegraph of a service names some thousand stacks and locations, and looking each up on disk took most of its time. An
//! entry never changes once it is there, and a slot that was deleted is never made again ([`super::tier::Floors`]): so what was
//! read once stays right, and nothing has to be told of changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flamekeeper_profile::StackEnd;
use foldhash::fast::RandomState;

use super::records::{LocationRecord, decode_stack};
use super::tier::Slot;
use super::words::Words;
use crate::store::StoreError;
use crate::watch::Ticker;

/// A stack as the dictionary has it.
#[derive(Clone, Debug)]
pub(super) struct KnownStack {
    pub(super) end: StackEnd,
    /// Numbers of its locations, leaf first.
    pub(super) locations: Arc<[u32]>,
}

/// The entries of one slot. Stacks by service and number.
#[derive(Debug, Default)]
struct Entries {
    stacks: HashMap<(u32, u32), KnownStack, RandomState>,
    locations: HashMap<u32, LocationRecord, RandomState>,
}

#[derive(Debug, Default)]
struct Generation {
    slots: HashMap<Slot, Entries>,
    bytes: usize,
}

/// Entries that were read lately, in two generations: a full young one becomes the old one, whose entries return to the young
/// one when they are used.
#[derive(Debug)]
pub(super) struct Lexicon {
    generations: Mutex<(Generation, Generation)>,
    generation_bytes: usize,
}

/// What an entry takes beside what it points to.
const OVERHEAD: usize = 72;

/// What is kept of a dictionary.
trait Kept: Clone {
    type Key: Copy + Eq + std::hash::Hash;

    fn of(entries: &mut Entries) -> &mut HashMap<Self::Key, Self, RandomState>;

    /// About how many bytes of memory it takes.
    fn bytes(&self) -> usize;
}

impl Kept for KnownStack {
    type Key = (u32, u32);

    fn of(entries: &mut Entries) -> &mut HashMap<Self::Key, Self, RandomState> {
        &mut entries.stacks
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.locations.len() * size_of::<u32>()
    }
}

impl Kept for LocationRecord {
    type Key = u32;

    fn of(entries: &mut Entries) -> &mut HashMap<Self::Key, Self, RandomState> {
        &mut entries.locations
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.lines.len() * size_of::<(u32, u32, u32)>()
    }
}

impl Lexicon {
    /// In about so many bytes of memory.
    pub(super) fn new(bytes: u64) -> Self {
        Self { generations: Mutex::default(), generation_bytes: usize::try_from(bytes / 2).unwrap_or(usize::MAX) }
    }

    /// The stacks of a service by their numbers, in the same order.
    pub(super) fn stacks(
        &self,
        (slot, words): (Slot, &Words),
        service: u32,
        numbers: &[u32],
        ticker: &Ticker,
    ) -> Result<Vec<KnownStack>, StoreError> {
        let read = |number: u32| {
            let content = words.stacks.content(&service.to_be_bytes(), number)?;
            let mut locations = Vec::new();
            let end = decode_stack(&content, &mut locations).map_err(|_| words.stacks.corrupt(number))?;
            Ok(KnownStack { end, locations: locations.into() })
        };
        self.fetch(slot, numbers.iter().map(|number| (service, *number)), |(_, number)| read(number), ticker)
    }

    /// The locations of numbers, in the same order.
    pub(super) fn locations(
        &self,
        (slot, words): (Slot, &Words),
        numbers: &[u32],
        ticker: &Ticker,
    ) -> Result<Vec<LocationRecord>, StoreError> {
        let read = |number: u32| {
            let content = words.locations.content(&[], number)?;
            LocationRecord::decode(&content).map_err(|_| words.locations.corrupt(number))
        };
        self.fetch(slot, numbers.iter().copied(), read, ticker)
    }

    /// Takes what is known, and reads the rest without holding the lock.
    fn fetch<T: Kept>(
        &self,
        slot: Slot,
        keys: impl Iterator<Item = T::Key> + Clone,
        read: impl Fn(T::Key) -> Result<T, StoreError>,
        ticker: &Ticker,
    ) -> Result<Vec<T>, StoreError> {
        let mut found: Vec<Option<T>> = {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            let (young, old) = &mut *generations;
            let (known, mut older) = (T::of(young.slots.entry(slot).or_default()), old.slots.get_mut(&slot).map(T::of));
            let mut moved = 0;
            let mut take = |key: T::Key| match known.get(&key) {
                Some(entry) => Some(entry.clone()),
                None => older.as_mut()?.remove(&key).inspect(|entry| {
                    moved += entry.bytes();
                    known.insert(key, entry.clone());
                }),
            };
            let found = keys.clone().map(&mut take).collect();
            young.bytes += moved;
            old.bytes = old.bytes.saturating_sub(moved);
            found
        };
        let mut new = Vec::new();
        for (entry, key) in found.iter_mut().zip(keys).filter(|(entry, _)| entry.is_none()) {
            ticker.tick().map_err(StoreError::Stopped)?;
            let made = read(key)?;
            new.push((key, made.clone()));
            *entry = Some(made);
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *generations;
        let known = T::of(young.slots.entry(slot).or_default());
        let added = new.into_iter().map(|(key, entry)| (entry.bytes(), known.insert(key, entry)));
        young.bytes += added.filter(|(_, before)| before.is_none()).map(|(bytes, _)| bytes).sum::<usize>();
        if young.bytes > self.generation_bytes {
            *old = std::mem::take(young);
        }
        Ok(found.into_iter().flatten().collect())
    }
}
