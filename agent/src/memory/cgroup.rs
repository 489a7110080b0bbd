//! Memory of cgroups, version 2: what each has and may have, and what happened to it (Documentation/admin-guide/cgroup-v2.rst).
//!
//! A cgroup is found by its processes and read by its path below the mount. Its limit is the least of its own `memory.max` and
//! those of the cgroups that it lies in. Counters of the kernel are told by how much they have grown since the reading before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flamekeeper_profile::memory::MemoryEvent;

use super::account::Events;
use super::parse::{self, Pressure};

/// Cgroups that are read at all.
const MAX_GROUPS: usize = 2048;
/// Cgroups that one lies in, at most.
const MAX_DEPTH: usize = 32;
/// The longest path that is read.
const MAX_PATH: usize = 4096;

/// What a cgroup has and may have, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// `memory.current`.
    pub(super) current: u64,
    /// The least `memory.max`; none where there is no limit.
    pub(super) limit: Option<u64>,
    /// `memory.high`, above which it is slowed down.
    pub(super) high: Option<u64>,
}

/// Counters of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) kills: u64,
    pub(super) limited: u64,
    pub(super) slowed: u64,
    pub(super) pressure: Pressure,
}

impl Counters {
    /// What has happened since; nothing where a counter went back.
    pub(super) fn since(&self, before: &Self) -> Events {
        let mut events = Events::default();
        let mut set = |event: MemoryEvent, now: u64, before: u64| events[event as usize] = now.saturating_sub(before);
        set(MemoryEvent::OomKills, self.kills, before.kills);
        set(MemoryEvent::Limited, self.limited, before.limited);
        set(MemoryEvent::Slowed, self.slowed, before.slowed);
        // The kernel counts microseconds.
        set(MemoryEvent::StalledSome, self.pressure.some.saturating_mul(1000), before.pressure.some.saturating_mul(1000));
        set(MemoryEvent::StalledFull, self.pressure.full.saturating_mul(1000), before.pressure.full.saturating_mul(1000));
        events
    }
}

/// The hierarchy.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    /// Where it is mounted; none where its memory is not told.
    mount: Option<PathBuf>,
    /// By path, with the pass that read it.
    known: HashMap<Arc<str>, (u64, Counters)>,
}

impl Cgroups {
    /// Finds the hierarchy.
    pub(super) fn find(mountinfo: &str) -> Self {
        let mount = mount(mountinfo).filter(|mount| {
            let controllers = std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            controllers.split_whitespace().any(|controller| controller == "memory")
        });
        Self { mount, known: HashMap::new() }
    }

    /// Whether there is anything to read.
    pub(super) const fn are_there(&self) -> bool {
        self.mount.is_some()
    }

    /// Reads a cgroup with `read`, which answers the content of a file. None for one without memory of its own, as the root.
    pub(super) fn read(&mut self, path: &Arc<str>, pass: u64, mut read: impl FnMut(&Path) -> Option<Vec<u8>>) -> Option<(Group, Events)> {
        let folder = self.mount.as_ref()?.join(path.trim_start_matches('/'));
        let mut file = |folder: &Path, name: &str| read(&folder.join(name));
        let current = parse::limit(&file(&folder, "memory.current")?)?;
        let high = file(&folder, "memory.high").and_then(|bytes| parse::limit(&bytes));
        let mount = self.mount.as_deref();
        let around = folder.ancestors().take(MAX_DEPTH).take_while(|folder| Some(*folder) != mount);
        let limit = around.filter_map(|folder| file(folder, "memory.max").and_then(|bytes| parse::limit(&bytes))).min();
        let [kills, limited, slowed] =
            file(&folder, "memory.events").map_or([None; 3], |bytes| parse::counters(&bytes, [b"oom_kill", b"max", b"high"]));
        let pressure = file(&folder, "memory.pressure").and_then(|bytes| parse::pressure(&bytes)).unwrap_or_default();
        let counters = Counters {
            kills: kills.unwrap_or_default(),
            limited: limited.unwrap_or_default(),
            slowed: slowed.unwrap_or_default(),
            pressure,
        };
        let before = self.known.get(path).map(|(_, before)| *before);
        if before.is_none() && self.known.len() >= MAX_GROUPS {
            return None;
        }
        self.known.insert(Arc::clone(path), (pass, counters));
        // What had happened before anybody looked is not of this time.
        let events = before.map_or_else(Events::default, |before| counters.since(&before));
        Some((Group { current, limit, high }, events))
    }

    /// Forgets what was not read in this pass, and answers which that is.
    pub(super) fn end_pass(&mut self, pass: u64) -> Vec<Arc<str>> {
        self.known.extract_if(|_, (read, _)| *read != pass).map(|(path, _)| path).collect()
    }
}

/// Where version 2 is mounted, by the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mount(mountinfo: &str) -> Option<PathBuf> {
    let line = mountinfo.lines().find(|line| line.split_once(" - ").is_some_and(|(_, rest)| rest.starts_with("cgroup2 ")))?;
    Some(PathBuf::from(line.split(' ').nth(4)?.replace("\\040", " ")))
}

/// The path of a process's cgroup of version 2 in `/proc/PID/cgroup`; none where there is none, or it lies outside of what can be seen.
pub(super) fn path(bytes: &[u8]) -> Option<&str> {
    let line = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let path = std::str::from_utf8(line).ok()?.trim_end_matches(" (deleted)");
    (path.len() <= MAX_PATH && path.len() > 1 && path.starts_with('/') && !path.split('/').any(|part| part == "..")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files as a kernel of version 2 writes them: the least limit on the way up holds, and counters are told by what they grew.
    #[test]
    fn reads_a_hierarchy() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("system.slice/api.service");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        write("cgroup.controllers", "cpuset cpu io memory pids\n");
        write("system.slice/memory.max", "1073741824\n");
        write("system.slice/api.service/memory.max", "max\n");
        write("system.slice/api.service/memory.high", "805306368\n");
        write("system.slice/api.service/memory.current", "268435456\n");
        write("system.slice/api.service/memory.events", "low 0\nhigh 3\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n");
        write(
            "system.slice/api.service/memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=200\n",
        );
        let mountinfo = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", folder.path().display());
        let mut cgroups = Cgroups::find(&mountinfo);
        assert!(cgroups.are_there() && !Cgroups::find("30 23 0:26 / /nowhere rw - cgroup2 cgroup2 rw\n").are_there());
        let path: Arc<str> = path(b"9:name=systemd:/x\n0::/system.slice/api.service\n").unwrap().into();
        let read = |path: &Path| std::fs::read(path).ok();
        let (group, events) = cgroups.read(&path, 1, read).unwrap();
        assert_eq!(group, Group { current: 256 << 20, limit: Some(1 << 30), high: Some(768 << 20) });
        assert_eq!(events, Events::default());
        write("system.slice/api.service/memory.events", "low 0\nhigh 3\nmax 9\noom 1\noom_kill 3\n");
        write(
            "system.slice/api.service/memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=900\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=300\n",
        );
        let (_, events) = cgroups.read(&path, 2, read).unwrap();
        let of = |event: MemoryEvent| events[event as usize];
        let told =
            [MemoryEvent::OomKills, MemoryEvent::Limited, MemoryEvent::Slowed, MemoryEvent::StalledSome, MemoryEvent::StalledFull].map(of);
        assert_eq!(told, [2, 2, 0, 400_000, 100_000]);
        assert_eq!(cgroups.end_pass(3), [Arc::clone(&path)]);
        assert_eq!(cgroups.read(&path, 4, read).unwrap().1, Events::default());
        assert!(cgroups.read(&Arc::from("/gone"), 4, read).is_none());
    }

    /// The root, what lies outside, and what is no path.
    #[test]
    fn paths() {
        for bytes in [&b"0::/\n"[..], b"", b"0::\n", b"0::/../other\n", b"0::x\n", b"1:memory:/x\n", b"0::/\xff\n"] {
            assert_eq!(path(bytes), None, "{bytes:?}");
        }
        assert_eq!(path(b"0::/a/b (deleted)\n"), Some("/a/b"));
    }
}
