//! One process: the interpreter that it runs, its threads as the kernel's side knows them, and the code that was named.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use flamekeeper_profile::Svma;

use crate::process::maps::Backing;
use crate::process::table::Process;
use crate::python::code::{Code, word};
use crate::python::detect::{self, Landmarks};
use crate::python::offsets::{Offsets, RUNTIME_HEAD, Unsupported};
use crate::python::program::ThreadEntry;
use crate::python::tap::Threads;
use crate::python::{memory, tasks, threads};
use crate::unwind::{Resolved, Unwinder, locate};

/// Code objects of a process that are remembered; beyond it all are forgotten and read anew.
const MAX_CODES: usize = 16_384;
/// How long to wait before a process's threads are read again, in nanoseconds: at first, and at most, when nothing new is
/// found time and again (threads of native code never have anything to read).
const FIRST_WAIT: u64 = 20_000_000;
const LONGEST_WAIT: u64 = 5_000_000_000;
/// Files whose landmarks are remembered.
const MAX_FILES: usize = 1024;

/// Landmarks by the number of a mapped file; none for a file that holds no interpreter.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles(HashMap<u64, Option<Arc<Landmarks>>, foldhash::fast::RandomState>);

/// An interpreter in a process.
#[derive(Clone, Debug)]
pub(crate) struct Interpreter {
    /// Address of its `_PyRuntime`.
    runtime: u64,
    /// Address of its `PyCode_Type`.
    pub(crate) code_type: u64,
    /// Where its fields stand.
    pub(crate) offsets: Offsets,
}

#[cfg(test)]
impl Interpreter {
    /// An interpreter whose threads nobody looks for.
    pub(crate) const fn forged(code_type: u64, offsets: Offsets) -> Self {
        Self { runtime: 0, code_type, offsets }
    }
}

/// What is known of a process.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// It maps no interpreter.
    None,
    /// It maps one, of which nothing could be read so far.
    Unread,
    /// It maps one that cannot be read.
    Refused(Unsupported),
    /// It maps one that can.
    Interpreter(Interpreter),
}

/// A process, or one that is none of Python's.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// The generation of the process that this holds for.
    pub(crate) generation: u64,
    /// What it runs.
    pub(crate) content: Content,
    /// Where `_PyEval_EvalFrameDefault` is in its memory.
    eval: Vec<Range<u64>>,
    /// Where all code of the interpreter's object is.
    object: Vec<Range<u64>>,
    /// How many mappings it had when it was looked at.
    mappings: usize,
    /// Threads that the kernel's side knows: the address of each one's state.
    threads: HashMap<u32, u64, foldhash::fast::RandomState>,
    /// When its threads may be read again, and how long to wait after that.
    due: u64,
    wait: u64,
    /// By address and fingerprint.
    codes: HashMap<(u64, u64), Code, foldhash::fast::RandomState>,
}

impl Tracked {
    /// Looks at a process for the first time.
    pub(crate) fn new(process: &mut Process, unwinder: &mut Unwinder, files: &mut KnownFiles) -> Self {
        let mut tracked = Self::empty(process.generation);
        tracked.look(process, unwinder, files);
        tracked
    }

    fn empty(generation: u64) -> Self {
        Self {
            generation,
            content: Content::None,
            eval: Vec::new(),
            object: Vec::new(),
            mappings: 0,
            threads: HashMap::default(),
            due: 0,
            wait: FIRST_WAIT,
            codes: HashMap::default(),
        }
    }

    /// The copy that `fork(2)` makes: the same interpreter, with the one thread that called it.
    pub(crate) fn fork(&self, generation: u64) -> Self {
        Self {
            content: self.content.clone(),
            eval: self.eval.clone(),
            object: self.object.clone(),
            mappings: self.mappings,
            ..Self::empty(generation)
        }
    }

    /// Looks again where the process was not known to be Python's and has mapped something since.
    pub(crate) fn look_again(&mut self, process: &mut Process, now: u64, unwinder: &mut Unwinder, files: &mut KnownFiles) {
        let stale = match self.content {
            Content::None => self.mappings != process.maps.iter().count(),
            Content::Unread => self.is_due(now),
            Content::Refused(_) | Content::Interpreter(_) => false,
        };
        if stale {
            self.look(process, unwinder, files);
            if matches!(self.content, Content::Unread) {
                self.put_off(now);
            }
        }
    }

    fn look(&mut self, process: &mut Process, unwinder: &mut Unwinder, files: &mut KnownFiles) {
        self.mappings = process.maps.iter().count();
        let Some((landmarks, bias, serial)) = files.find(process, unwinder) else { return };
        let of_object = process.maps.iter().filter(|mapping| matches!(&mapping.backing, Backing::File(file) if file.serial == serial));
        self.object = of_object.map(|mapping| mapping.start.0..mapping.end.0).collect();
        let address = |svma: Svma| svma.0.wrapping_add(bias);
        self.eval = landmarks.eval.iter().map(|part| address(Svma(part.start))..address(Svma(part.end))).collect();
        self.content = match interpreter(process.pid, &landmarks, address) {
            None => Content::Unread,
            Some(Err(reason)) => Content::Refused(reason),
            Some(Ok(interpreter)) => Content::Interpreter(interpreter),
        };
    }

    /// A process that runs a forged interpreter, whose function is at `eval`.
    #[cfg(test)]
    pub(crate) fn forged(generation: u64, interpreter: Interpreter, eval: Range<u64>, thread: (u32, u64)) -> Self {
        let threads = [thread].into_iter().collect();
        Self { content: Content::Interpreter(interpreter), eval: vec![eval], threads, ..Self::empty(generation) }
    }

    /// Whether an address lies in `_PyEval_EvalFrameDefault`.
    pub(crate) fn is_eval(&self, address: u64) -> bool {
        self.eval.iter().any(|part| part.contains(&address))
    }

    /// Whether an address lies in the interpreter's object.
    pub(crate) fn is_interpreter(&self, address: u64) -> bool {
        self.object.iter().any(|part| part.contains(&address))
    }

    /// The address of the state that a thread is known by.
    pub(crate) fn thread(&self, tid: u32) -> Option<u64> {
        self.threads.get(&tid).copied()
    }

    /// Lets the kernel's side know a thread of this process. Returns false where it has no room.
    pub(crate) fn register(&mut self, pid: u32, tid: u32, state: u64, kernel: &Threads) -> bool {
        let Content::Interpreter(interpreter) = &self.content else { return true };
        if kernel.set(tid, ThreadEntry { state, pid, layout: interpreter.offsets.frame }).is_err() {
            return false;
        }
        self.threads.insert(tid, state);
        true
    }

    /// A thread has ended.
    pub(crate) fn thread_ended(&mut self, tid: u32, kernel: &Threads) {
        if self.threads.remove(&tid).is_some() {
            kernel.remove(tid);
        }
    }

    /// All threads have ended, or run another program.
    pub(crate) fn end(&mut self, kernel: &Threads) {
        self.threads.drain().for_each(|(tid, _)| kernel.remove(tid));
    }

    /// Something has happened that makes new threads likely.
    pub(crate) const fn expect_threads(&mut self, now: u64) {
        self.wait = FIRST_WAIT;
        let soon = now.saturating_add(FIRST_WAIT);
        if self.due > soon {
            self.due = soon;
        }
    }

    /// Whether its threads may be read again.
    pub(crate) const fn is_due(&self, now: u64) -> bool {
        now >= self.due
    }

    /// Reads its threads. Returns false where the kernel's side has no room for them all.
    pub(crate) fn refresh(&mut self, pid: u32, now: u64, kernel: &Threads) -> bool {
        let Content::Interpreter(interpreter) = &self.content else { return true };
        let found = threads::list(interpreter.runtime, &interpreter.offsets.threads, &mut |at, bytes| memory::read(pid, at, bytes));
        let tasks = tasks::list(pid);
        let lives = |tid, state| tasks.contains(tid) && found.iter().any(|found| found.state == state);
        let gone: Vec<u32> = self.threads.iter().filter(|(tid, state)| !lives(**tid, **state)).map(|(tid, _)| *tid).collect();
        gone.into_iter().for_each(|tid| self.thread_ended(tid, kernel));
        let mut changed = false;
        let mut room = true;
        // A process that forked before this agent looked may still state its parent's id for its only thread.
        let only = tasks.only().filter(|_| found.len() == 1);
        for thread in &found {
            let Some(tid) = tasks.tid(thread.native_id).or(only) else { continue };
            if self.threads.get(&tid) != Some(&thread.state) {
                changed = true;
                room &= self.register(pid, tid, thread.state, kernel);
            }
        }
        if changed {
            self.wait = FIRST_WAIT;
        }
        self.put_off(now);
        room
    }

    fn put_off(&mut self, now: u64) {
        self.due = now.saturating_add(self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// Whether nothing was found in it for so long that it is not worth waiting for.
    pub(crate) fn is_settled(&self) -> bool {
        !self.threads.is_empty() || self.wait == LONGEST_WAIT || matches!(self.content, Content::Refused(_))
    }

    /// The code object at an address, as it was when it had this fingerprint; read now if it is not known.
    pub(crate) fn code(&mut self, pid: u32, address: u64, fingerprint: u64) -> Option<&Code> {
        let Content::Interpreter(interpreter) = &self.content else { return None };
        if self.codes.len() >= MAX_CODES {
            self.codes.clear();
        }
        match self.codes.entry((address, fingerprint)) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(vacant) => {
                let (layout, kind) = (&interpreter.offsets.code, interpreter.code_type);
                let code = Code::read(address, fingerprint, kind, layout, &mut |at, bytes| memory::read(pid, at, bytes));
                code.ok().map(|code| &*vacant.insert(code))
            }
        }
    }

    /// Bytes of memory that its code takes.
    pub(crate) fn code_size(&self) -> usize {
        self.codes.values().map(Code::size).sum()
    }

    /// Forgets its code.
    pub(crate) fn forget_code(&mut self) {
        self.codes = HashMap::default();
    }
}

/// Asks an interpreter for its version and layout; none where its memory cannot be read.
fn interpreter(pid: u32, landmarks: &Landmarks, address: impl Fn(Svma) -> u64) -> Option<Result<Interpreter, Unsupported>> {
    let Some(version) = landmarks.version else { return Some(Err(Unsupported::Version { version: 0 })) };
    let mut bytes = [0; 8];
    memory::read(pid, address(version), &mut bytes)?;
    let version = u32::try_from(word(&bytes, 0)? & 0xffff_ffff).ok()?;
    let runtime = address(landmarks.runtime);
    let mut head = [0; RUNTIME_HEAD];
    memory::read(pid, runtime, &mut head)?;
    let offsets = Offsets::of(version, &head);
    Some(offsets.map(|offsets| Interpreter { runtime, code_type: address(landmarks.code_type), offsets }))
}

impl KnownFiles {
    /// The interpreter that a process maps, the bias of its addresses, and the number of its file.
    fn find(&mut self, process: &mut Process, unwinder: &mut Unwinder) -> Option<(Arc<Landmarks>, u64, u64)> {
        let pid = process.pid;
        for mapping in process.maps.iter_mut() {
            let Backing::File(file) = &mapping.backing else { continue };
            if !detect::is_candidate(&file.path) {
                continue;
            }
            let known = self.0.get(&file.serial).cloned().or_else(|| {
                let located = locate::open(pid, mapping, file)?;
                let landmarks = detect::landmarks(&located.object).map(Arc::new);
                if self.0.len() >= MAX_FILES {
                    self.0.clear();
                }
                self.0.insert(file.serial, landmarks.clone());
                Some(landmarks)
            });
            let Some(landmarks) = known.flatten() else { continue };
            let serial = file.serial;
            unwinder.resolve(pid, mapping);
            if let Resolved::Object { bias, .. } = mapping.resolved {
                return Some((landmarks, bias, serial));
            }
        }
        None
    }
}
