//! A bell on each CPU, by which the kernel says at once that a program begins there (`execve`), that a thread is named, or that code
//! is mapped: a library that is loaded may be gone, and its file with it, before the next round that nothing hurries.
//!
//! The sampling events say so too, but their rings wake the reader by what they hold in bytes, and a sample is as large as a
//! thousand such records. So a second event, which samples nothing, has these records alone in a ring of a page
//! and wakes the reader with each. What they say is not read: it is in the other rings as well, in order. That way the rings can be
//! read seldom as long as nothing begins, and a program is looked at while it lives.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use perf_event::events::{Event, Software};
use perf_event::{Builder, Counter, ReadFormat};

use crate::perf::close_on_exec;
use crate::perf::ring::Ring;

/// The bell of one CPU.
#[derive(Debug)]
pub(crate) struct Bell {
    event: Counter,
    ring: Ring,
}

impl Bell {
    /// Hangs one up.
    pub(crate) fn on(cpu: usize) -> io::Result<Self> {
        let mut builder = Builder::new().kind(Event::Software(Software::DUMMY)).one_cpu(cpu).any_pid();
        builder.enabled(true).read_format(ReadFormat::empty()).comm(true).mmap(true).wakeup_watermark(1);
        let event = builder.build()?;
        close_on_exec(&event)?;
        let ring = Ring::map(&event, 1)?;
        Ok(Self { event, ring })
    }

    /// Readable for `poll(2)` once it has rung; that takes note of it.
    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Makes room for it to ring again.
    pub(crate) fn empty(&mut self) {
        self.ring.empty();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::perf::cpus;

    /// However often programs begin, a bell rings for the next.
    #[test]
    fn rings_for_each_program() {
        let mut bells: Vec<Bell> = cpus::online().into_iter().map(|cpu| Bell::on(cpu).unwrap()).collect();
        for _ in 0..150 {
            assert!(std::process::Command::new("true").status().unwrap().success());
        }
        bells.iter_mut().for_each(Bell::empty);
        let until = Instant::now() + Duration::from_secs(20);
        let mut fds: Vec<_> = bells.iter().map(|bell| libc::pollfd { fd: bell.fd(), events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: the pointer and the count are those of one vector of initialized pollfds, borrowed for the call.
        let mut rung = |wait| unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, wait) } > 0;
        rung(0);
        assert!(std::process::Command::new("true").status().unwrap().success());
        while !rung(100) {
            assert!(Instant::now() < until, "no bell has rung");
        }
    }
}
