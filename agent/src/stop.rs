//! The flag that ends the engine's threads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag that is raised once and wakes whoever sleeps in `poll(2)` on it, or awaits it. Clones share the flag.
#[derive(Clone, Debug)]
pub struct StopFlag {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raised: AtomicBool,
    event: OwnedFd,
    tasks: Notify,
}

impl StopFlag {
    /// A flag that is not raised.
    ///
    /// # Errors
    /// When the kernel refuses an event descriptor (too many open files).
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; the result is checked before it is used.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: eventfd has just returned this descriptor and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { inner: Arc::new(Inner { raised: AtomicBool::new(false), event, tasks: Notify::new() }) })
    }

    /// Raises the flag, from any thread and as often as one likes.
    pub fn raise(&self) {
        self.inner.raised.store(true, Ordering::Release);
        self.inner.tasks.notify_waiters();
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer is 8 bytes long and outlives the call. A full counter (EAGAIN) means that it is readable
        // already, which is all that is wanted.
        unsafe { libc::write(self.inner.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Whether it has been raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.inner.raised.load(Ordering::Acquire)
    }

    /// Waits until it is raised, in any runtime.
    pub(crate) async fn raised(&self) {
        let woken = self.inner.tasks.notified();
        tokio::pin!(woken);
        // From here on it is woken; what was raised before is seen.
        woken.as_mut().enable();
        if !self.is_raised() {
            woken.await;
        }
    }
}

impl AsFd for StopFlag {
    /// A descriptor that is readable once the flag is raised.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who awaits the flag goes on when it is raised, also twice in one runtime, and at once where it is raised already.
    #[test]
    fn raised_flag_wakes_tasks() {
        let flag = StopFlag::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let raise = async {
                tokio::task::yield_now().await;
                flag.raise();
            };
            tokio::join!(flag.raised(), flag.raised(), raise);
            flag.raised().await;
        });
    }

    /// A raised flag is seen through every clone, and its descriptor is readable.
    #[test]
    fn raised_flag_wakes_poll() {
        let flag = StopFlag::new().unwrap();
        let other = flag.clone();
        assert!(!other.is_raised());
        flag.raise();
        assert!(other.is_raised());
        let mut poll = libc::pollfd { fd: other.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one initialized pollfd.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 0) }, 1);
    }
}
