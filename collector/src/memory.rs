//! The collector's memory: one number of the configuration, shared out among what grows, and a guard that stops taking on work when
//! the process comes near it.
//!
//! | share | what |
//! |---|---|
//! | 1/8 | what of the store was read: half of it blocks, half entries of dictionaries |
//! | 1/8 | the writer's dictionaries |
//! | 1/8, at least 64 MiB | what was written and is in the engine's journals only |
//! | 1/8 | bodies that agents send, as sent |
//! | 1/4 | stacks that one question may merge, at some 256 bytes each |
//! | the rest | decoding of one or two batches, symbols, rendering |
//!
//! These are bounds on each part. What all parts take together is measured ([`Pressure`]): above seven eighths of the limit only one body and
//! one question are worked on at a time, and others are sent away for a moment, until memory is free again. One always is, so that
//! memory that the allocator keeps cannot stop the collector for good.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::StoreLimits;

/// Bytes that a merged stack takes, with its sums and its share of the tables.
const STACK_BYTES: u64 = 256;
/// Fewer stacks make no useful answer.
const LEAST_STACKS: u64 = 100_000;

/// How much memory the parts may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    bytes: u64,
}

impl MemoryPlan {
    /// A plan for so many bytes in all.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self { bytes }
    }

    /// The store's bounds, with so many bytes free on its disk.
    #[must_use]
    pub fn store(self, min_free_bytes: u64) -> StoreLimits {
        let part = self.bytes / 8;
        let stacks = (self.bytes / 4 / STACK_BYTES).max(LEAST_STACKS);
        StoreLimits {
            merged_stacks: usize::try_from(stacks).unwrap_or(usize::MAX),
            cache_bytes: part,
            dictionary_bytes: part,
            write_bytes: part,
            min_free_bytes,
        }
    }

    /// Bytes of bodies in memory at once, as sent.
    #[must_use]
    pub fn bodies(self) -> usize {
        usize::try_from(self.bytes / 8).unwrap_or(usize::MAX)
    }

    /// Batches that are decoded at once. Each may take some 300 MB at the worst.
    #[must_use]
    pub const fn decoders(self) -> usize {
        if self.bytes < 1 << 30 { 1 } else { 2 }
    }
}

/// How near the process is to its limit.
#[derive(Debug)]
pub struct Pressure {
    limit: u64,
    anonymous: AtomicU64,
    sent_away: AtomicU64,
}

impl Default for Pressure {
    /// Never high.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Pressure {
    /// For a limit in bytes.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, anonymous: AtomicU64::new(0), sent_away: AtomicU64::new(0) }
    }

    /// Looks at the process. Where procfs does not tell, nothing is known to be high.
    pub fn measure(&self) {
        self.anonymous.store(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Anonymous memory when it was last looked at, in bytes. Mapped symbol files are not in it: the kernel takes them back.
    pub fn anonymous(&self) -> u64 {
        self.anonymous.load(Ordering::Relaxed)
    }

    /// How often something was sent away.
    pub fn sent_away(&self) -> u64 {
        self.sent_away.load(Ordering::Relaxed)
    }

    /// Whether the process is near its limit.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.anonymous() > self.limit / 8 * 7
    }

    /// Whether something new may be begun beside `others` of its kind. A refusal is counted.
    #[must_use]
    pub fn admits(&self, others: usize) -> bool {
        let admits = others == 0 || !self.is_high();
        self.sent_away.fetch_add(u64::from(!admits), Ordering::Relaxed);
        admits
    }
}

/// Anonymous resident memory of this process: `RssAnon` of proc_pid_status(5).
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parts together stay below the limit, and grow with it.
    #[test]
    fn parts_fit() {
        for bytes in [512 << 20, 1 << 30, 8 << 30_u64] {
            let plan = MemoryPlan::new(bytes);
            let store = plan.store(0);
            let stacks = store.merged_stacks as u64 * STACK_BYTES;
            assert!(store.cache_bytes + store.dictionary_bytes + store.write_bytes + plan.bodies() as u64 + stacks <= bytes);
        }
        assert!(MemoryPlan::new(1 << 28).decoders() < MemoryPlan::new(1 << 30).decoders());
    }

    /// Near the limit one thing at a time is begun; below it, and where there is no limit, all are.
    #[test]
    fn admits_one_at_least() {
        let small = Pressure::new(8 << 20);
        small.anonymous.store((7 << 20) + 1, Ordering::Relaxed);
        assert!(small.admits(0) && !small.admits(1));
        assert_eq!(small.sent_away(), 1);
        small.anonymous.store(7 << 20, Ordering::Relaxed);
        assert!(small.admits(100));
        let free = Pressure::default();
        free.measure();
        assert!(free.admits(1000) && free.anonymous() > 0);
    }
}
