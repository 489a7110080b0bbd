//! The engine's loop: wait, drain the rings in order of time, close windows.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use flamekeeper_profile::Batch;

use crate::clock as wall_clock;
use crate::engine::sampler::Sampler;
use crate::engine::windows::OpenWindow;
use crate::engine::{Engine, EngineError, EngineStats};
use crate::order::{GRACE_NS, Merge};
use crate::perf::clock;
use crate::perf::ring::Ring;
use crate::stop::StopFlag;

/// The longest sleep, in nanoseconds: how long a process may be dead before procfs is asked about it.
const TICK_NS: u64 = 100_000_000;

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
    let mut window = OpenWindow::at(engine.window, wall_clock::now(), clock::monotonic());
    let mut drain = Drain { merge: Merge::new(), scratch: Vec::new() };
    let mut ended = engine.watched.is_some() && watched.is_none();
    while !ended && !stop.is_raised() {
        ended = poll.wait(window.edge())?;
        let limit = clock::monotonic().saturating_sub(GRACE_NS);
        round(engine, &mut drain, &mut window, limit, sink);
    }
    if let Err(error) = engine.session.disable() {
        tracing::debug!(%error, "perf events not disabled");
    }
    round(engine, &mut drain, &mut window, clock::monotonic(), sink);
    sink(engine.sampler.close(window.cut(wall_clock::now())));
    Ok(())
}

/// Takes what the rings hold up to `limit`, and closes the windows that end on the way.
fn round(engine: &mut Engine, drain: &mut Drain, window: &mut OpenWindow, limit: u64, sink: &mut dyn FnMut(Batch)) {
    let Engine { session, sampler, stats, .. } = engine;
    let rings = session.rings();
    drain.begin(rings, sampler);
    while limit >= window.edge() {
        drain.take(rings, sampler, window.edge() - 1);
        let ended = window.advance(wall_clock::now(), clock::monotonic());
        sink(sampler.close(ended));
    }
    drain.take(rings, sampler, limit);
    drain.report(stats);
}

impl Drain {
    /// Begins a round: the limit that goes with it was read before this.
    fn begin(&mut self, rings: &mut [Ring], sampler: &mut Sampler) {
        self.merge.begin();
        for (index, ring) in rings.iter_mut().enumerate() {
            ring.refresh();
            self.offer(index, ring, sampler);
        }
    }

    /// Applies the records up to `limit`, oldest first.
    fn take(&mut self, rings: &mut [Ring], sampler: &mut Sampler, limit: u64) {
        while let Some((index, _)) = self.merge.next(limit) {
            let Some(ring) = rings.get_mut(index) else { continue };
            if let Ok(Some(oldest)) = ring.peek() {
                sampler.apply(ring.bytes(oldest.header.size, &mut self.scratch));
                ring.advance(oldest.header.size);
                ring.release();
            }
            self.offer(index, ring, sampler);
        }
    }

    fn offer(&mut self, index: usize, ring: &mut Ring, sampler: &mut Sampler) {
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

/// What the loop sleeps on: the flag, the process if it is one, the rings.
struct PollSet {
    fds: Vec<libc::pollfd>,
    watches: bool,
}

impl PollSet {
    fn new(engine: &Engine, stop: &StopFlag, watched: Option<&OwnedFd>) -> Self {
        let watches = watched.is_some();
        let first = [stop.as_fd().as_raw_fd()].into_iter().chain(watched.map(AsRawFd::as_raw_fd));
        let all = first.chain(engine.session.ring_fds().iter().copied());
        Self { fds: all.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect(), watches }
    }

    /// Sleeps until there is something to do, a tick has passed, or the records up to `edge` can be taken. Returns whether
    /// the watched process has ended.
    fn wait(&mut self, edge: u64) -> Result<bool, EngineError> {
        let due = edge.saturating_add(GRACE_NS).saturating_sub(clock::monotonic()).min(TICK_NS);
        let milliseconds = i32::try_from(due.div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let count = self.fds.len() as libc::nfds_t;
        // SAFETY: the pointer and the count are those of one vector of initialized pollfds, borrowed for the call.
        let ready = unsafe { libc::poll(self.fds.as_mut_ptr(), count, milliseconds) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(EngineError::Wait(error)) };
        }
        for fd in self.fds.iter_mut().skip(1 + usize::from(self.watches)).filter(|fd| fd.revents & libc::POLLHUP != 0) {
            // The event's tasks are all gone; polling it would return at once for ever. A negative descriptor is passed over.
            fd.fd = -1;
        }
        Ok(self.watches && self.fds.get(1).is_some_and(|fd| fd.revents != 0))
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
