//! The functions that programs call.
//!
//! Each begins in assembly. An allocation subtracts its size from the thread's counter and jumps to the allocator, as if that had
//! been called; below 0 it goes the slow way, where a sample is taken. A free tests one bit of the sampler's filter and jumps. The slow ways get
//! the caller's stack pointer (at the return address) and frame pointer register, from which its stack will be unwound.
#![allow(clippy::missing_safety_doc, reason = "the C library's manual pages say what each demands")]

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use flamekeeper_heap_core::layout::HASH;
use flamekeeper_heap_core::sampler::{self, FILTER, FILTER_BITS, Registers};
use flamekeeper_heap_core::thread;

use crate::early;
use crate::next::{self, Next, Pointer};
use crate::operators;

pub(crate) const SHIFT: u32 = 64 - FILTER_BITS;

/// The caller's registers at the entry of a function: `entry` points at the return address.
fn caller(entry: *const usize, bp: usize) -> Registers {
    // SAFETY: the assembly passes its own stack pointer.
    let back = unsafe { *entry };
    Registers { ip: back.wrapping_sub(1), sp: entry as usize + 8, bp }
}

/// Counts a block whose size has been subtracted already.
pub(crate) extern "C" fn count(block: Pointer, size: usize, entry: *const usize, bp: usize) {
    // SAFETY: the calling thread's own.
    if unsafe { (*thread::current()).remaining } >= 0 {
        return;
    }
    if block.is_null() || early::is_ours(block as usize) {
        sampler::failed();
    } else {
        // SAFETY: the caller's stack stands until the function that it called returns.
        unsafe { sampler::allocated(block as usize, size, &caller(entry, bp)) };
    }
}

/// Goes on at `2:` where the block in `rdi` may be a live sample, by its bit of the filter; takes `rax`, `rcx` and `r11`.
macro_rules! to_2_if_maybe_sampled {
    () => {
        concat!(
            "movabs rax, {hash}\n",
            "imul rax, rdi\n",
            "shr rax, {shift}\n",
            "mov ecx, eax\n",
            "shr eax, 6\n",
            "lea r11, [rip + {filter}]\n",
            "mov rax, qword ptr [r11 + 8*rax]\n",
            "bt rax, rcx\n",
            "jc 2f",
        )
    };
}

pub(crate) use to_2_if_maybe_sampled;

/// An exported function: subtracts the size (after `$prepare`), and calls the slow way with the entry's stack pointer and frame
/// pointer register in `$sp` and `$bp` where the counter is below 0.
macro_rules! allocating {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty, [$($prepare:literal),*], $size:literal, $sp:literal, $bp:literal, $next:path, $slow:path) => {
        $(#[$doc])*
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $kind),*) -> $result {
            naked_asm!(
                ".cfi_startproc",
                $($prepare,)*
                "mov r11, qword ptr [rip + __flamekeeper_heap_thread@GOTTPOFF]",
                concat!("sub qword ptr fs:[r11], ", $size),
                "js 2f",
                "3: jmp qword ptr [rip + {next}]",
                "2:",
                concat!("mov ", $sp, ", rsp"),
                concat!("mov ", $bp, ", rbp"),
                "sub rsp, 8",
                ".cfi_adjust_cfa_offset 8",
                "call {slow}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_endproc",
                next = sym $next,
                slow = sym $slow,
            )
        }
    };
}

allocating!(
    /// `malloc(3)`.
    malloc(size: usize) -> Pointer, [], "rdi", "rsi", "rdx", next::MALLOC, malloc_slow
);
allocating!(
    /// `calloc(3)`; a product that overflows is the allocator's to refuse.
    calloc(count: usize, size: usize) -> Pointer, ["mov rax, rdi", "mul rsi", "jo 3f"], "rax", "rdx", "rcx", next::CALLOC, calloc_slow
);
allocating!(
    /// `aligned_alloc(3)`.
    aligned_alloc(align: usize, size: usize) -> Pointer, [], "rsi", "rdx", "rcx", next::ALIGNED_ALLOC, aligned_alloc_slow
);
allocating!(
    /// `memalign(3)`.
    memalign(align: usize, size: usize) -> Pointer, [], "rsi", "rdx", "rcx", next::MEMALIGN, memalign_slow
);
allocating!(
    /// `posix_memalign(3)`.
    posix_memalign(result: *mut Pointer, align: usize, size: usize) -> c_int, [], "rdx", "rcx", "r8", next::POSIX_MEMALIGN, posix_memalign_slow
);
allocating!(
    /// `valloc(3)`.
    valloc(size: usize) -> Pointer, [], "rdi", "rsi", "rdx", next::VALLOC, valloc_slow
);
allocating!(
    /// `pvalloc(3)`.
    pvalloc(size: usize) -> Pointer, [], "rdi", "rsi", "rdx", next::PVALLOC, pvalloc_slow
);

/// `realloc(3)`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: Pointer, size: usize) -> Pointer {
    naked_asm!("jmp {body}", body = sym reallocate)
}

/// What `realloc` does.
#[unsafe(naked)]
unsafe extern "C" fn reallocate(block: Pointer, size: usize) -> Pointer {
    naked_asm!(
        ".cfi_startproc",
        "mov r11, qword ptr [rip + __flamekeeper_heap_thread@GOTTPOFF]",
        "sub qword ptr fs:[r11], rsi",
        "js 2f",
        to_2_if_maybe_sampled!(),
        "jmp qword ptr [rip + {next}]",
        "2:",
        "mov rdx, rsp",
        "mov rcx, rbp",
        "sub rsp, 8",
        ".cfi_adjust_cfa_offset 8",
        "call {slow}",
        "add rsp, 8",
        ".cfi_adjust_cfa_offset -8",
        "ret",
        ".cfi_endproc",
        hash = const HASH,
        shift = const SHIFT,
        filter = sym FILTER,
        next = sym next::REALLOC,
        slow = sym realloc_slow,
    )
}

/// `reallocarray(3)`: `realloc` of the product, where that does not overflow.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(block: Pointer, count: usize, size: usize) -> Pointer {
    naked_asm!(
        "mov rcx, rdx",
        "mov rax, rsi",
        "mul rcx",
        "jo 2f",
        "mov rsi, rax",
        "jmp {body}",
        "2: mov rdx, rcx",
        "jmp qword ptr [rip + {next}]",
        body = sym reallocate,
        next = sym next::REALLOCARRAY,
    )
}

/// `free(3)`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: Pointer) {
    naked_asm!("jmp {body}", body = sym release)
}

/// `free_sized` of C23: the allocator need not know it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(block: Pointer, size: usize) {
    naked_asm!("jmp {body}", body = sym release)
}

/// `free_aligned_sized` of C23.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(block: Pointer, align: usize, size: usize) {
    naked_asm!("jmp {body}", body = sym release)
}

/// What `free` does.
#[unsafe(naked)]
unsafe extern "C" fn release(block: Pointer) {
    naked_asm!(
        ".cfi_startproc",
        to_2_if_maybe_sampled!(),
        "jmp qword ptr [rip + {next}]",
        "2:",
        "push rdi",
        ".cfi_adjust_cfa_offset 8",
        "call {slow}",
        "pop rdi",
        ".cfi_adjust_cfa_offset -8",
        "test al, al",
        "jne 3f",
        "jmp qword ptr [rip + {next}]",
        "3: ret",
        ".cfi_endproc",
        hash = const HASH,
        shift = const SHIFT,
        filter = sym FILTER,
        next = sym next::FREE,
        slow = sym forget,
    )
}

/// Forgets a block; whether the allocator must not see it.
pub(crate) extern "C" fn forget(block: Pointer) -> bool {
    operators::note_freed(block as usize);
    if early::is_ours(block as usize) {
        return true;
    }
    _ = sampler::freed(block as usize);
    false
}

extern "C" fn malloc_slow(size: usize, entry: *const usize, bp: usize) -> Pointer {
    let block = next::malloc(size);
    count(block, size, entry, bp);
    block
}

extern "C" fn calloc_slow(number: usize, size: usize, entry: *const usize, bp: usize) -> Pointer {
    let block = next::calloc(number, size);
    count(block, number.wrapping_mul(size), entry, bp);
    block
}

fn aligned(next: &Next, (align, size): (usize, usize), entry: *const usize, bp: usize) -> Pointer {
    let block = next::aligned(next, align, size);
    count(block, size, entry, bp);
    block
}

extern "C" fn aligned_alloc_slow(align: usize, size: usize, entry: *const usize, bp: usize) -> Pointer {
    aligned(&next::ALIGNED_ALLOC, (align, size), entry, bp)
}

extern "C" fn memalign_slow(align: usize, size: usize, entry: *const usize, bp: usize) -> Pointer {
    aligned(&next::MEMALIGN, (align, size), entry, bp)
}

extern "C" fn posix_memalign_slow(result: *mut Pointer, align: usize, size: usize, entry: *const usize, bp: usize) -> c_int {
    let status = next::posix_memalign(result, align, size);
    // SAFETY: after success the caller's place holds the block.
    let block = if status == 0 { unsafe { *result } } else { null_mut::<c_void>() };
    count(block, size, entry, bp);
    status
}

fn paged(next: &Next, size: usize, entry: *const usize, bp: usize) -> Pointer {
    let block = next::paged(next, size);
    count(block, size, entry, bp);
    block
}

extern "C" fn valloc_slow(size: usize, entry: *const usize, bp: usize) -> Pointer {
    paged(&next::VALLOC, size, entry, bp)
}

extern "C" fn pvalloc_slow(size: usize, entry: *const usize, bp: usize) -> Pointer {
    paged(&next::PVALLOC, size, entry, bp)
}

/// The old block's sample goes before the allocator may give its address to another thread, and comes back where it was not freed.
extern "C" fn realloc_slow(block: Pointer, size: usize, entry: *const usize, bp: usize) -> Pointer {
    if early::is_ours(block as usize) {
        let new = next::malloc(size);
        if !new.is_null() && !early::is_ours(new as usize) {
            next::copy(block, new, size.min(early::readable(block as usize)));
        }
        count(new, size, entry, bp);
        return new;
    }
    let known = if sampler::is_unknown(block as usize) { None } else { sampler::freed(block as usize) };
    let new = next::realloc(block, size);
    if let Some(entry) = known.filter(|_| new.is_null() && size != 0) {
        sampler::give_back(&entry);
    }
    count(new, size, entry, bp);
    new
}
