//! A set of events with one ring for each CPU.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use perf_event::Counter;
use perf_event_open_sys::ioctls;

use crate::engine::EventChoice;
use crate::perf::bell::Bell;
use crate::perf::close_on_exec;
use crate::perf::cpus;
use crate::perf::error::{OpenContext, OpenError};
use crate::perf::event::{self, EventSpec, Features, Who};
use crate::perf::faults::{FaultEvents, FaultSpec, FaultsError};
use crate::perf::reading::{self, Reading};
use crate::perf::ring::Ring;
use crate::python::tap::{Tap, TapError, Threads};

/// The smallest ring that is worth having: it holds the largest record (64 KiB) and something beside it.
pub(crate) const MIN_RING: usize = 128 << 10;

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
    /// Optional attributes that may be used.
    pub(crate) features: Features,
    /// Size of each ring; halved where the limit of locked memory asks for it.
    pub(crate) ring_bytes: usize,
}

/// Opened events and their rings.
#[derive(Debug)]
pub(crate) struct Session {
    counters: Vec<Counter>,
    /// The CPU and the ring of each of `counters`.
    places: Vec<(usize, usize)>,
    tap: Option<Tap>,
    rings: Vec<Ring>,
    /// The descriptor of each ring's own event, for `poll(2)`; -1 for one that is closed.
    ring_fds: Vec<RawFd>,
    /// The CPU of each ring.
    cpus: Vec<usize>,
    /// One for each open CPU, as long as they can be had; see [`Self::hang_bells`].
    bells: Option<BTreeMap<usize, Bell>>,
    /// The events of page faults, where those are sampled.
    faults: Option<FaultEvents>,
    spec: EventSpec,
    scope: Scope,
    context: OpenContext,
    /// Records that events lost which are closed now.
    lost_before: u64,
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
        let mut session = Self {
            counters: Vec::new(),
            places: Vec::new(),
            tap: None,
            rings: Vec::new(),
            ring_fds: Vec::new(),
            cpus: Vec::new(),
            bells: None,
            faults: None,
            spec: event,
            scope: spec.scope,
            context,
            lost_before: 0,
        };
        let mut places: Vec<(usize, Option<usize>)> = cpus.into_iter().map(|cpu| (cpu, None)).collect();
        let mut seen = BTreeSet::new();
        // A thread that is made between the listing and the opening is watched only if its maker already was: list again
        // until there is none that is new.
        while !threads.is_empty() {
            for who in threads {
                session.add(who, &mut places)?;
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
    fn add(&mut self, who: Who, places: &mut [(usize, Option<usize>)]) -> Result<(), OpenError> {
        let context = self.context;
        for (cpu, ring) in places {
            let counter = match self.spec.open(who, *cpu) {
                Ok(counter) => counter,
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV)) => continue,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) && matches!(who, Who::Thread(_)) => return Ok(()),
                Err(error) => return Err(OpenError::from_open(error, &context)),
            };
            close_on_exec(&counter).map_err(|source| OpenError::Step { step: "mark a perf event close-on-exec", source })?;
            match ring {
                Some(ring) => redirect(&counter, self.ring_fds[*ring])?,
                None => {
                    let map = Ring::map(&counter, context.ring_bytes).map_err(|error| OpenError::from_mmap(error, &context))?;
                    *ring = Some(self.place(*cpu, map, counter.as_raw_fd()));
                }
            }
            self.places.push((*cpu, ring.unwrap_or_default()));
            self.counters.push(counter);
        }
        Ok(())
    }

    /// Lets the kernel's side of reading interpreters run at each sample, and answers the threads that it knows: none yet.
    pub(crate) fn tap(&mut self) -> Result<Threads, TapError> {
        let cpus = self.places.iter().map(|(cpu, _)| cpu + 1).max().unwrap_or(1);
        let (mut tap, threads) = Tap::load(cpus)?;
        for (counter, (cpu, ring)) in self.counters.iter().zip(&self.places) {
            let Some(ring) = self.ring_fds.get(*ring) else { continue };
            tap.attach(counter.as_raw_fd(), *cpu, *ring)?;
        }
        self.tap = Some(tap);
        if let Some(Err(error)) = self.faults.as_mut().map(|faults| faults.tap(&threads, cpus)) {
            tracing::warn!(%error, "page faults of python programs are shown without the interpreter's frames");
        }
        Ok(threads)
    }

    /// Has a bell ring on each open CPU when a program begins. They are a comfort: without one of them there is none.
    pub(crate) fn hang_bells(&mut self) {
        let mut bells = self.bells.take().unwrap_or_default();
        for cpu in self.open_cpus() {
            if let Entry::Vacant(place) = bells.entry(cpu) {
                match Bell::on(cpu) {
                    Ok(bell) => _ = place.insert(bell),
                    Err(error) => {
                        tracing::debug!(cpu, %error, "no event wakes the agent when a program begins; it looks ten times a second");
                        return;
                    }
                }
            }
        }
        self.bells = Some(bells);
    }

    /// The bells.
    pub(crate) fn bells(&mut self) -> impl Iterator<Item = &mut Bell> {
        self.bells.iter_mut().flat_map(BTreeMap::values_mut)
    }

    /// Samples page faults as well, on all open CPUs, from now on.
    pub(crate) fn watch_faults(&mut self, spec: FaultSpec) -> Result<(), FaultsError> {
        let cpus: Vec<usize> = self.open_cpus().collect();
        self.faults = Some(FaultEvents::open(spec, cpus.into_iter())?);
        Ok(())
    }

    /// The events of page faults.
    pub(crate) const fn faults(&self) -> Option<&FaultEvents> {
        self.faults.as_ref()
    }

    /// Starts sampling. Events that wait for an `execve` are left to it.
    pub(crate) fn enable(&mut self) -> Result<(), OpenError> {
        let enabled = self.counters.iter_mut().try_for_each(Counter::enable);
        enabled.map_err(|source| OpenError::Step { step: "enable the perf events", source })
    }

    /// Ends sampling; what the rings hold stays.
    pub(crate) fn disable(&mut self) -> io::Result<()> {
        self.faults.as_mut().map_or(Ok(()), FaultEvents::disable)?;
        self.counters.iter_mut().try_for_each(Counter::disable)
    }

    /// Changes the period of the samples in a ring, while they run. What has passed since the last sample is forgotten: the
    /// next comes a whole new period after this. Only for rings of one event each ([`Scope::Host`]).
    pub(crate) fn set_period(&mut self, ring: usize, period_ns: u64) -> io::Result<()> {
        let event = *self.ring_fds.get(ring).ok_or(io::ErrorKind::NotFound)?;
        if event < 0 {
            // Its CPU is gone: the event that it gets when it comes back begins with the configured period.
            return Ok(());
        }
        let period = self.spec.units(period_ns);
        // SAFETY: the descriptor is an open event of this session; the pointer is to a live u64, which the call reads.
        // (The crate has the pointer as a number.)
        if unsafe { ioctls::PERIOD(event, (&raw const period).addr() as u64) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Gives a ring its place: that of the CPU's closed one, so that the places of all others stay.
    fn place(&mut self, cpu: usize, ring: Ring, fd: RawFd) -> usize {
        if let Some(place) = self.cpus.iter().position(|known| *known == cpu) {
            (self.rings[place], self.ring_fds[place]) = (ring, fd);
            return place;
        }
        self.rings.push(ring);
        self.ring_fds.push(fd);
        self.cpus.push(cpu);
        self.rings.len() - 1
    }

    /// The CPU of each ring, also of the closed ones.
    pub(crate) fn cpus(&self) -> &[usize] {
        &self.cpus
    }

    /// The ring of a CPU.
    pub(crate) fn ring_of(&self, cpu: usize) -> Option<usize> {
        self.cpus.iter().position(|known| *known == cpu)
    }

    /// The CPUs whose rings are open.
    pub(crate) fn open_cpus(&self) -> impl Iterator<Item = usize> {
        self.cpus.iter().zip(&self.ring_fds).filter(|(_, fd)| **fd >= 0).map(|(cpu, _)| *cpu)
    }

    /// How far the ring of each open CPU was written.
    pub(crate) fn written(&self) -> Vec<(usize, u64)> {
        let rings = self.cpus.iter().zip(&self.ring_fds).zip(&self.rings).filter(|((_, fd), _)| **fd >= 0);
        rings.map(|((cpu, _), ring)| (*cpu, ring.written())).collect()
    }

    /// Whether the kernel still has a CPU's events at work. Going offline ends them for good; an event of a CPU that merely
    /// does not run for a while (a hypervisor has it wait, or the whole machine was stopped) stays.
    pub(crate) fn is_alive(&self, cpu: usize) -> bool {
        self.counters.iter().zip(&self.places).filter(|(_, (of, _))| *of == cpu).any(|(counter, _)| reading::is_alive(counter))
    }

    /// Opens the events of a CPU that has come online, and starts them. False where it is gone again.
    pub(crate) fn open_cpu(&mut self, cpu: usize) -> Result<bool, OpenError> {
        let (mut places, before) = ([(cpu, None)], self.counters.len());
        for who in threads(self.scope)? {
            self.add(who, &mut places)?;
        }
        self.tap_from(before);
        if let Some(Err(error)) = self.faults.as_mut().map(|faults| faults.open_cpu(cpu)) {
            tracing::warn!(cpu, %error, "page faults of a CPU are not sampled");
        }
        if self.bells.is_some() {
            self.hang_bells();
        }
        let started = self.counters.iter_mut().skip(before).try_for_each(Counter::enable);
        started.map_err(|source| OpenError::Step { step: "enable the perf events", source })?;
        Ok(self.counters.len() > before)
    }

    /// Closes the events and the ring of a CPU. Not while there is something in the ring: then false.
    pub(crate) fn close(&mut self, cpu: usize) -> bool {
        let Some(place) = self.cpus.iter().position(|known| *known == cpu) else { return false };
        if self.ring_fds[place] < 0 || !self.rings[place].is_empty() {
            return false;
        }
        if self.faults.as_mut().is_some_and(|faults| !faults.close(cpu)) {
            return false;
        }
        let Ok(closed) = Ring::closed() else { return false };
        (self.rings[place], self.ring_fds[place]) = (closed, -1);
        self.lost_before = self.lost_before.saturating_add(self.lost_now(Some(cpu)));
        let mut of = self.places.iter().map(|(of, _)| *of);
        self.counters.retain(|_| of.next() != Some(cpu));
        self.bells.iter_mut().for_each(|bells| _ = bells.remove(&cpu));
        self.places.retain(|(of, _)| *of != cpu);
        true
    }

    /// Has the kernel's side of reading interpreters run at the samples of the events from this one on, if it runs at all.
    fn tap_from(&mut self, first: usize) {
        let Some(tap) = &mut self.tap else { return };
        for (counter, (cpu, ring)) in self.counters.iter().zip(&self.places).skip(first) {
            let Some(ring) = self.ring_fds.get(*ring) else { continue };
            if let Err(error) = tap.attach(counter.as_raw_fd(), *cpu, *ring) {
                tracing::warn!(cpu, %error, "interpreters are read from outside only, on this CPU");
            }
        }
    }

    /// Records that found no room in their ring, as the events themselves count them (kernel 6.0); none where they do not. A
    /// ring's own records of loss come only with the next record that does find room.
    pub(crate) fn lost(&self) -> Option<u64> {
        self.spec.features.lost.then(|| self.lost_before.saturating_add(self.lost_now(None)))
    }

    fn lost_now(&self, only: Option<usize>) -> u64 {
        let counters = self.counters.iter().zip(&self.places);
        let counters = counters.filter(|(_, (cpu, _))| self.spec.features.lost && only.is_none_or(|only| only == *cpu));
        counters.map(|(counter, _)| Reading::take(counter).lost).fold(0, u64::saturating_add)
    }

    /// Whom it watches.
    pub(crate) const fn scope(&self) -> Scope {
        self.scope
    }

    /// The rings of the CPUs' samples.
    pub(crate) fn rings(&mut self) -> &mut [Ring] {
        &mut self.rings
    }

    /// Those rings, and those of page faults.
    pub(crate) fn all_rings(&mut self) -> (&mut [Ring], &mut [Ring]) {
        (&mut self.rings, self.faults.as_mut().map_or(&mut [], FaultEvents::rings))
    }

    /// Size of all rings together in bytes.
    pub(crate) fn rings_bytes(&self) -> usize {
        self.rings.iter().map(Ring::size).sum::<usize>() + self.faults.as_ref().map_or(0, FaultEvents::rings_bytes)
    }

    /// What to `poll(2)`: readable when a ring is filled up to its watermark.
    pub(crate) fn ring_fds(&self) -> impl Iterator<Item = RawFd> {
        let faults = self.faults.as_ref().map_or(&[][..], FaultEvents::ring_fds);
        self.ring_fds.iter().chain(faults).copied()
    }

    /// The event that was settled on.
    pub(crate) const fn spec(&self) -> &EventSpec {
        &self.spec
    }
}

/// Finds the richest event that this kernel, machine and user allow, by opening it once.
fn settle(spec: &SessionSpec, ring_bytes: usize, who: Who, cpus: &[usize]) -> Result<EventSpec, (&'static str, io::Error)> {
    let mut event = EventSpec {
        // What interrupts do on an idle CPU is work; of a process alone the idle task is no part.
        exclude_idle: spec.scope.pid().is_some(),
        wakeup_bytes: event::wakeup_bytes(ring_bytes, spec.frequency, spec.stack_bytes),
        features: spec.features,
        ..EventSpec::new(spec.event, spec.frequency, spec.stack_bytes)
    };
    let cpu = cpus.first().copied().unwrap_or_default();
    loop {
        let Err(error) = event.open(who, cpu) else { return Ok(event) };
        let errno = error.raw_os_error().unwrap_or_default();
        let smaller = event.features.less(spec.features);
        match (errno, smaller) {
            (libc::EACCES | libc::EPERM, _) if spec.scope.pid().is_some() && !event.exclude_kernel => event.exclude_kernel = true,
            (libc::EINVAL | libc::E2BIG, Some(features)) => event.features = features,
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
