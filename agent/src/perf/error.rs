//! Why sampling could not start, and what to do about it.

use std::io;

use crate::permissions::right_to_sample;

/// Why the events could not be opened. The text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel does not allow it.
    #[error("{}", permission_text(*system_wide, *paranoid, *right))]
    Permission {
        /// Whether the whole host was to be sampled.
        system_wide: bool,
        /// `kernel.perf_event_paranoid` now; none where it could not be read.
        paranoid: Option<i32>,
        /// The capability that would allow it elsewhere; none where the program has none.
        right: Option<&'static str>,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Too many open files.
    #[error(
        "cannot open {wanted} perf events: the limit of open files is reached. Raise it (`ulimit -n {}`, or LimitNOFILE= in \
         the systemd unit)", (wanted * 2).max(4096)
    )]
    OpenFiles {
        /// Events that are needed.
        wanted: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The rings would exceed the memory that may be locked.
    #[error(
        "cannot map a ring of {} KiB for each of {cpus} CPUs: it exceeds RLIMIT_MEMLOCK and kernel.perf_event_mlock_kb. Raise \
         the limit (`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit), grant CAP_IPC_LOCK, or configure \
         smaller rings", ring_bytes / 1024
    )]
    LockedMemory {
        /// Size of one ring.
        ring_bytes: usize,
        /// How many rings.
        cpus: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel has no memory for the rings.
    #[error("the kernel has no memory for a ring of {} KiB for each of {cpus} CPUs: configure smaller rings", ring_bytes / 1024)]
    Memory {
        /// Size of one ring.
        ring_bytes: usize,
        /// How many rings.
        cpus: usize,
        /// What the kernel answered.
        source: io::Error,
    },
    /// This kernel, or this machine, has no such event.
    #[error(
        "this kernel cannot sample {event}: it must be built with CONFIG_PERF_EVENTS, and a container's seccomp profile must \
         allow perf_event_open"
    )]
    Unsupported {
        /// The event.
        event: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// There is no such process.
    #[error("there is no process {pid} to sample, or it has just ended")]
    NoProcess {
        /// The process.
        pid: u32,
    },
    /// The command could not be started.
    #[error("cannot start `{program}`: {source}")]
    Command {
        /// The command.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A value of the configuration that the engine cannot work with.
    #[error("{what} must be {expected}, not {found}")]
    Config {
        /// Which value.
        what: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        found: u64,
    },
    /// Another step failed.
    #[error("cannot {step}: {source}")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why sampling is refused, and what to do: `right` is the capability for it that the program has.
pub(crate) fn permission_text(system_wide: bool, paranoid: Option<i32>, right: Option<&str>) -> String {
    let now = paranoid.map_or_else(|| "unreadable".to_owned(), |level| level.to_string());
    let what = if system_wide { "sample the whole host" } else { "sample this process" };
    let mut text = format!("the kernel does not allow to {what}: kernel.perf_event_paranoid is {now}");
    if let Some(right) = right {
        text.push_str(&match paranoid {
            Some(3..) if right == "CAP_PERFMON" => ", and this kernel refuses sampling at a level above 2 even with CAP_PERFMON, which the program has. Run `sysctl kernel.perf_event_paranoid=2` as root".to_owned(),
            _ => format!(", and the program has {right}: a seccomp filter or a security module refuses perf_event_open(2)"),
        });
    } else if system_wide {
        text.push_str(" and the program lacks CAP_PERFMON. Run it as root or with its systemd unit, or grant the capability (`setcap cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_syslog,cap_checkpoint_restore,cap_bpf+ep PROGRAM`; cap_bpf may be left out: without it Python functions are not named)");
        if paranoid.is_some_and(|level| level > 2) {
            text.push_str("; a level above 2 refuses even CAP_PERFMON on this distribution, so also run `sysctl kernel.perf_event_paranoid=2` as root");
        }
    } else {
        if paranoid.is_none_or(|level| level > 2) {
            text.push_str(". Run `sysctl kernel.perf_event_paranoid=2` as root, or run this program as root");
        } else {
            text.push_str(". Another user's process can only be sampled with CAP_PERFMON and CAP_SYS_PTRACE, or as root");
        }
    }
    text
}

impl OpenError {
    /// Says what the failure of `perf_event_open(2)` means.
    pub(crate) fn from_open(source: io::Error, context: &OpenContext) -> Self {
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => {
                Self::Permission { system_wide: context.pid.is_none(), paranoid: paranoid_level(), right: right_to_sample(), source }
            }
            Some(libc::EMFILE | libc::ENFILE) => Self::OpenFiles { wanted: context.events, source },
            Some(libc::ESRCH) => Self::NoProcess { pid: context.pid.unwrap_or_default() },
            Some(libc::ENOMEM) => Self::Memory { ring_bytes: context.ring_bytes, cpus: context.cpus, source },
            _ => Self::Unsupported { event: context.event, source },
        }
    }

    /// Says what the failure to map a ring means.
    pub(crate) fn from_mmap(source: io::Error, context: &OpenContext) -> Self {
        let (ring_bytes, cpus) = (context.ring_bytes, context.cpus);
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::EAGAIN) => Self::LockedMemory { ring_bytes, cpus, source },
            Some(libc::ENOMEM) => Self::Memory { ring_bytes, cpus, source },
            _ => Self::Step { step: "map a perf ring", source },
        }
    }
}

/// What was being opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenContext {
    /// The process, where it is not the whole host.
    pub(crate) pid: Option<u32>,
    /// The event's name.
    pub(crate) event: &'static str,
    /// Events in all.
    pub(crate) events: usize,
    /// Size of one ring.
    pub(crate) ring_bytes: usize,
    /// How many rings.
    pub(crate) cpus: usize,
}

/// The current `kernel.perf_event_paranoid`.
fn paranoid_level() -> Option<i32> {
    std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each failure names its own remedy.
    #[test]
    fn each_errno_has_its_own_text() {
        let host = OpenContext { pid: None, event: "cpu-clock", events: 2, ring_bytes: 4 << 20, cpus: 2 };
        let one = OpenContext { pid: Some(12), ..host };
        let open = |errno, context| OpenError::from_open(io::Error::from_raw_os_error(errno), context).to_string();
        let map = |errno| OpenError::from_mmap(io::Error::from_raw_os_error(errno), &host).to_string();
        assert!(open(libc::EACCES, &host).contains("perf_event_paranoid"));
        assert!(open(libc::EACCES, &one).contains("perf_event_paranoid"));
        assert!(open(libc::EMFILE, &host).contains("ulimit -n"));
        assert!(open(libc::ESRCH, &one).contains("no process 12"));
        assert!(open(libc::ENOSYS, &host).contains("CONFIG_PERF_EVENTS"));
        assert!(map(libc::EPERM).contains("RLIMIT_MEMLOCK"));
        assert!(map(libc::ENOMEM).contains("no memory"));
        assert!(permission_text(true, Some(3), None).contains("sysctl kernel.perf_event_paranoid=2"));
        let debian = permission_text(true, Some(3), Some("CAP_PERFMON"));
        assert!(debian.contains("sysctl kernel.perf_event_paranoid=2") && !debian.contains("lacks"), "{debian}");
        for (level, right) in [(2, "CAP_PERFMON"), (3, "CAP_SYS_ADMIN")] {
            let text = permission_text(true, Some(level), Some(right));
            assert!(text.contains(right) && text.contains("seccomp") && !text.contains("sysctl"), "{text}");
        }
    }
}
