//! The kernel's own account of CPU time.

/// What `/proc/stat` (proc_stat(5)) says of all CPUs together since the machine started, in seconds: busy, idle, and stolen by a
/// hypervisor.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn proc_stat() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_else(|error| panic!("/proc/stat: {error}"));
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // All in hundredths of a second.
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { panic!("/proc/stat begins with {line:?}") };
    [user + nice + system + irq + softirq, idle + iowait, steal].map(|ticks| ticks / 100.0)
}
