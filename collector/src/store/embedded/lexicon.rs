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

fn stack_bytes(stack: &KnownStack) -> usize {
    OVERHEAD + stack.locations.len() * size_of::<u32>()
}

const fn location_bytes(location: &LocationRecord) -> usize {
    OVERHEAD + location.lines.len() * size_of::<(u32, u32, u32)>()
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
        let key = |number: &u32| (service, *number);
        let of: fn(&mut Entries) -> &mut HashMap<_, KnownStack, RandomState> = |entries| &mut entries.stacks;
        self.fetch(slot, numbers.iter().map(key), (of, stack_bytes), |(_, number)| read(number), ticker)
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
        let of: fn(&mut Entries) -> &mut HashMap<u32, LocationRecord, RandomState> = |entries| &mut entries.locations;
        self.fetch(slot, numbers.iter().copied(), (of, location_bytes), read, ticker)
    }

    /// Takes what is known, and reads the rest without holding the lock.
    fn fetch<K: Copy + Eq + std::hash::Hash, T: Clone>(
        &self,
        slot: Slot,
        keys: impl Iterator<Item = K> + Clone,
        (of, bytes): (fn(&mut Entries) -> &mut HashMap<K, T, RandomState>, fn(&T) -> usize),
        read: impl Fn(K) -> Result<T, StoreError>,
        ticker: &Ticker,
    ) -> Result<Vec<T>, StoreError> {
        let mut found: Vec<Option<T>> = {
            let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
            let (young, old) = &mut *generations;
            let (known, mut older) = (of(young.slots.entry(slot).or_default()), old.slots.get_mut(&slot).map(of));
            let mut moved = 0;
            let mut take = |key: K| match known.get(&key) {
                Some(entry) => Some(entry.clone()),
                None => older.as_mut()?.remove(&key).inspect(|entry| {
                    moved += bytes(entry);
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
        let known = of(young.slots.entry(slot).or_default());
        let added = new.into_iter().map(|(key, entry)| (bytes(&entry), known.insert(key, entry)));
        young.bytes += added.filter(|(_, before)| before.is_none()).map(|(bytes, _)| bytes).sum::<usize>();
        if young.bytes > self.generation_bytes {
            *old = std::mem::take(young);
        }
        Ok(found.into_iter().flatten().collect())
    }
}
