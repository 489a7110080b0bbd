//! Limits that a process sets upon itself, for good.

use std::io;

use super::task::Task;

/// Private memory that the child has beside what the conversion takes: the stack of the converting thread
/// (`convert::STACK`), the program's own data and the allocator's.
const OWN_MEMORY: u64 = (256 + 32) << 20;
/// Address space beside memory and object: the program and its libraries, and what allocators reserve without using it.
const OWN_ADDRESSES: u64 = 4 << 30;
/// Descriptors.
const FILES: u64 = 64;

/// Sets all limits.
///
/// # Errors
/// The limit that could not be set. A priority that could not be lowered is no error: the conversion is right without it.
pub(super) fn confine(task: &Task, object_bytes: u64) -> Result<(), (&'static str, io::Error)> {
    let limits = &task.limits;
    let data = limits.memory_bytes.saturating_add(OWN_MEMORY);
    let cpu = limits.cpu.as_secs().max(1);
    die_with(task.parent).map_err(|error| ("the parent", error))?;
    limit("core files", libc::RLIMIT_CORE, 0, 0)?;
    // Not RLIMIT_AS alone: it would count the mapped object and all that is reserved and never touched.
    limit("memory", libc::RLIMIT_DATA, data, data)?;
    let addresses = data.saturating_add(object_bytes).saturating_add(OWN_ADDRESSES);
    limit("address space", libc::RLIMIT_AS, addresses, addresses)?;
    // The soft limit is SIGXCPU, which tells the parent what happened; the hard one is SIGKILL.
    limit("CPU time", libc::RLIMIT_CPU, cpu, cpu.saturating_add(5))?;
    limit("file size", libc::RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes)?;
    limit("files", libc::RLIMIT_NOFILE, FILES, FILES)?;
    be_nice(limits.nice);
    be_killed_first();
    Ok(())
}

type Resource = libc::__rlimit_resource_t;

fn limit(name: &'static str, resource: Resource, soft: u64, hard: u64) -> Result<(), (&'static str, io::Error)> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes one rlimit, which this is.
    if unsafe { libc::getrlimit(resource, &raw mut now) } != 0 {
        return Err((name, io::Error::last_os_error()));
    }
    // A limit that was lower stays as it is: raising the hard one is refused.
    let wanted = libc::rlimit { rlim_cur: soft.min(now.rlim_max), rlim_max: hard.min(now.rlim_max) };
    // SAFETY: setrlimit(2) reads one rlimit, which this is.
    let set = unsafe { libc::setrlimit(resource, &raw const wanted) };
    if set == 0 { Ok(()) } else { Err((name, io::Error::last_os_error())) }
}

/// Closes descriptors that somebody opened without `O_CLOEXEC` and so left to this process. Best effort: nothing here uses
/// them.
pub(super) fn close_others() {
    // SAFETY: this runs before anything of this program opens a file, so no owned descriptor is above standard error.
    _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Has the kernel kill this process when the thread that started it ends: prctl(2).
fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: these take and return plain numbers.
    let (set, found) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    // It may have ended before.
    if u32::try_from(found) == Ok(parent) { Ok(()) } else { Err(io::Error::other("it has ended")) }
}

/// Lowers the priority, for threads that are started later too. `SCHED_BATCH` has the scheduler wake it without preempting
/// others: sched(7).
fn be_nice(nice: u8) {
    let batch = libc::sched_param { sched_priority: 0 };
    // SAFETY: sched_setscheduler(2) reads one sched_param, which this is; nice(2) takes a number.
    unsafe {
        if nice > 0 {
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const batch);
            libc::nice(i32::from(nice.min(19)));
        }
    }
}

/// Where the host runs out of memory, the kernel ends this process rather than the collector: proc_pid_oom_score_adj(5).
fn be_killed_first() {
    // Best effort: the limit on memory holds anyhow.
    _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
