//! The same three functions as `burn.cpp`, in Rust: the main thread and one other, built by `rustc -C opt-level=2`.
//!
//!     burn SECONDS

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static SPENT: [AtomicU64; 3] = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

const CLOCK_THREAD_CPUTIME_ID: i32 = 3;

fn thread_cpu_ns() -> u64 {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `now` is a valid timespec of this (64-bit) platform for the call's duration.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.seconds as u64 * 1_000_000_000 + now.nanoseconds as u64
}

#[inline(always)]
fn mix(mut state: u64) -> u64 {
    for _ in 0..20_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    std::hint::black_box(state)
}

#[inline(always)]
fn burn(which: usize, nanoseconds: u64) -> u64 {
    let start = thread_cpu_ns();
    let mut state = start | 1;
    loop {
        state = mix(state);
        let now = thread_cpu_ns();
        if now - start >= nanoseconds {
            SPENT[which].fetch_add(now - start, Ordering::Relaxed);
            return state;
        }
    }
}

// The addition after the call keeps it from becoming a tail call.
#[inline(never)]
fn burn_hot() -> u64 {
    burn(0, 23_100_000).wrapping_add(1)
}
#[inline(never)]
fn burn_warm() -> u64 {
    burn(1, 6_600_000).wrapping_add(2)
}
#[inline(never)]
fn burn_cool() -> u64 {
    burn(2, 3_300_000).wrapping_add(3)
}

#[inline(never)]
fn work(duration: Duration) -> u64 {
    let start = Instant::now();
    let mut sum = 0_u64;
    while start.elapsed() < duration {
        sum = sum.wrapping_add(burn_hot()).wrapping_add(burn_warm()).wrapping_add(burn_cool());
    }
    sum
}

fn main() {
    let seconds: f64 = std::env::args().nth(1).map_or(10.0, |text| text.parse().expect("SECONDS is a number"));
    println!("ready");
    let duration = Duration::from_secs_f64(seconds);
    let other = std::thread::spawn(move || work(duration));
    std::hint::black_box(work(duration));
    std::hint::black_box(other.join().expect("the thread ends"));
    let [hot, warm, cool] = SPENT.each_ref().map(|spent| spent.load(Ordering::Relaxed));
    println!("{{\"burn_hot\": {hot}, \"burn_warm\": {warm}, \"burn_cool\": {cool}}}");
}
