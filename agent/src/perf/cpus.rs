//! Which CPUs there are, and how fast.

use std::fs;
use std::path::Path;

use crate::perf::cpu_times;

pub(super) const ONLINE: &str = "/sys/devices/system/cpu/online";
/// More CPUs than any kernel is built for (`CONFIG_NR_CPUS` is at most 8192).
pub(crate) const MAX_CPUS: usize = 8192;

/// The CPUs that are online; where sysfs does not tell, those that `/proc/stat` lists.
pub(crate) fn online() -> Vec<usize> {
    let listed = fs::read_to_string(ONLINE).ok().and_then(|text| parse_list(text.trim()));
    // Not as many as this process may run on: a container's share says nothing of the host's CPUs.
    listed.unwrap_or_else(|| cpu_times::read().iter().map(|times| times.cpu).collect())
}

/// Reads a list such as `0-3,8,10-11`.
pub(super) fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS || first > last {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The nominal frequency in Hz: what the CPU is sold as, without boost; none where the kernel does not tell.
pub(crate) fn nominal_hz() -> Option<u64> {
    let kilohertz = |name: &str| {
        let path = Path::new("/sys/devices/system/cpu/cpu0/cpufreq").join(name);
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()?.checked_mul(1000)
    };
    kilohertz("base_frequency").or_else(|| kilohertz("cpuinfo_max_freq")).or_else(|| cpuinfo_hz(&fs::read_to_string("/proc/cpuinfo").ok()?))
}

fn cpuinfo_hz(cpuinfo: &str) -> Option<u64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("cpu MHz"))?;
    let (whole, fraction) = line.split_once(':')?.1.trim().split_once('.')?;
    let thousandths: u64 = fraction.get(..3)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(thousandths * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges and single numbers are read; what is no list is refused instead of guessed at.
    #[test]
    fn reads_cpu_lists() {
        assert_eq!(parse_list("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(parse_list("0").unwrap(), [0]);
        assert_eq!(parse_list("3-1"), None);
        assert_eq!(parse_list("0-99999999999"), None);
        assert_eq!(parse_list("x"), None);
        assert!(!online().is_empty());
    }

    /// The frequency in /proc/cpuinfo is in MHz with a fraction.
    #[test]
    fn reads_cpuinfo() {
        assert_eq!(cpuinfo_hz("processor\t: 0\ncpu MHz\t\t: 2445.404\n"), Some(2_445_404_000));
        assert_eq!(cpuinfo_hz("processor\t: 0\n"), None);
    }
}
