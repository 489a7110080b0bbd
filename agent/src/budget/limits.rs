//! What each structure may hold, as a share of the memory ceiling.
//!
//! The shares add up to seven eighths; the rest is for what no limit sees: the program itself, the kernel's symbols, rule
//! caches, the allocator's gaps. Of the default 128 MB: unwind sections 40, rings 32, names of generated code 16,
//! processes 8, and 16 for tables of windows: the one that is open, those that wait for the disk, and the one that is being
//! encoded.

/// Windows of which tables can be in memory at once: the open one, four in the queue, and one encoded, twice.
const WINDOWS: u64 = 8;
/// The smallest window: a few samples always fit.
const SMALLEST_WINDOW: u64 = 256 << 10;

/// Bounds in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Unwind information of objects.
    pub(crate) sections: usize,
    /// Processes and their mappings.
    pub(crate) processes: usize,
    /// Tables of one window.
    pub(crate) window: usize,
}

impl Limits {
    /// The bounds under a memory ceiling, caches halved `cache_step` times.
    pub(crate) fn new(memory: u64, cache_step: u8) -> Self {
        let halved = |bytes: u64| usize::try_from(bytes >> cache_step.min(16)).unwrap_or(usize::MAX);
        Self {
            sections: halved(memory / 16 * 5),
            processes: halved(memory / 16),
            window: halved((memory / 8 / WINDOWS).max(SMALLEST_WINDOW)),
        }
    }
}

/// Memory for all rings together, in bytes: those of page faults have what those of CPU samples leave.
pub(crate) const fn ring_bytes(memory: u64) -> u64 {
    memory / 4
}

/// Memory for names of generated code, in bytes.
pub(crate) fn name_bytes(memory: u64) -> usize {
    usize::try_from(memory / 8).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares of any ceiling stay below it, rings and windows in flight included, and halve with each step.
    #[test]
    fn shares_fit_the_ceiling() {
        for memory in [32 << 20, 128 << 20, 1 << 30, 1 << 40] {
            let limits = Limits::new(memory, 0);
            let sum =
                ring_bytes(memory) + (limits.sections + limits.processes + name_bytes(memory)) as u64 + WINDOWS * limits.window as u64;
            assert!(sum <= memory / 8 * 7, "{sum} of {memory}");
            assert_eq!(Limits::new(memory, 2).sections, limits.sections / 4);
        }
    }
}
