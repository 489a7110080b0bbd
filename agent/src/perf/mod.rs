//! Perf events: opening them, and reading their rings.
//!
//! Counters are opened through the `perf-event` crate, whose builder knows every attribute. It has no ring, and the one of
//! `perf-event2` reads registers where the ABI says that there are none (every sample of a kernel thread fails) and
//! allocates for each record; so the ring is read here ([`ring`]), and its records by [`crate::record`].

pub(crate) mod bell;
pub(crate) mod clock;
pub(crate) mod cpu_times;
pub(crate) mod cpus;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod faults;
pub(crate) mod online;
pub(crate) mod period;
pub(crate) mod reading;
pub(crate) mod ring;
pub(crate) mod session;

use std::io;
use std::os::fd::AsRawFd;

/// Keeps a program that this process may start from having the descriptor.
fn close_on_exec(event: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call takes no pointers.
    if unsafe { libc::fcntl(event.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
