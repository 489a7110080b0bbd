//! What an open event says of itself when it is read (`perf_event_open(2)`, "Reading results").

use std::os::fd::AsRawFd;

use perf_event::Counter;

/// `PERF_FORMAT_TOTAL_TIME_ENABLED` of `include/uapi/linux/perf_event.h`.
const TOTAL_TIME_ENABLED: u64 = 1;
/// `PERF_FORMAT_LOST`.
const LOST: u64 = 1 << 4;

/// What to open events with that are read here.
pub(crate) const fn format(lost: bool) -> u64 {
    TOTAL_TIME_ENABLED | if lost { LOST } else { 0 }
}

/// One event's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// For how long it has been enabled, in nanoseconds. This stands still once the kernel has ended the event.
    pub(crate) enabled_ns: u64,
    /// Records that found no room in its ring; 0 where the kernel does not count them.
    pub(crate) lost: u64,
}

impl Reading {
    /// Asks the event, on the CPU that it watches: where that does not run, this waits for it. An event that is beyond
    /// answering has all zeros.
    pub(crate) fn take(counter: &Counter) -> Self {
        // The count itself is not of interest.
        let mut words = [0_u64; 3];
        // SAFETY: the descriptor is open, and the pointer and size are those of a live array.
        let read = unsafe { libc::read(counter.as_raw_fd(), words.as_mut_ptr().cast(), size_of_val(&words)) };
        if read < 0 {
            return Self::default();
        }
        let [_, enabled_ns, lost] = words;
        Self { enabled_ns, lost }
    }
}

/// Whether the kernel still has the event at work: its time goes on from one look to the next.
pub(crate) fn is_alive(counter: &Counter) -> bool {
    let before = Reading::take(counter).enabled_ns;
    Reading::take(counter).enabled_ns > before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EventChoice;
    use crate::perf::event::{EventSpec, Who};

    /// The time of an event goes on while it is at work, and stands still before and after.
    #[test]
    fn time_tells_an_event_at_work() {
        let mut counter = EventSpec::new(EventChoice::CpuClock, 99, 8).open(Who::Everyone, 0).unwrap();
        assert!(!is_alive(&counter));
        counter.enable().unwrap();
        assert!(is_alive(&counter));
        counter.disable().unwrap();
        assert!(!is_alive(&counter));
    }
}
