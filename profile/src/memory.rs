//! Memory of processes over time, as sample types.
//!
//! How much memory a process has is a level: levels of one moment may be added up, over processes and hosts, but not those of two
//! moments. What is stored is therefore a level's *sum over time* (its integral), in [`UNIT`]: 3 GiB for 10 s and 1 GiB for 5 s are
//! 35 GiB·s, whatever windows, minutes or hours that is cut into. That adds up like CPU time does, so every tier, selector and store
//! takes it as it is; by the length of the time that is asked for it becomes bytes again ([`mean_bytes`]), as CPU time becomes
//! cores.

use crate::sample_type::SampleType;

/// The unit of all types here: a KiB for a second. (A byte for a second would overflow 64 bits where a fleet has a petabyte.)
pub const UNIT: &str = "kibibyte_seconds";

/// Bytes and nanoseconds of one [`UNIT`].
const UNIT_BYTE_NANOSECONDS: u128 = 1024 * 1_000_000_000;

/// What is measured of the memory of a process, or of its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum MemoryKind {
    /// Resident memory: anonymous, file and shared, each page as often as processes have it (`VmRSS`).
    Resident,
    /// The same with each page shared out among the processes that have it (`Pss`): this may be added up.
    Proportional,
    /// Resident memory of no file (`RssAnon`): heaps and stacks. It cannot be dropped.
    Anonymous,
    /// Resident pages of files (`RssFile`): code and what is mapped. It can be read again.
    File,
    /// Resident memory of the kernel's shared-memory file system (`RssShmem`).
    Shared,
    /// What was moved to swap (`VmSwap`).
    Swap,
    /// What a cgroup has, pages of files and of the kernel included (`memory.current`).
    Cgroup,
    /// What a cgroup may have (the least `memory.max` of those that it lies in).
    Limit,
    /// Above what a cgroup is slowed down (`memory.high`).
    High,
}

impl MemoryKind {
    /// All kinds.
    pub const ALL: [Self; 9] =
        [Self::Resident, Self::Proportional, Self::Anonymous, Self::File, Self::Shared, Self::Swap, Self::Cgroup, Self::Limit, Self::High];

    /// The type's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resident => "memory_rss",
            Self::Proportional => "memory_pss",
            Self::Anonymous => "memory_anon",
            Self::File => "memory_file",
            Self::Shared => "memory_shmem",
            Self::Swap => "memory_swap",
            Self::Cgroup => "memory_cgroup",
            Self::Limit => "memory_limit",
            Self::High => "memory_high",
        }
    }

    /// What the one frame of its stacks says.
    #[must_use]
    pub const fn frame(self) -> &'static str {
        match self {
            Self::Resident => "resident memory",
            Self::Proportional => "resident memory, shared pages by their share",
            Self::Anonymous => "anonymous memory",
            Self::File => "pages of files",
            Self::Shared => "shared memory",
            Self::Swap => "swapped out",
            Self::Cgroup => "memory of cgroups",
            Self::Limit => "limits of cgroups",
            Self::High => "soft limits of cgroups",
        }
    }

    /// The sample type.
    #[must_use]
    pub fn sample_type(self) -> SampleType {
        SampleType::plain(self.as_str(), UNIT)
    }
}

/// What happens for want of memory. Counts and times: they add up by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum MemoryEvent {
    /// Processes killed, by the cgroup's limit or the host's (`oom_kill`).
    OomKills,
    /// Times that a cgroup was at its limit (`max` of `memory.events`).
    Limited,
    /// Times that a cgroup was slowed down above its soft limit (`high` of `memory.events`).
    Slowed,
    /// Time in which some task waited for memory (PSI).
    StalledSome,
    /// Time in which all that had work did.
    StalledFull,
}

impl MemoryEvent {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::OomKills, Self::Limited, Self::Slowed, Self::StalledSome, Self::StalledFull];

    /// The type's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OomKills => "oom_kills",
            Self::Limited => "cgroup_limit_hits",
            Self::Slowed => "cgroup_high_hits",
            Self::StalledSome => "stalled_memory_some",
            Self::StalledFull => "stalled_memory_full",
        }
    }

    /// What the one frame of its stacks says.
    #[must_use]
    pub const fn frame(self) -> &'static str {
        match self {
            Self::OomKills => "killed for want of memory",
            Self::Limited => "at the cgroup's limit",
            Self::Slowed => "above the cgroup's soft limit",
            Self::StalledSome => "some waited for memory",
            Self::StalledFull => "all waited for memory",
        }
    }

    /// The sample type.
    #[must_use]
    pub fn sample_type(self) -> SampleType {
        let unit = if matches!(self, Self::StalledSome | Self::StalledFull) { "nanoseconds" } else { "count" };
        SampleType::plain(self.as_str(), unit)
    }
}

/// A level's sum over time, of bytes times nanoseconds, in [`UNIT`]; saturating.
#[must_use]
pub fn over_time(byte_nanoseconds: u128) -> u64 {
    let rounded = byte_nanoseconds.saturating_add(UNIT_BYTE_NANOSECONDS / 2) / UNIT_BYTE_NANOSECONDS;
    u64::try_from(rounded).unwrap_or(u64::MAX)
}

/// The mean level, in bytes, of a sum over so many nanoseconds; saturating. 0 for no time.
#[must_use]
pub fn mean_bytes(sum: u64, nanoseconds: u64) -> u64 {
    let bytes = (u128::from(sum) * UNIT_BYTE_NANOSECONDS).checked_div(u128::from(nanoseconds)).unwrap_or_default();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The unit in which values of a unit are answered: [`UNIT`] becomes bytes.
#[must_use]
pub fn answered_unit(unit: &str) -> &str {
    if unit == UNIT { "bytes" } else { unit }
}

/// Bytes in a binary unit, for people to read: `1.5 MiB`, `-12 B`.
#[must_use]
pub fn readable(bytes: f64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().map(|(power, unit)| (f64::from(power).exp2(), unit)).find(|(size, _)| bytes.abs() >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes / size),
        None => format!("{bytes:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// However the time is cut, the parts add up to the whole, to a KiB·s for each part.
    #[test]
    fn parts_add_up() {
        let level = |second: u64| 5_000_000 + second * 70_001;
        let parts: Vec<u64> = (0..3600).map(|second| over_time(u128::from(level(second)) * u128::from(SECOND))).collect();
        let whole: u128 = (0..3600).map(|second| u128::from(level(second)) * u128::from(SECOND)).sum();
        let sum: u64 = parts.iter().sum();
        assert!(sum.abs_diff(over_time(whole)) <= 1800);
        let mean = (0..3600).map(level).sum::<u64>() / 3600;
        assert!(mean_bytes(sum, 3600 * SECOND).abs_diff(mean) < 1024);
    }

    /// Nothing wraps, and no time is no level.
    #[test]
    fn extremes() {
        assert_eq!((over_time(u128::MAX), mean_bytes(u64::MAX, 1), mean_bytes(7, 0)), (u64::MAX, u64::MAX, 0));
        assert_eq!((answered_unit(UNIT), answered_unit("nanoseconds")), ("bytes", "nanoseconds"));
    }
}
