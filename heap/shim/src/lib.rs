//! `libflamekeeper_heap.so`: put before a program's allocator with `LD_PRELOAD`, it samples the live heap. What a sample is and where it
//! goes is in the crate `flamekeeper-heap`; this is how the C library's functions come by.
//!
//! Built by `cargo build --release --manifest-path heap/shim/Cargo.toml`, without a standard library and linked against nothing: it is
//! loaded into every program of a service, whatever that links.
//!
//! - [`entry`]: the functions that programs call. The fast paths are assembly: count down, or test a bit, then jump to the
//!   allocator that would have been called without this library. Every one that allocates comes by; `malloc_usable_size` and
//!   all others are left alone.
//! - [`operators`]: C++'s `new` and `delete`, which some allocators bring as functions of their own.
//! - [`next`]: finds that allocator (`dlsym(RTLD_NEXT)`), at the first call, which may be long before any constructor.
//! - [`early`]: memory for what `dlsym` itself allocates meanwhile.
//!
//! `FLAMEKEEPER_HEAP_INTERVAL` in the environment sets the mean interval between samples, in bytes; 0 begins with sampling off.
//! From outside both can be changed at run time: the table's control word.

#![no_std]

mod early;
mod entry;
mod next;
mod operators;

use core::ffi::{CStr, c_char};
use core::panic::PanicInfo;

use flamekeeper_heap_core::{layout, sampler};

/// Nothing here is meant to panic; if it does, the program ends where it stands.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: an undefined instruction, which never returns.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

// Functions that are compiled to be unwound name it; nothing here unwinds. Hidden: a program may have the real one.
core::arch::global_asm!(".hidden rust_eh_personality", ".globl rust_eh_personality", "rust_eh_personality: ud2");

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = sampler_ends;

extern "C" fn start() {
    next::resolve();
    let mut environment = next::environ();
    let stack_end = next::stack_end();
    if !stack_end.is_null() {
        sampler::set_main_stack_end(stack_end as usize);
        // There lie the number of arguments, the arguments, a null, and the environment. (The C library's own variable may not be set yet.)
        // SAFETY: the kernel put them there (System V ABI, "Process Initialization").
        environment = unsafe { stack_end.add(2 + *stack_end).cast() };
    }
    if let Some(interval) = interval(environment) {
        sampler::set_shift(layout::shift_of(interval));
    }
    sampler::will_say_end();
    sampler::begin();
    operators::resolve();
    next::at_fork(sampler_forked);
}

extern "C" fn sampler_ends() {
    sampler::ends();
}

extern "C" fn sampler_forked() {
    sampler::forked();
}

/// What the environment says of the interval.
fn interval(mut environment: *const *const c_char) -> Option<u64> {
    const NAME: &[u8] = b"FLAMEKEEPER_HEAP_INTERVAL=";
    if environment.is_null() {
        return None;
    }
    loop {
        // SAFETY: a list of C strings that ends with a null.
        let text = unsafe {
            let text = *environment;
            if text.is_null() {
                return None;
            }
            environment = environment.add(1);
            CStr::from_ptr(text)
        };
        if let Some(value) = text.to_bytes().strip_prefix(NAME) {
            return core::str::from_utf8(value).ok()?.parse().ok();
        }
    }
}
