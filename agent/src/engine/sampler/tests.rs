//! Records of this very thread, written as the kernel writes them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;
use std::cell::Cell;

use flamekeeper_profile::Timestamp;
use perf_event_open_sys::bindings as sys;

use super::*;
use crate::identity::IdentityConfig;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator unchanged; counting touches only a constant-initialized cell.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Instruction, stack and frame pointer, as they stand in the order of the register mask.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    () => {{
        let (fp, sp, ip): (u64, u64, u64);
        // SAFETY: only reads registers.
        unsafe { asm!("mov {}, rbp", "mov {}, rsp", "lea {}, [rip]", out(reg) fp, out(reg) sp, out(reg) ip, options(nomem, nostack)) };
        ([fp, sp, ip], sp)
    }};
}

/// Frame pointer, link register, stack pointer and program counter, as they stand in the order of the register mask.
#[cfg(target_arch = "aarch64")]
macro_rules! registers {
    () => {{
        let (fp, lr, sp, ip): (u64, u64, u64, u64);
        // SAFETY: only reads registers.
        unsafe { asm!("mov {}, x29", "mov {}, x30", "mov {}, sp", "adr {}, .", out(reg) fp, out(reg) lr, out(reg) sp, out(reg) ip, options(nomem, nostack)) };
        ([fp, lr, sp, ip], sp)
    }};
}

/// A sample of this thread as of now, up to the top of its stack.
#[inline(never)]
fn own_sample() -> Vec<u8> {
    let (registers, sp) = registers!();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let parse =
        |range: &str| range.split_once('-').map(|(a, b)| (u64::from_str_radix(a, 16).unwrap(), u64::from_str_radix(b, 16).unwrap()));
    let ranges = maps.lines().filter_map(|line| parse(line.split(' ').next()?));
    let top = ranges.into_iter().find(|(start, end)| (*start..*end).contains(&sp)).unwrap().1;
    let length = usize::try_from(top - sp).unwrap().min(48 << 10);
    // SAFETY: from the stack pointer to the top of the mapping, all is this thread's own stack.
    let stack = unsafe { std::slice::from_raw_parts(sp as *const u8, length) };
    let (pid, length) = (u64::from(std::process::id()), length as u64);
    let head = [pid | pid << 32, 1, 0, 0, 2];
    let body: Vec<u8> = head.iter().chain(&registers).chain([&length]).flat_map(|word| word.to_ne_bytes()).collect();
    let size = u16::try_from(8 + body.len() + stack.len() + 8).unwrap();
    [&sys::PERF_RECORD_SAMPLE.to_ne_bytes()[..], &[0, 0], &size.to_ne_bytes(), &body, stack, &length.to_ne_bytes()].concat()
}

fn sampler() -> Sampler {
    Sampler::new(EngineConfig::default(), Identity::new(IdentityConfig::default()), 1_000_000, Arc::default())
}

const WINDOW: Window = Window::new(Timestamp(0), Timestamp(10));

/// This thread's own stack is unwound to its root, and labelled with this program.
#[test]
fn unwinds_this_thread() {
    let mut sampler = sampler();
    sampler.apply(&own_sample());
    let batch = sampler.close(WINDOW);
    let [series] = &batch.series[..] else { panic!("{:?}", batch.series) };
    let stack = batch.tables.stack(series.values[0].0).unwrap();
    assert_eq!(stack.end, StackEnd::Root);
    assert!(stack.locations.len() > 4, "{} frames", stack.locations.len());
    assert_eq!(series.labels.get(flamekeeper_profile::label::EXE), std::env::current_exe().unwrap().to_string_lossy());
}

/// A stack that was seen before costs no allocation.
#[test]
fn known_stacks_allocate_nothing() {
    let mut sampler = sampler();
    let sample = own_sample();
    for _ in 0..3 {
        sampler.apply(&sample);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        sampler.apply(&sample);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(sampler.close(WINDOW).samples(), 1003);
}

/// A record that cannot be read is a lost sample, and the ledger still adds up.
#[test]
fn broken_records_are_counted() {
    let mut sampler = sampler();
    let sample = own_sample();
    sampler.apply(&sample);
    sampler.apply(&sample[..40]);
    let batch = sampler.close(WINDOW);
    assert_eq!((batch.ledger.taken, batch.samples(), batch.ledger.lost(LossReason::MalformedRecord)), (2, 1, 1));
}

/// Whole windows of other programs' executions leave nothing behind.
#[test]
fn forks_and_execs_leave_nothing() {
    let mut sampler = sampler();
    for pid in 5_000_000..5_003_000_u32 {
        sampler.processes.comm(pid, b"brief", true);
        sampler.processes.exit(pid, pid);
    }
    sampler.close(WINDOW);
    assert_eq!(sampler.processes.len(), 0);
}
