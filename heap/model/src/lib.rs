//! The table of live samples and the filter before it, in every order that threads and the processor may choose: `cargo test` here.
//!
//! What is run is the library's own source (`heap/src/places.rs`), over memory of the model checker [loom](https://docs.rs/loom). The lock
//! stands for the library's, whose holder has signals blocked. What the checker cannot run is the rest of the library: it is reached
//! through assembly and system calls, and has soaks of threads and children instead (`testing/tests/heap.rs`).
#![cfg(test)]

#[path = "../../src/layout.rs"]
#[allow(dead_code)]
mod layout;
#[path = "../../src/places.rs"]
mod places;

use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::layout::EMPTY;
use crate::places::{Entered, Entry, Filter, Places, enter, find, leave};

/// A table of one place more than there are blocks, in which all chains begin at the last, and a filter of two bits.
struct Model {
    words: Vec<AtomicU64>,
    bits: AtomicU64,
    lock: Mutex<()>,
}

impl Places for Model {
    const COUNT: usize = 5;

    fn home(_: u64) -> usize {
        Self::COUNT - 1
    }

    fn load(&self, place: usize, word: usize, order: Ordering) -> u64 {
        self.words[place % Self::COUNT * 4 + word].load(order)
    }

    fn store(&self, place: usize, word: usize, value: u64, order: Ordering) {
        self.words[place % Self::COUNT * 4 + word].store(value, order);
    }
}

impl Filter for Model {
    fn set(&self, address: u64) {
        self.bits.fetch_or(bit(address), Ordering::Relaxed);
    }

    fn clear(&self, address: u64) {
        self.bits.fetch_and(!bit(address), Ordering::Relaxed);
    }

    fn is_shared(&self, one: u64, other: u64) -> bool {
        bit(one) == bit(other)
    }
}

/// Every other block has the same bit.
fn bit(address: u64) -> u64 {
    1 << (address / 16 % 2)
}

impl Model {
    fn new() -> Self {
        let words = (0..Self::COUNT * 4).map(|_| AtomicU64::new(0)).collect();
        Self { words, bits: AtomicU64::new(0), lock: Mutex::new(()) }
    }

    /// A block is allocated, and is a sample.
    fn allocate(&self, address: u64) {
        let _locked = self.lock.lock().unwrap();
        let entry = Entry { address, size: address * 3, numbered: address + 1, time: address + 2 };
        assert_eq!(enter(self, self, &entry, true), Entered::New);
    }

    /// Whoever owns it frees it, and looks at the bit and for the place without the lock first.
    fn free(&self, address: u64) {
        assert_ne!(self.bits.load(Ordering::Relaxed) & bit(address), 0, "the filter has lost a live block");
        assert!(find(self, address).is_some(), "a live block is not found without the lock");
        let _locked = self.lock.lock().unwrap();
        let entry = leave(self, self, address, false).expect("a live block is not found");
        assert_eq!((entry.size, entry.numbered, entry.time), (address * 3, address + 1, address + 2), "another block's words");
    }

    fn is_empty(&self) -> bool {
        self.bits.load(Ordering::Relaxed) == 0 && (0..Self::COUNT).all(|place| self.load(place, 0, Ordering::Relaxed) == EMPTY)
    }
}

/// The bit and the sample of a live block are seen by the thread that frees it, whoever allocated it, while others put theirs into the
/// same chain and take them out; and nothing is left behind.
#[test]
fn live_blocks_are_found_in_any_order() {
    loom::model(|| {
        let model = Arc::new(Model::new());
        // Before the others in the chain; freed by threads that did not allocate them.
        model.allocate(16);
        model.allocate(32);
        let threads = [(16, 48), (32, 80)].map(|(given, own)| {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                model.allocate(own);
                model.free(given);
                model.free(own);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(model.is_empty(), "something is left");
    });
}
