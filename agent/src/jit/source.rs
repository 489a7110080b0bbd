//! Opening the files that name generated code. They are the process's own, and so hostile: each is opened inside the
//! process's root without following links out of it, first only to look at it, and read when it is a regular file of the
//! right owner and age.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;

use procfs::process::{Process as ProcEntry, Status};

use crate::jit::names::{Marker, Slot};

/// How far apart two clocks may be that tell of the same moment: file times are those of the last tick, which comes 100 to
/// 1000 times a second. Nanoseconds.
const SLACK: u64 = 20_000_000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// There is none, or none that may be opened.
    #[error("cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// The process is gone, or another one has its number.
    #[error("the process is gone")]
    Gone,
    /// A pipe, a device, a link or a directory.
    #[error("no regular file")]
    NotAFile,
    /// Neither the process's user nor root wrote it.
    #[error("belongs to another user")]
    Owner,
    /// A program wrote it that ran under this number before.
    #[error("older than the program")]
    Age,
}

/// A process, as procfs tells of it at the moment.
pub(super) struct Owner {
    pid: u32,
    status: Status,
}

impl Owner {
    /// The process of a slot, if it is still the one.
    pub(super) fn of(slot: &Slot) -> Result<Self, SourceError> {
        let entry = ProcEntry::new(i32::try_from(slot.pid).map_err(|_| SourceError::Gone)?).map_err(|_| SourceError::Gone)?;
        let stat = entry.stat().map_err(|_| SourceError::Gone)?;
        let tick = 1_000_000_000 / procfs::ticks_per_second().max(1);
        let since_boot = stat.starttime.saturating_mul(tick);
        let suspended = clock(libc::CLOCK_BOOTTIME).saturating_sub(clock(libc::CLOCK_MONOTONIC));
        if slot.born > 0 && since_boot.saturating_sub(suspended) > slot.born.saturating_add(SLACK) {
            return Err(SourceError::Gone);
        }
        Ok(Self { pid: slot.pid, status: entry.status().map_err(|_| SourceError::Gone)? })
    }

    /// The process's number in its own namespace.
    pub(super) fn inner_pid(&self) -> u32 {
        let inner = self.status.nspid.as_ref().and_then(|ids| ids.last()).copied().unwrap_or(self.status.pid);
        u32::try_from(inner).unwrap_or(self.pid)
    }

    /// Its perf map.
    pub(super) fn perf_map(&self, born: u64) -> Result<(File, Metadata), SourceError> {
        let opened = self.open_inside(&format!("tmp/perf-{}.map", self.inner_pid()))?;
        let written = u64::try_from(opened.1.mtime()).unwrap_or_default().saturating_mul(1_000_000_000);
        let written = written.saturating_add(u64::try_from(opened.1.mtime_nsec()).unwrap_or_default());
        if written.saturating_add(SLACK) < self.began(born)? {
            return Err(SourceError::Age);
        }
        Ok(opened)
    }

    /// The jitdump that it marked: the very file where the mapping can be opened, else what its path leads to.
    pub(super) fn jitdump(&self, marker: &Marker) -> Result<(File, Metadata), SourceError> {
        let mapped = format!("/proc/{}/map_files/{:x}-{:x}\0", self.pid, marker.start, marker.end);
        match open(libc::AT_FDCWD, &mapped, libc::O_PATH, 0) {
            Ok(file) => self.accept(&file),
            Err(_) => self.open_inside(marker.path.trim_start_matches('/')),
        }
    }

    /// When its program began on the wall clock, in nanoseconds.
    fn began(&self, born: u64) -> Result<u64, SourceError> {
        let now = crate::clock::now().0;
        if born > 0 {
            return Ok(now.saturating_sub(clock(libc::CLOCK_MONOTONIC).saturating_sub(born)));
        }
        let entry = ProcEntry::new(i32::try_from(self.pid).unwrap_or_default()).map_err(|_| SourceError::Gone)?;
        let tick = 1_000_000_000 / procfs::ticks_per_second().max(1);
        let started = entry.stat().map_err(|_| SourceError::Gone)?.starttime.saturating_mul(tick);
        Ok(now.saturating_sub(clock(libc::CLOCK_BOOTTIME).saturating_sub(started)))
    }

    fn open_inside(&self, path: &str) -> Result<(File, Metadata), SourceError> {
        let root = File::open(format!("/proc/{}/root", self.pid))?;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        let file = open(root.as_raw_fd(), &format!("{path}\0"), libc::O_PATH | libc::O_NOFOLLOW, resolve)?;
        self.accept(&file)
    }

    /// Opens for reading what was only looked at so far, if it may be.
    fn accept(&self, seen: &File) -> Result<(File, Metadata), SourceError> {
        let metadata = seen.metadata()?;
        if !metadata.is_file() {
            return Err(SourceError::NotAFile);
        }
        if metadata.uid() != 0 && metadata.uid() != self.status.euid && metadata.uid() != self.status.ruid {
            return Err(SourceError::Owner);
        }
        Ok((File::open(format!("/proc/self/fd/{}", seen.as_raw_fd()))?, metadata))
    }
}

/// A clock now, in nanoseconds.
fn clock(id: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// `openat2(2)`. `path` ends with a NUL.
pub(crate) fn open(directory: i32, path: &str, flags: i32, resolve: u64) -> io::Result<File> {
    debug_assert!(path.ends_with('\0'));
    // SAFETY: open_how is a plain struct of integers, for which all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    // SAFETY: the path is NUL-terminated (all callers, asserted above), `how` and its size belong together, and both
    // outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, directory, path.as_ptr(), &raw const how, size_of_val(&how)) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}
