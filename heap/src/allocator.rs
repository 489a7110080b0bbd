//! A global allocator that samples.

use core::alloc::{GlobalAlloc, Layout};

/// Samples what goes through another allocator.
///
/// ```ignore
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: flamekeeper_heap::Sampled<System> = flamekeeper_heap::Sampled::new(System);
/// ```
/// Where nothing can be sampled (other processors than x86-64 for now) it is the other allocator and no more. A child that goes on
/// after `fork` without `execve` is not sampled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled<A>(A);

impl<A> Sampled<A> {
    /// Puts sampling before an allocator.
    #[must_use]
    pub const fn new(allocator: A) -> Self {
        Self(allocator)
    }
}

#[cfg(target_arch = "x86_64")]
mod sampled {
    use crate::sampler::{self, Registers};
    use crate::thread;

    /// Counts a block of this many bytes that was allocated.
    ///
    /// # Safety
    /// Called from where [`here`] is called.
    #[inline(always)]
    pub(super) unsafe fn count(address: *mut u8, size: usize) {
        // SAFETY: the calling thread's own state, used at once.
        let remaining = unsafe {
            let thread = thread::current();
            (*thread).remaining = (*thread).remaining.wrapping_sub_unsigned(size as u64);
            (*thread).remaining
        };
        if remaining < 0 {
            if address.is_null() {
                sampler::failed();
            } else {
                // SAFETY: the registers are read right here, and this function does not return before that one.
                unsafe { sampler::allocated(address as usize, size, &here()) };
            }
        }
    }

    #[inline(always)]
    fn here() -> Registers {
        let (ip, sp, bp);
        // SAFETY: reads registers.
        unsafe {
            core::arch::asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) ip, out(reg) sp, out(reg) bp,
                options(nomem, nostack, preserves_flags));
        }
        Registers { ip, sp, bp }
    }

    #[inline(always)]
    pub(super) fn forget(address: *mut u8) -> Option<sampler::Entry> {
        if sampler::is_unknown(address as usize) { None } else { sampler::freed(address as usize) }
    }

    pub(super) use sampler::give_back;
}

#[cfg(not(target_arch = "x86_64"))]
mod sampled {
    pub(super) unsafe fn count(_address: *mut u8, _size: usize) {}

    pub(super) fn forget(_address: *mut u8) -> Option<()> {
        None
    }

    pub(super) fn give_back(_entry: &()) {}
}

// SAFETY: all of it is the other allocator's answer, unchanged.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for the layout.
        let address = unsafe { self.0.alloc(layout) };
        // SAFETY: called here.
        unsafe { sampled::count(address, layout.size()) };
        address
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller vouches for the layout.
        let address = unsafe { self.0.alloc_zeroed(layout) };
        // SAFETY: called here.
        unsafe { sampled::count(address, layout.size()) };
        address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        _ = sampled::forget(address);
        // SAFETY: the caller vouches for both.
        unsafe { self.0.dealloc(address, layout) };
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let known = sampled::forget(address);
        // SAFETY: the caller vouches for all of them.
        let moved = unsafe { self.0.realloc(address, layout, size) };
        // SAFETY: called here.
        unsafe { sampled::count(moved, size) };
        if let Some(entry) = known.filter(|_| moved.is_null()) {
            sampled::give_back(&entry);
        }
        moved
    }
}
