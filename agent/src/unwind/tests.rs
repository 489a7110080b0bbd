//! The parts that need no process; real ones are unwound in `tests/`.

use super::*;

/// Addresses spread over the caches.
#[test]
fn caches_are_used_evenly() {
    let mut used = [0_usize; CACHES];
    for address in 0..64_000 {
        used[cache_of(0x40_0000 + address * 7, 3)] += 1;
    }
    assert!(used.iter().all(|count| (500..1500).contains(count)), "{used:?}");
}
