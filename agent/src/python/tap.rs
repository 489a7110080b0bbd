//! The tap: the programs of [`super::program`] attached to the sampling events, and the events through which its records go
//! into the same rings.
//!
//! It is optional. Where the kernel or the user's rights do not allow it, all else works as it does, and samples of Python
//! processes are kept without the interpreter's frames.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use perf_event::events::Software;
use perf_event::{Builder, Clock, Counter, ReadFormat};
use perf_event_open_sys::{bindings as sys, ioctls};

use crate::bpf::asm::AssembleError;
use crate::bpf::sys::{self as bpf, Map, MapKind, ProgramKind};
use crate::python::program::{self, ENTRY_SIZE, Maps, SCRATCH_SIZE, ThreadEntry};
use crate::record::SAMPLE_TYPE;

/// Threads of Python processes that can be known at a time: about a megabyte of the kernel's memory.
pub(crate) const MAX_THREADS: u32 = 8192;
/// CPUs that may come later: eight bytes each.
const CPUS: u32 = 1024;
/// The first pid namespace (`PROC_PID_INIT_INO`): what the program sees as a thread's id.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Why interpreter frames cannot be read on this host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TapError {
    /// The kernel does not allow it.
    #[error(
        "the program lacks CAP_BPF (before Linux 5.8: CAP_SYS_ADMIN), or a seccomp filter refuses bpf(2) (`SystemCallFilter=` needs \
         `bpf`): {0}"
    )]
    Permission(#[source] io::Error),
    /// The kernel has no `bpf(2)`.
    #[error("this kernel is built without CONFIG_BPF_SYSCALL: {0}")]
    NoBpf(#[source] io::Error),
    /// The kernel does not know something that the program needs.
    #[error("this kernel refuses the program (it needs Linux 5.5 or later, and CONFIG_BPF_EVENTS): {0}")]
    Refused(#[source] io::Error),
    /// This program does not see the thread ids that the kernel's side sees.
    #[error("the agent runs in a pid namespace of its own (run it with the host's: `--pid=host`, `hostPID: true`)")]
    PidNamespace,
    /// Another step failed.
    #[error("cannot {step}: {source}")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl Fn(io::Error) -> TapError {
    move |source| TapError::Step { step, source }
}

/// The kernel's side.
#[derive(Debug)]
pub(crate) struct Tap {
    program: OwnedFd,
    output: Map,
    /// The event that a CPU's records go through, and the number of the event whose ring they go to.
    outputs: BTreeMap<usize, (u64, Counter)>,
    /// Where the program that follows chains is found: the kernel empties it when nobody here holds it any more.
    _next: Map,
}

/// The threads that the kernel's side knows.
#[derive(Debug)]
pub(crate) struct Threads(Map);

impl Tap {
    /// Loads the program, not yet attached to anything, for CPUs up to the number `cpus`.
    pub(crate) fn load(cpus: usize) -> Result<(Self, Threads), TapError> {
        // Where procfs does not tell, the ids are taken for the same, as they are on a host.
        if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != FIRST_PID_NAMESPACE) {
            return Err(TapError::PidNamespace);
        }
        #[allow(clippy::cast_possible_truncation, reason = "56")]
        let threads = Threads(Map::create(MapKind::Hash, 4, ENTRY_SIZE as u32, MAX_THREADS).map_err(refused)?);
        Ok((Self::load_for(&threads, cpus)?, threads))
    }

    /// Loads another program that knows the same threads, for events whose records go to other rings.
    pub(crate) fn load_for(threads: &Threads, cpus: usize) -> Result<Self, TapError> {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        let scratch = Map::create(MapKind::PerCpuArray, 4, SCRATCH_SIZE, 1).map_err(refused)?;
        let output = Map::create(MapKind::PerfEventArray, 4, 4, cpus.max(CPUS)).map_err(refused)?;
        let next = Map::create(MapKind::Programs, 4, 4, 1).map_err(refused)?;
        let maps = Maps { threads: threads.0.raw(), scratch: scratch.raw(), output: output.raw(), next: next.raw() };
        let follower = load(program::assemble_next(maps), "flamekeeper_pn")?;
        next.set(&0_u32.to_ne_bytes(), &follower.as_raw_fd().to_ne_bytes()).map_err(refused)?;
        let program = load(program::assemble_first(maps), "flamekeeper_py")?;
        Ok(Self { program, output, outputs: BTreeMap::new(), _next: next })
    }

    /// Attaches the program to a sampling event of a CPU, whose records go to the ring of the event `ring`.
    pub(crate) fn attach(&mut self, event: RawFd, cpu: usize, ring: RawFd) -> Result<(), TapError> {
        let number = number(ring).map_err(step("ask for the number of a perf event"))?;
        // A CPU that went and came back has another ring, perhaps under the same descriptor.
        if self.outputs.get(&cpu).is_none_or(|(of, _)| *of != number) {
            let output = open_output(cpu).map_err(step("open an event for the output of BPF"))?;
            // SAFETY: both descriptors are open events; the call takes no pointers.
            if unsafe { ioctls::SET_OUTPUT(output.as_raw_fd(), ring) } < 0 {
                return Err(step("send the output of BPF into a perf ring")(io::Error::last_os_error()));
            }
            let key = u32::try_from(cpu).unwrap_or(u32::MAX).to_ne_bytes();
            let set = self.output.set(&key, &output.as_raw_fd().to_ne_bytes());
            set.map_err(step("register an event for the output of BPF"))?;
            self.outputs.insert(cpu, (number, output));
        }
        // SAFETY: an open event and an open program; the call takes no pointers.
        if unsafe { ioctls::SET_BPF(event, self.program.as_raw_fd().cast_unsigned()) } < 0 {
            return Err(step("attach the BPF program to a perf event")(io::Error::last_os_error()));
        }
        Ok(())
    }
}

impl Threads {
    /// Lets the kernel's side know a thread. Fails where there are too many.
    pub(crate) fn set(&self, tid: u32, entry: ThreadEntry) -> io::Result<()> {
        self.0.set(&tid.to_ne_bytes(), &entry.to_bytes())
    }

    /// Lets it forget a thread.
    pub(crate) fn remove(&self, tid: u32) {
        // Nothing is lost where it was not there.
        _ = self.0.remove(&tid.to_ne_bytes());
    }
}

fn load(code: Result<Vec<u64>, AssembleError>, name: &str) -> Result<OwnedFd, TapError> {
    let code = code.map_err(|error| TapError::Refused(io::Error::other(error)))?;
    bpf::load(ProgramKind::PerfEvent, &code, name).map_err(refused)
}

/// The kernel's own number of an event, which no other has or had.
fn number(event: RawFd) -> io::Result<u64> {
    let mut number = 0;
    // SAFETY: an open event, and a place for the number that outlives the call.
    if unsafe { ioctls::ID(event, &raw mut number) } < 0 { Err(io::Error::last_os_error()) } else { Ok(number) }
}

/// Says what the refusal of a map or program means.
fn refused(source: io::Error) -> TapError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TapError::Permission(source),
        Some(libc::ENOSYS) => TapError::NoBpf(source),
        _ => TapError::Refused(source),
    }
}

/// The event that the program's records go through on a CPU. Its records have the sampling events' first fields, so that
/// one parser reads both.
fn open_output(cpu: usize) -> io::Result<Counter> {
    let mut builder = Builder::new().kind(Software::DUMMY).one_cpu(cpu).any_pid();
    builder.enabled(true).read_format(ReadFormat::empty()).sample_id_all(true).clockid(Clock::MONOTONIC);
    let attributes = builder.attrs_mut();
    attributes.config = u64::from(sys::PERF_COUNT_SW_BPF_OUTPUT);
    attributes.__bindgen_anon_1.sample_period = 1;
    let first = u64::from(sys::PERF_SAMPLE_TID | sys::PERF_SAMPLE_TIME | sys::PERF_SAMPLE_CPU | sys::PERF_SAMPLE_IDENTIFIER);
    attributes.sample_type = SAMPLE_TYPE & first | u64::from(sys::PERF_SAMPLE_RAW);
    builder.build()
}
