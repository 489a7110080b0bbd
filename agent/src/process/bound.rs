//! The bound on what is known of processes: others decide how many there are and what they map.

use std::collections::{HashMap, VecDeque};

use crate::process::file::Files;
use crate::process::table::Process;

/// What a process takes beside its mappings, in bytes: itself, its place in the table, its labels.
pub(crate) const PROCESS_BYTES: usize = 2000;
/// What a mapping takes, the vector's spare room included.
pub(crate) const MAPPING_BYTES: usize = 112;
/// A process with more mappings than this is not copied when it forks: its child is read from procfs if it is sampled.
const MOST_COPIED: usize = 256;
/// Ended processes that are kept for samples that may still come.
const MOST_ENDED: usize = 1024;

/// How much may be known, and whether that is kept to.
#[derive(Debug)]
pub(crate) struct Bound {
    bytes: usize,
    lean: bool,
    /// Bytes added since the last count.
    grown: usize,
    ended: VecDeque<(u32, u64)>,
}

impl Default for Bound {
    /// None.
    fn default() -> Self {
        Self { bytes: usize::MAX, lean: false, grown: 0, ended: VecDeque::new() }
    }
}

impl Bound {
    /// Changes what is allowed, in bytes.
    pub(crate) const fn set(&mut self, bytes: usize, lean: bool) {
        (self.bytes, self.lean) = (bytes, lean);
    }

    /// Notes that so many bytes were added.
    pub(crate) const fn grew(&mut self, bytes: usize) {
        self.grown = self.grown.saturating_add(bytes);
    }

    /// Whether a process with so many mappings is copied when it forks.
    pub(crate) const fn copies(&self, mappings: usize) -> bool {
        !self.lean && mappings <= MOST_COPIED
    }

    /// A process has ended; returns one that ended long enough ago to be forgotten.
    pub(crate) fn ended(&mut self, pid: u32, generation: u64) -> Option<(u32, u64)> {
        self.ended.push_back((pid, generation));
        if self.ended.len() > MOST_ENDED { self.ended.pop_front() } else { None }
    }

    /// Whether enough was added that it is time to count: an eighth of what is allowed.
    pub(crate) const fn is_due(&self) -> bool {
        self.grown > self.bytes / 8
    }

    /// Counts, and forgets until three quarters of what is allowed hold. Returns how many were forgotten.
    pub(crate) fn enforce<S: std::hash::BuildHasher>(
        &mut self,
        processes: &mut HashMap<u32, Process, S>,
        files: &mut Files,
        window: u64,
    ) -> usize {
        self.grown = 0;
        let mut evicted = 0;
        let allowed = self.bytes / 4 * 3;
        let bytes = |processes: &HashMap<u32, Process, S>| processes.values().map(Process::bytes).sum::<usize>();
        if bytes(processes).saturating_add(files.bytes()) <= allowed {
            return evicted;
        }
        let before = processes.len();
        processes.retain(|_, process| process.source.is_some_and(|slot| slot.is_of(window)));
        processes.shrink_to_fit();
        files.forget_unmapped();
        evicted += before - processes.len();
        if bytes(processes).saturating_add(files.bytes()) > allowed {
            evicted += processes.len();
            processes.values_mut().for_each(Process::forget_maps);
            files.forget_unmapped();
        }
        if bytes(processes) > allowed {
            // Their very names are too much. What was sampled has its labels already.
            processes.clear();
        }
        evicted
    }
}
