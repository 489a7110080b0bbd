//! Facts of this host.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flamekeeper_object::{ObjectFile, SymbolsPresent, find_debug_file};

/// Programs that are looked at; a host that runs more has told enough.
const MOST_PROGRAMS: usize = 500;

/// The kernel's release, such as `6.1.0-18-amd64`.
pub(super) fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The processes of procfs.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process of an agent that runs, as `flamekeeper-agent`, `flamekeeper agent` or `flamekeeper up`.
pub(super) fn agent() -> Option<u32> {
    processes().find(|pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is_agent(&line)))
}

/// Whether a command line (arguments that end with a zero byte each) starts an agent.
fn is_agent(line: &[u8]) -> bool {
    let mut arguments = line.split(|byte| *byte == 0);
    let program = arguments.next().and_then(|program| program.rsplit(|byte| *byte == b'/').next());
    match (program, arguments.next()) {
        (Some(b"flamekeeper-agent"), next) => next != Some(b"--check-config"),
        (Some(b"flamekeeper"), Some(b"agent" | b"up")) => true,
        _ => false,
    }
}

/// What was found out about the programs that run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Programs {
    /// Programs that could be read, each file once.
    pub(super) read: usize,
    /// Processes whose program could not be read.
    pub(super) closed: usize,
    /// Those without a build id.
    pub(super) without_id: Vec<String>,
    /// Those whose functions this host cannot name: no symbol table, no debug file.
    pub(super) nameless: Vec<String>,
}

/// Looks at the programs that run.
pub(super) fn programs() -> Programs {
    let mut paths = BTreeMap::new();
    let mut found = Programs::default();
    for pid in processes() {
        let link = format!("/proc/{pid}/exe");
        match fs::read_link(&link) {
            Ok(path) => _ = paths.entry(path).or_insert(link),
            // A kernel thread has no program at all, and no command line either.
            Err(_) if fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) => found.closed += 1,
            Err(_) => {}
        }
    }
    for (path, link) in paths.into_iter().take(MOST_PROGRAMS) {
        let Ok(object) = File::open(link).map_err(drop).and_then(|file| ObjectFile::from_file(&file).map_err(drop)) else {
            found.closed += 1;
            continue;
        };
        found.read += 1;
        let name = path.display().to_string();
        let debug = object.build_id().and_then(|id| find_debug_file(id, &path, Path::new("/")));
        if object.build_id().is_none() {
            found.without_id.push(name.clone());
        }
        if debug.is_none() && object.has_symbols() < SymbolsPresent::SymbolTable {
            found.nameless.push(name);
        }
    }
    found
}

/// Room on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The directory that was looked at: the wanted one, or the nearest above that is there.
    pub(super) directory: PathBuf,
    /// Bytes free for those who are not root; none where the system does not tell.
    pub(super) free: Option<u64>,
}

/// Looks at the disk of a directory.
pub(super) fn disk(directory: &Path) -> Disk {
    let there = directory.ancestors().find_map(|directory| free(directory).map(|bytes| (directory.to_owned(), bytes)));
    there.map_or_else(|| Disk { directory: directory.to_owned(), free: None }, |(directory, bytes)| Disk { directory, free: Some(bytes) })
}

fn free(directory: &Path) -> Option<u64> {
    let path = CString::new(directory.as_os_str().as_bytes()).ok()?;
    // SAFETY: all-zero bytes are a valid statvfs, which is plain numbers.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a string that ends with a zero byte, and a live statvfs that the call fills in.
    (unsafe { libc::statvfs(path.as_ptr(), &raw mut answer) } == 0).then(|| answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// Whether the kernel's clock is kept in step with others by somebody (adjtimex(2)); none where it does not tell.
pub(super) fn clock_is_synchronized() -> Option<bool> {
    // SAFETY: all-zero bytes are a valid timex; `modes` of 0 asks and changes nothing.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: a live, initialized timex that the call fills in.
    let state = unsafe { libc::adjtimex(&raw mut clock) };
    (state >= 0).then_some(clock.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents are told from their namesakes and from their own check.
    #[test]
    fn agents() {
        let agents: [&[u8]; 4] =
            [b"/usr/bin/flamekeeper-agent\0--config\0x\0", b"flamekeeper-agent\0", b"/opt/flamekeeper\0up\0", b"flamekeeper\0agent\0"];
        let others: [&[u8]; 5] =
            [b"", b"flamekeeper\0collector\0", b"vi\0flamekeeper-agent\0", b"flamekeeper\0", b"flamekeeper-agent\0--check-config\0"];
        assert!(agents.into_iter().all(is_agent) && !others.into_iter().any(is_agent));
    }

    /// This test itself is among the programs; the disk of a directory that is not there is that of one above.
    #[test]
    fn this_host() {
        assert!(programs().read > 0);
        let disk = disk(Path::new("/no/such/directory"));
        assert!(disk.directory == Path::new("/") && disk.free.is_some_and(|bytes| bytes > 0));
        assert!(!kernel_release().is_empty());
    }
}
