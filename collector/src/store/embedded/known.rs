//! Numbers of the stacks that were stored lately, found by what a batch says of them, so that their locations need not be looked up.
//!
//! A stack is written as words: one for its service and end, one for each location. A word tells a location exactly, so equal words are
//! equal stacks: the hash only finds the place where to compare. Nearly all stacks of a batch were in one before it, and finding one takes one
//! look at the table and one at its words, where its locations' numbers would take thirty.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use flamekeeper_profile::{FrameKind, StackEnd};
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::row::end_code;

/// The bits of a word that hold the address: 48, of which the highest is repeated above, as processors want it. Above them stands the unit.
const ADDRESS_BITS: u32 = 48;
/// In the place of a unit: the location by its number.
const NUMBERED: u16 = u16::MAX;
/// What an entry takes in the table, at its usual load.
const ENTRY_BYTES: usize = 36;

/// Kinds and objects of locations as numbers from 1, and the stacks in two generations, as in [`super::interner`].
#[derive(Debug, Default)]
pub(super) struct KnownStacks {
    units: HashMap<(u8, Option<u32>), u16, RandomState>,
    /// The unit that was asked for last: neighbours mostly have the same.
    last: Option<((u8, Option<u32>), u16)>,
    young: Generation,
    old: Generation,
    forgot: bool,
    hasher: RandomState,
}

/// The words of a stack, and their hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct StackWords<'a> {
    words: &'a [u64],
    hash: u64,
}

impl KnownStacks {
    /// The word that stacks of a service with this end begin with.
    pub(super) fn head(service: u32, end: StackEnd) -> u64 {
        u64::from(service) << 8 | u64::from(end_code(end))
    }

    /// The word of a location that has no names; none where it does not fit into one. Never 0.
    pub(super) fn address(&mut self, kind: FrameKind, object: Option<u32>, address: u64) -> Option<u64> {
        let extended = ((address << (64 - ADDRESS_BITS)).cast_signed() >> (64 - ADDRESS_BITS)).cast_unsigned();
        if extended != address {
            return None;
        }
        let key = (kind.code(), object);
        let unit = match self.last {
            Some((last, unit)) if last == key => unit,
            _ => self.unit(key)?,
        };
        Some(u64::from(unit) << ADDRESS_BITS | address & ((1 << ADDRESS_BITS) - 1))
    }

    /// The number of a kind and object; none where there is none left for a new one.
    fn unit(&mut self, key: (u8, Option<u32>)) -> Option<u16> {
        let next = u16::try_from(self.units.len() + 1).ok().filter(|next| *next < NUMBERED);
        let unit = match (self.units.get(&key), next) {
            (Some(unit), _) => *unit,
            (None, next) => *self.units.entry(key).or_insert(next?),
        };
        self.last = Some((key, unit));
        Some(unit)
    }

    /// The word of any other location.
    pub(super) fn numbered(number: u32) -> u64 {
        u64::from(NUMBERED) << ADDRESS_BITS | u64::from(number)
    }

    pub(super) fn hashed<'a>(&self, words: &'a [u64]) -> StackWords<'a> {
        StackWords { words, hash: self.hasher.hash_one(words) }
    }

    /// The number of a stack in its service, where it was used lately.
    pub(super) fn find(&mut self, stack: StackWords<'_>) -> Option<u32> {
        self.young.find(stack).or_else(|| {
            let number = self.old.find(stack)?;
            self.insert(stack, number);
            Some(number)
        })
    }

    /// Remembers a stack that [`Self::find`] did not find.
    pub(super) fn insert(&mut self, stack: StackWords<'_>, number: u32) {
        self.forgot |= !self.young.insert(stack, number);
    }

    /// Whether any stack that was inserted is not found any more.
    pub(super) const fn forgot(&self) -> bool {
        self.forgot
    }

    /// Keeps each generation below so many bytes. Only between batches: the young one holds what the open batch has added.
    pub(super) fn trim(&mut self, generation_bytes: usize) {
        if self.young.bytes() > generation_bytes {
            self.forgot |= self.old.bytes() > 0;
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[derive(Debug, Default)]
struct Generation {
    table: HashTable<Entry>,
    words: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    /// Where its words are.
    start: usize,
    len: u32,
    number: u32,
}

impl Generation {
    fn find(&self, stack: StackWords<'_>) -> Option<u32> {
        let is_same = |entry: &Entry| {
            entry.hash == stack.hash
                && self.words.get(entry.start..entry.start + entry.len as usize).is_some_and(|words| words == stack.words)
        };
        self.table.find(stack.hash, is_same).map(|entry| entry.number)
    }

    /// Whether it is remembered: a stack that is too long for this is looked up the long way each time.
    fn insert(&mut self, stack: StackWords<'_>, number: u32) -> bool {
        let Ok(len) = u32::try_from(stack.words.len()) else { return false };
        let entry = Entry { hash: stack.hash, start: self.words.len(), len, number };
        self.words.extend_from_slice(stack.words);
        self.table.insert_unique(stack.hash, entry, |entry| entry.hash);
        true
    }

    fn bytes(&self) -> usize {
        self.table.len() * ENTRY_BYTES + self.words.len() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Locations that differ in kind, object or address have different words, as far as they fit; those of the upper half do.
    #[test]
    fn words_tell_locations_apart() {
        let mut known = KnownStacks::default();
        let mut words = std::collections::HashSet::new();
        for kind in [FrameKind::Native, FrameKind::Kernel] {
            for object in [None, Some(0), Some(1)] {
                for address in [0, 1, (1 << 47) - 1, u64::MAX, u64::MAX << 47] {
                    let word = known.address(kind, object, address).unwrap();
                    assert!(word != 0 && words.insert(word), "{kind:?} {object:?} {address:#x}");
                    assert_eq!(known.address(kind, object, address), Some(word));
                }
                assert_eq!([1 << 47, 1 << 63, (u64::MAX << 47) - 1].map(|address| known.address(kind, object, address)), [None; 3]);
            }
        }
        assert!(words.insert(KnownStacks::numbered(0)) && words.insert(KnownStacks::numbered(u32::MAX)));
        for object in 0..70_000 {
            let word = known.address(FrameKind::Native, Some(object), 7);
            assert!(word.is_none_or(|word| word < KnownStacks::numbered(0)));
        }
        assert_eq!(known.address(FrameKind::Native, Some(69_999), 7), None);
    }

    /// Stacks are found by all of their words, also those of the generation before; what was not used for two generations is gone.
    #[test]
    fn finds_by_words() {
        let mut known = KnownStacks::default();
        let stacks: Vec<Vec<u64>> =
            (0..100).map(|number| vec![KnownStacks::head(number % 3, StackEnd::Root), 7, u64::from(number)]).collect();
        let find = |known: &mut KnownStacks, words: &[u64]| known.find(known.hashed(words));
        for (number, words) in (0..).zip(&stacks) {
            assert_eq!(find(&mut known, words), None);
            known.insert(known.hashed(words), number);
        }
        known.trim(usize::MAX);
        assert_eq!(find(&mut known, &stacks[5][..2]), None);
        known.trim(1);
        assert!(!known.forgot());
        assert_eq!(find(&mut known, &stacks[5]), Some(5));
        known.trim(1);
        assert!(known.forgot());
        assert_eq!([4, 5, 6].map(|number| find(&mut known, &stacks[number])), [None, Some(5), None]);
        assert!(known.young.bytes() > 3 * 8);
    }
}
