//! Cgroups that look like those of systemd and of container runtimes, in the hierarchy that perf events tell of.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A cgroup and those above it that were made for it. Dropping it removes them, once their processes have ended.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup of this path, from the hierarchy's root.
    ///
    /// # Panics
    /// When there is no hierarchy, or none may be made in it.
    #[must_use]
    pub fn new(path: &str) -> Self {
        let mut cgroup = Self { path: hierarchy(), made: Vec::new() };
        for part in path.split('/').filter(|part| !part.is_empty()) {
            cgroup.path.push(part);
            if !cgroup.path.is_dir() {
                let made = std::fs::create_dir(&cgroup.path);
                made.unwrap_or_else(|error| panic!("this test makes cgroups, and may not: {}: {error}", cgroup.path.display()));
                cgroup.made.push(cgroup.path.clone());
            }
        }
        cgroup
    }

    /// The file to which a process writes its id to move into the cgroup.
    #[must_use]
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Moves a process into it.
    ///
    /// # Panics
    /// When that fails.
    pub fn take(&self, pid: u32) {
        std::fs::write(self.procs(), pid.to_string()).unwrap_or_else(|error| panic!("cannot move {pid} into a cgroup: {error}"));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let start = Instant::now();
        for path in self.made.iter().rev() {
            // A process that has just ended is still in it for a moment.
            while std::fs::remove_dir(path).is_err() && path.is_dir() && start.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Where the hierarchy of the controller `perf_event` is mounted.
fn hierarchy() -> PathBuf {
    let places = ["/sys/fs/cgroup/perf_event", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let found = places.into_iter().find(|path| path.join("cgroup.procs").is_file());
    found.unwrap_or_else(|| panic!("this test needs a cgroup hierarchy below /sys/fs/cgroup")).to_owned()
}
