//! The shared table: what is where, who writes it, and what a reader may rely on.
//!
//! A memfd of [`SIZE`] bytes named [`NAME`], sealed against any change of its size. The process closes its descriptor; the mapping
//! is found by its name in `/proc/PID/maps` and opened through `/proc/PID/map_files`. All numbers are in the machine's byte order and aligned.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 4096 | header: the words below |
//! | [`ENTRIES_OFFSET`] | [`ENTRIES`] x 32 | live samples: an open hash table |
//! | [`RING_OFFSET`] | [`RING_SIZE`] | records of samples as they were taken, with their stacks |
//!
//! **Header.** Words of 64 bits at `at::*`. [`at::CONTROL`] is written from outside, everything else by the process.
//!
//! **Entries.** Four words: address (0: never used, 1: freed), size in the lower 48 bits and a check in the upper 16 ([`seal`]),
//! number in the lower 56 bits and shift in the upper 8, time. A reader copies an entry while it may change; one whose check does not match
//! was changed meanwhile and is to be copied again.
//!
//! **Ring.** Records follow each other at positions that count bytes from the process's start, never wrapped; position `p` lies at
//! `RING_OFFSET + p % RING_SIZE`. Records are whole in `[RING_TAIL, RING_HEAD)`. Before it overwrites old records the process moves
//! [`at::RING_TAIL`] behind them, and only after it has written a record it moves [`at::RING_HEAD`]. So a reader that reads the head, then
//! copies, then reads the tail has true bytes at every position from that tail on. A record is [`RECORD_HEADER`] bytes (words at
//! `record::*`) and a copy of the stack from the stated stack pointer upwards. Records are numbered without gaps; a number that
//! a reader has not seen was overwritten.
//!
//! Version history: 1, this one. Words behind those of an older writer of the same version are 0 there, which must mean that nothing is said.

/// The memfd's name, as `/proc/PID/maps` shows it after `/memfd:`.
pub const NAME: &str = "flamekeeper-heap";
/// The header's first word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"FKHEAP\r\n");
/// The version of this layout.
pub const VERSION: u64 = 1;
/// Bytes of the header.
pub const HEADER_SIZE: usize = 4096;
/// Places for live samples: a power of two.
pub const ENTRIES: usize = 1 << 14;
/// Live samples at most; what comes beyond is counted in [`at::LOST_FULL`].
pub const MAX_LIVE: u64 = (ENTRIES / 4 * 3) as u64;
/// Bytes of an entry.
pub const ENTRY_SIZE: usize = 32;
/// Where the entries begin.
pub const ENTRIES_OFFSET: usize = HEADER_SIZE;
/// Where the ring begins.
pub const RING_OFFSET: usize = ENTRIES_OFFSET + ENTRIES * ENTRY_SIZE;
/// Bytes of the ring.
pub const RING_SIZE: usize = 384 << 10;
/// Bytes of the whole.
pub const SIZE: usize = RING_OFFSET + RING_SIZE;
/// Bytes of a record before its stack.
pub const RECORD_HEADER: usize = 72;
/// Bytes of stack that are copied at most: a multiple of 8.
pub const MAX_STACK: usize = 32 << 10;
/// The mean interval between samples where nobody has set one: 2^19 bytes, 512 KiB.
pub const DEFAULT_SHIFT: u8 = 19;
/// The shortest interval, 2^6 bytes.
pub const MIN_SHIFT: u8 = 6;
/// The longest interval, 2^40 bytes.
pub const MAX_SHIFT: u8 = 40;
/// Samples that a process takes in a second at most, about: more make it lengthen its interval, step by step.
pub const MAX_SAMPLES_PER_SECOND: u64 = 100;

/// Offsets of the header's words.
pub mod at {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// [`super::VERSION`]. Written last when a table is made.
    pub const VERSION: usize = 8;
    /// [`super::SIZE`].
    pub const SIZE: usize = 16;
    /// The process's own id, in its own namespace.
    pub const PID: usize = 24;
    /// When the table was made: nanoseconds of `CLOCK_MONOTONIC`.
    pub const STARTED: usize = 32;
    /// Written from outside: the shift of the interval that is wanted, 0 for none (sampling is off).
    pub const CONTROL: usize = 64;
    /// The shift in use: at least the one wanted.
    pub const SHIFT: usize = 128;
    /// Samples taken so far: the number of the next one. They are numbered from 0.
    pub const TAKEN: usize = 136;
    /// Samples that are in the table.
    pub const LIVE: usize = 144;
    /// Samples whose block was freed.
    pub const FREED: usize = 152;
    /// Samples that found no place in the table.
    pub const LOST_FULL: usize = 160;
    /// Samples whose place was taken by a newer one of the same address: their free was not seen.
    pub const REPLACED: usize = 168;
    /// The position of the oldest whole record.
    pub const RING_TAIL: usize = 192;
    /// The position behind the newest whole record.
    pub const RING_HEAD: usize = 200;
    /// How often the interval was lengthened because there were too many samples.
    pub const SLOWED: usize = 208;
    /// How the process ends: one of [`super::ending`].
    pub const ENDING: usize = 216;
    /// Bytes of the header that are in use.
    pub const END: usize = 224;
}

/// Values of [`at::ENDING`].
pub mod ending {
    /// Nothing is said of the end: the library is linked into the program, or an older one.
    pub const UNSAID: u64 = 0;
    /// The process has not come to its end in order.
    pub const RUNNING: u64 = 1;
    /// Its exit handlers have run. A process that is killed, or leaves by `_exit`, never says so.
    pub const ORDERLY: u64 = 2;
}

/// Offsets of a record's words.
pub mod record {
    /// Bytes of the whole record, a multiple of 8, in the lower 32 bits; shift in the upper.
    pub const LENGTH: usize = 0;
    /// The sample's number.
    pub const NUMBER: usize = 8;
    /// When it was taken: nanoseconds of `CLOCK_MONOTONIC`.
    pub const TIME: usize = 16;
    /// The block's address.
    pub const ADDRESS: usize = 24;
    /// The block's size as it was asked for.
    pub const SIZE: usize = 32;
    /// An address inside the instruction that called the allocator.
    pub const IP: usize = 40;
    /// The caller's stack pointer.
    pub const SP: usize = 48;
    /// The caller's frame pointer register.
    pub const BP: usize = 56;
    /// The thread's id, in the process's namespace.
    pub const THREAD: usize = 64;
}

/// An entry that was never used.
pub const EMPTY: u64 = 0;
/// An entry whose block was freed.
pub const FREED: u64 = 1;
/// The bits of an entry's second word that are its size.
pub const SIZE_MASK: u64 = (1 << 48) - 1;
/// The bits of an entry's third word that are its number.
pub const NUMBER_MASK: u64 = (1 << 56) - 1;

/// The hash of an address, of which place and bit are the upper bits.
#[must_use]
pub const fn hash(address: u64) -> u64 {
    address.wrapping_mul(HASH)
}

/// The factor of [`hash`]: 2^64 divided by the golden ratio.
pub const HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where an address's chain begins in the table.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "14 bits are left")]
pub const fn home(address: u64) -> usize {
    (hash(address) >> (64 - ENTRIES.ilog2())) as usize
}

/// An entry's second word: the size, and 16 bits that depend on all four words.
#[must_use]
pub const fn seal(address: u64, size: u64, numbered: u64, time: u64) -> u64 {
    let size = if size > SIZE_MASK { SIZE_MASK } else { size };
    let mixed = hash(hash(hash(address ^ size.rotate_left(17)) ^ numbered) ^ time.rotate_left(29));
    mixed & !SIZE_MASK | size
}

/// The shift nearest to an interval in bytes; 0 stays 0.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "a logarithm of 64 bits is small")]
pub const fn shift_of(interval: u64) -> u8 {
    if interval == 0 {
        return 0;
    }
    let below = interval.ilog2() as u8;
    let shift = if below < 63 && interval - (1 << below) > (1 << below) / 2 { below + 1 } else { below };
    if shift < MIN_SHIFT {
        MIN_SHIFT
    } else if shift > MAX_SHIFT {
        MAX_SHIFT
    } else {
        shift
    }
}

const _: () = assert!(SIZE <= 1_000_000 && at::END <= HEADER_SIZE && RING_SIZE > 4 * (MAX_STACK + RECORD_HEADER));

#[cfg(test)]
mod tests {
    use super::*;

    /// A seal keeps the size, and a change of any word shows in it.
    #[test]
    fn seals_depend_on_all_words() {
        let sealed = seal(0x7f00_1234_5670, 4096, 77, 99);
        assert_eq!(sealed & SIZE_MASK, 4096);
        for other in [seal(0x7f00_1234_5680, 4096, 77, 99), seal(0x7f00_1234_5670, 4096, 78, 99), seal(0x7f00_1234_5670, 4096, 77, 98)] {
            assert_ne!(sealed, other);
        }
        assert_eq!(seal(8, u64::MAX, 0, 0) & SIZE_MASK, SIZE_MASK);
    }

    /// Intervals become the nearest power of two within the bounds.
    #[test]
    fn intervals_become_shifts() {
        let of = [0, 1, 524_288, 600_000, 1_000_000, u64::MAX].map(shift_of);
        assert_eq!(of, [0, MIN_SHIFT, 19, 19, 20, MAX_SHIFT]);
    }
}
