//! What the fuzz targets call (`fuzz/`): parsers of foreign bytes that are private otherwise. No part of the API.
//!
//! Each function returns whatever the bytes are, and asserts what must hold of the result.

use std::cell::RefCell;
use std::sync::Arc;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::{Avma, Batch, SampleType, Svma, Timestamp, Window};
use flamekeeper_wire::{Limits, decode, encode};
use framehop::{FrameAddress, Unwinder as _};
use perf_event_open_sys::bindings as sys;

use crate::engine::faults::{FaultPace, Share};
use crate::engine::sampler::Sampler;
use crate::engine::{EngineConfig, EngineStats, EventChoice};
use crate::identity;
use crate::jit;
use crate::jvm;
use crate::kernel::KernelFrames;
use crate::perf::event::EventSpec;
use crate::perf::ring::page_size;
use crate::record::fault::parse_fault;
use crate::record::{HEADER_SIZE, Header, UserRegs, is_interpreter, time_of};
use crate::unwind::verdict::Verdict;
use crate::unwind::{MAX_FRAMES, arch, cfi, go, sections};

/// Above the greatest process id there can be (`PID_MAX_LIMIT` is 4194304): procfs knows none of these.
const FIRST_PID: u32 = 5_000_000;
/// How many processes a ring's records are about: few, so that records meet.
const PROCESSES: u32 = 4;

/// Of the flags of a record: it lies in a ring of page faults. The kernel has this one in reserve and sets it nowhere
/// (`PERF_RECORD_MISC_EXT_RESERVED`).
const OF_FAULTS: u16 = 1 << 15;
/// Which of two such rings it is.
const OTHER_RING: u16 = 1 << 14;

/// What a sampler was given of page faults.
struct Faults {
    pace: FaultPace,
    sum: Share,
    bytes: u64,
}

impl Faults {
    /// Applies a record of a ring of page faults, as the engine does.
    fn apply(&mut self, sampler: &mut Sampler, header: Header, record: &[u8]) {
        if header.kind != sys::PERF_RECORD_SAMPLE || is_interpreter(record) {
            return sampler.apply_beside_faults(record);
        }
        let place = usize::from(header.misc & OTHER_RING != 0);
        sampler.apply_fault(record, |counted| {
            let share = self.pace.sampled(place, counted, time_of(record));
            let page = parse_fault(record).map_or(0, |fault| fault.page_bytes);
            let page = if page == 0 { page_size() as u64 } else { page };
            self.sum = Share { faults: self.sum.faults + share.faults, missed: self.sum.missed.wrapping_add(share.missed) };
            self.bytes = self.bytes.saturating_add(share.faults.saturating_mul(page));
            share
        });
    }

    /// All that was given is in the counters, and the memory in the batch.
    fn check(&self, stats: &EngineStats, batch: &Batch) {
        assert_eq!((stats.faults.get(), stats.faults_missed.get()), (self.sum.faults, self.sum.missed));
        let touched = batch.series.iter().filter(|series| series.sample_type == SampleType::touched());
        assert_eq!(touched.fold(0, |sum: u64, series| sum.saturating_add(series.total())), self.bytes);
    }
}

/// The records of rings, one behind the other, through the whole sampler: of CPU samples, and where the flags say so of page
/// faults. The window's ledger adds up, and so do the counters of page faults; the collector takes the batch.
pub fn perf_ring(bytes: &[u8]) {
    let identity = identity::Identity::new(identity::IdentityConfig::default());
    let stats = Arc::<EngineStats>::default();
    let mut sampler = Sampler::with_kernel(
        EngineConfig::default(),
        identity,
        &EventSpec::new(EventChoice::Auto, 999, 8),
        Arc::clone(&stats),
        KernelFrames::nameless(),
    );
    let mut faults = Faults { pace: FaultPace::new(101), sum: Share::default(), bytes: 0 };
    let mut rest = bytes.to_vec();
    let mut rest = &mut rest[..];
    while let Some(header) = rest.first_chunk::<HEADER_SIZE>().copied().map(Header::from_bytes) {
        let size = usize::from(header.size);
        if size < HEADER_SIZE || size > rest.len() {
            // The ring's reader refuses it.
            sampler.malformed();
            break;
        }
        let (record, after) = rest.split_at_mut(size);
        tame(header.kind, record);
        if header.misc & OF_FAULTS == 0 {
            sampler.apply(record);
        } else {
            faults.apply(&mut sampler, header, record);
        }
        rest = after;
    }
    let batch = sampler.close(Window::new(Timestamp(0), Timestamp(10)));
    assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total());
    faults.check(&stats, &batch);
    match decode(&encode(&batch), &Limits::default()) {
        Ok(decoded) => assert_eq!((decoded.samples(), decoded.ledger.taken), (batch.samples(), batch.ledger.taken)),
        Err(error) => panic!("the collector refuses it: {error}"),
    }
}

/// Makes a record's process ids those of processes that there are not: the host must have no part in the result.
fn tame(kind: u32, record: &mut [u8]) {
    let ids: &[usize] = match kind {
        sys::PERF_RECORD_FORK | sys::PERF_RECORD_EXIT => &[8, 12, 16, 20],
        sys::PERF_RECORD_SAMPLE | sys::PERF_RECORD_MMAP2 | sys::PERF_RECORD_COMM => &[8, 12],
        _ => &[],
    };
    for at in ids {
        let Some(id) = record.get_mut(*at..).and_then(<[u8]>::first_chunk_mut::<4>) else { continue };
        let number = u32::from_ne_bytes(*id);
        if number != 0 {
            *id = (FIRST_PID + number % PROCESSES).to_ne_bytes();
        }
    }
}

/// An object's unwind tables and a stack to unwind by them: length of the object (4 bytes), instruction, stack and frame
/// pointer (8 bytes each), the object, the stack.
pub fn unwind(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return };
    let Some((words, rest)) = rest.split_first_chunk::<24>() else { return };
    let word = |index: usize| u64::from_le_bytes(words.as_chunks::<8>().0[index]);
    let Some((object, stack)) = usize::try_from(u32::from_le_bytes(*length)).ok().and_then(|length| rest.split_at_checked(length)) else {
        return;
    };
    let Ok(object) = ObjectFile::from_bytes(object.to_vec()) else { return };
    let info = sections::read(&object, usize::MAX);
    let (ip, sp, fp) = (word(0), word(1), word(2));
    let mut regs = arch::regs(&UserRegs { ip: Avma(ip), sp: Avma(sp), fp: Avma(fp), lr: Avma(0) });
    let mut cache = arch::Cache::new_in();
    let mut read = |address: u64| {
        let at = address.checked_sub(sp).and_then(|at| usize::try_from(at).ok()).ok_or(())?;
        stack.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|word| u64::from_le_bytes(*word)).ok_or(())
    };
    let mut address = FrameAddress::from_instruction_pointer(ip);
    let mut context = Box::new(cfi::Context::new_in());
    for _ in 0..MAX_FRAMES {
        our_step(&info, address, &regs, &mut context, &mut read);
        let step = info.unwinder.unwind_frame(address, &mut regs, &mut cache, &mut read);
        match step.ok().flatten().and_then(FrameAddress::from_return_address) {
            Some(next) => address = next,
            None => break,
        }
    }
}

/// What we read ourselves of an address, whatever the verdict about it is.
fn our_step(
    info: &sections::UnwindInfo,
    address: FrameAddress,
    regs: &arch::Regs,
    context: &mut cfi::Context,
    read: &mut impl FnMut(u64) -> Result<u64, ()>,
) {
    let svma = Svma(address.address_for_lookup());
    let verdict = info.verdict(svma, context);
    let read = RefCell::new(read);
    let read = |at| (read.borrow_mut())(at);
    if let Some(cfi) = &info.cfi {
        let caller = cfi.evaluate(svma, context, regs, read);
        assert!(verdict != Verdict::Uncovered || caller.is_err(), "a row without an entry");
    }
    if let Some((_, sp)) = info.sites.caller(svma, regs.sp(), read, 0) {
        assert!(sp > regs.sp(), "a caller's frame below its callee's");
    }
    if let Some(map) = &info.go {
        go::step(map, svma, !address.is_return_address(), &mut regs.clone(), &mut |at| read(at));
    }
}

/// A perf map, in two pieces, as it grows.
pub fn perf_map(bytes: &[u8]) {
    jit::fuzz::perf_map(bytes);
}

/// A jitdump, in two pieces, as it grows.
pub fn jitdump(bytes: &[u8]) {
    jit::fuzz::jitdump(bytes);
}

/// The memory of what says that it is a Java virtual machine.
pub fn hotspot(bytes: &[u8]) {
    jvm::fuzz::hotspot(bytes);
}

/// The content of `/proc/PID/environ`, or a stack at whose top it lies.
pub fn environ(bytes: &[u8]) {
    identity::fuzz::environ(bytes);
}

/// A table of a live heap.
pub fn heap_table(bytes: &[u8]) {
    crate::heap::fuzz::heap_table(bytes);
}

/// A heap profile that a program serves.
pub fn heap_profile(bytes: &[u8]) {
    crate::scrape::fuzz::heap_profile(bytes);
}

/// What procfs says of a process and of its mappings.
pub fn process(bytes: &[u8]) {
    crate::process::scan::fuzz(bytes);
}

/// What procfs says of a process's memory.
pub fn memory(bytes: &[u8]) {
    crate::memory::fuzz::memory(bytes);
}

/// A path of `/proc/PID/cgroup`.
pub fn cgroup(bytes: &[u8]) {
    identity::fuzz::cgroup(bytes);
}

/// An OpenTelemetry process context in its process's memory.
pub fn process_context(bytes: &[u8]) {
    identity::fuzz::context(bytes);
}
