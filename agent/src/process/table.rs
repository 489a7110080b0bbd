//! The process table: which process a sample belongs to, kept up by the records between the samples.
//!
//! A *generation* is one program in one process: a fork begins one, an `execve` begins the next. What is learned about a
//! process (mappings, labels, perf map) belongs to its generation and goes with it.

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::{FileOffset, Labels};

use crate::process::file::{File, FileKey, Files};
use crate::process::maps::{Backing, Mapping, Maps};
use crate::process::perf_map::PerfMap;
use crate::process::scan;
use crate::record::Mmap;

/// Names of threads are at most 15 bytes (`TASK_COMM_LEN`); those of kernel workers may be shown longer by procfs.
const MAX_COMM: usize = 63;
/// Paths longer than the kernel passes around (`PATH_MAX`) are cut.
const MAX_PATH: usize = 4096;
/// How long to leave a process alone after it was read from procfs, in nanoseconds.
const RESCAN_AFTER: u64 = 5_000_000_000;

/// A program in a process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: u32,
    /// The generation: a number of its own, never used again.
    pub(crate) generation: u64,
    /// The main thread's name.
    pub(crate) comm: Box<str>,
    /// The executable's path; empty where it is not known (yet), and for kernel threads.
    pub(crate) exe: Box<str>,
    /// Whether it lives in the kernel only.
    pub(crate) kernel_thread: bool,
    /// Executable mappings.
    pub(crate) maps: Maps,
    /// Names of the code that it generated.
    pub(crate) perf_map: PerfMap,
    /// What its samples are labelled with, once asked for.
    pub(crate) labels: Option<Arc<Labels>>,
    /// Where its samples go in the current window.
    pub(crate) source: Option<crate::fold::SourceSlot>,
    /// Whether its main thread has ended.
    exited: bool,
    /// When procfs was last asked, in the records' time; none if never.
    scanned: Option<u64>,
}

impl Process {
    /// The mapping of its executable's code.
    pub(crate) fn exe_mapping(&mut self) -> Option<&mut Mapping> {
        let exe = &self.exe;
        self.maps.iter_mut().find(|mapping| matches!(&mapping.backing, Backing::File(file) if file.path == *exe))
    }

    /// Whether code of a file with this in its name is mapped.
    pub(crate) fn maps_file(&self, matches: impl Fn(&File) -> bool) -> bool {
        self.maps.iter().any(|mapping| matches!(&mapping.backing, Backing::File(file) if matches(file)))
    }
}

/// All processes.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    processes: HashMap<u32, Process, foldhash::fast::RandomState>,
    files: Files,
    generations: u64,
    mappings_refused: u64,
}

impl ProcessTable {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Reads every running process.
    pub(crate) fn scan_all(&mut self, now: u64) {
        for pid in scan::all() {
            self.scan(pid, now);
        }
    }

    /// Reads a process, and those of its children are not: they come by their own records or samples.
    pub(crate) fn scan(&mut self, pid: u32, now: u64) {
        let scanned = scan::read(pid, &mut self.files);
        let process = self.entry(pid);
        process.scanned = Some(now);
        if let Some(scanned) = scanned {
            process.comm = clip(&scanned.comm, MAX_COMM);
            process.kernel_thread = scanned.kernel_thread;
            if !scanned.exe.is_empty() {
                process.exe = clip(&scanned.exe, MAX_PATH);
            }
            if !scanned.maps.is_empty() {
                process.maps = scanned.maps;
            }
        }
    }

    /// The process of a sample; read from procfs when no record told of it before.
    pub(crate) fn of_sample(&mut self, pid: u32, now: u64) -> &mut Process {
        if !self.processes.contains_key(&pid) {
            self.scan(pid, now);
        }
        self.entry(pid)
    }

    /// Reads a process again because its mappings do not explain a sample; not more often than once in a while. Returns
    /// whether it did.
    pub(crate) fn rescan(&mut self, pid: u32, now: u64) -> bool {
        let due = self.processes.get(&pid).is_some_and(|process| {
            !process.kernel_thread && process.scanned.is_none_or(|scanned| now.saturating_sub(scanned) > RESCAN_AFTER)
        });
        if due {
            self.scan(pid, now);
        }
        due
    }

    /// A process is made: a copy of its parent.
    pub(crate) fn fork(&mut self, child: u32, parent: u32) {
        if child == parent {
            return;
        }
        let generation = self.next_generation();
        let Some(parent) = self.processes.get(&parent) else {
            // Nothing is known of the parent: the child is read from procfs when it is sampled.
            self.processes.remove(&child);
            return;
        };
        let process = Process {
            comm: parent.comm.clone(),
            exe: parent.exe.clone(),
            kernel_thread: parent.kernel_thread,
            maps: parent.maps.clone(),
            ..Process::empty(child, generation)
        };
        self.processes.insert(child, process);
    }

    /// A process is named, or runs another program.
    pub(crate) fn comm(&mut self, pid: u32, name: &[u8], exec: bool) {
        let name = clip(&String::from_utf8_lossy(name), MAX_COMM);
        if exec {
            let generation = self.next_generation();
            self.processes.insert(pid, Process { comm: name, ..Process::empty(pid, generation) });
        } else if let Some(process) = self.processes.get_mut(&pid) {
            process.comm = name;
        }
    }

    /// Code is mapped. Returns the process when this was the executable of its new program.
    pub(crate) fn mmap(&mut self, record: &Mmap<'_>) -> Option<&mut Process> {
        if !record.executable {
            return None;
        }
        let path = String::from_utf8_lossy(record.path);
        let backing = scan::backing(FileKey::of(record.file), clip_str(&path, MAX_PATH), &mut self.files);
        let exe = match &backing {
            Backing::File(file) => Some(Arc::clone(file)),
            Backing::Vdso | Backing::Anonymous => None,
        };
        let offset = if exe.is_some() { record.offset } else { FileOffset(0) };
        let mapping = Mapping::new(record.start, record.length, offset, backing)?;
        let process = self.processes.get_mut(&record.task.pid)?;
        if !process.maps.insert(mapping) {
            self.mappings_refused = self.mappings_refused.saturating_add(1);
        }
        // The kernel maps the program first, then its interpreter (the dynamic linker).
        let exe = exe.filter(|_| process.exe.is_empty())?;
        process.exe.clone_from(&exe.path);
        Some(process)
    }

    /// A thread ends, and with its main thread the process as a rule.
    pub(crate) fn exit(&mut self, pid: u32, tid: u32) {
        if let Some(process) = self.processes.get_mut(&pid).filter(|_| pid == tid) {
            process.exited = true;
        }
    }

    /// Forgets what has ended, at a window's edge. A process whose main thread has ended before the others is still there.
    pub(crate) fn sweep(&mut self) {
        self.processes.retain(|pid, process| !process.exited || std::fs::exists(format!("/proc/{pid}")).unwrap_or(false));
        self.files.sweep();
    }

    /// The process of an id.
    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }

    /// Mappings that were one too many for their process.
    pub(crate) const fn mappings_refused(&self) -> u64 {
        self.mappings_refused
    }

    fn entry(&mut self, pid: u32) -> &mut Process {
        let generations = &mut self.generations;
        self.processes.entry(pid).or_insert_with(|| {
            *generations += 1;
            Process::empty(pid, *generations)
        })
    }

    fn next_generation(&mut self) -> u64 {
        self.generations += 1;
        self.generations
    }
}

impl Process {
    fn empty(pid: u32, generation: u64) -> Self {
        Self {
            pid,
            generation,
            comm: "".into(),
            exe: "".into(),
            kernel_thread: false,
            maps: Maps::default(),
            perf_map: PerfMap::default(),
            labels: None,
            source: None,
            exited: false,
            scanned: None,
        }
    }
}

fn clip(text: &str, limit: usize) -> Box<str> {
    clip_str(text, limit).into()
}

fn clip_str(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::Avma;

    use super::*;
    use crate::record::{MappedFile, Task};

    // Above the greatest process id there can be (PID_MAX_LIMIT is 4194304): procfs knows none of these.
    const PARENT: u32 = 5_000_001;
    const CHILD: u32 = 5_000_002;

    fn map<'a>(pid: u32, start: u64, path: &'a [u8]) -> Mmap<'a> {
        Mmap {
            task: Task { pid, tid: pid },
            start: Avma(start),
            length: 0x1000,
            offset: FileOffset(0),
            executable: true,
            file: MappedFile::Inode { major: 1, minor: 1, inode: 3 },
            path,
        }
    }

    /// A fork copies, an exec replaces, and the first mapped file after an exec is the executable.
    #[test]
    fn fork_and_exec() {
        let mut table = ProcessTable::new();
        table.comm(PARENT, b"sh", true);
        assert!(table.mmap(&map(PARENT, 0x1000, b"/bin/sh")).is_some());
        assert!(table.mmap(&map(PARENT, 0x8000, b"/lib/ld.so")).is_none());
        table.fork(CHILD, PARENT);
        let child = table.get_mut(CHILD).unwrap();
        assert_eq!((&*child.exe, &*child.comm, child.maps.iter().count()), ("/bin/sh", "sh", 2));
        let generation = child.generation;
        table.comm(CHILD, b"true", true);
        assert!(table.mmap(&map(CHILD, 0x2000, b"/bin/true")).is_some());
        let child = table.get_mut(CHILD).unwrap();
        assert_eq!((&*child.exe, &*child.comm, child.maps.iter().count()), ("/bin/true", "true", 1));
        assert_ne!(child.generation, generation);
    }

    /// An ended process stays for the samples that are still to come, and is gone after the window.
    #[test]
    fn ended_processes_go_at_the_edge() {
        let mut table = ProcessTable::new();
        table.comm(CHILD, b"brief", true);
        table.exit(CHILD, CHILD + 7);
        table.exit(CHILD, CHILD);
        assert_eq!(&*table.of_sample(CHILD, 1).comm, "brief");
        table.sweep();
        assert_eq!(table.len(), 0);
    }

    /// A sample of a process that nobody knows still gets a process.
    #[test]
    fn unknown_process_is_made_up() {
        let mut table = ProcessTable::new();
        let process = table.of_sample(CHILD, 1);
        assert_eq!((process.pid, &*process.comm), (CHILD, ""));
    }
}
