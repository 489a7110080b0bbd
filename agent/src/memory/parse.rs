//! What procfs says of a process's memory, from bytes to numbers (proc_pid_statm(5), proc_pid_status(5), proc_pid_smaps(5)).

/// Bytes of one of procfs's kB.
const KILOBYTE: u64 = 1024;
/// Lines that are looked at; the files have some 60.
const MAX_LINES: usize = 256;

/// `/proc/PID/statm`, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statm {
    /// Mapped. 0 for what has no memory of its own: threads of the kernel, and processes that have ended.
    pub(crate) size: u64,
    /// Resident.
    pub(crate) resident: u64,
    /// Resident of files and of shared memory.
    pub(crate) shared: u64,
}

/// Reads a `statm`.
pub(crate) fn statm(bytes: &[u8]) -> Option<Statm> {
    let mut numbers = bytes.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).map(number);
    Some(Statm { size: numbers.next()??, resident: numbers.next()??, shared: numbers.next()?? })
}

/// The lines of `/proc/PID/status` about memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// `RssAnon`.
    pub(crate) anonymous: u64,
    /// `RssFile`.
    pub(crate) file: u64,
    /// `RssShmem`.
    pub(crate) shared: u64,
    /// `VmSwap`.
    pub(crate) swap: u64,
}

/// Reads a `status`; none where it does not tell the kinds (a thread of the kernel, a process that has ended).
pub(crate) fn status(bytes: &[u8]) -> Option<Status> {
    let [anonymous, file, shared, swap] = fields(bytes, [b"RssAnon", b"RssFile", b"RssShmem", b"VmSwap"]);
    // A kernel without swap has no line for it.
    Some(Status { anonymous: anonymous?, file: file?, shared: shared?, swap: swap.unwrap_or_default() })
}

/// `/proc/PID/smaps_rollup`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollup {
    /// `Rss`.
    pub(crate) resident: u64,
    /// `Pss`.
    pub(crate) proportional: u64,
}

/// Reads a `smaps_rollup`.
pub(crate) fn rollup(bytes: &[u8]) -> Option<Rollup> {
    let [resident, proportional] = fields(bytes, [b"Rss", b"Pss"]);
    Some(Rollup { resident: resident?, proportional: proportional? })
}

/// The values of lines `NAME: NUMBER kB`, in bytes; none for a name without such a line. The first line of a name counts.
pub(crate) fn fields<const N: usize>(bytes: &[u8], names: [&[u8]; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    for line in bytes.split(|byte| *byte == b'\n').take(MAX_LINES) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let Some(place) = names.iter().position(|wanted| *wanted == name) else { continue };
        let value = value.trim_ascii();
        if let Some(kilobytes) = value.strip_suffix(b" kB").and_then(|digits| number(digits.trim_ascii()))
            && found[place].is_none()
        {
            found[place] = Some(kilobytes.saturating_mul(KILOBYTE));
        }
    }
    found
}

/// The numbers of lines `NAME NUMBER` (`memory.events`, `/proc/vmstat`); none for a name without such a line.
pub(crate) fn counters<const N: usize>(bytes: &[u8], names: [&[u8]; N]) -> [Option<u64>; N] {
    let mut found = [None; N];
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else { continue };
        if let Some(place) = names.iter().position(|wanted| *wanted == &line[..space]) {
            found[place] = found[place].or_else(|| number(&line[space + 1..]));
        }
    }
    found
}

/// A file of a cgroup that holds one number, in bytes (`memory.current`, `memory.max`); none for `max`, which is no limit.
pub(crate) fn limit(bytes: &[u8]) -> Option<u64> {
    number(bytes.trim_ascii())
}

/// The totals of a file of pressure, in microseconds (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) some: u64,
    pub(crate) full: u64,
}

/// Reads a file of pressure.
pub(crate) fn pressure(bytes: &[u8]) -> Option<Pressure> {
    let total = |kind: &[u8]| {
        let line = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(kind))?;
        line.split(|byte| *byte == b' ').find_map(|word| number(word.strip_prefix(b"total=")?))
    };
    Some(Pressure { some: total(b"some ")?, full: total(b"full ").unwrap_or_default() })
}

/// A number of digits only.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a Linux 6.18, cut.
    #[test]
    fn real_files() {
        assert_eq!(statm(b"765 430 401 5 0 123 0\n"), Some(Statm { size: 765, resident: 430, shared: 401 }));
        let text = b"Name:\tcat\nVmHWM:\t    1624 kB\nVmRSS:\t    1624 kB\nRssAnon:\t     112 kB\nRssFile:\t    1508 kB\nRssShmem:\t       4 kB\nVmSwap:\t       8 kB\nThreads:\t1\n";
        assert_eq!(status(text), Some(Status { anonymous: 112 << 10, file: 1508 << 10, shared: 4 << 10, swap: 8 << 10 }));
        assert_eq!(status(b"Name:\tkthreadd\nThreads:\t1\n"), None);
        let text = b"55d0c0a00000-7fff00000000 ---p 00000000 00:00 0      [rollup]\nRss:                1624 kB\nPss:                 130 kB\nPss_Dirty:           112 kB\nSwapPss:               0 kB\n";
        assert_eq!(rollup(text), Some(Rollup { resident: 1624 << 10, proportional: 130 << 10 }));
    }

    /// Files of a cgroup of version 2, and the host's.
    #[test]
    fn cgroups() {
        assert_eq!(counters(b"low 0\nhigh 3\nmax 7\noom 1\noom_kill 2\n", [b"oom_kill", b"high", b"swap"]), [Some(2), Some(3), None]);
        assert_eq!([limit(b"max\n"), limit(b"4096\n"), limit(b""), limit(b"-1\n")], [None, Some(4096), None, None]);
        let text = b"some avg10=0.12 avg60=0.00 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=45\n";
        assert_eq!(
            (pressure(text), pressure(b"some total=1"), pressure(b"x")),
            (Some(Pressure { some: 123, full: 45 }), Some(Pressure { some: 1, full: 0 }), None)
        );
    }

    /// What is none of these says nothing, and what is too large does not wrap.
    #[test]
    fn other_bytes() {
        for bytes in [&b""[..], b"\n", b"1 2", b"1 -2 3", b"a b c", b"Rss: kB", b"Rss:: 1 kB\nPss: 1 kB", b"\xff\xff: 1 kB"] {
            assert_eq!((statm(bytes), status(bytes), rollup(bytes)), (None, None, None), "{bytes:?}");
        }
        assert_eq!(fields(b"A: 18446744073709551615 kB\nA: 1 kB\nB: 18446744073709551616 kB", [b"A", b"B"]), [Some(u64::MAX), None]);
    }
}
