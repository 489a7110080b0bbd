//! Records of this very thread, written as the kernel writes them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;
use std::cell::Cell;

use flamekeeper_profile::{Avma, FileOffset, SampleType, Series, Timestamp};
use perf_event_open_sys::bindings as sys;

use super::*;
use crate::engine::EventChoice;
use crate::engine::faults::Share;
use crate::identity::IdentityConfig;
use crate::jit::book::{Book, Draft, Memory, NewCode};
use crate::python::Tracked;
use crate::python::code::tests::{Forged, interpreter};
use crate::python::frames::tests::record as frames;
use crate::record::{MappedFile, Mmap, Task};

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
    let length = usize::try_from(top - sp).unwrap().min(60 << 10);
    // SAFETY: from the stack pointer to the top of the mapping, all is this thread's own stack.
    let stack = unsafe { std::slice::from_raw_parts(sp as *const u8, length) };
    record_of(std::process::id(), &[], &registers, stack)
}

/// A sample as the kernel writes it.
fn record_of(pid: u32, callchain: &[u64], registers: &[u64], stack: &[u8]) -> Vec<u8> {
    let (pid, length) = (u64::from(pid), stack.len() as u64);
    let head = [pid | pid << 32, 1, 0, callchain.len() as u64];
    let words = head.iter().chain(callchain).chain(&[2]).chain(registers).chain([&length]);
    let body: Vec<u8> = words.flat_map(|word| word.to_ne_bytes()).collect();
    let size = u16::try_from(8 + body.len() + stack.len() + 8).unwrap();
    [&sys::PERF_RECORD_SAMPLE.to_ne_bytes()[..], &[0, 0], &size.to_ne_bytes(), &body, stack, &length.to_ne_bytes()].concat()
}

/// The registers in the order of the register mask.
fn user_registers(ip: u64, sp: u64, fp: u64) -> Vec<u64> {
    if cfg!(target_arch = "aarch64") { vec![fp, 0, sp, ip] } else { vec![fp, sp, ip] }
}

fn sampler() -> Sampler {
    Sampler::new(
        EngineConfig::default(),
        Identity::new(IdentityConfig::default()),
        &EventSpec::new(EventChoice::Auto, 999, 8),
        Arc::default(),
    )
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

/// Where the callchain of a sample begins.
const CALLCHAIN: usize = 8 + 24;

/// The same sample with a kernel part: two functions of the kernel, as the timer finds them.
fn with_kernel_frames(sample: &[u8]) -> Vec<u8> {
    let chain = [sys::PERF_CONTEXT_KERNEL, 0xffff_ffff_8100_0010, 0xffff_ffff_8100_0100, sys::PERF_CONTEXT_USER];
    let words: Vec<u8> = [chain.len() as u64].into_iter().chain(chain).flat_map(u64::to_ne_bytes).collect();
    let mut longer = [&sample[..CALLCHAIN], &words, &sample[CALLCHAIN + 8..]].concat();
    let size = u16::try_from(longer.len()).unwrap();
    longer[6..8].copy_from_slice(&size.to_ne_bytes());
    longer
}

/// The same as a sample of page faults: with what its event has counted, and the size of the page.
fn as_fault(sample: &[u8]) -> Vec<u8> {
    let counted = 5_050_u64.to_ne_bytes();
    let mut longer = [&sample[..CALLCHAIN], &counted, &sample[CALLCHAIN..], &4096_u64.to_ne_bytes()].concat();
    let size = u16::try_from(longer.len()).unwrap();
    longer[6..8].copy_from_slice(&size.to_ne_bytes());
    longer
}

/// Calls `then` below so many frames.
#[inline(never)]
fn at_depth(depth: u32, then: &mut dyn FnMut()) -> u64 {
    let mut room = std::hint::black_box([u64::from(depth); 4]);
    if depth == 0 {
        then();
    } else {
        room[1] = at_depth(depth - 1, then);
    }
    std::hint::black_box(room)[1].wrapping_add(1)
}

/// Asserts that a sampler that has seen these samples before allocates nothing for them. Returns their batch.
fn assert_no_allocation(sampler: &mut Sampler, samples: &[Vec<u8>]) -> Batch {
    let mut rounds = |count: u32| (0..count).for_each(|_| samples.iter().for_each(|sample| sampler.apply(sample)));
    rounds(3);
    let before = ALLOCATIONS.get();
    rounds(1000);
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let seen = sampler.stats.samples.get();
    let batch = sampler.close(WINDOW);
    assert_eq!(batch.samples(), seen);
    assert!(seen >= 1003 * samples.len() as u64);
    batch
}

/// A stack that was seen before costs no allocation: short or deep, with a kernel part or without.
#[test]
fn known_stacks_allocate_nothing() {
    let mut deep = Vec::new();
    at_depth(100, &mut || deep = own_sample());
    let short = own_sample();
    let kernel = with_kernel_frames(&short);
    let batch = assert_no_allocation(&mut sampler(), &[short, deep, kernel]);
    assert!(batch.tables.stacks().iter().any(|(_, stack)| stack.locations.len() > 60));
}

const RUNTIME: u32 = 5_000_001;

/// A sampler that knows a process with generated code, and a sample of it: three frames by frame pointers.
fn runtime() -> (Sampler, Vec<u8>) {
    const STACK: u64 = 0x7ffc_0000;
    let mut sampler = sampler();
    sampler.processes.comm(RUNTIME, b"runtime", true);
    let file = MappedFile::Inode { major: 0, minor: 0, inode: 0 };
    let mmap = Mmap {
        task: Task { pid: RUNTIME, tid: RUNTIME },
        start: Avma(0x10_0000),
        length: 0x10_0000,
        offset: FileOffset(0),
        executable: true,
        file,
        path: b"//anon",
    };
    sampler.processes.mmap(&mmap);
    let stack: Vec<u8> = [STACK + 16, 0x10_0110, STACK + 32, 0x18_0000, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    (sampler, record_of(RUNTIME, &[], &user_registers(0x10_0010, STACK, STACK), &stack))
}

/// Nor do frames in code that a runtime generated.
#[test]
fn known_generated_code_allocates_nothing() {
    let (mut sampler, sample) = runtime();
    let batch = assert_no_allocation(&mut sampler, &[sample]);
    assert!(batch.tables.stacks().iter().any(|(_, stack)| stack.locations.len() == 3), "{:?}", batch.tables);
}

/// Nor do those that it has named.
#[test]
fn named_generated_code_allocates_nothing() {
    let (mut sampler, sample) = runtime();
    sampler.apply(&sample);
    let (mut book, mut draft) = (Book::default(), Draft::default());
    for start in [0x10_0000, 0x18_0000 - 0x100] {
        draft.add(NewCode { start, size: 0x200, since: 0, name: b"compiled" });
    }
    book.bind(draft, &Arc::new(Memory::new(usize::MAX)));
    sampler.processes.get_mut(RUNTIME).unwrap().names.slot().unwrap().publish(book, true);
    let batch = assert_no_allocation(&mut sampler, &[sample.clone(), with_kernel_frames(&sample)]);
    let functions: Vec<&str> = batch
        .tables
        .stacks()
        .iter()
        .flat_map(|(_, stack)| stack.locations.iter())
        .filter_map(|location| Some(batch.tables.string(batch.tables.location(*location)?.lines.first()?.function)))
        .collect();
    assert!(functions.iter().filter(|function| **function == "compiled").count() >= 3, "{functions:?}");
}

/// Nor do page faults on stacks that were seen before.
#[test]
fn known_faults_allocate_nothing() {
    let short = own_sample();
    let faults = [as_fault(&short), as_fault(&with_kernel_frames(&short))];
    let mut sampler = sampler();
    let rounds = |sampler: &mut Sampler, count: u32| {
        let share = |_| Share { faults: 101, missed: 1 };
        (0..count).for_each(|_| faults.iter().for_each(|fault| sampler.apply_fault(fault, share)));
    };
    rounds(&mut sampler, 3);
    let before = ALLOCATIONS.get();
    rounds(&mut sampler, 1000);
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(sampler.stats.fault_samples_lost.iter().map(|lost| lost.get()).sum::<u64>(), 0);
    let batch = sampler.close(WINDOW);
    let touched = batch.series.iter().filter(|series| series.sample_type == SampleType::touched());
    assert_eq!((touched.map(Series::total).sum::<u64>(), batch.samples()), (2 * 1003 * 101 * 4096, 0));
}

/// What a sample costs, by hand: `cargo test --release -p flamekeeper-agent cost_of -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, which means something in a release build on a quiet machine only"]
fn cost_of_known_stacks() {
    const COUNT: u32 = 20_000;
    for depth in [0, 100] {
        let mut sample = Vec::new();
        at_depth(depth, &mut || sample = own_sample());
        let mut sampler = sampler();
        sampler.apply(&sample);
        let began = std::time::Instant::now();
        (0..COUNT).for_each(|_| sampler.apply(&sample));
        let each = began.elapsed() / COUNT;
        let batch = sampler.close(WINDOW);
        let frames = batch.tables.stacks().iter().map(|(_, stack)| stack.locations.len()).max().unwrap();
        eprintln!("{frames} frames: {each:?} a sample");
    }
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

/// A sampler that takes this very process for one of Python: the leaf of [`own_sample`] stands for the interpreter's function,
/// and the code object is forged.
fn python() -> (Sampler, Forged, Vec<u8>, Vec<u8>) {
    let mut sampler = sampler();
    let (forged, sample, pid) = (Forged::new(), own_sample(), std::process::id());
    let Ok(Record::Sample(parsed)) = parse(&sample) else { panic!("no sample") };
    let ip = parsed.regs.unwrap().ip.0;
    let generation = sampler.processes.of_sample(pid, 1).generation;
    let tracked = Tracked::forged(generation, interpreter(), ip..ip + 1, (pid, 0x7000));
    sampler.interpreters.forge(pid, tracked);
    let frame = [forged.address(), forged.address() + 184 + 4, 1, forged.fingerprint(), 0x9000];
    let output = frames(1, &[frame]);
    let head = [u64::from(pid) | u64::from(pid) << 32, 1, 0];
    let size = u32::try_from(output.len() + 4).unwrap();
    let body: Vec<u8> = head.iter().flat_map(|word| word.to_ne_bytes()).chain(size.to_ne_bytes()).chain(output).chain([0; 4]).collect();
    let length = u16::try_from(8 + body.len()).unwrap();
    let record = [&sys::PERF_RECORD_SAMPLE.to_ne_bytes()[..], &[0, 0], &length.to_ne_bytes(), &body].concat();
    (sampler, forged, record, sample)
}

/// A frame of the interpreter takes the place of the native frame that runs it, with file and line, and only in the sample
/// that directly follows its record; the others are kept as they are and counted.
#[test]
fn interpreter_frames_take_their_place() {
    let (mut sampler, _forged, record, sample) = python();
    sampler.apply(&record);
    sampler.apply(&sample);
    sampler.apply(&sample);
    let batch = sampler.close(WINDOW);
    assert_eq!((batch.samples(), batch.ledger.noted(Caveat::InterpreterFrames)), (2, 1));
    let leaves: Vec<Option<(&str, &str, u32)>> = batch.series[0]
        .values
        .iter()
        .map(|(stack, _)| {
            let leaf = batch.tables.location(batch.tables.stack(*stack).unwrap().locations[0]).unwrap();
            leaf.lines.first().map(|line| (batch.tables.string(line.function), batch.tables.string(line.file), line.line))
        })
        .collect();
    assert_eq!(leaves, [Some(("été", "/x/ü.py", 43)), None]);
}

/// Stacks with interpreter frames that were seen before cost no allocation either.
#[test]
fn known_interpreter_frames_allocate_nothing() {
    let (mut sampler, _forged, record, sample) = python();
    for _ in 0..3 {
        sampler.apply(&record);
        sampler.apply(&sample);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        sampler.apply(&record);
        sampler.apply(&sample);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    let batch = sampler.close(WINDOW);
    assert_eq!((batch.samples(), batch.ledger.noted(Caveat::InterpreterFrames)), (1003, 0));
}
