//! Memory for what is allocated while the allocator is being looked for (`dlsym` of some C libraries does).
//!
//! Its blocks are pinned in the sampler's filter, so every free and realloc of one is noticed; the memory is not used again. Before
//! each block stands what `malloc_usable_size` of glibc expects there.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use flamekeeper_heap_core::sampler;

const SIZE: usize = 16 << 10;
const HEAD: usize = 16;
/// glibc's mark of a chunk that is a mapping of its own.
const IS_MAPPED: usize = 2;

#[repr(C, align(4096))]
struct Memory(UnsafeCell<[u8; SIZE]>);

// SAFETY: every byte is handed out once.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; SIZE]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// A block of zeros; null when there is no more.
pub(crate) fn allocate(align: usize, size: usize) -> *mut u8 {
    let align = align.max(16);
    let (Some(whole), true) = (size.checked_add(HEAD + align), align.is_power_of_two()) else { return core::ptr::null_mut() };
    let start = USED.fetch_add(whole.next_multiple_of(16).min(SIZE), Ordering::Relaxed);
    if start.saturating_add(whole) > SIZE {
        return core::ptr::null_mut();
    }
    let base = MEMORY.0.get().cast::<u8>();
    let offset = (base as usize + start + HEAD).next_multiple_of(align) - base as usize;
    let block = base.wrapping_add(offset);
    // SAFETY: the word before the block lies in the part that was just handed out, and is aligned.
    unsafe { block.cast::<usize>().sub(1).write((size.next_multiple_of(16) + HEAD) | IS_MAPPED) };
    if sampler::pin(block as usize) { block } else { core::ptr::null_mut() }
}

/// Whether a block is of this memory.
pub(crate) fn is_ours(address: usize) -> bool {
    let base = MEMORY.0.get() as usize;
    (base..base + SIZE).contains(&address)
}

/// Bytes from a block of this memory up to the memory's end: as many can be read.
pub(crate) fn readable(address: usize) -> usize {
    MEMORY.0.get() as usize + SIZE - address
}
