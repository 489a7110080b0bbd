//! The parts that need no process; real ones are unwound in `tests/`.

use super::*;

/// Words inside the copy are read, those that end outside are not, wherever the address is.
#[test]
fn stack_copy_has_edges() {
    let bytes: Vec<u8> = (0..16).collect();
    let stack = StackCopy { start: 0x1000, bytes: &bytes };
    assert_eq!(stack.read(0x1008), Ok(u64::from_ne_bytes([8, 9, 10, 11, 12, 13, 14, 15])));
    for outside in [0, 0xfff, 0x1009, 0x1010, u64::MAX] {
        assert_eq!(stack.read(outside), Err(()));
    }
    assert!(stack.is_beyond(0x1010) && stack.is_beyond(0x100c) && stack.is_beyond(0x9000));
    assert!(!stack.is_beyond(0x1008) && !stack.is_beyond(0x10) && !stack.is_beyond(u64::MAX));
}

/// Addresses spread over the caches.
#[test]
fn caches_are_used_evenly() {
    let mut used = [0_usize; CACHES];
    for address in 0..64_000 {
        used[cache_of(0x40_0000 + address * 7, 3)] += 1;
    }
    assert!(used.iter().all(|count| (500..1500).contains(count)), "{used:?}");
}
