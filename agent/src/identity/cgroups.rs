//! Which place the id of a cgroup stands for.
//!
//! The kernel puts the id of a thread's cgroup into each sample: the number of the cgroup's directory, in the hierarchy of
//! the controller `perf_event` (the only one on a host of version 2, else the version 1 hierarchy that has it). A record
//! tells the path of each new cgroup; those that were there before are opened by their number when they are first met
//! (`open_by_handle_at(2)` on kernfs, kernel 5.5 and `CAP_DAC_READ_SEARCH`), or found by walking the tree where that fails.
//! So the cgroup of a process that is long dead is known as long as the cgroup itself lives or was made under our eyes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cgroup::{self, Place};

/// Cgroups to remember before those that are not used are forgotten.
const SWEEP_AT: usize = 4096;
/// Cgroups that are remembered at all.
const MAX_KNOWN: usize = 16_384;
/// Directories that one walk looks at. A host with 500 containers has some 2,000.
const MAX_WALK: usize = 20_000;
/// Bytes of a path that are looked at.
const MAX_PATH: usize = 4096;
/// `FILEID_KERNFS` of `include/linux/exportfs.h`.
const FILEID_KERNFS: i32 = 0xfe;

#[derive(Debug)]
struct Known {
    /// None where nothing could be found out.
    place: Option<Arc<Place>>,
    /// The round in which it was last asked for.
    used: u64,
}

/// Cgroups by their id.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    known: HashMap<u64, Known, foldhash::fast::RandomState>,
    /// Where the hierarchy is mounted, and its root, opened; none where it is not mounted.
    root: Option<(PathBuf, File)>,
    round: u64,
    /// Whether the tree was walked in this round.
    walked: bool,
}

impl Cgroups {
    /// Finds the hierarchy. Reads nothing of it yet.
    pub(crate) fn new() -> Self {
        let mounts = super::read_bounded("/proc/self/mountinfo", 1 << 20);
        let root = hierarchy(&String::from_utf8_lossy(&mounts)).and_then(|path| Some((path.clone(), File::open(path).ok()?)));
        Self { root, ..Self::default() }
    }

    /// A cgroup was made: its path in the hierarchy.
    pub(crate) fn made(&mut self, id: u64, path: &[u8]) {
        let place = place_of(path);
        self.insert(id, Some(place));
    }

    /// The place of a cgroup; none where nothing can be found out about it.
    pub(crate) fn place(&mut self, id: u64) -> Option<Arc<Place>> {
        let round = self.round;
        if let Some(known) = self.known.get_mut(&id) {
            known.used = round;
            return known.place.clone();
        }
        let found = self.by_number(id);
        let unable = found.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::ESTALE));
        self.insert(id, found.ok());
        if unable && !self.walked {
            self.walked = true;
            self.walk();
        }
        self.known.get(&id).and_then(|known| known.place.clone())
    }

    /// Ends a round: forgets what was not asked for, once there is much, and asks again for what could not be found.
    pub(crate) fn sweep(&mut self) {
        let (round, many) = (self.round, self.known.len() > SWEEP_AT);
        self.known.retain(|_, known| known.place.is_some() && (!many || known.used + 1 >= round));
        self.round += 1;
        self.walked = false;
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn insert(&mut self, id: u64, place: Option<Arc<Place>>) {
        if self.known.len() >= MAX_KNOWN {
            // More in one round than anybody has: what lives is found again by its number.
            self.known.clear();
        }
        self.known.insert(id, Known { place, used: self.round });
    }

    fn by_number(&self, id: u64) -> io::Result<Arc<Place>> {
        let (mount, root) = self.root.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let directory = open_by_number(root, id)?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        Ok(place_of(below(mount, &path)))
    }

    /// Learns all cgroups that there are, as far as they are not known.
    fn walk(&mut self) {
        let Some((mount, _)) = &self.root else { return };
        let mount = mount.clone();
        let mut open = vec![mount.clone()];
        let mut seen = 0;
        if let Ok(root) = std::fs::metadata(&mount) {
            self.insert(root.ino(), Some(place_of(b"/")));
        }
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                seen += 1;
                if seen > MAX_WALK {
                    return;
                }
                let path = entry.path();
                self.insert(entry.ino(), Some(place_of(below(&mount, &path))));
                open.push(path);
            }
        }
    }
}

fn place_of(path: &[u8]) -> Arc<Place> {
    Arc::new(cgroup::place(&String::from_utf8_lossy(&path[..path.len().min(MAX_PATH)])))
}

fn below<'a>(mount: &Path, path: &'a Path) -> &'a [u8] {
    path.strip_prefix(mount).unwrap_or(path).as_os_str().as_encoded_bytes()
}

/// Where the hierarchy of `perf_event` is mounted, by the text of `/proc/self/mountinfo` (see proc_pid_mountinfo(5)).
fn hierarchy(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1).unwrap_or_default());
        Some((mount.split(' ').nth(4)?, kind, options))
    });
    let mounts: Vec<_> = mounts.filter(|(_, kind, _)| kind.starts_with("cgroup")).collect();
    let own = mounts.iter().find(|(_, kind, options)| *kind == "cgroup" && options.split(',').any(|option| option == "perf_event"));
    let (path, ..) = own.or_else(|| mounts.iter().find(|(_, kind, _)| *kind == "cgroup2"))?;
    Some(PathBuf::from(path.replace("\\040", " ")))
}

/// `struct file_handle` with a number of kernfs.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    number: u64,
}

/// Opens a directory of a kernfs by its number.
fn open_by_number(root: &File, number: u64) -> io::Result<OwnedFd> {
    let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, number };
    // SAFETY: the handle is laid out as `struct file_handle` with 8 bytes of data (its two integers leave no gap before
    // them), is borrowed for the call, and says its own size.
    let fd = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, root.as_raw_fd(), &raw mut handle, libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY)
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hierarchy is that of perf_event where version 1 has it, else that of version 2.
    #[test]
    fn finds_the_hierarchy() {
        let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let v1 = "31 23 0:27 / /sys/fs/cgroup/perf_event rw shared:5 - cgroup cgroup rw,perf_event\n";
        let other = "32 23 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n33 1 8:1 / / rw - ext4 /dev/sda rw,perf_event\n";
        assert_eq!(hierarchy(&format!("{other}{v2}")), Some("/sys/fs/cgroup".into()));
        assert_eq!(hierarchy(&format!("{v2}{other}{v1}")), Some("/sys/fs/cgroup/perf_event".into()));
        assert_eq!(hierarchy(other), None);
        assert_eq!(hierarchy("- cgroup2\n\n - "), None);
    }

    /// Cgroups of this host are found by number, and by walking.
    #[test]
    fn finds_cgroups_of_this_host() {
        let mut cgroups = Cgroups::new();
        let (mount, _) = cgroups.root.as_ref().expect("a cgroup hierarchy is mounted");
        let directory = mount.join(format!("flamekeeper-{}.service", std::process::id()));
        std::fs::create_dir(&directory).expect("root may make a cgroup");
        let number = std::fs::metadata(&directory).unwrap().ino();
        let unit = |place: Option<Arc<Place>>| place.and_then(|place| place.unit.clone());
        let want = Some(format!("flamekeeper-{}.service", std::process::id()));
        let by_number = cgroups.by_number(number).ok();
        let asked = cgroups.place(number);
        cgroups.known.clear();
        cgroups.walk();
        let walked = cgroups.known.remove(&number).and_then(|known| known.place);
        std::fs::remove_dir(&directory).unwrap();
        assert_eq!((unit(by_number), unit(asked), unit(walked)), (want.clone(), want.clone(), want));
        assert_eq!(cgroups.place(number), None, "it is gone");
    }

    /// What is told by a record is known without looking; what is not used goes when there is much, and there is a limit.
    #[test]
    fn memory_is_bounded() {
        let mut cgroups = Cgroups::default();
        cgroups.made(7, b"/system.slice/web.service");
        assert_eq!(cgroups.place(7).and_then(|place| place.unit.clone()).as_deref(), Some("web.service"));
        for id in 0..95_000 {
            cgroups.made(id, b"/x.service");
        }
        assert!(cgroups.len() <= MAX_KNOWN);
        cgroups.sweep();
        cgroups.place(94_999);
        cgroups.sweep();
        cgroups.place(94_999);
        cgroups.sweep();
        assert_eq!(cgroups.len(), 1);
    }
}
