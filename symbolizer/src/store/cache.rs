//! Answers that were given lately.
//!
//! A profile asks for the same addresses again and again. Each state of a symbol file has its own [`Answers`], which go with
//! it, so no answer outlives its file. All of them together are bounded by bytes ([`Bound`]): those of the files that were
//! asked for least lately are given up first (see `Index::give_up`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use flamekeeper_profile::{Svma, UnnamedReason};
use foldhash::fast::RandomState;

use crate::interner::Interner;
use crate::symbol_file::SymbolFile;
use crate::symbolized::Symbolized;

/// Lookups between which others get a turn.
const CHUNK: usize = 256;

/// What all answers together may take, and how often they were of use.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) most_bytes: usize,
    /// At least what they take.
    bytes: AtomicUsize,
    /// Moves on with each addition. The time of uses.
    turn: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// The answers of one symbol file.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// None where there are none: many objects are never asked for.
    kept: RwLock<Option<Box<Kept>>>,
    used: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    by_address: HashMap<u64, Symbolized, RandomState>,
    interner: Interner,
    /// Of the answers without what they share.
    bytes: usize,
}

impl Bound {
    pub(super) const fn new(most_bytes: usize) -> Self {
        let [turn, hits, misses] = [const { AtomicU64::new(0) }; 3];
        Self { most_bytes, bytes: AtomicUsize::new(0), turn, hits, misses }
    }

    fn count(&self, hits: usize, misses: usize) {
        for (counter, more) in [(&self.hits, hits), (&self.misses, misses)] {
            if more > 0 {
                counter.fetch_add(more as u64, Ordering::Relaxed);
            }
        }
    }

    /// Answers that were found, and not found.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes() > self.most_bytes
    }

    /// States what the answers take, once some were given up.
    pub(super) fn settle(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Answers {
    fn kept(&self) -> RwLockReadGuard<'_, Option<Box<Kept>>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept_mut(&self) -> RwLockWriteGuard<'_, Option<Box<Kept>>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_use(&self, bound: &Bound) {
        let turn = bound.turn.load(Ordering::Relaxed);
        // Mostly it stands there already, and a line of memory that nobody writes is shared by all threads.
        if self.used.load(Ordering::Relaxed) != turn {
            self.used.store(turn, Ordering::Relaxed);
        }
    }

    /// The answer at an address, where it is kept.
    pub(super) fn get(&self, address: Svma, bound: &Bound) -> Option<Symbolized> {
        self.note_use(bound);
        let found = self.kept().as_ref().and_then(|kept| kept.by_address.get(&address.0).cloned());
        bound.count(usize::from(found.is_some()), usize::from(found.is_none()));
        found
    }

    /// The answers at these addresses, in their order, and the places of those that are not kept.
    pub(super) fn get_all(&self, addresses: &[Svma], bound: &Bound) -> (Vec<Symbolized>, Vec<usize>) {
        self.note_use(bound);
        let guard = self.kept();
        let mut missing = Vec::new();
        let look_up = |(place, address): (usize, &Svma)| {
            let found = guard.as_ref().and_then(|kept| kept.by_address.get(&address.0).cloned());
            found.unwrap_or_else(|| {
                missing.push(place);
                Symbolized::Unknown(UnnamedReason::NotCovered)
            })
        };
        let found = addresses.iter().enumerate().map(look_up).collect();
        bound.count(addresses.len() - missing.len(), missing.len());
        (found, missing)
    }

    /// Looks addresses up in their file, and keeps the answers; tells each with its number in the order of the addresses.
    pub(super) fn add(&self, file: &SymbolFile, addresses: &[Svma], bound: &Bound, mut tell: impl FnMut(usize, Symbolized)) {
        for (chunk, addresses) in addresses.chunks(CHUNK).enumerate() {
            let mut guard = self.kept_mut();
            let kept = guard.get_or_insert_default();
            let before = kept.bytes();
            for (place, address) in addresses.iter().enumerate() {
                tell(chunk * CHUNK + place, kept.look_up(file, *address));
            }
            let more = kept.bytes() - before;
            drop(guard);
            bound.bytes.fetch_add(more, Ordering::Relaxed);
            bound.turn.fetch_add(1, Ordering::Relaxed);
            self.note_use(bound);
        }
    }

    /// When they were asked for last, and the bytes that they take.
    pub(super) fn use_and_bytes(&self) -> (u64, usize) {
        (self.used.load(Ordering::Relaxed), self.kept().as_ref().map_or(0, |kept| kept.bytes()))
    }

    /// Gives all of them up.
    pub(super) fn clear(&self) {
        *self.kept_mut() = None;
    }
}

impl Kept {
    const fn bytes(&self) -> usize {
        self.bytes + self.interner.bytes()
    }

    fn look_up(&mut self, file: &SymbolFile, address: Svma) -> Symbolized {
        /// An entry of the map, and the counts of its frames.
        const ENTRY: usize = 56;
        let (bytes, interner) = (&mut self.bytes, &mut self.interner);
        let answer = self.by_address.entry(address.0).or_insert_with(|| {
            let found = file.symbolize_into(address, interner);
            let frames = if let Symbolized::Frames(frames) = &found { frames.len() } else { 0 };
            *bytes += ENTRY + frames * size_of::<usize>();
            found
        });
        answer.clone()
    }
}
