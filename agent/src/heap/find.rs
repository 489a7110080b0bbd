//! Finding a process's table.

use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use flamekeeper_heap::layout;

use crate::process::lines::{self, Line};

/// How a table's file is named in `/proc/PID/maps`.
pub(crate) const TABLE_PATH: &[u8] = b"/memfd:flamekeeper-heap";

/// The kernel's own file system for shared memory: what lies on it can be read without waiting for anybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedMemory {
    device: Option<u64>,
}

impl SharedMemory {
    /// Finds it by a file of our own.
    pub(crate) fn find() -> Self {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"flamekeeper-agent".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Self { device: None };
        }
        // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Self { device: file.metadata().ok().map(|metadata| metadata.dev()) }
    }

    /// A process's table, open for reading, and for writing where that is allowed; none where it has none.
    pub(crate) fn table(self, pid: u32) -> Option<File> {
        let mut found = None;
        // Of what cannot be read nothing is known.
        _ = lines::until(lines::open(pid).ok()?, lines::MANY, |line| {
            match table_line(&line).filter(|(device, _)| Some(*device) == self.device) {
                None => ControlFlow::Continue(()),
                Some((_, range)) => {
                    found = Some(range);
                    ControlFlow::Break(())
                }
            }
        });
        open(pid, &found?)
    }
}

fn open(pid: u32, range: &str) -> Option<File> {
    let path = format!("/proc/{pid}/map_files/{range}");
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(&path);
    let file = open(true).or_else(|_| open(false)).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && metadata.len() == layout::SIZE as u64).then_some(file)
}

/// Device and range of a mapping, if it is that of a table.
pub(super) fn table_line(line: &Line<'_>) -> Option<(u64, String)> {
    if !line.path.starts_with(TABLE_PATH) || !line.is_shared() {
        return None;
    }
    Some((libc::makedev(line.device.0, line.device.1), format!("{:x}-{:x}", line.start, line.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table's line is told from those of other files, private mappings and broken ones.
    #[test]
    fn lines_of_tables() {
        let line = |text: &str| Line::parse(text.trim_end().as_bytes()).and_then(|line| table_line(&line));
        let found = line("7fedbee5d000-7fedbef3e000 rw-s 00000000 00:01 68673                      /memfd:flamekeeper-heap (deleted)\n");
        assert_eq!(found, Some((libc::makedev(0, 1), "7fedbee5d000-7fedbef3e000".to_owned())));
        for other in [
            "7fedbee5d000-7fedbef3e000 rw-p 00000000 00:01 68673 /memfd:flamekeeper-heap (deleted)\n",
            "7fedbee5d000-7fedbef3e000 rw-s 00000000 00:01 68673 /memfd:other (deleted)\n",
            "7fedbee5d000 rw-s 00000000 00:01 68673 /memfd:flamekeeper-heap\n",
            "/memfd:flamekeeper-heap",
            "7fedbee5d000-7fedbef3e000 rw-p 00000000 00:00 0 \n",
        ] {
            assert_eq!(line(other), None, "{other}");
        }
    }
}
