//! A program in a process, and what is known of it.

use std::sync::Arc;

use crate::fold::SourceSlot;
use crate::identity::Named;
use crate::identity::origin::Origin;
use crate::jit::names::Names;
use crate::jvm::Java;
use crate::process::bound::{MAPPING_BYTES, PROCESS_BYTES};
use crate::process::file::File;
use crate::process::maps::{Backing, Mapping, Maps};
use crate::process::scan::Scanned;
use crate::process::stacks::Stacks;
use crate::process::threads::Threads;

/// The kernel's name for the idle tasks.
const IDLE: &str = "swapper";

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
    /// Whether it belongs to a user whose processes are left alone, and in which window that was asked.
    pub(super) hidden: bool,
    pub(super) asked_in: Option<u64>,
    /// Executable mappings.
    pub(crate) maps: Maps,
    /// Which of its memory is one stack and which another.
    pub(crate) stacks: Stacks,
    /// Names of the code that it generated.
    pub(crate) names: Names,
    /// The Java virtual machine in it.
    pub(crate) java: Java,
    /// The process that made it; 0 where nobody saw that.
    pub(super) parent: u32,
    /// That process's generation.
    pub(crate) parent_generation: u64,
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// When this generation began, in the records' time; 0: before anybody looked.
    pub(crate) born: u64,
    /// What its samples are labelled with, once asked for.
    pub(crate) named: Option<Arc<Named>>,
    /// Where its samples go in the current window.
    pub(crate) source: Option<SourceSlot>,
    /// Its threads, where they are told apart.
    pub(crate) threads: Threads,
    /// Whether it has, or had, more than one thread.
    pub(crate) threaded: bool,
    /// Whether its main thread has ended.
    pub(super) exited: bool,
    /// When procfs was last asked, in the records' time; none if never.
    pub(super) scanned: Option<u64>,
}

impl Process {
    /// The mapping of its executable's code.
    pub(crate) fn exe_mapping(&mut self) -> Option<&mut Mapping> {
        let exe = &self.exe;
        self.maps.iter_mut().find(|mapping| matches!(&mapping.backing, Backing::File(file) if file.path == *exe))
    }

    /// Whether procfs shows the program that came after this one, whose records were lost: another executable, and where this
    /// one's code was is something else. The path alone does not tell, for a process may have a root directory of its own.
    pub(super) fn is_succeeded_by(&mut self, scanned: &Scanned) -> bool {
        if scanned.exe.is_empty() || self.exe.is_empty() || *scanned.exe == *self.exe {
            return false;
        }
        let code = self.exe_mapping().map(|mapping| (mapping.start, mapping.end));
        code.is_some_and(|code| scanned.maps.iter().all(|mapping| (mapping.start, mapping.end) != code))
    }

    /// Bytes that it takes, roughly, names of generated code aside.
    pub(crate) fn bytes(&self) -> usize {
        PROCESS_BYTES + self.maps.len() * MAPPING_BYTES + self.comm.len() + self.exe.len()
    }

    /// Whether its main thread has ended.
    pub(crate) const fn has_exited(&self) -> bool {
        self.exited
    }

    /// Forgets its mappings; they are read again when a sample needs them.
    pub(crate) fn forget_maps(&mut self) {
        self.maps.replace(Maps::default());
        self.scanned = None;
    }

    /// Whether code of a file with this in its name is mapped.
    pub(crate) fn maps_file(&self, matches: impl Fn(&File) -> bool) -> bool {
        self.maps.iter().any(|mapping| matches!(&mapping.backing, Backing::File(file) if matches(file)))
    }

    /// One of which nothing is known.
    pub(super) fn empty(pid: u32, generation: u64) -> Self {
        Self {
            pid,
            generation,
            // Each CPU's idle task has process id 0 and no entry in procfs.
            comm: if pid == 0 { IDLE.into() } else { "".into() },
            exe: "".into(),
            kernel_thread: pid == 0,
            hidden: false,
            asked_in: None,
            maps: Maps::default(),
            stacks: Stacks::default(),
            parent: 0,
            parent_generation: 0,
            origin: Origin::default(),
            named: None,
            names: Names::default(),
            java: Java::default(),
            born: 0,
            source: None,
            threads: Threads::default(),
            threaded: false,
            exited: false,
            scanned: None,
        }
    }
}
