//! Interned tables with typed handles.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::marker::PhantomData;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, VacantEntry};
use indexmap::Equivalent;

/// A handle into a [`Table`] of `T`. It means nothing in another table.
pub struct Id<T> {
    index: u32,
    table: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The handle of the element at this place. A place that the table does not have yields no element.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self { index, table: PhantomData }
    }

    /// The place in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The place in the table, as stored.
    #[must_use]
    pub const fn raw(self) -> u32 {
        self.index
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.index.cmp(&other.index)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.index);
    }

    /// Two at once: stacks are slices of some thirty handles, and a hasher takes the same time for 64 bits as for 32.
    fn hash_slice<H: Hasher>(ids: &[Self], state: &mut H) {
        let (pairs, rest) = ids.as_chunks::<2>();
        for [low, high] in pairs {
            state.write_u64(u64::from(low.index) | u64::from(high.index) << 32);
        }
        rest.iter().for_each(|id| id.hash(state));
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)
    }
}

/// A set whose elements keep their place of insertion: equal elements share one handle.
#[derive(Clone, Debug)]
pub struct Table<T> {
    elements: Vec<T>,
    /// The places of the elements by their hashes. A set of the elements themselves would hash one that is looked for and then added twice.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl<T: Eq + Hash> Default for Table<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T: Eq + Hash> Table<T> {
    /// The greatest number of elements: handles are 32 bits. The callers bound their inputs far below it.
    pub const MAX_LEN: usize = u32::MAX as usize;

    /// An empty table with room for so many elements.
    #[must_use]
    pub fn with_capacity(elements: usize) -> Self {
        Self { elements: Vec::with_capacity(elements), places: HashTable::with_capacity(elements), hasher: RandomState::default() }
    }

    /// The handle of `element`, which is added where it is new.
    ///
    /// # Panics
    /// When the table holds [`Self::MAX_LEN`] elements, which no bounded input reaches.
    pub fn intern(&mut self, element: T) -> Id<T> {
        let hash = self.hasher.hash_one(&element);
        let Self { elements, places, hasher } = self;
        let rehash = |place: &u32| hasher.hash_one(&elements[*place as usize]);
        match places.entry(hash, |place| elements[*place as usize] == element, rehash) {
            Entry::Occupied(place) => Id::new(*place.get()),
            Entry::Vacant(place) => add(elements, place, element),
        }
    }

    /// The handle of the element equivalent to `key`; `make` builds it only where it is new.
    ///
    /// # Panics
    /// As [`Self::intern`].
    pub fn intern_with<Q>(&mut self, key: &Q, make: impl FnOnce() -> T) -> Id<T>
    where
        Q: Hash + Equivalent<T> + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let Self { elements, places, hasher } = self;
        let rehash = |place: &u32| hasher.hash_one(&elements[*place as usize]);
        match places.entry(hash, |place| key.equivalent(&elements[*place as usize]), rehash) {
            Entry::Occupied(place) => Id::new(*place.get()),
            Entry::Vacant(place) => add(elements, place, make()),
        }
    }

    /// The handle of the element equivalent to `key`, if it is there.
    pub fn find<Q>(&self, key: &Q) -> Option<Id<T>>
    where
        Q: Hash + Equivalent<T> + ?Sized,
    {
        let equal = |place: &u32| key.equivalent(&self.elements[*place as usize]);
        self.places.find(self.hasher.hash_one(key), equal).map(|place| Id::new(*place))
    }

    /// The element of a handle.
    #[must_use]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        self.elements.get(id.index())
    }

    /// All elements in the order of their handles.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Id<T>, &T)> {
        self.elements.iter().enumerate().map(|(index, element)| (id(index), element))
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// Adds an element that is not there, at the place that was found for it.
fn add<T>(elements: &mut Vec<T>, place: VacantEntry<'_, u32>, element: T) -> Id<T> {
    let id = id(elements.len());
    elements.push(element);
    place.insert(id.raw());
    id
}

fn id<T>(index: usize) -> Id<T> {
    match u32::try_from(index) {
        Ok(index) => Id::new(index),
        Err(_) => unreachable!("a table of more than 2^32 elements"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal elements share a handle, and a foreign handle finds nothing.
    #[test]
    fn equal_elements_share_a_handle() {
        let mut table: Table<Box<str>> = Table::default();
        let a = table.intern("a".into());
        let b = table.intern_with("b", || "b".into());
        assert_eq!(table.intern_with("a", || panic!("already there")), a);
        assert_ne!(a, b);
        assert_eq!(table.get(b).map(|text| &**text), Some("b"));
        assert_eq!(table.get(Id::new(7)), None);
    }
}
