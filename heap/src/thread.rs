//! What each thread has of its own: 24 bytes of thread-local storage, in the static block (initial-exec), so that an allocation
//! reaches it with two instructions and without a call.
//!
//! Stable Rust can neither declare thread-local variables without its standard library nor choose their model: so this is assembly.

use core::arch::{asm, global_asm};

global_asm!(
    ".pushsection .tbss.__flamekeeper_heap_thread,\"awT\",@nobits",
    ".p2align 3",
    ".hidden __flamekeeper_heap_thread",
    ".globl __flamekeeper_heap_thread",
    ".type __flamekeeper_heap_thread,@object",
    ".size __flamekeeper_heap_thread,24",
    "__flamekeeper_heap_thread:",
    ".zero 24",
    ".popsection",
);

/// The calling thread's state. It begins as zeros.
#[derive(Debug)]
#[repr(C)]
pub struct Thread {
    /// Bytes up to the next sample. An allocation subtracts its size; below 0 it calls [`crate::sampler::allocated`].
    pub remaining: i64,
    /// The state of the thread's random numbers; 0: not begun.
    pub(crate) random: u64,
    /// The shift that `remaining` was drawn with; 0: it was not drawn.
    pub(crate) shift: u8,
}

/// The calling thread's state. To be used at once and not kept.
#[inline]
#[must_use]
pub fn current() -> *mut Thread {
    let thread: *mut Thread;
    // SAFETY: reads the thread pointer and a constant that the linker or loader has filled in.
    unsafe {
        asm!("mov {0}, fs:0", "add {0}, qword ptr [rip + __flamekeeper_heap_thread@GOTTPOFF]", out(reg) thread, options(nostack, readonly));
    }
    thread
}
