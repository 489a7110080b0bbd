//! Numbers by byte strings, in memory.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// What an entry takes beside its bytes: its places in the map and on the heap.
const LONG_OVERHEAD: usize = 48;
/// What a short entry takes, which has no bytes elsewhere.
const SHORT_BYTES: usize = 40;

/// A key of at most 15 bytes, with its length: equal only to the same bytes. Most locations are such, and found by one look at
/// memory instead of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Short(u64, u64);

impl Short {
    fn of(key: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes.get_mut(..15)?.get_mut(..key.len())?.copy_from_slice(key);
        bytes[15] = key.len() as u8;
        let bytes = u128::from_le_bytes(bytes);
        Some(Self(bytes as u64, (bytes >> 64) as u64))
    }
}

/// Numbers by their key.
#[derive(Debug, Default)]
pub(super) struct Cache {
    short: HashMap<Short, u32, RandomState>,
    long: HashMap<Box<[u8]>, u32, RandomState>,
    long_bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, key: &[u8]) -> Option<u32> {
        match Short::of(key) {
            Some(short) => self.short.get(&short).copied(),
            None => self.long.get(key).copied(),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<u32> {
        match Short::of(key) {
            Some(short) => self.short.remove(&short),
            None => self.long.remove(key).inspect(|_| self.long_bytes -= key.len() + LONG_OVERHEAD),
        }
    }

    pub(super) fn insert(&mut self, key: &[u8], number: u32) {
        match Short::of(key) {
            Some(short) => drop(self.short.insert(short, number)),
            None => match self.long.get_mut(key) {
                Some(known) => *known = number,
                None => {
                    self.long.insert(key.into(), number);
                    self.long_bytes += key.len() + LONG_OVERHEAD;
                }
            },
        }
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.short.len() * SHORT_BYTES + self.long_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of every length are told apart, also where one is the other and zeros; what is removed is gone, and its bytes with it.
    #[test]
    fn keeps_keys_apart() {
        let mut cache = Cache::default();
        let keys: Vec<Vec<u8>> = (0..40).map(|len| vec![0; len]).chain((0..40).map(|len| vec![1; len + 1])).collect();
        for (number, key) in (0..).zip(&keys) {
            cache.insert(key, 7);
            cache.insert(key, number);
        }
        let bytes = cache.bytes();
        for (number, key) in (0..).zip(&keys) {
            assert_eq!(cache.get(key), Some(number));
        }
        for (number, key) in (0..).zip(&keys) {
            assert_eq!((cache.remove(key), cache.get(key)), (Some(number), None));
        }
        assert!(bytes > 40 * keys.len() && cache.bytes() == 0);
    }
}
