//! Group commit: writers that come while one waits for the disk share the next wait.

use std::sync::{Condvar, Mutex, PoisonError};

/// Counts writes and syncs. A write is durable once a sync that started after it has ended.
#[derive(Debug, Default)]
pub(super) struct GroupSync {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    durable: u64,
    syncing: bool,
    failed: bool,
}

/// A write's place in the order of writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

/// The disk refused a sync once; nothing written since can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncFailed;

impl GroupSync {
    /// Says that a write has been handed to the operating system, and what to wait for.
    pub(super) fn written(&self) -> Ticket {
        let mut state = self.lock();
        state.written += 1;
        Ticket(state.written)
    }

    /// Says that a write has failed, which is as bad as a sync that has.
    pub(super) fn fail(&self) {
        self.lock().failed = true;
        self.done.notify_all();
    }

    /// Whether a write or a sync has failed.
    pub(super) fn failed(&self) -> bool {
        self.lock().failed
    }

    /// Waits until the write is durable; `sync` is called by one of those that wait.
    pub(super) fn wait<E>(&self, ticket: Ticket, sync: impl FnOnce() -> Result<(), E>) -> Result<(), Result<E, SyncFailed>> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return Err(Err(SyncFailed));
            }
            if state.durable >= ticket.0 {
                return Ok(());
            }
            if !state.syncing {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.syncing = true;
        let covered = state.written;
        drop(state);
        let result = sync();
        let mut state = self.lock();
        state.syncing = false;
        match &result {
            Ok(()) => state.durable = state.durable.max(covered),
            Err(_) => state.failed = true,
        }
        drop(state);
        self.done.notify_all();
        result.map_err(Ok)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The counters are valid after any panic: each is set in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Eight writers at once need fewer syncs than writes, and after a failed one nobody is told that he is safe.
    #[test]
    fn shares_syncs_and_remembers_failure() {
        let (sync, count) = (GroupSync::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let ticket = sync.written();
                        let slow = || {
                            count.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(std::time::Duration::from_millis(2));
                            Ok::<(), ()>(())
                        };
                        sync.wait(ticket, slow).unwrap();
                    }
                });
            }
        });
        assert!(count.load(Ordering::Relaxed) < 80);
        let ticket = sync.written();
        assert_eq!(sync.wait(ticket, || Err("disk")), Err(Ok("disk")));
        let ticket = sync.written();
        assert_eq!(sync.wait(ticket, || Ok::<(), ()>(())), Err(Err(SyncFailed)));
    }
}
