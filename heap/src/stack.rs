//! Copying the calling thread's stack.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::layout::MAX_STACK;
use crate::sys;

const PAGE: usize = 4096;

/// Where the main thread's stack begins, if that is known; 0 if not.
static MAIN_STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Says where the main thread's stack begins (the C library's `__libc_stack_end`): what lies above needs no copy.
pub fn set_main_stack_end(address: usize) {
    MAIN_STACK_END.store(address, Ordering::Relaxed);
}

/// How many bytes from the stack pointer upwards can be copied: a multiple of 8.
///
/// A stack ends where its memory does. Where it ends earlier is known of the main thread, and of threads of the C library, which
/// have their control block at the upper end of the stack. Else (an alternate signal stack, a coroutine) the pages above are asked
/// for one by one. A mapping that directly follows such a stack, and that another thread unmaps in the microseconds between the
/// question and the copy, would be a fault; nothing can be done about it without a system call that may be forbidden.
pub(crate) fn extent(sp: usize) -> usize {
    if sp == 0 || !sp.is_multiple_of(8) || !sys::is_readable(sp) {
        return 0;
    }
    let near = |end: usize| end > sp && end - sp <= MAX_STACK;
    let ends = [MAIN_STACK_END.load(Ordering::Relaxed), sys::thread_pointer()];
    let limit = ends.into_iter().filter(|end| near(*end)).min().unwrap_or(sp.saturating_add(MAX_STACK));
    let mut end = (sp | (PAGE - 1)).saturating_add(1);
    while end < limit && sys::is_readable(end) {
        end = end.saturating_add(PAGE);
    }
    (end.min(limit) - sp) & !7
}
