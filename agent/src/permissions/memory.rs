//! How large rings may be (`perf_mmap` of `kernel/events/core.c`).

use super::Facts;
use crate::perf::ring::page_size;

/// The largest power of two of bytes that a ring of each CPU may have, its control page beside it; 0 where not even a page fits.
///
/// The kernel lets each user map `kernel.perf_event_mlock_kb` for each online CPU, and beyond that what `RLIMIT_MEMLOCK` allows
/// to lock.
pub(super) fn largest_ring(facts: &Facts) -> usize {
    let page = page_size() as u64;
    let cpus = facts.cpus.max(1) as u64;
    let free = facts.mlock_kb.saturating_mul(1024) / page * cpus;
    let pages = facts.memlock.map_or(u64::MAX, |bytes| (bytes / page).saturating_add(free));
    let data = (pages / cpus).saturating_sub(1);
    // A ring that is larger than the address space is nobody's wish.
    if data == 0 { 0 } else { usize::try_from((1 << data.ilog2().min(40)) * page).unwrap_or(usize::MAX) }
}
