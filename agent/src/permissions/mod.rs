//! What this process may do on this host, and what each lack costs.
//!
//! The agent works with less than all: each missing capability makes something worse and is said in one line at its start,
//! and by `flamekeeper check-config agent FILE --host`. Only without the right to sample does it not start.

mod facts;
mod memory;

use std::fmt;

pub use facts::Facts;
pub(crate) use facts::right_to_sample;

use crate::perf::error::permission_text;

/// A capability (`capabilities(7)`; numbers of `include/uapi/linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(u32);

impl Capability {
    /// Reading files whatever their mode.
    pub const DAC_READ_SEARCH: Self = Self(2);
    /// Locking any amount of memory.
    pub const IPC_LOCK: Self = Self(14);
    /// Looking into other processes.
    pub const SYS_PTRACE: Self = Self(19);
    /// Nearly everything; before kernel 5.8 what PERFMON is since.
    pub const SYS_ADMIN: Self = Self(21);
    /// The kernel's addresses.
    pub const SYSLOG: Self = Self(34);
    /// Sampling. Since kernel 5.8.
    pub const PERFMON: Self = Self(38);
    /// Programs for the kernel. Since kernel 5.8; SYS_ADMIN does as well.
    pub const BPF: Self = Self(39);
    /// `/proc/PID/map_files`. Since kernel 5.9.
    pub const CHECKPOINT_RESTORE: Self = Self(40);
}

/// Something that this process lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Whether sampling the host is impossible because of it.
    pub fatal: bool,
    /// What is missing, what is worse for it, and how to mend it: one line.
    pub text: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What this process lacks to sample a whole host as well as can be, the worst first.
#[must_use]
pub fn lacks(facts: &Facts) -> Vec<Lack> {
    let worse = |text: String| Lack { fatal: false, text };
    let capabilities = [
        (
            Capability::SYS_PTRACE,
            "CAP_SYS_PTRACE",
            "programs of other users are known by the path that the kernel reports alone, their environment and memory stay closed (no OTEL_SERVICE_NAME), and files that only their mount namespace has are not unwound",
        ),
        (
            Capability::DAC_READ_SEARCH,
            "CAP_DAC_READ_SEARCH",
            "programs and perf maps that only their owner may read are not read: their code has no names and their stacks end early",
        ),
        (
            Capability::CHECKPOINT_RESTORE,
            "CAP_CHECKPOINT_RESTORE",
            "programs whose file was deleted or replaced while they run cannot be opened: their stacks end early and have no names",
        ),
    ];
    let missing = capabilities.into_iter().filter(|(capability, ..)| !facts.has(*capability));
    let missing = missing.map(|(_, name, cost)| worse(format!("{name} is missing: {cost}")));
    let missing = missing.chain(interpreters(facts));
    sampling(facts).into_iter().chain(missing).chain(symbols(facts)).chain(memory(facts)).chain(files(facts)).collect()
}

/// The right to read an interpreter's frames in the sampling interrupt (`python::tap`).
fn interpreters(facts: &Facts) -> Option<Lack> {
    (!facts.has(Capability::BPF) && !facts.has(Capability::SYS_ADMIN))
        .then(|| Lack { fatal: false, text: "CAP_BPF is missing: Python's functions are not shown, only the interpreter's own".to_owned() })
}

/// The right to sample all CPUs: `perf_event_open(2)` and `kernel.perf_event_paranoid`.
fn sampling(facts: &Facts) -> Option<Lack> {
    let allowed = facts.has(Capability::PERFMON) || facts.has(Capability::SYS_ADMIN);
    match (allowed, facts.paranoid) {
        (false, Some(level)) if level <= 0 => None,
        (false, _) => Some(Lack { fatal: true, text: permission_text(true, facts.paranoid, None) }),
        (true, Some(level)) if level > 2 => Some(Lack {
            fatal: false,
            text: format!(
                "kernel.perf_event_paranoid is {level}: the kernels of some distributions refuse sampling at a level above 2 even with \
                 CAP_PERFMON; if it is refused, run `sysctl kernel.perf_event_paranoid=2` as root"
            ),
        }),
        (true, _) => None,
    }
}

/// Names of the kernel's functions: asked for (`kernel::ask`), or read (`kallsyms_show_value` of `kernel/ksyms_common.c`).
fn symbols(facts: &Facts) -> Option<Lack> {
    let asks = facts.has(Capability::SYS_ADMIN) || facts.has(Capability::BPF) && facts.has(Capability::PERFMON);
    if facts.names_functions && asks {
        return None;
    }
    let cost = "functions of the kernel stay without names, and what interrupts do on idle CPUs is not counted";
    let text = match (facts.kptr_restrict, facts.has(Capability::SYSLOG)) {
        (Some(2..), _) => format!("kernel.kptr_restrict is 2: {cost} (`sysctl kernel.kptr_restrict=1`)"),
        (Some(0), false) if facts.paranoid.is_some_and(|level| level <= 1) => return None,
        (_, false) => format!("CAP_SYSLOG is missing: {cost}"),
        (_, true) => return None,
    };
    Some(Lack { fatal: false, text })
}

fn memory(facts: &Facts) -> Option<Lack> {
    let unlimited = facts.has(Capability::IPC_LOCK) || facts.paranoid.is_some_and(|level| level < 0);
    let wanted = facts.ring_bytes.next_power_of_two();
    let largest = if unlimited { wanted } else { memory::largest_ring(facts) };
    (largest < wanted).then(|| Lack {
        fatal: largest < crate::perf::session::MIN_RING,
        text: format!(
            "CAP_IPC_LOCK is missing and the limit of locked memory is low: rings of {} KiB for each of {} CPUs instead of {} KiB, so \
             samples are lost earlier under load (LimitMEMLOCK=infinity in the systemd unit)",
            largest / 1024,
            facts.cpus,
            wanted / 1024
        ),
    })
}

/// Descriptors beside those of the CPUs' events: objects, the spool, the network.
const OTHER_FILES: u64 = 256;

fn files(facts: &Facts) -> Option<Lack> {
    let needed = facts.cpus as u64 + OTHER_FILES;
    (facts.files < needed).then(|| Lack {
        fatal: facts.files <= facts.cpus as u64,
        text: format!(
            "only {} files may be open, {needed} are needed for {} CPUs: sampling may not start, or files stay unread (LimitNOFILE= in the \
             systemd unit)",
            facts.files, facts.cpus
        ),
    })
}

#[cfg(test)]
mod tests;
