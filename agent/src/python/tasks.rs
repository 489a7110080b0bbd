//! The threads of a process as the kernel lists them, by the ids that they have for themselves.

use std::collections::HashMap;
use std::fs;

/// Threads that are listed.
const MAX_TASKS: usize = 16_384;

/// The threads of a process.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// By the id in the innermost pid namespace: the id here.
    by_native: HashMap<u64, u32>,
}

/// Lists them; none when the process is gone.
pub(crate) fn list(pid: u32) -> Tasks {
    let nested = fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| namespace_ids(&status).count() > 1);
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).take(MAX_TASKS);
    let native = |tid: u32| {
        if !nested {
            return Some(u64::from(tid));
        }
        let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
        namespace_ids(&status).last()
    };
    Tasks { by_native: ids.filter_map(|tid| Some((native(tid)?, tid))).collect() }
}

/// The ids of a thread, the outermost namespace that procfs sees first (`proc_pid_status(5)`, `NSpid`).
fn namespace_ids(status: &str) -> impl Iterator<Item = u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|id| id.parse().ok())
}

impl Tasks {
    /// The id here of a thread that has this id for itself.
    pub(crate) fn tid(&self, native: u64) -> Option<u32> {
        self.by_native.get(&native).copied()
    }

    /// Whether there is a thread of this id.
    pub(crate) fn contains(&self, tid: u32) -> bool {
        self.by_native.values().any(|known| *known == tid)
    }

    /// The one thread of a process that has no more.
    pub(crate) fn only(&self) -> Option<u32> {
        let mut ids = self.by_native.values();
        ids.next().copied().filter(|_| ids.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The innermost id is the last; this very thread is listed.
    #[test]
    fn lists_threads() {
        let status = "Name:\tpython3\nNSpid:\t4711\t12\t7\nVmPeak: 1 kB\n";
        assert_eq!(namespace_ids(status).collect::<Vec<_>>(), [4711, 12, 7]);
        assert_eq!(namespace_ids("Name:\tx\n").count(), 0);
        let tasks = list(std::process::id());
        assert!(tasks.contains(std::process::id()));
        assert!(list(u32::MAX).only().is_none());
    }
}
