//! A perf ring: the memory that the kernel writes records into and this process reads them from.
//!
//! Layout (`perf_event_open(2)`, "MMAP layout"): one page of `struct perf_event_mmap_page`, then 2^n pages of records.
//! `data_head` is written by the kernel, `data_tail` by the reader; both only ever grow. What lies between them is the
//! reader's: the kernel does not touch it until the tail has moved past it.

use std::io;
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use perf_event_open_sys::bindings::{PERF_RECORD_SAMPLE, perf_event_mmap_page};

use crate::record::{HEADER_SIZE, Header, is_interpreter_mark};

const PAGE: usize = 4096;

/// The reader's side of a ring.
#[derive(Debug)]
pub(crate) struct Ring {
    map: MmapRaw,
    /// Where the records begin.
    data: usize,
    /// Size of the records' part: a power of two.
    size: usize,
    /// Up to here the kernel has written, as last read.
    head: u64,
    /// Up to here this side has read.
    tail: u64,
}

/// The ring's oldest record, still inside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peeked {
    /// Its header.
    pub(crate) header: Header,
    /// Its time; none for a record without.
    pub(crate) time: Option<u64>,
    /// Whether it only accompanies the sample that follows it.
    pub(crate) accompanies: bool,
}

/// A ring whose content cannot be records; what was in it has been skipped.
#[derive(Debug)]
pub(crate) struct CorruptRing;

impl Ring {
    /// Maps the ring of an event with room for `bytes` of records, rounded up to a power of two of pages.
    pub(crate) fn map(event: &impl AsRawFd, bytes: usize) -> io::Result<Self> {
        let page = page_size();
        let size = bytes.max(page).next_power_of_two();
        let map = MmapOptions::new().len(page + size).map_raw(event.as_raw_fd())?;
        Ok(Self { map, data: page, size, head: 0, tail: 0 })
    }

    /// A ring that nobody writes to, in the place of one whose CPU is gone.
    pub(crate) fn closed() -> io::Result<Self> {
        let page = page_size();
        let map = MmapOptions::new().len(2 * page).map_anon()?.into();
        Ok(Self { map, data: page, size: page, head: 0, tail: 0 })
    }

    /// Whether all that was written, as far as [`Self::refresh`] has seen, is read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many bytes were ever written, as far as [`Self::refresh`] has seen.
    pub(crate) const fn written(&self) -> u64 {
        self.head
    }

    /// Size of the records' part in bytes.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Takes note of what the kernel has written so far.
    pub(crate) fn refresh(&mut self) {
        // The acquire pairs with the kernel's barrier: records before this head are visible.
        self.head = self.control(offset_of!(perf_event_mmap_page, data_head)).load(Ordering::Acquire);
    }

    /// The oldest record that [`Self::refresh`] has seen; none when all are read.
    pub(crate) fn peek(&mut self) -> Result<Option<Peeked>, CorruptRing> {
        let available = self.head.wrapping_sub(self.tail);
        if available == 0 {
            return Ok(None);
        }
        let header = Header::from_bytes(self.word(0));
        let size = u64::from(header.size);
        if available > self.size as u64 || size < HEADER_SIZE as u64 || size > available || !size.is_multiple_of(8) {
            self.tail = self.head;
            self.release();
            return Err(CorruptRing);
        }
        let time = header.time_offset().map(|offset| u64::from_ne_bytes(self.word(offset)));
        let accompanies = header.kind == PERF_RECORD_SAMPLE && size > 40 && is_interpreter_mark(self.word(HEADER_SIZE + 24));
        Ok(Some(Peeked { header, time, accompanies }))
    }

    /// The bytes of the oldest record: in place, or copied into `scratch` where it wraps around the ring's end.
    pub(crate) fn bytes<'a>(&'a self, size: u16, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let (start, size) = (self.index(0), usize::from(size).min(self.size));
        let first = size.min(self.size - start);
        // SAFETY: `start + first <= self.size`, so the slice lies in the records' part of the map. It lies between tail
        // and head (`peek` has checked the size), where the kernel does not write until `advance`, which needs `&mut self`.
        let head = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.data + start), first) };
        if first == size {
            return head;
        }
        // SAFETY: as above, with the rest of the record at the start of the records' part; `size - first < self.size`.
        let rest = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.data), size - first) };
        scratch.clear();
        scratch.extend_from_slice(head);
        scratch.extend_from_slice(rest);
        scratch
    }

    /// Leaves a record of `size` bytes behind. The kernel learns of it by [`Self::release`].
    pub(crate) fn advance(&mut self, size: u16) {
        self.tail = self.tail.wrapping_add(u64::from(size));
    }

    /// Leaves all behind that the kernel has written so far.
    pub(crate) fn empty(&mut self) {
        self.refresh();
        self.tail = self.head;
        self.release();
    }

    /// Gives the room of what was read back to the kernel.
    pub(crate) fn release(&mut self) {
        // The release pairs with the kernel's: all reads of the records come before it.
        self.control(offset_of!(perf_event_mmap_page, data_tail)).store(self.tail, Ordering::Release);
    }

    fn index(&self, offset: usize) -> usize {
        // The mask is below usize::MAX, so the truncation of a 64-bit position loses nothing that it keeps.
        #[allow(clippy::cast_possible_truncation)]
        let position = self.tail.wrapping_add(offset as u64) as usize;
        position & (self.size - 1)
    }

    /// Eight bytes at an offset from the tail, a multiple of 8: such a word never wraps.
    fn word(&self, offset: usize) -> [u8; 8] {
        let place = self.index(offset) & !7;
        // SAFETY: `place` is a multiple of 8 below the size, itself a multiple of 8: the word lies in the records' part.
        unsafe { self.map.as_ptr().add(self.data + place).cast::<[u8; 8]>().read() }
    }

    /// The field at this offset of the control page, shared with the kernel.
    fn control(&self, field: usize) -> &AtomicU64 {
        // SAFETY: the map begins with that page, page aligned, and lives as long as `self`; both callers pass the offset of
        // one of its 8-byte aligned `u64` fields, which both sides access atomically.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(field).cast()) }
    }
}

/// The size of a page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf takes no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(PAGE)
}
