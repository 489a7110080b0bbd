//! Reading what the kernel says about this process and this host.

use super::Capability;
use crate::config::Config;
use crate::engine::default_ring_bytes;

/// What the kernel allows, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The effective capabilities, a bit each.
    pub(super) capabilities: u64,
    /// `kernel.perf_event_paranoid`.
    pub(super) paranoid: Option<i32>,
    /// `kernel.kptr_restrict`.
    pub(super) kptr_restrict: Option<i32>,
    /// Whether the kernel says which function an address lies in to whoever may load programs into it.
    pub(super) names_functions: bool,
    /// `kernel.perf_event_mlock_kb`.
    pub(super) mlock_kb: u64,
    /// Bytes that may be locked; none without limit.
    pub(super) memlock: Option<u64>,
    /// Files that may be open: as many as the limit can be raised to.
    pub(super) files: u64,
    /// CPUs that are online.
    pub(super) cpus: usize,
    /// The size of ring that is wanted for each.
    pub(super) ring_bytes: usize,
}

/// The kernel's own default of `kernel.perf_event_mlock_kb`.
const DEFAULT_MLOCK_KB: u64 = 516;

impl Facts {
    /// Reads them, for rings of the size that this configuration gives.
    #[must_use]
    pub fn read(config: &Config) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let sysctl = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse::<i32>().ok();
        let cpus = crate::perf::cpus::online().len();
        let configured = config.sampling.ring_bytes.and_then(|ring| usize::try_from(ring.bytes()).ok());
        Self {
            capabilities: effective(&status),
            paranoid: sysctl("perf_event_paranoid"),
            kptr_restrict: sysctl("kptr_restrict"),
            names_functions: crate::kernel::names_functions(),
            mlock_kb: sysctl("perf_event_mlock_kb").and_then(|kilobytes| u64::try_from(kilobytes).ok()).unwrap_or(DEFAULT_MLOCK_KB),
            memlock: limit(libc::RLIMIT_MEMLOCK).map(|limit| limit.rlim_cur).filter(|bytes| *bytes != libc::RLIM_INFINITY),
            files: limit(libc::RLIMIT_NOFILE).map_or(u64::MAX, |limit| limit.rlim_max),
            cpus,
            ring_bytes: configured.unwrap_or_else(|| default_ring_bytes(cpus, config.budget.ceilings(cpus).memory)),
        }
    }

    /// The same for another process: its capabilities and limits, this host's rules. None where it has gone.
    #[must_use]
    pub fn of_process(pid: u32, config: &Config) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let number = |name, place| written_limit(&limits, name, place);
        Some(Self {
            capabilities: effective(&status),
            memlock: number("Max locked memory", 0),
            files: number("Max open files", 1).unwrap_or(u64::MAX),
            ..Self::read(config)
        })
    }

    /// Whether this process has a capability.
    #[must_use]
    pub const fn has(&self, capability: Capability) -> bool {
        self.capabilities & 1 << capability.0 != 0
    }
}

/// The capability by which this process may sample the host: none where it has neither.
pub(crate) fn right_to_sample() -> Option<&'static str> {
    let capabilities = effective(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let facts = Facts { capabilities, ..Facts::default() };
    let rights = [(Capability::SYS_ADMIN, "CAP_SYS_ADMIN"), (Capability::PERFMON, "CAP_PERFMON")];
    rights.into_iter().find_map(|(capability, name)| facts.has(capability).then_some(name))
}

/// The line `CapEff:` of `/proc/PID/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

/// A limit as `/proc/PID/limits` has it (proc(5)): at place 0 the soft, at 1 the hard one; none without limit.
fn written_limit(limits: &str, name: &str, place: usize) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(place)?.parse().ok()
}

fn limit(which: libc::__rlimit_resource_t) -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills in.
    (unsafe { libc::getrlimit(which, &raw mut limit) } == 0).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another process's limits are read from what procfs writes, and this one, looked at from outside, has what it has.
    #[test]
    fn reads_another_process() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 524288               files     \n\
            Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!((written_limit(limits, "Max open files", 0), written_limit(limits, "Max open files", 1)), (Some(1024), Some(524_288)));
        assert_eq!((written_limit(limits, "Max locked memory", 0), written_limit(limits, "Max cpu time", 0)), (None, None));
        let config = Config::default();
        assert_eq!(Facts::of_process(std::process::id(), &config).unwrap(), Facts::read(&config));
        assert_eq!(Facts::of_process(u32::MAX, &config), None);
    }

    /// The effective set is read, not one of the others.
    #[test]
    fn reads_capabilities() {
        let status =
            "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000004000080000\nCapBnd:\t000001ffffffffff\n";
        let facts = Facts { capabilities: effective(status), ..Facts::default() };
        assert!(facts.has(Capability::PERFMON) && facts.has(Capability::SYS_PTRACE) && !facts.has(Capability::SYSLOG));
        assert_eq!(effective("CapEff:\tx"), 0);
        let here = Facts::read(&Config::default());
        assert!(here.cpus > 0 && here.files > 0 && here.ring_bytes > 0);
    }
}
