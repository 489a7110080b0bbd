//! Sampling of the live heap, from inside a process.
//!
//! Each thread counts down the bytes that it allocates; about every [`layout::DEFAULT_SHIFT`]th power of two it takes a *sample*: the
//! block's address and size stay in a table until the block is freed, and the stack goes into a ring. Table and ring are memory that the agent
//! reads from outside ([`layout`] is its format). Two things use this crate: `libflamekeeper_heap.so` (`heap/shim/`), which is put
//! before a program's allocator with `LD_PRELOAD`, and [`Sampled`], a `#[global_allocator]` for Rust programs, also those that are
//! linked statically.
//!
//! # Invariants
//! 1. **Pointers are the allocator's own.** Nothing is put before a block or in its place, so whoever frees it may do so by any way.
//! 2. **Sampling is Poisson in bytes.** A thread's counter is drawn from an exponential distribution of mean `1 << shift`; the block
//!    that uses it up is the sample, whatever its size. A sample carries the shift that its counter was drawn with, so it
//!    is weighed rightly when the interval has changed since: a block of `s` bytes was sampled with probability `1 - exp(-s / 2^shift)`.
//! 3. **The filter is never wrong about a sampled block.** [`sampler::FILTER`] has a bit for (the hash of) each address that is in the table. It
//!    is set before the allocation returns and cleared only under the lock, when no other address of the table shares it. A free
//!    whose bit is clear has nothing to do. The bit of an address that is not in the table may be set; that costs a look, no more.
//! 4. **One writer at a time.** Table, ring, filter and the header's counters are written under one lock, with all signals blocked:
//!    a handler never finds the lock held by its own thread. The lock lies in private memory, so a process that is killed leaves
//!    nothing locked, and the reader takes no lock: see [`layout`] for what it may rely on.
//! 5. **An entry is found without the lock** by the thread that frees its block: entries never move, an entry's address is
//!    written last (release), and the chain between an entry and its home never has an empty place. `heap/model/` runs these
//!    rules, and those of the filter, in every order that two threads may choose.
//! 6. **A table belongs to one process.** It is not inherited by a fork (`MADV_DONTFORK`), and a word in a page that the kernel wipes
//!    in the child (`MADV_WIPEONFORK`) says whose it is; it is looked at before the table is touched.
//! 7. **Nothing here allocates**, calls into the C library, or touches `errno`: system calls are made directly, and only such that
//!    a program which allocates may make under any filter of system calls that is in use: see `sys`.
//!
//! The state of the sampler is global, which nothing else in this project is: an allocator has no other place for it.

#![no_std]

mod allocator;
pub mod layout;
#[cfg(target_arch = "x86_64")]
mod math;
#[cfg(target_arch = "x86_64")]
mod places;
#[cfg(target_arch = "x86_64")]
pub mod sampler;
#[cfg(target_arch = "x86_64")]
mod stack;
#[cfg(target_arch = "x86_64")]
mod sys;
#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(target_arch = "x86_64")]
pub mod thread;

pub use allocator::Sampled;
