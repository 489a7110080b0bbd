//! How each CPU has spent its time, from `/proc/stat` (`proc_stat(5)`).

/// What a CPU has done since the machine was started, in nanoseconds. The kernel counts in hundredths of a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    /// The CPU's number.
    pub(crate) cpu: usize,
    /// In programs, in the kernel and in interrupts.
    pub(crate) busy: u64,
    /// The hypervisor had stopped it although there was work.
    pub(crate) stolen: u64,
}

/// The CPUs that are online, by number; empty where `/proc/stat` cannot be read.
pub(crate) fn read() -> Vec<CpuTimes> {
    std::fs::read("/proc/stat").map(|text| parse(&text, tick_ns())).unwrap_or_default()
}

fn tick_ns() -> u64 {
    // SAFETY: sysconf takes no pointers.
    let hertz = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100);
    1_000_000_000 / hertz.max(1)
}

/// Reads the lines `cpuN user nice system idle iowait irq softirq steal guest guest_nice`, whose sum `cpu ` is left out.
/// Guests' time is in user and nice already. A line that is not like that is left out.
fn parse(text: &[u8], tick_ns: u64) -> Vec<CpuTimes> {
    let lines = text.split(|byte| *byte == b'\n').take_while(|line| line.starts_with(b"cpu"));
    lines.filter_map(|line| parse_line(std::str::from_utf8(line).ok()?, tick_ns)).collect()
}

fn parse_line(line: &str, tick_ns: u64) -> Option<CpuTimes> {
    let mut words = line.strip_prefix("cpu")?.split(' ');
    let cpu = words.next()?.parse().ok()?;
    let mut ticks = [0_u64; 8];
    for field in &mut ticks {
        *field = words.next()?.parse().ok()?;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks;
    let busy = [user, nice, system, irq, softirq].into_iter().fold(0, u64::saturating_add);
    Some(CpuTimes { cpu, busy: busy.saturating_mul(tick_ns), stolen: steal.saturating_mul(tick_ns) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each CPU's line is read, the sum is not, and lines of another form are left out.
    #[test]
    fn reads_proc_stat() {
        let text =
            b"cpu  86201 0 12381 21102 1505 0 82 163 0 0\ncpu0 10 2 5 11960 216 1 3 71 9 0\ncpu7 1 x\ncpu9 1 1 1 1 1 1 1 1\nintr 5\n";
        let times = parse(text, 10);
        assert_eq!(times, [CpuTimes { cpu: 0, busy: 210, stolen: 710 }, CpuTimes { cpu: 9, busy: 50, stolen: 10 }]);
        assert_eq!(parse(b"", 10), []);
        assert!(!read().is_empty());
    }
}
