//! The process table: which process a sample belongs to, kept up by the records between the samples.
//!
//! A *generation* is one program in one process: a fork begins one, an `execve` begins the next. What is learned about a
//! process (mappings, labels, perf map) belongs to its generation and goes with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flamekeeper_profile::FileOffset;

use crate::budget::measure;
use crate::process::bound::{Bound, MAPPING_BYTES, PROCESS_BYTES};
use crate::process::file::{FileKey, Files};
use crate::process::maps::{Backing, Mapping, Maps};
pub(crate) use crate::process::program::Process;
use crate::process::scan::{self, Scanned};
use crate::process::users::HiddenUsers;
use crate::record::Mmap;

/// Names of threads are at most 15 bytes (`TASK_COMM_LEN`); those of kernel workers may be shown longer by procfs.
const MAX_COMM: usize = 63;
/// Paths longer than the kernel passes around (`PATH_MAX`) are cut.
const MAX_PATH: usize = 4096;
/// How long to leave a process alone after it was read from procfs, in nanoseconds.
const RESCAN_AFTER: u64 = 5_000_000_000;

/// All processes.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    processes: HashMap<u32, Process, foldhash::fast::RandomState>,
    files: Files,
    generations: u64,
    /// The time of the record that is applied.
    now: u64,
    mappings_refused: u64,
    bound: Bound,
    /// Processes that ran at the start and are yet to be read.
    unread: Vec<u32>,
    /// Processes that have been read and may have a live heap.
    with_heaps: Vec<u32>,
    hidden: HiddenUsers,
}

impl ProcessTable {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Leaves the processes of these users alone.
    pub(crate) fn hiding(self, hidden: HiddenUsers) -> Self {
        Self { hidden, ..self }
    }

    /// The users whose processes are left alone.
    pub(crate) const fn hidden(&self) -> &HiddenUsers {
        &self.hidden
    }

    /// Whether a process is left alone. Its user is asked for once in a window and after each `execve`, since it may change; of one that is
    /// gone its parent's counts, and where nothing is known of either, it is left alone too.
    pub(crate) fn is_hidden(&mut self, pid: u32, window: u64) -> bool {
        if self.hidden.is_empty() || pid == 0 {
            return false;
        }
        let known = self.processes.get(&pid);
        if let Some(process) = known.filter(|process| process.asked_in == Some(window)) {
            return process.hidden;
        }
        let (was, is_new) = (known.is_some_and(|process| process.hidden), known.is_none());
        let hidden = self.hidden.own(pid).unwrap_or(was || is_new);
        if hidden && !was {
            self.hide(pid);
        } else if was && !hidden {
            // From here on it is a process like any other, of which nothing is known yet.
            self.processes.remove(&pid);
            self.scan(pid, self.now);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.asked_in = Some(window);
        }
        hidden
    }

    /// Forgets all that is known of a process.
    fn hide(&mut self, pid: u32) {
        let generation = self.next_generation();
        let mut process = Process { hidden: true, born: self.now, ..Process::empty(pid, generation) };
        if let Some(before) = self.processes.get(&pid) {
            (process.threaded, process.exited) = (before.threaded, before.exited);
        }
        self.bound.grew(PROCESS_BYTES);
        self.processes.insert(pid, process);
    }

    /// A record of this time comes next; 0: of no time.
    pub(crate) fn at(&mut self, time: u64) {
        self.now = time;
    }

    /// Reads the running processes for as much CPU time; those that are left when it is used up are read by
    /// [`Self::scan_more`], or when they are sampled.
    pub(crate) fn scan_all(&mut self, now: u64, allowed: Duration) {
        self.unread = scan::all();
        self.scan_more(now, allowed);
    }

    /// Reads more of the processes that ran at the start.
    pub(crate) fn scan_more(&mut self, now: u64, allowed: Duration) {
        let begun = measure::thread_cpu();
        while let Some(pid) = self.unread.pop() {
            // One that has begun since is known by its records.
            if self.processes.get(&pid).is_none_or(|process| process.born == 0 && process.scanned.is_none()) {
                self.scan(pid, now);
            }
            if measure::thread_cpu().saturating_sub(begun) >= allowed {
                return;
            }
        }
        self.unread = Vec::new();
    }

    /// Processes that were read since this was asked before, and may have a live heap.
    pub(crate) fn take_with_heaps(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.with_heaps)
    }

    /// Reads a process, and those of its children are not: they come by their own records or samples.
    pub(crate) fn scan(&mut self, pid: u32, now: u64) {
        if !self.is_left_alone(pid) {
            match scan::read(pid, &mut self.files) {
                Some(scanned) => self.take(pid, scanned),
                None => self.bound.grew(PROCESS_BYTES),
            }
            self.entry(pid).scanned = Some(now);
        }
    }

    /// Reads who a process is that nothing is known of, and not its mappings: those when a sample needs them.
    pub(crate) fn identify(&mut self, pid: u32) {
        if !self.is_left_alone(pid)
            && let Some(scanned) = scan::identify(pid, &mut self.files)
        {
            self.take(pid, scanned);
        }
    }

    /// Whether a process is of a user whose processes are left alone, and so not read.
    fn is_left_alone(&mut self, pid: u32) -> bool {
        let is = !self.hidden.is_empty() && self.hidden.own(pid) == Some(true);
        if is {
            self.hide(pid);
        }
        is
    }

    /// Takes up what procfs tells of a process.
    fn take(&mut self, pid: u32, scanned: Scanned) {
        self.bound.grew(scanned.maps.len() * MAPPING_BYTES + PROCESS_BYTES);
        if self.processes.get_mut(&pid).is_some_and(|process| process.is_succeeded_by(&scanned)) {
            self.succeed(pid, "".into());
        }
        if scanned.has_heap_table {
            self.with_heaps.push(pid);
        }
        let process = self.entry(pid);
        process.comm = clip(&scanned.comm, MAX_COMM);
        process.kernel_thread = scanned.kernel_thread;
        process.threaded |= scanned.threads;
        if !scanned.exe.is_empty() {
            process.exe = clip(&scanned.exe, MAX_PATH);
        }
        if !scanned.maps.is_empty() {
            process.maps.replace(scanned.maps);
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
        let Some(parent) = self.processes.get_mut(&parent) else {
            // Nothing is known of the parent: the child is read from procfs when it is sampled.
            self.processes.remove(&child);
            return;
        };
        if parent.hidden {
            self.processes.insert(child, Process { hidden: true, born: self.now, ..Process::empty(child, generation) });
            return self.bound.grew(PROCESS_BYTES);
        }
        let process = Process {
            comm: parent.comm.clone(),
            exe: parent.exe.clone(),
            kernel_thread: parent.kernel_thread,
            // A child that gets none is read from procfs when it is sampled.
            maps: if self.bound.copies(parent.maps.len()) { parent.maps.clone() } else { Maps::default() },
            parent: parent.pid,
            parent_generation: parent.generation,
            origin: parent.origin.fork(),
            names: parent.names.forked(parent.pid, parent.born, &parent.maps),
            born: self.now,
            ..Process::empty(child, generation)
        };
        self.bound.grew(process.bytes());
        self.processes.insert(child, process);
    }

    /// A process is named, or runs another program.
    pub(crate) fn comm(&mut self, pid: u32, name: &[u8], exec: bool) {
        let name = clip(&String::from_utf8_lossy(name), MAX_COMM);
        if exec {
            self.succeed(pid, name);
        } else if let Some(process) = self.processes.get_mut(&pid) {
            process.comm = name;
        }
    }

    /// The next program in a process begins.
    fn succeed(&mut self, pid: u32, comm: Box<str>) {
        let generation = self.next_generation();
        self.bound.grew(PROCESS_BYTES);
        let mut process = Process { comm, born: self.now, ..Process::empty(pid, generation) };
        if let Some(before) = self.processes.get(&pid) {
            (process.parent, process.parent_generation) = (before.parent, before.parent_generation);
            process.origin = before.origin.exec();
            process.names = before.names.succeeded();
            process.hidden = before.hidden;
        }
        self.processes.insert(pid, process);
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
        self.bound.grew(MAPPING_BYTES + record.path.len());
        let mapping = Mapping::new(record.start, record.length, offset, backing)?;
        let process = self.processes.get_mut(&record.task.pid)?;
        if let Some(file) = &exe {
            file.witnessed_by(process.parent);
        }
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
        let Some(process) = self.processes.get_mut(&pid).filter(|_| pid == tid) else { return };
        process.exited = true;
        // In a storm of forks the window's edge is far away.
        if !process.threaded
            && process.source.is_none()
            && let Some((pid, generation)) = self.bound.ended(pid, process.generation)
            && self.processes.get(&pid).is_some_and(|old| old.generation == generation && old.exited && old.source.is_none())
        {
            self.processes.remove(&pid);
        }
    }

    /// Forgets what has ended, at a window's edge. A process whose main thread has ended before the others is still there.
    pub(crate) fn sweep(&mut self) {
        let lives = |pid: u32| std::fs::exists(format!("/proc/{pid}")).unwrap_or(false);
        self.processes.values_mut().for_each(|process| process.threads.sweep());
        self.processes.retain(|pid, process| !process.exited || process.threaded && lives(*pid));
        self.files.sweep();
    }

    /// The process of an id.
    pub(crate) fn get_mut(&mut self, pid: u32) -> Option<&mut Process> {
        self.processes.get_mut(&pid)
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.processes.values_mut()
    }

    /// Says how many bytes processes may take, and whether to learn of new ones only when they are sampled.
    pub(crate) const fn bound(&mut self, bytes: usize, lean: bool) {
        self.bound.set(bytes, lean);
    }

    /// Between two records: forgets what was not sampled in the window of this number, and if need be all mappings, when
    /// there is more than is allowed. Returns how many were forgotten.
    pub(crate) fn keep_within(&mut self, window: u64) -> usize {
        if self.bound.is_due() { self.bound.enforce(&mut self.processes, &mut self.files, window) } else { 0 }
    }

    /// Bytes that all this takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.processes.values().map(Process::bytes).sum::<usize>() + self.files.bytes()
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

    /// The records of an `execve` were lost: what procfs shows then is another generation, and what it shows again is not.
    #[test]
    fn lost_exec_is_noticed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        // The new name comes before the new mappings.
        let runs = || {
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            maps.lines().any(|line| line.contains(" r-xp ") && (line.ends_with("/sleep") || line.ends_with("/coreutils")))
        };
        while !runs() {
            assert!(std::time::Instant::now() < until, "sleep does not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut table = ProcessTable::new();
        table.comm(pid, b"sh", true);
        table.mmap(&map(pid, 0x1000, b"/bin/sh"));
        let generation = table.get_mut(pid).unwrap().generation;
        assert!(table.rescan(pid, 1));
        let process = table.get_mut(pid).unwrap();
        let after = process.generation;
        assert!(process.exe.contains("sleep") || process.exe.contains("coreutils"), "{}", process.exe);
        assert!(after != generation && process.named.is_none() && process.exe_mapping().is_some());
        assert!(table.rescan(pid, 2 * RESCAN_AFTER));
        assert_eq!(table.get_mut(pid).unwrap().generation, after);
        child.kill().unwrap();
        child.wait().unwrap();
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

    /// In a storm of forks ended processes do not wait for the window's edge; one that was sampled does.
    #[test]
    fn storms_leave_nothing_behind() {
        let mut table = ProcessTable::new();
        table.comm(PARENT, b"sh", true);
        let first = CHILD;
        for pid in first..first + 100_000 {
            table.fork(pid, PARENT);
            if pid == first + 7 {
                table.get_mut(pid).unwrap().source = Some(crate::fold::Fold::new().slot(None, pid, 1));
            }
            table.exit(pid, pid);
        }
        assert!(table.len() < 1200, "{}", table.len());
        assert!(table.get_mut(first + 7).is_some());
        table.sweep();
        assert_eq!(table.len(), 1);
    }

    /// Whatever others do, the table stays within its bound: what was not sampled goes first, then mappings.
    #[test]
    fn stays_within_its_bound() {
        let mut table = ProcessTable::new();
        let limit = 1 << 20;
        table.bound(limit, false);
        table.comm(PARENT, b"sh", true);
        let mut fold = crate::fold::Fold::new();
        table.get_mut(PARENT).unwrap().source = Some(fold.slot(None, PARENT, 1));
        let path = "x".repeat(400);
        for pid in CHILD..CHILD + 2_000 {
            table.keep_within(fold.serial());
            table.fork(pid, PARENT);
            if pid % 10 == 0
                && let Some(process) = table.get_mut(pid)
            {
                process.source = Some(fold.slot(None, pid, process.generation));
            }
            for place in 0..20 {
                table.keep_within(fold.serial());
                let path = format!("/{pid}-{place}{path}");
                table.mmap(&map(pid, 0x1000 * (place + 1), path.as_bytes()));
            }
            assert!(table.bytes() <= limit + limit / 4, "{} bytes of {} processes", table.bytes(), table.len());
        }
        let sampled = (CHILD..CHILD + 2_000).filter(|pid| pid % 10 == 0 && table.get_mut(*pid).is_some()).count();
        assert_eq!(sampled, 200);
    }

    /// A sample of a process that nobody knows still gets a process.
    #[test]
    fn unknown_process_is_made_up() {
        let mut table = ProcessTable::new();
        let process = table.of_sample(CHILD, 1);
        assert_eq!((process.pid, &*process.comm), (CHILD, ""));
    }
}
