//! Whether a question's work is still wanted: its asker is there, its time is not over; and how far it is.
//!
//! The work of a question runs on one thread, from the store's scan to the rendered answer. [`Watch::during`] makes its watch that
//! thread's current one, and the loops that can take long call [`Ticker::tick`] for each row that they read. So every store
//! and every endpoint can be stopped, and the store's trait stays one of whole questions.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Watch>>> = const { RefCell::new(None) };
}

/// Why work was stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Nobody waits for the answer any more.
    #[error("nobody waits for the answer any more")]
    Left,
    /// It took longer than a question may.
    #[error(
        "the answer takes longer than {} s; choose a shorter window, or a selector of service and version only, which the merged tiers answer",
        limit.as_secs_f64()
    )]
    Time {
        /// The time allowed.
        limit: Duration,
    },
}

/// What watches over one question. Rows are those read from the store.
#[derive(Debug)]
pub struct Watch {
    started: Instant,
    limit: Duration,
    left: AtomicBool,
    rows: AtomicU64,
}

impl Watch {
    /// A watch whose time begins now.
    #[must_use]
    pub fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), limit, left: AtomicBool::new(false), rows: AtomicU64::new(0) })
    }

    /// Says that nobody waits any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Time since the question came.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn check(&self) -> Result<(), Stopped> {
        if self.left.load(Ordering::Relaxed) {
            Err(Stopped::Left)
        } else if self.elapsed() > self.limit {
            Err(Stopped::Time { limit: self.limit })
        } else {
            Ok(())
        }
    }

    /// Does work under this watch: what the thread asks within is counted here, and stopped with it.
    pub fn during<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        /// Puts back what was there, also after a panic: the thread goes on with other questions.
        struct Before(Option<Arc<Watch>>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _before = Before(CURRENT.replace(Some(Arc::clone(self))));
        work()
    }
}

/// Checks the watch of the thread's question between two steps of its work; passes where there is none.
///
/// # Errors
/// [`Stopped`].
pub fn check() -> Result<(), Stopped> {
    CURRENT.with_borrow(|watch| watch.as_ref().map_or(Ok(()), |watch| watch.check()))
}

/// Counts rows for the watch that was the thread's when it was made; does nothing where there was none.
#[derive(Debug)]
pub struct Ticker {
    watch: Option<Arc<Watch>>,
}

/// Looking at the clock costs some 30 ns: it is done once for so many rows.
const ROWS_BETWEEN_CHECKS: u64 = 64;

impl Ticker {
    /// For the question that this thread works on.
    #[must_use]
    pub fn current() -> Self {
        Self { watch: CURRENT.with_borrow(Clone::clone) }
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn check(&self) -> Result<(), Stopped> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.check())
    }

    /// One row more. Now and then it is checked whether the work may go on.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn tick(&self) -> Result<(), Stopped> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let rows = watch.rows.fetch_add(1, Ordering::Relaxed);
        if rows.is_multiple_of(ROWS_BETWEEN_CHECKS) { watch.check() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are counted for the question at hand, and one that is left or takes too long is told to stop.
    #[test]
    fn counts_and_stops() {
        let watch = Watch::new(Duration::from_secs(3600));
        let work = || {
            let ticker = Ticker::current();
            (0..1000).try_for_each(|_| ticker.tick())
        };
        assert_eq!((watch.during(work), watch.rows()), (Ok(()), 1000));
        watch.leave();
        assert_eq!(watch.during(work), Err(Stopped::Left));
        assert!(watch.rows() <= 1000 + ROWS_BETWEEN_CHECKS);
        let short = Watch::new(Duration::ZERO);
        assert_eq!(short.during(check), Err(Stopped::Time { limit: Duration::ZERO }));
        assert_eq!((check(), work()), (Ok(()), Ok(())), "without a question nothing is stopped");
    }

    /// Work that panics leaves no watch behind.
    #[test]
    fn ends_with_a_panic() {
        let watch = Watch::new(Duration::ZERO);
        assert!(std::panic::catch_unwind(|| watch.during(|| panic!("on purpose"))).is_err());
        assert_eq!(check(), Ok(()));
    }
}
