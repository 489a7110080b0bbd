//! Taking samples, and forgetting those whose blocks are freed.
//!
//! The paths of an allocation that cost nothing much (count down; test a bit) are in the callers, which call in here for the rest.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::layout::{DEFAULT_SHIFT, MAX_SAMPLES_PER_SECOND, MAX_SHIFT, MIN_SHIFT, at, ending};
pub use crate::places::Entry;
use crate::places::Filter;
pub use crate::stack::set_main_stack_end;
pub use crate::table::Registers;
use crate::table::{Table, bit};
use crate::thread::{self, Thread};
use crate::{math, sys};

/// Bits of the filter, as a power of two: 32 KiB.
pub const FILTER_BITS: u32 = 18;
const FILTER_WORDS: usize = 1 << (FILTER_BITS - 6);
/// Bytes that a thread allocates between two looks at whether sampling was switched on.
const OFF_STEP: i64 = 1 << 20;
/// The interval is lengthened up to so many times over the one wanted.
const MAX_SLOWED: u64 = 8;
/// Addresses that stay in the filter for ever.
const PINNED: usize = 64;

/// Bit `hash >> (64 - FILTER_BITS)` is set for each address in the table: see the crate's documentation.
pub static FILTER: [AtomicU64; FILTER_WORDS] = [const { AtomicU64::new(0) }; FILTER_WORDS];

/// The table; null where there is none.
static TABLE: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// The word that a fork wipes: 1 in the process that the table belongs to.
static OURS: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());
/// 0: nobody has tried to make a table; 1: done, or being done.
static BEGUN: AtomicU32 = AtomicU32::new(0);
static LOCK: AtomicU32 = AtomicU32::new(0);
/// The interval that a new table begins with.
static FIRST_SHIFT: AtomicU8 = AtomicU8::new(DEFAULT_SHIFT);
/// What a new table says of its process's end: [`ending`].
static FIRST_ENDING: AtomicU64 = AtomicU64::new(ending::UNSAID);
static PINNED_ADDRESSES: [AtomicUsize; PINNED] = [const { AtomicUsize::new(0) }; PINNED];
/// The second that samples are counted in, and how many it has had.
static SECOND: AtomicU64 = AtomicU64::new(0);
static IN_SECOND: AtomicU64 = AtomicU64::new(0);

/// Exclusive use of the table.
struct Locked {
    table: Table,
    _quiet: sys::Quiet,
}

impl Locked {
    /// Waits for the lock. Signals are blocked by the caller, so the holder is another thread, which runs or will.
    fn wait(table: Table, quiet: sys::Quiet) -> Self {
        let mut turns = 0u32;
        while LOCK.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(1024) {
                // SAFETY: takes no pointers.
                unsafe { sys::call(sys::SCHED_YIELD, [0; 6]) };
            } else {
                spin_loop();
            }
        }
        Self { table, _quiet: quiet }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Before the signals: the field is dropped after this.
        LOCK.store(0, Ordering::Release);
    }
}

/// The table, if it belongs to this process.
fn attached() -> Option<Table> {
    let ours = OURS.load(Ordering::Acquire);
    // SAFETY: the page was mapped for this word and is never unmapped.
    if ours.is_null() || unsafe { ours.read_volatile() } != 1 {
        return None;
    }
    Table::at(TABLE.load(Ordering::Acquire))
}

/// Makes the table if that has not been tried: at the start of the program.
pub fn begin() {
    if BEGUN.swap(1, Ordering::Relaxed) == 0 {
        let _quiet = sys::Quiet::begin();
        create();
    }
}

fn create() {
    let mut ours = OURS.load(Ordering::Relaxed);
    if ours.is_null() {
        let Some(page) = sys::wiped_in_children() else { return };
        ours = page;
    }
    let Some(table) = Table::create(FIRST_SHIFT.load(Ordering::Relaxed)) else { return };
    table.word(at::ENDING).store(FIRST_ENDING.load(Ordering::Relaxed), Ordering::Relaxed);
    TABLE.store(table.address(), Ordering::Release);
    // SAFETY: as in `attached`; nobody else writes it.
    unsafe { ours.write_volatile(1) };
    OURS.store(ours, Ordering::Release);
}

/// The caller will say when the process ends in order ([`ends`]).
pub fn will_say_end() {
    FIRST_ENDING.store(ending::RUNNING, Ordering::Relaxed);
    // An allocation before any constructor has made one already.
    if let Some(table) = attached() {
        table.word(at::ENDING).store(ending::RUNNING, Ordering::Relaxed);
    }
}

/// The process ends in order: its exit handlers run.
pub fn ends() {
    if let Some(table) = attached() {
        table.word(at::ENDING).store(ending::ORDERLY, Ordering::Relaxed);
    }
}

/// Makes a table of its own for a child, right after the fork, when it has one thread. Nothing where the parent has none.
pub fn forked() {
    if OURS.load(Ordering::Relaxed).is_null() {
        return;
    }
    let _quiet = sys::Quiet::begin();
    TABLE.store(core::ptr::null_mut(), Ordering::Relaxed);
    LOCK.store(0, Ordering::Relaxed);
    FILTER.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    for address in &PINNED_ADDRESSES {
        Bits.set(address.load(Ordering::Relaxed) as u64);
    }
    create();
}

/// Sets the interval that a table begins with, 0 for none, and that of the table that there is.
pub fn set_shift(shift: u8) {
    let shift = if shift == 0 { 0 } else { shift.clamp(MIN_SHIFT, MAX_SHIFT) };
    FIRST_SHIFT.store(shift, Ordering::Relaxed);
    if let Some(table) = attached() {
        table.word(at::CONTROL).store(u64::from(shift), Ordering::Relaxed);
        table.word(at::SHIFT).store(u64::from(shift), Ordering::Relaxed);
    }
}

/// Keeps an address in the filter for ever, so that its free is always noticed. For at most 64 of them; false for more.
pub fn pin(address: usize) -> bool {
    let place = PINNED_ADDRESSES.iter().find(|place| place.load(Ordering::Relaxed) == 0);
    place.is_some_and(|place| {
        place.store(address, Ordering::Relaxed);
        Bits.set(address as u64);
        true
    })
}

/// Puts an address into the filter, so that its next free is noticed; it may be there for longer.
pub fn watch(address: usize) {
    Bits.set(address as u64);
}

/// The filter, for the table's rules.
struct Bits;

impl Filter for Bits {
    fn set(&self, address: u64) {
        let bit = bit(address, FILTER_BITS);
        if let Some(word) = FILTER.get(bit / 64).filter(|_| address != 0) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }

    fn clear(&self, address: u64) {
        let bit = bit(address, FILTER_BITS);
        if let Some(word) = FILTER.get(bit / 64) {
            word.fetch_and(!(1 << (bit % 64)), Ordering::Relaxed);
        }
    }

    fn is_shared(&self, one: u64, other: u64) -> bool {
        bit(one, FILTER_BITS) == bit(other, FILTER_BITS)
    }
}

/// Whether the bit of an address is clear: its free needs nothing.
#[inline]
#[must_use]
pub fn is_unknown(address: usize) -> bool {
    let bit = bit(address as u64, FILTER_BITS);
    FILTER.get(bit / 64).is_none_or(|word| word.load(Ordering::Relaxed) >> (bit % 64) & 1 == 0)
}

/// A block was allocated and has brought the thread's counter below 0.
///
/// # Safety
/// The registers are those of the calling thread, whose stack stands as they say until this returns.
#[cold]
pub unsafe fn allocated(address: usize, size: usize, registers: &Registers) {
    begin();
    // SAFETY: the calling thread's own, and nobody else uses it: signals are blocked when this is changed below, and
    // an allocation in a handler before that only moves the counter.
    let thread = unsafe { &mut *thread::current() };
    let Some(table) = attached() else {
        (thread.shift, thread.remaining) = (0, OFF_STEP);
        return;
    };
    let quiet = sys::Quiet::begin();
    if thread.shift == 0 {
        let Some(shift) = shift_in_use(&table) else {
            thread.remaining = OFF_STEP;
            return;
        };
        redraw(thread, shift);
        thread.remaining = thread.remaining.saturating_sub(i64::try_from(size).unwrap_or(i64::MAX));
        if thread.remaining >= 0 {
            return;
        }
    }
    let locked = Locked::wait(table, quiet);
    let table = &locked.table;
    let time = sys::monotonic();
    let number = table.word(at::TAKEN).load(Ordering::Relaxed);
    let numbered = number & crate::layout::NUMBER_MASK | u64::from(thread.shift) << 56;
    let entry = Entry { address: address as u64, size: size as u64, numbered, time };
    table.write_record(&entry, registers);
    table.word(at::TAKEN).store(number.wrapping_add(1), Ordering::Relaxed);
    if !table.insert(&Bits, &entry) {
        table.add(at::LOST_FULL, 1);
    }
    keep_rate(table, time);
    match shift_in_use(table) {
        Some(shift) => redraw(thread, shift),
        None => (thread.shift, thread.remaining) = (0, OFF_STEP),
    }
}

/// An allocation has brought the counter below 0 and failed.
#[cold]
pub fn failed() {
    // SAFETY: the calling thread's own.
    let thread = unsafe { &mut *thread::current() };
    (thread.shift, thread.remaining) = (0, 0);
}

fn redraw(thread: &mut Thread, shift: u8) {
    if thread.random == 0 {
        // Any two threads differ in address or time. Not a secret.
        thread.random = crate::layout::hash(core::ptr::from_mut(thread) as u64 ^ sys::monotonic().rotate_left(32)) | 1;
    }
    (thread.remaining, thread.shift) = (math::draw(&mut thread.random, shift), shift);
}

/// The shift that holds now; none where sampling is off. What is wanted is written by others, so it is put into bounds.
fn shift_in_use(table: &Table) -> Option<u8> {
    let wanted = table.word(at::CONTROL).load(Ordering::Relaxed);
    if wanted == 0 {
        return None;
    }
    let wanted = wanted.clamp(u64::from(MIN_SHIFT), u64::from(MAX_SHIFT));
    let now = table.word(at::SHIFT).load(Ordering::Relaxed).clamp(wanted, (wanted + MAX_SLOWED).min(u64::from(MAX_SHIFT)));
    table.word(at::SHIFT).store(now, Ordering::Relaxed);
    u8::try_from(now).ok()
}

/// Doubles the interval where a second has more samples than it may, and halves it again after one that had few.
fn keep_rate(table: &Table, time: u64) {
    let (second, shift) = (time / 1_000_000_000, table.word(at::SHIFT));
    let count = IN_SECOND.load(Ordering::Relaxed) + 1;
    IN_SECOND.store(count, Ordering::Relaxed);
    if SECOND.load(Ordering::Relaxed) != second {
        SECOND.store(second, Ordering::Relaxed);
        IN_SECOND.store(1, Ordering::Relaxed);
        if count * 5 < MAX_SAMPLES_PER_SECOND * 2 {
            // Not below what is wanted: see `shift_in_use`.
            shift.store(shift.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
    } else if count.is_multiple_of(MAX_SAMPLES_PER_SECOND) {
        shift.store(shift.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        table.add(at::SLOWED, 1);
    }
}

/// A block whose bit is set is about to be freed, or reallocated: its sample, if it has one, is taken out of the table.
#[cold]
pub fn freed(address: usize) -> Option<Entry> {
    let table = attached()?;
    table.find(address as u64)?;
    let locked = Locked::wait(table, sys::Quiet::begin());
    let pinned = PINNED_ADDRESSES.iter().any(|pinned| Bits.is_shared(pinned.load(Ordering::Relaxed) as u64, address as u64));
    // Only a program that frees a block twice could have been faster.
    let entry = locked.table.remove(&Bits, address as u64, pinned)?;
    locked.table.add(at::FREED, 1);
    Some(entry)
}

/// Puts a sample back: its block was not freed after all.
#[cold]
pub fn give_back(entry: &Entry) {
    let Some(table) = attached() else { return };
    let locked = Locked::wait(table, sys::Quiet::begin());
    if locked.table.insert(&Bits, entry) {
        locked.table.add(at::FREED, u64::MAX);
    }
}
