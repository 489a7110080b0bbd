//! What the agent uses: CPU time of its threads, memory of its process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// CPU time of the agent.
#[derive(Clone, Debug)]
pub(crate) enum CpuMeter {
    /// The process is the agent's own: all its threads count, those that have ended included.
    Process,
    /// The process holds something else too (`flamekeeper up`): the threads that were entered count.
    Threads(Arc<Mutex<Vec<ThreadClock>>>),
}

/// A thread's CPU clock, and the last that it said: a thread that has ended says nothing.
#[derive(Debug)]
pub(crate) struct ThreadClock {
    clock: libc::clockid_t,
    last: Duration,
}

impl CpuMeter {
    /// A meter for an agent whose engine runs in the calling thread: if that is the process's main thread, the process is
    /// the agent's own.
    pub(crate) fn new() -> Self {
        if is_main_thread() {
            return Self::Process;
        }
        let meter = Self::Threads(Arc::default());
        meter.enter();
        meter
    }

    /// Counts the calling thread from now on.
    pub(crate) fn enter(&self) {
        let Self::Threads(threads) = self else { return };
        let mut clock = 0;
        // SAFETY: the pointer is to a live clockid_t; pthread_self takes none.
        if unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) } == 0 {
            lock(threads).push(ThreadClock { clock, last: Duration::ZERO });
        }
    }

    /// CPU time so far.
    pub(crate) fn used(&self) -> Duration {
        match self {
            Self::Process => read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default(),
            Self::Threads(threads) => lock(threads).iter_mut().map(ThreadClock::read).sum(),
        }
    }

    /// Whether the process is the agent's own.
    pub(crate) const fn owns_process(&self) -> bool {
        matches!(self, Self::Process)
    }
}

impl ThreadClock {
    fn read(&mut self) -> Duration {
        // The number of a thread that has ended may be another's later: a clock only ever goes forward.
        self.last = read(self.clock).filter(|now| *now >= self.last).unwrap_or(self.last);
        self.last
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_main_thread() -> bool {
    // SAFETY: neither call takes pointers.
    let (thread, process) = unsafe { (libc::gettid(), libc::getpid()) };
    thread == process
}

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the call fills in; an unknown clock is an error.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All resident pages.
    pub(crate) resident: u64,
    /// Those of no file.
    pub(crate) anonymous: u64,
}

/// Reads the memory of this process again and again, from a file that stays open: opening it takes longer than reading it.
#[derive(Debug)]
pub(crate) struct MemoryMeter(Option<File>);

impl MemoryMeter {
    pub(crate) fn new() -> Self {
        Self(File::open("/proc/self/statm").ok())
    }

    /// The memory of this process; zero where procfs does not tell.
    pub(crate) fn read(&self) -> Memory {
        // Seven numbers of at most twenty digits.
        let mut text = [0; 256];
        let read = self.0.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let text = read.and_then(|read| std::str::from_utf8(text.get(..read)?).ok());
        text.and_then(|text| parse_statm(text, crate::perf::ring::page_size() as u64)).unwrap_or_default()
    }
}

/// Reads `/proc/PID/statm` (proc_pid_statm(5)): pages of size, resident, and of the resident those of files and shared memory.
fn parse_statm(text: &str, page: u64) -> Option<Memory> {
    let mut fields = text.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (fields.next()??, fields.next()??);
    Some(Memory { resident: resident.checked_mul(page)?, anonymous: resident.saturating_sub(shared).checked_mul(page)? })
}

/// Gives memory that the allocator holds free back to the kernel.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; glibc's allocator locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of statm in pages; a cut or strange text is none.
    #[test]
    fn statm() {
        let memory = Memory { resident: 300 * 4096, anonymous: 180 * 4096 };
        assert_eq!(parse_statm("1000 300 120 50 0 400 0\n", 4096), Some(memory));
        for bad in ["", "1", "1 2", "1 x 3", "1 18446744073709551615 0"] {
            assert_eq!(parse_statm(bad, 4096), None, "{bad}");
        }
        let meter = MemoryMeter::new();
        assert!(meter.read().anonymous > 100_000 && meter.read().resident > 100_000);
    }

    /// Of a shared process only the entered threads count, also after they have ended.
    #[test]
    fn threads_that_count() {
        let meter = CpuMeter::new();
        assert!(!meter.owns_process(), "a test runs in a thread of its own");
        let before = meter.used();
        let burn = |enter: bool| {
            let meter = meter.clone();
            let body = move || {
                if enter {
                    meter.enter();
                }
                let begun = read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap();
                while read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap() - begun < Duration::from_millis(40) {}
                meter.used();
            };
            std::thread::spawn(body).join().unwrap();
        };
        burn(false);
        assert!(meter.used() - before < Duration::from_millis(30));
        burn(true);
        assert!(meter.used() - before >= Duration::from_millis(40));
    }
}
