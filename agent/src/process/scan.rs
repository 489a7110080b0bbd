//! Reading a running process from procfs.

use std::io;
use std::ops::ControlFlow;

use flamekeeper_profile::{Avma, FileOffset};

use crate::heap::TABLE_PATH;
use crate::process::file::{FileKey, Files};
use crate::process::lines::{self, Line};
use crate::process::maps::{Backing, Mapping, Maps};

/// `PF_KTHREAD` of `include/linux/sched.h`, in the flags of `/proc/PID/stat`.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// What procfs tells of a process.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The main thread's name.
    pub(crate) comm: String,
    /// Path of the executable; empty for a kernel thread, or where it may not be read.
    pub(crate) exe: String,
    /// Whether it lives in the kernel only.
    pub(crate) kernel_thread: bool,
    /// Whether it has more than one thread.
    pub(crate) threads: bool,
    /// Executable mappings.
    pub(crate) maps: Maps,
    /// Whether it maps a file that is named like the table of a live heap.
    pub(crate) has_heap_table: bool,
}

/// Ids of all processes.
pub(crate) fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Reads a process; none when it is gone. What may not be read is left empty.
pub(crate) fn read(pid: u32, files: &mut Files) -> Option<Scanned> {
    let mut scanned = itself(pid)?;
    if scanned.kernel_thread {
        return Some(scanned);
    }
    let read = lines::each(pid, |line| {
        scanned.has_heap_table |= line.path.starts_with(TABLE_PATH);
        if line.is_executable()
            && let Some(mapping) = mapping(&line, files)
        {
            scanned.maps.insert(mapping);
        }
    });
    note(pid, read);
    Some(scanned)
}

/// Reads who a process is, and of its mappings the code of its executable alone, which comes first as a rule: all of them take most of
/// the time that [`read`] takes.
pub(crate) fn identify(pid: u32, files: &mut Files) -> Option<Scanned> {
    let mut scanned = itself(pid)?;
    if scanned.exe.is_empty() {
        return Some(scanned);
    }
    let find_exe = |line: Line<'_>| {
        let found = if line.is_executable() { mapping(&line, files) } else { None };
        match found.filter(|mapping| matches!(&mapping.backing, Backing::File(file) if *file.path == *scanned.exe)) {
            Some(mapping) => {
                scanned.maps.insert(mapping);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    };
    note(pid, lines::open(pid).and_then(|maps| lines::until(maps, lines::FEW, find_exe)));
    Some(scanned)
}

/// A process without its mappings.
fn itself(pid: u32) -> Option<Scanned> {
    let Stat { comm, flags, threads } = stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)?;
    let mut scanned = Scanned { comm, kernel_thread: flags & KERNEL_THREAD != 0, threads: threads > 1, ..Scanned::default() };
    if !scanned.kernel_thread
        && let Ok(exe) = std::fs::read_link(format!("/proc/{pid}/exe"))
    {
        let exe = exe.to_string_lossy();
        scanned.exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe).to_owned();
    }
    Some(scanned)
}

fn note(pid: u32, read: io::Result<()>) {
    if let Err(error) = read {
        tracing::trace!(pid, %error, "the mappings of a process are not read");
    }
}

/// What is taken from `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    flags: u32,
    threads: u32,
}

fn stat(bytes: &[u8]) -> Option<Stat> {
    // A name may hold anything, parentheses too; nothing after it does.
    let (start, end) = (bytes.iter().position(|byte| *byte == b'(')?, bytes.iter().rposition(|byte| *byte == b')')?);
    let comm = String::from_utf8_lossy(bytes.get(start + 1..end)?).into_owned();
    let mut rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?.split_ascii_whitespace();
    // The fields 9 and 20; the name is the second.
    Some(Stat { comm, flags: rest.nth(6)?.parse().ok()?, threads: rest.nth(10)?.parse().ok()? })
}

fn mapping(line: &Line<'_>, files: &mut Files) -> Option<Mapping> {
    let backing = match line.path {
        // Emulated by the kernel at a fixed address: code without a stack frame, in no file.
        b"[vsyscall]" => return None,
        path => backing(FileKey::Inode { device: line.device, inode: line.inode }, &String::from_utf8_lossy(path), files),
    };
    Mapping::new(Avma(line.start), line.end.checked_sub(line.start)?, FileOffset(line.offset), backing)
}

/// What a mapping of this path holds.
pub(crate) fn backing(key: FileKey, path: &str, files: &mut Files) -> Backing {
    if path == "[vdso]" {
        return Backing::Vdso;
    }
    // "//anon" is what the kernel's records call memory of no file.
    let anonymous = !path.starts_with('/') || path.starts_with("//anon") || path.starts_with("/anon_hugepage");
    if anonymous || matches!(key, FileKey::Inode { inode: 0, .. }) { Backing::Anonymous } else { Backing::File(files.intern(key, path)) }
}

/// What procfs says of a process, for fuzzing: its `stat`, or its `maps`.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(stat) = stat(bytes) {
        // A byte that is no text becomes a character of three.
        assert!(stat.comm.len() <= 3 * bytes.len());
    }
    let (mut files, mut maps, mut lines) = (Files::default(), Maps::default(), 0);
    let read = lines::each_of(bytes, |line| {
        lines += 1;
        assert!(line.path.len() <= bytes.len());
        if let Some(mapping) = mapping(&line, &mut files) {
            assert!(mapping.start < mapping.end);
            maps.insert(mapping);
        }
    });
    assert!(read.is_ok() && maps.len() <= 3 * lines, "{lines} lines");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very process: its name, its executable, code of that executable and the vdso.
    #[test]
    fn reads_this_process() {
        let mut files = Files::default();
        let scanned = read(std::process::id(), &mut files).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(scanned.exe, exe.to_string_lossy());
        assert!(!scanned.kernel_thread && !scanned.comm.is_empty());
        assert!(scanned.maps.iter().any(|mapping| matches!(&mapping.backing, Backing::File(file) if *file.path == *scanned.exe)));
        assert!(scanned.maps.iter().any(|mapping| matches!(mapping.backing, Backing::Vdso)));
        assert!(all().contains(&std::process::id()));
        let identified = identify(std::process::id(), &mut files).unwrap();
        let exe_alone: Vec<_> = identified.maps.iter().map(|mapping| (mapping.start, mapping.end)).collect();
        assert!(exe_alone.len() == 1 && scanned.maps.iter().any(|mapping| (mapping.start, mapping.end) == exe_alone[0]));
        assert_eq!((identified.comm, identified.exe), (scanned.comm, scanned.exe));
    }

    /// The name, the flags and the number of threads, whatever the name is; and what is no such line.
    #[test]
    fn reads_stat() {
        let line = b"77 (a) R (1) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 1000";
        assert_eq!(stat(line), Some(Stat { comm: "a) R (1".to_owned(), flags: 4_194_560, threads: 9 }));
        for other in [&b""[..], b"1 (", b"1 )(", b"1 (a)", b"1 (a) S 1 77 77 0 -1", b"1 (a) S 1 77 77 0 -1 x 1 2 3 4 5 6 7 8 20 0 9"] {
            assert_eq!(stat(other), None, "{other:?}");
        }
    }

    /// Generated code has no file, whatever the kernel calls its memory.
    #[test]
    fn generated_code_is_anonymous() {
        let mut files = Files::default();
        let key = || FileKey::Inode { device: (0, 1), inode: 7 };
        for path in ["//anon", "", "[anon:v8]", "/anon_hugepage (deleted)"] {
            assert!(matches!(backing(key(), path, &mut files), Backing::Anonymous), "{path}");
        }
        let kept = |path, generated| matches!(backing(key(), path, &mut Files::default()), Backing::File(file) if file.may_be_generated() == generated);
        assert!(kept("/usr/bin/true", false) && kept("/memfd:doublemapper (deleted)", true) && kept("/dev/zero (deleted)", true));
    }
}
