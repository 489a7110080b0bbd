//! The interpreters of all processes: found, followed through forks and ends, and known to the kernel's side.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::perf::clock;
use crate::process::table::{Process, ProcessTable};
use crate::python::detect;
use crate::python::join::Joiner;
use crate::python::offsets::Unsupported;
use crate::python::process::{Content, KnownFiles, Tracked};
use crate::python::tap::{TapError, Threads};
use crate::record::Task;
use crate::unwind::Unwinder;

/// Bytes of code objects of all processes; beyond it all are forgotten, and read anew as they are sampled.
const MAX_CODE_BYTES: usize = 16 << 20;
/// Processes in which threads are looked for in one round, and that may wait for it.
const REFRESHES: usize = 16;
const MAX_EXPECTING: usize = 1024;
/// Reasons that are told of.
const MAX_TOLD: usize = 16;

/// The kernel's side, as far as there is one.
#[derive(Debug, Default)]
enum Kernel {
    /// No Python process was seen so far, so nobody has asked.
    #[default]
    NotAsked,
    /// It knows these threads.
    Tapped(Threads),
    /// It cannot be had, and why; none once that was told.
    Missing(Option<TapError>),
}

/// Interpreters of all processes.
#[derive(Debug, Default)]
pub(crate) struct Interpreters {
    kernel: Kernel,
    tracked: HashMap<u32, Tracked, foldhash::fast::RandomState>,
    files: KnownFiles,
    /// Processes in which new threads are expected.
    expecting: Vec<u32>,
    told: Vec<Unsupported>,
    /// What is made of samples.
    pub(super) joiner: Joiner,
}

impl Interpreters {
    /// Whether a Python process was seen and the kernel's side was not asked for yet.
    pub(crate) fn wants_tap(&self) -> bool {
        matches!(self.kernel, Kernel::NotAsked) && self.tracked.values().any(|tracked| matches!(tracked.content, Content::Interpreter(_)))
    }

    /// Takes the kernel's side, or the reason why there is none.
    pub(crate) fn tapped(&mut self, threads: Result<Threads, TapError>) {
        self.kernel = match threads {
            Ok(threads) => Kernel::Tapped(threads),
            Err(error) => Kernel::Missing(Some(error)),
        };
        self.expecting.clear();
        self.expecting
            .extend(self.tracked.iter().filter(|(_, tracked)| matches!(tracked.content, Content::Interpreter(_))).map(|(pid, _)| *pid));
    }

    /// Looks at all processes that are there at the start.
    pub(crate) fn look_at_all(&mut self, processes: &mut ProcessTable, unwinder: &mut Unwinder) {
        for process in processes.iter_mut() {
            self.track(process, 0, unwinder);
        }
    }

    /// What is known of a process, looked at now if need be.
    pub(super) fn track(&mut self, process: &mut Process, now: u64, unwinder: &mut Unwinder) -> &mut Tracked {
        match self.tracked.entry(process.pid) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                if known.generation == process.generation {
                    known.look_again(process, now, unwinder, &mut self.files);
                } else {
                    if let Kernel::Tapped(kernel) = &self.kernel {
                        known.end(kernel);
                    }
                    *known = Tracked::new(process, unwinder, &mut self.files);
                }
                known
            }
            Entry::Vacant(vacant) => vacant.insert(Tracked::new(process, unwinder, &mut self.files)),
        }
    }

    /// Reads a process's threads, unless that was done a moment ago: a thread of it was sampled that nobody knows.
    pub(super) fn refresh(&mut self, pid: u32, now: u64) {
        match (&mut self.kernel, self.tracked.get_mut(&pid)) {
            (Kernel::Tapped(kernel), Some(tracked)) if tracked.is_due(now) => {
                let room = tracked.refresh(pid, now, kernel);
                if !room {
                    tracing::debug!(pid, "more threads of python processes than can be followed");
                }
            }
            (Kernel::Missing(error), _) => {
                if let Some(error) = error.take() {
                    tracing::warn!(%error, "python processes are sampled without the interpreter's frames");
                }
            }
            _ => {}
        }
    }

    /// Tells once why an interpreter cannot be read.
    pub(super) fn tell(&mut self, reason: Unsupported, pid: u32) {
        if self.told.len() < MAX_TOLD && !self.told.contains(&reason) {
            self.told.push(reason);
            tracing::warn!(pid, %reason, "a python process is sampled without the interpreter's frames");
        }
    }

    /// A file was mapped: perhaps an interpreter, whose threads will be there in a moment.
    pub(crate) fn mapped(&mut self, pid: u32, path: &[u8]) {
        if str::from_utf8(path).is_ok_and(detect::is_candidate) {
            self.expect(pid);
        }
    }

    /// A thread or process was made.
    pub(crate) fn forked(&mut self, child: Task, parent: Task, processes: &mut ProcessTable) {
        let Some(tracked) = self.tracked.get_mut(&parent.pid).filter(|tracked| matches!(tracked.content, Content::Interpreter(_))) else {
            return;
        };
        if child.pid == parent.pid {
            tracked.expect_threads(clock::monotonic());
            self.expect(child.pid);
            return;
        }
        let Some(process) = processes.get_mut(child.pid) else { return };
        let mut copy = tracked.fork(process.generation);
        let state = tracked.thread(parent.tid);
        self.executed(child.pid);
        if let (Kernel::Tapped(kernel), Some(state)) = (&self.kernel, state) {
            // The child goes on in a copy of its parent's memory, with the state at the same address.
            copy.register(child.pid, child.tid, state, kernel);
        }
        self.tracked.insert(child.pid, copy);
        self.expect(child.pid);
    }

    /// A process runs another program: what was known of it holds no more.
    pub(crate) fn executed(&mut self, pid: u32) {
        if let (Some(mut tracked), Kernel::Tapped(kernel)) = (self.tracked.remove(&pid), &self.kernel) {
            tracked.end(kernel);
        }
    }

    /// A thread has ended.
    pub(crate) fn exited(&mut self, task: Task) {
        if let (Some(tracked), Kernel::Tapped(kernel)) = (self.tracked.get_mut(&task.pid), &self.kernel) {
            tracked.thread_ended(task.tid, kernel);
        }
    }

    /// Whether there are processes whose threads are yet to be found.
    pub(crate) const fn is_expecting(&self) -> bool {
        !self.expecting.is_empty()
    }

    /// Does what has become due: a few processes a round.
    pub(crate) fn tick(&mut self, now: u64, processes: &mut ProcessTable, unwinder: &mut Unwinder) {
        let mut budget = REFRESHES;
        let mut expecting = std::mem::take(&mut self.expecting);
        expecting.retain(|pid| {
            let Some(process) = processes.get_mut(*pid) else { return false };
            let tracked = self.track(process, now, unwinder);
            if matches!(tracked.content, Content::None) {
                // A file of an interpreter's name without one; what it maps later is looked at anew.
                return false;
            }
            if budget == 0 || !tracked.is_due(now) {
                return true;
            }
            budget -= 1;
            if matches!(tracked.content, Content::Interpreter(_)) {
                self.refresh(*pid, now);
            }
            matches!(self.kernel, Kernel::Tapped(_)) && self.tracked.get(pid).is_some_and(|tracked| !tracked.is_settled())
        });
        self.expecting.append(&mut expecting);
    }

    /// Ends a window: its places mean nothing in the next, and what belongs to no process any more goes.
    pub(crate) fn close(&mut self, processes: &mut ProcessTable) {
        self.joiner.begin_window();
        let kernel = &self.kernel;
        self.tracked.retain(|pid, tracked| {
            let lives = processes.get_mut(*pid).is_some_and(|process| process.generation == tracked.generation);
            if let (false, Kernel::Tapped(kernel)) = (lives, kernel) {
                tracked.end(kernel);
            }
            lives
        });
        if self.tracked.values().map(Tracked::code_size).sum::<usize>() > MAX_CODE_BYTES {
            self.tracked.values_mut().for_each(Tracked::forget_code);
        }
    }

    /// Takes a process for one of Python.
    #[cfg(test)]
    pub(crate) fn forge(&mut self, pid: u32, tracked: Tracked) {
        self.tracked.insert(pid, tracked);
    }

    fn expect(&mut self, pid: u32) {
        if self.expecting.len() < MAX_EXPECTING && !self.expecting.contains(&pid) {
            self.expecting.push(pid);
        }
    }
}
