//! The rules of the table of live samples and of the filter before it: an open hash table whose entries never move, found without a
//! lock by the thread that frees its block, and changed under one.
//!
//! They are apart from the memory that they rule, so that a model checker can run them over memory of its own, in every order that threads and
//! the processor may choose (`tests` below).

use core::sync::atomic::Ordering;

use crate::layout::{EMPTY, FREED, SIZE_MASK, seal};

/// A sample: a block that was allocated.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// Number and shift.
    pub(crate) numbered: u64,
    pub(crate) time: u64,
}

/// Places of four words each: see [`crate::layout`].
pub(crate) trait Places {
    /// How many there are.
    const COUNT: usize;

    /// Where an address's chain begins.
    fn home(address: u64) -> usize;
    /// A word of a place, whose number may be beyond the last: then they begin anew.
    fn load(&self, place: usize, word: usize, order: Ordering) -> u64;
    /// Likewise.
    fn store(&self, place: usize, word: usize, value: u64, order: Ordering);
}

/// Bits, one for many addresses.
pub(crate) trait Filter {
    /// Sets the bit of an address.
    fn set(&self, address: u64);
    /// Clears it.
    fn clear(&self, address: u64);
    /// Whether two addresses have the same bit.
    fn is_shared(&self, one: u64, other: u64) -> bool;
}

/// What became of a sample that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It has a place of its own.
    New,
    /// It has the place of one of the same address.
    Replacing,
    /// There was no room.
    Not,
}

/// The place of a live sample. Needs no lock in the thread that owns the block.
pub(crate) fn find<P: Places>(places: &P, address: u64) -> Option<usize> {
    let first = P::home(address);
    for place in first..first + P::COUNT {
        match places.load(place, 0, Ordering::Acquire) {
            EMPTY => return None,
            found if found == address => return Some(place % P::COUNT),
            _ => {}
        }
    }
    None
}

/// Puts a sample in, under the lock. `room`: one of a new address may come in.
pub(crate) fn enter(places: &impl Places, filter: &impl Filter, entry: &Entry, room: bool) -> Entered {
    filter.set(entry.address);
    put(places, entry, room)
}

fn put<P: Places>(places: &P, entry: &Entry, room: bool) -> Entered {
    let (place, entered) = if let Some(place) = find(places, entry.address) {
        places.store(place, 0, FREED, Ordering::Release);
        (place, Entered::Replacing)
    } else {
        let first = P::home(entry.address);
        let mut chain = first..first + P::COUNT;
        let free = chain.find(|place| places.load(*place, 0, Ordering::Relaxed) <= FREED);
        let Some(place) = free.filter(|_| room) else { return Entered::Not };
        (place, Entered::New)
    };
    places.store(place, 1, seal(entry.address, entry.size, entry.numbered, entry.time), Ordering::Relaxed);
    places.store(place, 2, entry.numbered, Ordering::Relaxed);
    places.store(place, 3, entry.time, Ordering::Relaxed);
    places.store(place, 0, entry.address, Ordering::Release);
    entered
}

/// Takes the sample of an address out, under the lock, and its bit, unless others in the table have the same or `pinned` says that it stays.
pub(crate) fn leave<P: Places>(places: &P, filter: &impl Filter, address: u64, pinned: bool) -> Option<Entry> {
    let place = find(places, address)?;
    let word = |index| places.load(place, index, Ordering::Relaxed);
    let entry = Entry { address, size: word(1) & SIZE_MASK, numbered: word(2), time: word(3) };
    places.store(place, 0, FREED, Ordering::Release);
    tidy(places, place);
    let mut needed = pinned;
    let first = P::home(address);
    for place in first..first + P::COUNT {
        match places.load(place, 0, Ordering::Relaxed) {
            EMPTY => break,
            FREED => {}
            // Addresses of one bit have one home: see `bit`.
            other => needed |= filter.is_shared(address, other),
        }
    }
    if !needed {
        filter.clear(address);
    }
    Some(entry)
}

/// Freed places right before an empty one end no chain that is needed: they become empty.
fn tidy<P: Places>(places: &P, place: usize) {
    if places.load(place + 1, 0, Ordering::Relaxed) != EMPTY {
        return;
    }
    for back in 0..P::COUNT {
        let at = place + P::COUNT - back;
        if places.load(at, 0, Ordering::Relaxed) != FREED {
            return;
        }
        places.store(at, 0, EMPTY, Ordering::Release);
    }
}
