//! The events that sample page faults: one on each CPU, with a ring of its own.
//!
//! `PERF_COUNT_SW_PAGE_FAULTS_MIN` counts a fault that was resolved without the disk, after it was: so the size of the page can be
//! asked for (`PERF_SAMPLE_DATA_PAGE_SIZE`, Linux 5.11; `PERF_COUNT_SW_PAGE_FAULTS` counts before, when there is no page yet).
//! Each sample carries what the event has counted (`PERF_SAMPLE_READ`), so what it stands for needs no guess.
//! `PERF_SAMPLE_PERIOD` is left out: with it the kernel sends a sample for every fault.
//!
//! The rings are not those of the CPU samples: a storm of faults fills its own, takes no CPU sample's room, and what a full ring
//! loses is known to be faults. Processes are told of by the other rings alone. The counters go on from process to
//! process, so many short ones with fewer faults than a period are sampled as one long one is.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use perf_event::events::{Event, Software};
use perf_event::{Builder, Clock, Counter, ReadFormat};
use perf_event_open_sys::ioctls;

use crate::perf::close_on_exec;
use crate::perf::ring::Ring;
use crate::perf::session::MIN_RING;
use crate::python::tap::{Tap, TapError, Threads};
use crate::record::{REGS_USER, SAMPLE_CGROUP, fault};

/// The largest ring that is needed: it holds fifteen of the largest samples.
const LARGEST_RING: usize = 1 << 20;
/// A ring holds so many samples: copies of the stack are shorter in a smaller one.
const SAMPLES: usize = 8;

/// Why page faults are not sampled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FaultsError {
    /// The kernel cannot tell what a fault is worth.
    #[error("this kernel does not tell the size of the page that a fault brought (Linux 5.11 does): {0}")]
    PageSize(#[source] io::Error),
    /// The rings would exceed the memory that may be locked.
    #[error(
        "no locked memory is left for their rings (RLIMIT_MEMLOCK, kernel.perf_event_mlock_kb). Raise the limit (`ulimit -l unlimited`, or \
         LimitMEMLOCK=infinity in the systemd unit), or grant CAP_IPC_LOCK: {0}"
    )]
    LockedMemory(#[source] io::Error),
    /// A step failed.
    #[error("cannot {step}: {source}")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn step(step: &'static str) -> impl Fn(io::Error) -> FaultsError {
    move |source| FaultsError::Step { step, source }
}

/// The size of each of `cpus` rings in bytes, where `room` is left for all of them.
pub(crate) fn ring_bytes(cpus: usize, room: u64) -> usize {
    let share = usize::try_from(room / cpus.max(1) as u64).unwrap_or(usize::MAX).clamp(MIN_RING, LARGEST_RING);
    // The greatest power of two that is not above the share.
    1 << share.ilog2()
}

/// What to open on each CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultSpec {
    /// From sample to sample, in faults.
    pub(crate) period: u64,
    /// Bytes of user stack to copy at most.
    pub(crate) stack_bytes: u32,
    /// Whether samples carry their cgroup.
    pub(crate) cgroup: bool,
    /// Size of each ring; halved where the limit of locked memory asks for it.
    pub(crate) ring_bytes: usize,
}

impl FaultSpec {
    fn open(&self, cpu: usize) -> io::Result<Counter> {
        let room = u32::try_from(self.ring_bytes / SAMPLES).unwrap_or(u32::MAX) & !7;
        let mut builder = Builder::new().kind(Event::Software(Software::PAGE_FAULTS_MIN)).one_cpu(cpu).any_pid();
        builder
            .enabled(false)
            .read_format(ReadFormat::empty())
            .sample_period(self.period)
            .sample_id_all(true)
            .clockid(Clock::MONOTONIC)
            .exclude_hv(true)
            // Pages that the kernel touches for a program: a read into memory that is fresh.
            .exclude_kernel(false)
            .exclude_callchain_kernel(false)
            .exclude_callchain_user(true)
            .sample_regs_user(REGS_USER)
            .sample_stack_user(self.stack_bytes.min(room))
            .wakeup_watermark(self.ring_bytes / 2);
        builder.attrs_mut().read_format = 0;
        builder.attrs_mut().sample_type = fault::SAMPLE_TYPE | if self.cgroup { SAMPLE_CGROUP } else { 0 };
        builder.build()
    }
}

/// The events and rings of all CPUs.
#[derive(Debug)]
pub(crate) struct FaultEvents {
    spec: FaultSpec,
    /// The CPU of each place, also of those that are closed.
    cpus: Vec<usize>,
    counters: Vec<Option<Counter>>,
    rings: Vec<Ring>,
    /// For `poll(2)`; -1 for one that is closed.
    fds: Vec<RawFd>,
    tap: Option<Tap>,
}

impl FaultEvents {
    /// Opens and starts them on these CPUs.
    pub(crate) fn open(mut spec: FaultSpec, cpus: impl Iterator<Item = usize> + Clone) -> Result<Self, FaultsError> {
        spec.ring_bytes = spec.ring_bytes.max(MIN_RING);
        loop {
            let mut events = Self { spec, cpus: Vec::new(), counters: Vec::new(), rings: Vec::new(), fds: Vec::new(), tap: None };
            match cpus.clone().try_for_each(|cpu| events.open_cpu(cpu)) {
                Err(FaultsError::Step { .. } | FaultsError::LockedMemory(_)) if spec.ring_bytes > MIN_RING => spec.ring_bytes /= 2,
                result => return result.map(|()| events),
            }
        }
    }

    /// Opens and starts the event of a CPU that has none now. A CPU that is gone is no error.
    pub(crate) fn open_cpu(&mut self, cpu: usize) -> Result<(), FaultsError> {
        let mut counter = match self.spec.open(cpu) {
            Ok(counter) => counter,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::E2BIG)) => return Err(FaultsError::PageSize(error)),
            Err(source) => return Err(step("open an event for page faults")(source)),
        };
        close_on_exec(&counter).map_err(step("mark a perf event close-on-exec"))?;
        let ring = Ring::map(&counter, self.spec.ring_bytes).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => FaultsError::LockedMemory(error),
            _ => step("map a ring for page faults")(error),
        })?;
        counter.enable().map_err(step("enable an event for page faults"))?;
        if let Some(Err(error)) = self.tap.as_mut().map(|tap| tap.attach(counter.as_raw_fd(), cpu, counter.as_raw_fd())) {
            tracing::warn!(cpu, %error, "page faults of python programs are shown without the interpreter's frames, on this CPU");
        }
        let (fd, place) = (counter.as_raw_fd(), self.cpus.iter().position(|known| *known == cpu));
        match place {
            Some(place) => (self.counters[place], self.rings[place], self.fds[place]) = (Some(counter), ring, fd),
            None => {
                self.cpus.push(cpu);
                self.counters.push(Some(counter));
                self.rings.push(ring);
                self.fds.push(fd);
            }
        }
        Ok(())
    }

    /// Closes the event of a CPU. Not while there is something in its ring: then false.
    pub(crate) fn close(&mut self, cpu: usize) -> bool {
        let Some(place) = self.place_of(cpu) else { return true };
        if !self.rings[place].is_empty() {
            return false;
        }
        let Ok(closed) = Ring::closed() else { return false };
        (self.counters[place], self.rings[place], self.fds[place]) = (None, closed, -1);
        true
    }

    /// The place of a CPU whose event is open.
    pub(crate) fn place_of(&self, cpu: usize) -> Option<usize> {
        self.cpus.iter().zip(&self.fds).position(|(known, fd)| *known == cpu && *fd >= 0)
    }

    /// Lets the kernel's side of reading interpreters run at each sample, too: a program of its own, which knows the same threads.
    pub(crate) fn tap(&mut self, threads: &Threads, cpus: usize) -> Result<(), TapError> {
        let mut tap = Tap::load_for(threads, cpus)?;
        for (cpu, fd) in self.cpus.iter().zip(&self.fds).filter(|(_, fd)| **fd >= 0) {
            tap.attach(*fd, *cpu, *fd)?;
        }
        self.tap = Some(tap);
        Ok(())
    }

    /// Changes how many faults there are from sample to sample. The kernel takes the next fault as a sample at once, and the new period
    /// only from the second sample after the call on, unless it is called again after the first.
    pub(crate) fn set_period(&self, place: usize, period: u64) -> io::Result<()> {
        let Some(event) = self.fds.get(place).copied().filter(|fd| *fd >= 0) else { return Ok(()) };
        // SAFETY: the descriptor is an open event of this set; the pointer is to a live u64, which the call reads.
        // (The crate has the pointer as a number.)
        if unsafe { ioctls::PERIOD(event, (&raw const period).addr() as u64) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Ends sampling; what the rings hold stays.
    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.counters.iter_mut().flatten().try_for_each(Counter::disable)
    }

    /// The rings, by place.
    pub(crate) fn rings(&mut self) -> &mut [Ring] {
        &mut self.rings
    }

    /// Size of all rings together in bytes.
    pub(crate) fn rings_bytes(&self) -> usize {
        self.rings.iter().map(Ring::size).sum()
    }

    /// What to `poll(2)`: readable when a ring is half full.
    pub(crate) fn ring_fds(&self) -> &[RawFd] {
        &self.fds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::ring::page_size;

    /// Rings share what is left to them; where there are many CPUs each still holds a few samples.
    #[test]
    fn rings_fit_their_room() {
        let of = |cpus, room: u64| ring_bytes(cpus, room << 20) >> 10;
        assert_eq!([of(0, 24), of(2, 24), of(40, 12), of(64, 0)], [1024, 1024, 256, 128]);
    }

    /// An event that the kernel does not know (here by a size of the stack that no kernel takes) is refused with what it is about, and one
    /// that it knows counts the pages that this thread touches.
    #[test]
    fn refusals_are_told() {
        let spec = FaultSpec { period: 101, stack_bytes: 1024, cgroup: false, ring_bytes: 0 };
        let error = FaultEvents::open(FaultSpec { stack_bytes: 12, ..spec }, 0..1).unwrap_err();
        assert!(matches!(error, FaultsError::PageSize(_)) && error.to_string().contains("5.11"), "{error}");
        let mut events = FaultEvents::open(spec, crate::perf::cpus::online().into_iter()).unwrap();
        let mut pages = memmap2::MmapOptions::new().len(4000 * page_size()).map_anon().unwrap();
        // A kernel without huge pages refuses, and has none.
        _ = pages.advise(memmap2::Advice::NoHugePage);
        pages.chunks_mut(page_size()).for_each(|page| page[0] = 1);
        events.disable().unwrap();
        assert!(events.rings_bytes() >= MIN_RING);
        events.rings().iter_mut().for_each(Ring::refresh);
        assert!(events.rings().iter().any(|ring| ring.written() > 0), "no fault was sampled");
    }
}
