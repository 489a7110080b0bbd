//! The monotonic clock that the kernel stamps records with, and the wall clock beside it.

use std::sync::OnceLock;

use flamekeeper_profile::Timestamp;

use crate::clock as wall_clock;

/// Where a time namespace says what it adds to the clocks of the processes in it (`time_namespaces(7)`).
const OFFSETS: &str = "/proc/self/timens_offsets";
/// How often the clocks are read anew to come by a moment that is exact.
const TRIES: usize = 4;
/// Clocks that are read within this time, in nanoseconds, are read at one moment.
const AT_ONCE: u64 = 20_000;

/// `CLOCK_MONOTONIC` of the host now, in nanoseconds: the clock of [`crate::record::Sample::time`].
///
/// In a time namespace the clock that a process reads is shifted; the one in the kernel's records is not.
pub(crate) fn monotonic() -> u64 {
    /// What the namespace adds; it cannot change for a process that runs.
    static ADDED: OnceLock<i64> = OnceLock::new();
    let added = ADDED.get_or_init(|| std::fs::read_to_string(OFFSETS).map_or(0, |text| monotonic_offset(&text)));
    shifted().saturating_add_signed(added.saturating_neg())
}

fn shifted() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call. It cannot fail: the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec).unwrap_or_default(), u64::try_from(now.tv_nsec).unwrap_or_default());
    seconds * 1_000_000_000 + nanoseconds
}

/// Reads the line `monotonic SECONDS NANOSECONDS`; 0 where there is none.
fn monotonic_offset(text: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix("monotonic"));
    let mut numbers = line.into_iter().flat_map(str::split_whitespace).map(|word| word.parse::<i64>().ok());
    let (seconds, nanoseconds) = (numbers.next().flatten(), numbers.next().flatten());
    seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds?)).unwrap_or_default()
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The wall clock.
    pub(crate) wall: Timestamp,
    /// The monotonic clock, in nanoseconds.
    pub(crate) monotonic: u64,
    /// How far the two may lie apart because this thread was held up between reading them, in nanoseconds.
    pub(crate) doubt: u64,
}

impl Moment {
    /// By how much the wall clock is ahead of the monotonic one, in nanoseconds.
    pub(crate) fn ahead(&self) -> i64 {
        i64::try_from(i128::from(self.wall.0) - i128::from(self.monotonic)).unwrap_or_default()
    }
}

/// Now, on both clocks, as nearly at once as a few tries allow.
pub(crate) fn moment() -> Moment {
    let read = || {
        let before = monotonic();
        let wall = wall_clock::now();
        let doubt = monotonic().saturating_sub(before);
        Moment { wall, monotonic: before + doubt / 2, doubt }
    };
    let mut best = read();
    for _ in 1..TRIES {
        if best.doubt <= AT_ONCE {
            break;
        }
        let again = read();
        if again.doubt < best.doubt {
            best = again;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets of a time namespace are read, in the initial one they are 0, and nothing else is an offset.
    #[test]
    fn reads_offsets_of_a_time_namespace() {
        assert_eq!(monotonic_offset("monotonic           0         0\nboottime            0         0\n"), 0);
        assert_eq!(monotonic_offset("monotonic       86400       500\nboottime 7 7\n"), 86_400_000_000_500);
        assert_eq!(monotonic_offset("monotonic          -5         3\n"), -4_999_999_997);
        for bad in ["", "monotonic", "monotonic x y", "monotonic 9223372036854775807 1"] {
            assert_eq!(monotonic_offset(bad), 0, "{bad:?}");
        }
    }

    /// Both clocks go forward, and together.
    #[test]
    fn moments_follow_each_other() {
        let (first, second) = (moment(), moment());
        assert!(second.monotonic >= first.monotonic);
        let (wall, monotonic) = (second.wall.0.abs_diff(first.wall.0), second.monotonic - first.monotonic);
        assert!(wall.abs_diff(monotonic) <= first.doubt + second.doubt + 1_000, "{first:?} {second:?}");
    }
}
