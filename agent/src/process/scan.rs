//! Reading a running process from procfs.

use flamekeeper_profile::{Avma, FileOffset};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process as ProcEntry};

use crate::heap::TABLE_PATH;
use crate::process::file::{FileKey, Files};
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
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    processes.filter_map(|process| u32::try_from(process.pid()).ok()).collect()
}

/// Reads a process; none when it is gone. What may not be read is left empty.
pub(crate) fn read(pid: u32, files: &mut Files) -> Option<Scanned> {
    let entry = ProcEntry::new(i32::try_from(pid).ok()?).ok()?;
    let stat = entry.stat().ok()?;
    let kernel_thread = stat.flags & KERNEL_THREAD != 0;
    let mut scanned = Scanned { comm: stat.comm, kernel_thread, threads: stat.num_threads > 1, ..Scanned::default() };
    if kernel_thread {
        return Some(scanned);
    }
    if let Ok(exe) = entry.exe() {
        let exe = exe.to_string_lossy();
        scanned.exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe).to_owned();
    }
    for map in entry.maps().into_iter().flatten() {
        scanned.has_heap_table |= is_heap_table(&map);
        if !map.perms.contains(MMPermissions::EXECUTE) {
            continue;
        }
        if let Some(mapping) = mapping(&map, files) {
            scanned.maps.insert(mapping);
        }
    }
    Some(scanned)
}

fn is_heap_table(map: &MemoryMap) -> bool {
    matches!(&map.pathname, MMapPath::Path(path) if path.as_os_str().as_encoded_bytes().starts_with(TABLE_PATH))
}

fn mapping(map: &MemoryMap, files: &mut Files) -> Option<Mapping> {
    let (start, end) = map.address;
    let device = (u32::try_from(map.dev.0).unwrap_or_default(), u32::try_from(map.dev.1).unwrap_or_default());
    let backing = match &map.pathname {
        MMapPath::Vdso => Backing::Vdso,
        // Emulated by the kernel at a fixed address: code without a stack frame, in no file.
        MMapPath::Vsyscall => return None,
        MMapPath::Path(path) => backing(FileKey::Inode { device, inode: map.inode }, &path.to_string_lossy(), files),
        _ => Backing::Anonymous,
    };
    Mapping::new(Avma(start), end.checked_sub(start)?, FileOffset(map.offset), backing)
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
