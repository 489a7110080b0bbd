//! The engine's loop: wait, drain the rings in order of time, close windows.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use flamekeeper_profile::Batch;
use perf_event_open_sys::bindings::{PERF_RECORD_LOST, PERF_RECORD_SAMPLE};

use crate::engine::cost::SampleCost;
use crate::engine::hotplug::Hotplug;
use crate::engine::pace::Pace;
use crate::engine::rest::{Pause, SHORT_NS};
use crate::engine::sampler::Sampler;
use crate::engine::windows::OpenWindow;
use crate::engine::{Engine, EngineError, EngineStats};
use crate::order::{GRACE_NS, Merge};
use crate::perf::bell::Bell;
use crate::perf::clock;
use crate::perf::ring::Ring;
use crate::perf::session::Session;
use crate::stop::StopFlag;

/// The rings of the CPUs' samples and, numbered on from them, those of page faults.
struct Rings<'a> {
    cpus: &'a mut [Ring],
    faults: &'a mut [Ring],
}

/// What a ring holds.
#[derive(Clone, Copy)]
enum Of {
    /// Samples of a CPU, and what happens to processes.
    Cpu,
    /// Page faults: the place among their rings.
    Faults(usize),
}

impl Rings<'_> {
    fn of(session: &mut Session) -> Rings<'_> {
        let (cpus, faults) = session.all_rings();
        Rings { cpus, faults }
    }

    const fn len(&self) -> usize {
        self.cpus.len() + self.faults.len()
    }

    fn get_mut(&mut self, index: usize) -> Option<(&mut Ring, Of)> {
        match index.checked_sub(self.cpus.len()) {
            None => self.cpus.get_mut(index).map(|ring| (ring, Of::Cpu)),
            Some(place) => self.faults.get_mut(place).map(|ring| (ring, Of::Faults(place))),
        }
    }
}

/// What records go to.
struct Takers<'a> {
    sampler: &'a mut Sampler,
    pace: &'a mut Pace,
    cost: &'a mut SampleCost,
}

/// The rings' records in order of time.
struct Drain {
    merge: Merge,
    /// For records that wrap around a ring's end.
    scratch: Vec<u8>,
}

pub(super) fn run(engine: &mut Engine, stop: &StopFlag, sink: &mut dyn FnMut(Batch)) -> Result<(), EngineError> {
    let watched = engine.watched.and_then(pidfd);
    if let Some(child) = &mut engine.child {
        // Its events enable themselves at its execve.
        child.release().map_err(EngineError::Command)?;
    }
    let mut poll = PollSet::new(engine, stop, watched.as_ref());
    let mut window = OpenWindow::at(engine.window, &clock::moment());
    let mut drain = Drain { merge: Merge::new(), scratch: Vec::new() };
    let mut pause = Pause::For(SHORT_NS);
    let mut hotplug = Hotplug::new(&engine.session, clock::monotonic());
    let mut ended = engine.watched.is_some() && watched.is_none();
    while !ended && !stop.is_raised() {
        ended = poll.wait(&mut engine.session, window.edge(), pause)?;
        engine.stats.rounds.add(1);
        let limit = clock::monotonic().saturating_sub(GRACE_NS);
        round(engine, &mut drain, &mut window, limit, sink);
        pause = engine.keep_budget(limit);
        if hotplug.look((&mut engine.session, &mut engine.sampler, &mut engine.pace), limit) {
            poll = PollSet::new(engine, stop, watched.as_ref());
        }
    }
    if let Err(error) = engine.session.disable() {
        tracing::debug!(%error, "perf events not disabled");
    }
    round(engine, &mut drain, &mut window, clock::monotonic(), sink);
    if let Some(lost) = engine.session.lost() {
        engine.sampler.lost_in_all(lost);
    }
    sink(engine.sampler.close_last(window.cut(&clock::moment())));
    Ok(())
}

/// Takes what the rings hold up to `limit`, and closes the windows that end on the way.
fn round(engine: &mut Engine, drain: &mut Drain, window: &mut OpenWindow, limit: u64, sink: &mut dyn FnMut(Batch)) {
    let Engine { session, sampler, stats, pace, cost, .. } = engine;
    let mut rings = Rings::of(session);
    drain.begin(&mut rings, sampler);
    let now = clock::moment();
    if let Some(jump) = window.observe(&now) {
        // A suspended machine's wall clock jumps as well when it resumes.
        tracing::info!(seconds = jump / 1_000_000_000, "the wall clock has jumped; a window ends here");
    }
    loop {
        let takers = Takers { sampler: &mut *sampler, pace: &mut *pace, cost: &mut *cost };
        match drain.take(&mut rings, takers, limit.min(window.edge() - 1)) {
            Taken::UpTo(at) => {
                stats.windows_split.add(1);
                sink(sampler.close(window.split(at)));
            }
            Taken::All if limit >= window.edge() => {
                if let Some(ended) = window.advance(&now) {
                    sink(sampler.close(ended));
                }
            }
            Taken::All => break,
        }
    }
    drain.report(stats);
    sampler.read_heaps(limit);
    sampler.read_memory();
    interpreters(session, sampler);
}

/// Follows the interpreters of Python processes, and asks for the kernel's side when the first one is seen.
pub(super) fn interpreters(session: &mut Session, sampler: &mut Sampler) {
    if sampler.interpreters().wants_tap() {
        sampler.interpreters().tapped(session.tap());
    }
    sampler.tick(clock::monotonic());
}

/// How far the records were taken.
enum Taken {
    /// All up to the limit.
    All,
    /// Up to this time: the window holds as much as it may.
    UpTo(u64),
}

impl Drain {
    /// Begins a round: the limit that goes with it was read before this.
    fn begin(&mut self, rings: &mut Rings<'_>, sampler: &mut Sampler) {
        self.merge.begin();
        for index in 0..rings.len() {
            let Some(mut ring) = rings.get_mut(index) else { continue };
            ring.0.refresh();
            self.offer(index, &mut ring, sampler);
        }
    }

    /// Applies the records up to `limit`, oldest first, as long as the window has room.
    fn take(&mut self, rings: &mut Rings<'_>, takers: Takers<'_>, limit: u64) -> Taken {
        let Takers { sampler, pace, cost } = takers;
        while let Some((index, time)) = self.merge.next(limit) {
            let Some(mut ring) = rings.get_mut(index) else { continue };
            if let Ok(Some(oldest)) = ring.0.peek() {
                let is_sample = oldest.header.kind == PERF_RECORD_SAMPLE;
                let begun = if is_sample { cost.begin() } else { None };
                let bytes = ring.0.bytes(oldest.header.size, &mut self.scratch);
                match ring.1 {
                    Of::Cpu => {
                        if is_sample {
                            sampler.weigh(pace.sampled(index, time));
                        } else if oldest.header.kind == PERF_RECORD_LOST {
                            pace.faults.give_way();
                        }
                        sampler.apply(bytes);
                    }
                    Of::Faults(place) if is_sample => {
                        sampler.apply_fault(bytes, |counted| pace.faults.sampled(place, counted, time));
                    }
                    Of::Faults(_) => sampler.apply_beside_faults(bytes),
                }
                ring.0.advance(oldest.header.size);
                ring.0.release();
                cost.end(begun);
            }
            self.offer(index, &mut ring, sampler);
            if sampler.is_window_full() {
                return Taken::UpTo(time);
            }
        }
        Taken::All
    }

    fn offer(&mut self, index: usize, (ring, of): &mut (&mut Ring, Of), sampler: &mut Sampler) {
        // Goes at once, whatever its time: it only has to come before its own sample, which follows it in this ring (and
        // may state an earlier time, since the kernel takes that first).
        while let Ok(Some(oldest)) = ring.peek()
            && oldest.accompanies
        {
            let bytes = ring.bytes(oldest.header.size, &mut self.scratch);
            match of {
                Of::Cpu => sampler.apply(bytes),
                Of::Faults(_) => sampler.apply_beside_faults(bytes),
            }
            ring.advance(oldest.header.size);
        }
        match ring.peek() {
            // A record without a time goes at once: it is broken, and must not block the ring.
            Ok(Some(oldest)) => self.merge.offer(index, oldest.time.unwrap_or_default()),
            Ok(None) => {}
            Err(_) => sampler.malformed(),
        }
    }

    fn report(&self, stats: &EngineStats) {
        stats.late.set(self.merge.late());
    }
}

/// What the loop sleeps on: the flag, the process if it is one, the rings, the bells.
struct PollSet {
    fds: Vec<libc::pollfd>,
    watches: bool,
    /// How many of `fds` are no bells.
    steady: usize,
}

impl PollSet {
    fn new(engine: &mut Engine, stop: &StopFlag, watched: Option<&OwnedFd>) -> Self {
        let watches = watched.is_some();
        let first = [stop.as_fd().as_raw_fd()].into_iter().chain(watched.map(AsRawFd::as_raw_fd));
        let mut all: Vec<_> = first.chain(engine.session.ring_fds()).collect();
        let steady = all.len();
        all.extend(engine.session.bells().map(|bell| bell.fd()));
        let fds = all.into_iter().map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        Self { fds, watches, steady }
    }

    /// Sleeps until there is something to do, the pause is over, or the records up to `edge` can be taken. Returns whether
    /// the watched process has ended.
    fn wait(&mut self, session: &mut Session, edge: u64, pause: Pause) -> Result<bool, EngineError> {
        let due = edge.saturating_add(GRACE_NS);
        let rung = match pause {
            Pause::For(_) => 0,
            Pause::Or(longest) => {
                self.poll(self.fds.len(), due, longest)?;
                self.fds.iter().skip(self.steady).filter(|bell| bell.revents != 0).count()
            }
        };
        match pause {
            Pause::For(sleep) => self.poll(self.steady, due, sleep)?,
            Pause::Or(_) if rung > 0 && self.fds.iter().take(self.steady).all(|fd| fd.revents == 0) => {
                // Not at once: others may follow, and the youngest records have to wait anyway.
                self.poll(self.steady, due, SHORT_NS)?;
            }
            Pause::Or(_) => {}
        }
        if rung > 0 {
            session.bells().for_each(Bell::empty);
        }
        Ok(self.watches && self.fds.get(1).is_some_and(|fd| fd.revents != 0))
    }

    fn poll(&mut self, count: usize, due: u64, sleep: u64) -> Result<(), EngineError> {
        let due = due.saturating_sub(clock::monotonic()).min(sleep);
        let milliseconds = i32::try_from(due.div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let fds = &mut self.fds[..count];
        // SAFETY: the pointer and the count are those of one slice of initialized pollfds, borrowed for the call.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, milliseconds) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            // Then nothing was said of any descriptor.
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(EngineError::Wait(error)) };
        }
        for fd in fds.iter_mut().skip(1 + usize::from(self.watches)).filter(|fd| fd.revents & libc::POLLHUP != 0) {
            // The event's tasks are all gone; polling it would return at once for ever. A negative descriptor is passed over.
            fd.fd = -1;
        }
        Ok(())
    }
}

/// A descriptor that is readable when the process has ended; none when it is gone already.
fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes no pointers; the result is checked before it is used.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
