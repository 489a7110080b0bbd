//! The threads of a process by name, where samples are told apart by them.

use std::collections::HashMap;

use crate::fold::SourceSlot;
use crate::record::Task;

/// Threads of one process that are told apart; the samples of further ones go under the name of the process.
const MAX_THREADS: usize = 16_384;
/// The longest name of a thread, in bytes (`TASK_COMM_LEN` without its zero).
const MAX_NAME: usize = 15;

/// A thread.
#[derive(Debug, Default)]
struct Thread {
    name: Box<str>,
    /// Where its samples go in the current window.
    source: Option<SourceSlot>,
    ended: bool,
}

/// Threads by their id.
#[derive(Debug, Default)]
pub(crate) struct Threads(HashMap<u32, Thread, foldhash::fast::RandomState>);

impl Threads {
    /// A thread is made: it has its maker's name until it is given another.
    pub(crate) fn fork(&mut self, child: u32, parent: u32) {
        let Some(name) = self.0.get(&parent).map(|thread| thread.name.clone()) else {
            // Read from procfs when it is sampled.
            self.0.remove(&child);
            return;
        };
        self.insert(child, name);
    }

    /// A thread is given a name.
    pub(crate) fn comm(&mut self, tid: u32, name: &[u8]) {
        let name: Box<str> = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]).into();
        match self.0.get_mut(&tid) {
            Some(thread) => thread.name = name,
            None => self.insert(tid, name),
        }
    }

    /// A thread ends. It stays for what is still to come of it in this window.
    pub(crate) fn exit(&mut self, tid: u32) {
        if let Some(thread) = self.0.get_mut(&tid) {
            thread.ended = true;
        }
    }

    /// Forgets the threads that have ended.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|_, thread| !thread.ended);
        if self.0.capacity() > 64 && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to_fit();
        }
    }

    /// Where the samples of a thread go; none where there are too many.
    pub(crate) fn source(&mut self, task: Task) -> Option<&mut Option<SourceSlot>> {
        if !self.0.contains_key(&task.tid) {
            let read = std::fs::read(format!("/proc/{}/task/{}/comm", task.pid, task.tid)).unwrap_or_default();
            self.comm(task.tid, read.trim_ascii_end());
        }
        self.0.get_mut(&task.tid).map(|thread| &mut thread.source)
    }

    /// Where samples go, with the name of each thread.
    pub(crate) fn named(&self) -> impl Iterator<Item = (SourceSlot, &str)> {
        self.0.values().filter_map(|thread| Some((thread.source?, &*thread.name)))
    }

    fn insert(&mut self, tid: u32, name: Box<str>) {
        if self.0.len() < MAX_THREADS || self.0.contains_key(&tid) {
            self.0.insert(tid, Thread { name, ..Thread::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names go from maker to made, change, and end with their thread; there is a limit.
    #[test]
    fn names() {
        let mut threads = Threads::default();
        threads.comm(7, b"main");
        threads.fork(8, 7);
        threads.comm(8, b"worker-with-a-long-name");
        threads.fork(9, 8);
        let name = |threads: &Threads, tid| threads.0.get(&tid).map(|thread| thread.name.to_string());
        assert_eq!(name(&threads, 9).as_deref(), Some("worker-with-a-l"));
        threads.exit(8);
        assert!(name(&threads, 8).is_some());
        threads.sweep();
        assert_eq!((name(&threads, 8), name(&threads, 7).as_deref()), (None, Some("main")));
        for tid in 0..100_000 {
            threads.comm(tid, b"x");
        }
        assert!(threads.0.len() <= MAX_THREADS);
        assert!(threads.source(Task { pid: u32::MAX, tid: 200_000 }).is_none());
    }

    /// A thread that nobody told of is read from procfs.
    #[test]
    fn reads_names() {
        let mut threads = Threads::default();
        let task = Task { pid: std::process::id(), tid: std::process::id() };
        assert_eq!(threads.source(task), Some(&mut None));
        let shown = std::fs::read_to_string(format!("/proc/{0}/task/{0}/comm", task.pid)).unwrap();
        assert_eq!(&*threads.0[&task.tid].name, shown.trim_end());
    }
}
