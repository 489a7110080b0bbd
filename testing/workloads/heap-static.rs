//! A static program that samples its own heap: leaks 128 MB in blocks of 20 000 bytes over some seconds, says so, and waits.

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: flamekeeper_heap::Sampled<System> = flamekeeper_heap::Sampled::new(System);

#[inline(never)]
fn leak_site() -> &'static mut [u8] {
    black_box(Vec::leak(Vec::with_capacity(20_000)))
}

fn main() {
    for step in 0..6_400 {
        black_box(leak_site());
        let kept = black_box(vec![0_u8; 3000]);
        assert!(kept.len() == 3000);
        if step % 64 == 0 {
            std::thread::sleep(Duration::from_millis(40));
        }
    }
    println!("end");
    std::thread::sleep(Duration::from_secs(3600));
}
