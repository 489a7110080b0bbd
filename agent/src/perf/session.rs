//! A set of events with one ring for each CPU.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use perf_event::Counter;
use perf_event_open_sys::ioctls;

use crate::engine::EventChoice;
use crate::perf::cpus;
use crate::perf::error::{OpenContext, OpenError};
use crate::perf::event::{EventSpec, Features, Who, tries_cycles};
use crate::perf::ring::Ring;

/// The smallest ring that is worth having: it holds the largest record (64 KiB) and something beside it.
const MIN_RING: usize = 128 << 10;

/// What to watch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// All processes.
    Host,
    /// All threads of a running process.
    Process(u32),
    /// A process that has yet to call `execve`.
    Starting(u32),
}

impl Scope {
    const fn pid(self) -> Option<u32> {
        match self {
            Self::Host => None,
            Self::Process(pid) | Self::Starting(pid) => Some(pid),
        }
    }
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionSpec {
    /// Whom to watch.
    pub(crate) scope: Scope,
    /// Which event.
    pub(crate) event: EventChoice,
    /// Samples a second of CPU time.
    pub(crate) frequency: u32,
    /// Bytes of user stack to copy.
    pub(crate) stack_bytes: u32,
    /// Size of each ring; halved where the limit of locked memory asks for it.
    pub(crate) ring_bytes: usize,
}

/// Opened events and their rings.
#[derive(Debug)]
pub(crate) struct Session {
    counters: Vec<Counter>,
    rings: Vec<Ring>,
    /// The descriptor of each ring's own event, for `poll(2)`.
    ring_fds: Vec<RawFd>,
    spec: EventSpec,
}

impl Session {
    /// Opens the events, not yet enabled.
    pub(crate) fn open(spec: &SessionSpec) -> Result<Self, OpenError> {
        let mut ring_bytes = spec.ring_bytes.max(MIN_RING).next_power_of_two();
        loop {
            match Self::open_with(spec, ring_bytes) {
                Err(OpenError::LockedMemory { .. } | OpenError::Memory { .. }) if ring_bytes > MIN_RING => ring_bytes /= 2,
                result => return result,
            }
        }
    }

    fn open_with(spec: &SessionSpec, ring_bytes: usize) -> Result<Self, OpenError> {
        let cpus = cpus::online();
        let mut context = OpenContext { pid: spec.scope.pid(), event: "cpu-clock", events: cpus.len(), ring_bytes, cpus: cpus.len() };
        let mut threads = threads(spec.scope)?;
        context.events = cpus.len() * threads.len();
        let event = settle(spec, ring_bytes, threads[0], &cpus).map_err(|(name, source)| {
            context.event = name;
            OpenError::from_open(source, &context)
        })?;
        context.event = event.name();
        let mut session = Self { counters: Vec::new(), rings: Vec::new(), ring_fds: Vec::new(), spec: event };
        let mut places: Vec<(usize, Option<usize>)> = cpus.into_iter().map(|cpu| (cpu, None)).collect();
        let mut seen = BTreeSet::new();
        // A thread that is made between the listing and the opening is watched only if its maker already was: list again
        // until there is none that is new.
        while !threads.is_empty() {
            for who in threads {
                session.add(who, &mut places, &context)?;
                seen.extend(thread_id(who));
            }
            threads = match spec.scope {
                Scope::Process(pid) => unseen(pid, &seen),
                Scope::Host | Scope::Starting(_) => Vec::new(),
            };
        }
        if session.rings.is_empty() {
            return Err(OpenError::NoProcess { pid: context.pid.unwrap_or_default() });
        }
        Ok(session)
    }

    /// Opens an event on each CPU, into that CPU's ring. A thread or a CPU that is gone meanwhile is no error.
    fn add(&mut self, who: Who, places: &mut [(usize, Option<usize>)], context: &OpenContext) -> Result<(), OpenError> {
        for (cpu, ring) in places {
            let counter = match self.spec.open(who, *cpu) {
                Ok(counter) => counter,
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV)) => continue,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) && matches!(who, Who::Thread(_)) => return Ok(()),
                Err(error) => return Err(OpenError::from_open(error, context)),
            };
            close_on_exec(&counter).map_err(|source| OpenError::Step { step: "mark a perf event close-on-exec", source })?;
            match ring {
                Some(ring) => redirect(&counter, self.ring_fds[*ring])?,
                None => {
                    let map = Ring::map(&counter, context.ring_bytes).map_err(|error| OpenError::from_mmap(error, context))?;
                    *ring = Some(self.rings.len());
                    self.rings.push(map);
                    self.ring_fds.push(counter.as_raw_fd());
                }
            }
            self.counters.push(counter);
        }
        Ok(())
    }

    /// Starts sampling. Events that wait for an `execve` are left to it.
    pub(crate) fn enable(&mut self) -> Result<(), OpenError> {
        let enabled = self.counters.iter_mut().try_for_each(Counter::enable);
        enabled.map_err(|source| OpenError::Step { step: "enable the perf events", source })
    }

    /// Ends sampling; what the rings hold stays.
    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.counters.iter_mut().try_for_each(Counter::disable)
    }

    /// The rings.
    pub(crate) fn rings(&mut self) -> &mut [Ring] {
        &mut self.rings
    }

    /// What to `poll(2)`: readable when a ring is filled up to its watermark.
    pub(crate) fn ring_fds(&self) -> &[RawFd] {
        &self.ring_fds
    }

    /// The event that was settled on.
    pub(crate) const fn spec(&self) -> &EventSpec {
        &self.spec
    }
}

/// Finds the richest event that this kernel, machine and user allow, by opening it once.
fn settle(spec: &SessionSpec, ring_bytes: usize, who: Who, cpus: &[usize]) -> Result<EventSpec, (&'static str, io::Error)> {
    let mut event = EventSpec {
        cycles: tries_cycles(spec.event),
        frequency: spec.frequency,
        stack_bytes: spec.stack_bytes,
        exclude_kernel: false,
        features: Features::All,
        wakeup_bytes: ring_bytes / 4,
    };
    let cpu = cpus.first().copied().unwrap_or_default();
    loop {
        let Err(error) = event.open(who, cpu) else { return Ok(event) };
        let errno = error.raw_os_error().unwrap_or_default();
        let smaller = event.features.less();
        match (errno, smaller) {
            (libc::EACCES | libc::EPERM, _) if spec.scope.pid().is_some() && !event.exclude_kernel => event.exclude_kernel = true,
            (libc::EINVAL | libc::E2BIG, Some(features)) => event.features = features,
            (libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL, _) if event.cycles && spec.event == EventChoice::Auto => {
                event.cycles = false;
                event.features = Features::All;
            }
            _ => return Err((event.name(), error)),
        }
    }
}

fn threads(scope: Scope) -> Result<Vec<Who>, OpenError> {
    match scope {
        Scope::Host => Ok(vec![Who::Everyone]),
        Scope::Starting(pid) => i32::try_from(pid).map(|pid| vec![Who::AfterExec(pid)]).map_err(|_| OpenError::NoProcess { pid }),
        Scope::Process(pid) => {
            let threads = unseen(pid, &BTreeSet::new());
            if threads.is_empty() { Err(OpenError::NoProcess { pid }) } else { Ok(threads) }
        }
    }
}

fn unseen(pid: u32, seen: &BTreeSet<i32>) -> Vec<Who> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let ids = tasks.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| !seen.contains(id)).map(Who::Thread).collect()
}

const fn thread_id(who: Who) -> Option<i32> {
    match who {
        Who::Thread(id) => Some(id),
        Who::Everyone | Who::AfterExec(_) => None,
    }
}

fn redirect(counter: &Counter, ring: RawFd) -> Result<(), OpenError> {
    // SAFETY: both descriptors are open events of this session; the call takes no pointers.
    let result = unsafe { ioctls::SET_OUTPUT(counter.as_raw_fd(), ring) };
    if result < 0 {
        return Err(OpenError::Step { step: "share a perf ring between threads", source: io::Error::last_os_error() });
    }
    Ok(())
}

fn close_on_exec(counter: &Counter) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call takes no pointers.
    if unsafe { libc::fcntl(counter.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
