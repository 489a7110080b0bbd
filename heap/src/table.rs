//! Writing the shared table: see [`crate::layout`] for its format, and the crate's documentation for who may.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::layout::{
    ENTRIES, ENTRIES_OFFSET, ENTRY_SIZE, MAX_LIVE, NUMBER_MASK, RECORD_HEADER, RING_OFFSET, RING_SIZE, SIZE, VERSION, at, hash, record,
};
use crate::places::{self, Entered, Entry, Filter, Places};
use crate::{layout, stack, sys};

/// The registers of the code that called the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// An address inside the instruction that called.
    pub ip: usize,
    /// The stack pointer.
    pub sp: usize,
    /// The frame pointer register.
    pub bp: usize,
}

/// The mapped table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table(*mut u8);

impl Table {
    /// Makes a table with this interval; none where the kernel does not allow it.
    pub(crate) fn create(shift: u8) -> Option<Self> {
        let table = Self(sys::shared_memory(c"flamekeeper-heap", SIZE)?);
        for (offset, value) in [
            (at::MAGIC, layout::MAGIC),
            (at::SIZE, SIZE as u64),
            (at::PID, sys::process_id()),
            (at::STARTED, sys::monotonic()),
            (at::CONTROL, u64::from(shift)),
            (at::SHIFT, u64::from(shift)),
        ] {
            table.word(offset).store(value, Ordering::Relaxed);
        }
        table.word(at::VERSION).store(VERSION, Ordering::Release);
        Some(table)
    }

    /// A table at an address that [`Self::create`] answered.
    pub(crate) fn at(address: *mut u8) -> Option<Self> {
        (!address.is_null()).then_some(Self(address))
    }

    pub(crate) const fn address(self) -> *mut u8 {
        self.0
    }

    /// A word of the table, at an offset that is a multiple of 8 and lies inside.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset < SIZE, "no word of the table");
        // SAFETY: the mapping is SIZE bytes long, lives until the process ends, and holds aligned words at multiples of 8,
        // which are accessed atomically only, but for the ring's, which the holder of the lock alone writes.
        unsafe { &*self.0.add(offset).cast::<AtomicU64>() }
    }

    pub(crate) fn add(&self, offset: usize, count: u64) {
        let word = self.word(offset);
        word.store(word.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    fn entry(&self, place: usize, word: usize) -> &AtomicU64 {
        self.word(ENTRIES_OFFSET + place % ENTRIES * ENTRY_SIZE + word * 8)
    }

    /// The place of a live sample. Needs no lock in the thread that owns the block.
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        places::find(self, address)
    }

    /// Puts a sample in, under the lock. False where the table is full.
    pub(crate) fn insert(&self, filter: &impl Filter, entry: &Entry) -> bool {
        let room = self.word(at::LIVE).load(Ordering::Relaxed) < MAX_LIVE;
        let entered = places::enter(self, filter, entry, room);
        match entered {
            Entered::New => self.add(at::LIVE, 1),
            Entered::Replacing => self.add(at::REPLACED, 1),
            Entered::Not => {}
        }
        entered != Entered::Not
    }

    /// Takes the sample of an address out, under the lock, and its bit of the filter, unless that is pinned or needed by others.
    pub(crate) fn remove(&self, filter: &impl Filter, address: u64, pinned: bool) -> Option<Entry> {
        let entry = places::leave(self, filter, address, pinned)?;
        self.add(at::LIVE, u64::MAX);
        Some(entry)
    }

    /// Writes a sample and its stack into the ring, under the lock.
    pub(crate) fn write_record(&self, entry: &Entry, registers: &Registers) {
        let copied = stack::extent(registers.sp);
        let length = RECORD_HEADER + copied;
        let head = self.word(at::RING_HEAD).load(Ordering::Relaxed);
        self.make_room(head, length as u64);
        let words = [
            (record::LENGTH, length as u64 | entry.numbered >> 56 << 32),
            (record::NUMBER, entry.numbered & NUMBER_MASK),
            (record::TIME, entry.time),
            (record::ADDRESS, entry.address),
            (record::SIZE, entry.size),
            (record::IP, registers.ip as u64),
            (record::SP, registers.sp as u64),
            (record::BP, registers.bp as u64),
            (record::THREAD, sys::thread_id()),
        ];
        for (offset, value) in words {
            self.ring_word(head + offset as u64).store(value, Ordering::Relaxed);
        }
        self.copy(head + RECORD_HEADER as u64, registers.sp as *const u8, copied);
        self.word(at::RING_HEAD).store(head + length as u64, Ordering::Release);
    }

    /// Moves the tail behind the records that the next `length` bytes will overwrite, before they are.
    fn make_room(&self, head: u64, length: u64) {
        let tail_word = self.word(at::RING_TAIL);
        let mut tail = tail_word.load(Ordering::Relaxed);
        while (head + length).saturating_sub(tail) > RING_SIZE as u64 {
            let oldest = self.ring_word(tail).load(Ordering::Relaxed) & 0xffff_ffff;
            // Whoever can write to the table could have made the length anything.
            tail = if oldest < RECORD_HEADER as u64 { head } else { (tail + oldest).min(head) };
        }
        tail_word.store(tail, Ordering::Relaxed);
        // The tail is seen before anything that is written behind it.
        fence(Ordering::SeqCst);
    }

    #[allow(clippy::cast_possible_truncation, reason = "less than the ring's size")]
    fn ring_word(&self, position: u64) -> &AtomicU64 {
        self.word(RING_OFFSET + ((position % RING_SIZE as u64) & !7) as usize)
    }

    #[allow(clippy::cast_possible_truncation, reason = "less than the ring's size")]
    fn copy(&self, position: u64, from: *const u8, length: usize) {
        let start = (position % RING_SIZE as u64) as usize;
        let first = length.min(RING_SIZE - start);
        for (from, to, length) in [(from, start, first), (from.wrapping_add(first), 0, length - first)] {
            // SAFETY: `length` bytes from `from` were found readable, and `to` plus `length` is at most the ring's size. The words
            // of the stack are the thread's own, which waits here; they are copied by an instruction, since parts of them may not
            // be initialized.
            unsafe {
                core::arch::asm!("rep movsb", inout("rcx") length => _, inout("rsi") from => _,
                    inout("rdi") self.0.add(RING_OFFSET + to) => _, options(nostack, preserves_flags));
            }
        }
    }
}

impl Places for Table {
    const COUNT: usize = ENTRIES;

    fn home(address: u64) -> usize {
        layout::home(address)
    }

    fn load(&self, place: usize, word: usize, order: Ordering) -> u64 {
        self.entry(place, word).load(order)
    }

    fn store(&self, place: usize, word: usize, value: u64, order: Ordering) {
        self.entry(place, word).store(value, order);
    }
}

/// The upper bits of an address's hash, one more word of them than [`home`] uses: the place of its bit.
#[allow(clippy::cast_possible_truncation, reason = "18 bits are left")]
pub(crate) const fn bit(address: u64, bits: u32) -> usize {
    (hash(address) >> (64 - bits)) as usize
}
