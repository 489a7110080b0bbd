//! Live heaps: what processes that sample their own allocations (`heap/`, the crate `flamekeeper-heap`) keep in a table that can be
//! read from outside.
//!
//! A table is found when its library is mapped, or by a look at a process's mappings a second after its `execve` (`Heaps::mapped`,
//! `Heaps::executed`); that of a process which ran before the agent, when its mappings are read (`Heaps::met`). Ten times a second
//! the new records of each ring are read and unwound with the unwinder of CPU samples; at a window's end the live samples are read,
//! and become four sample types of that process's labels: `alloc_space` and `alloc_objects` of what was allocated in the window,
//! `inuse_space` and `inuse_objects` of what is live at its end. Each sample is made unbiased by itself before it is summed: a block
//! of `s` bytes at the interval `T` counts as `1 / (1 - exp(-s / T))` blocks.
//!
//! **Everything in a table is hostile.** What is read is bounded per process and moment, every number is checked (`table`), and a
//! file is opened only where the kernel says that it is shared memory, which no read can block on (`find`).
//!
//! What becomes of each sampled block is counted too, by its age (`survival`): the collector's verdict about leaks rests on it.
//!
//! The last live heap of a process that was killed carries the label `ended` ([`label::ENDED`]): its table says whether the
//! exit handlers ran.
//!
//! What is not seen at all, of processes whose allocator goes past the library or that have none, is told with the reason (`blind`).
//!
//! What is lost is counted, by [`Loss`]; the ledger of a batch is about CPU samples and is not touched.

mod blind;
mod control;
pub mod desk;
mod find;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod process;
pub mod scan;
mod sum;
mod survival;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use flamekeeper_profile::{Labels, LocationId, SampleType, Series, StackEnd, Tables, label};

use crate::heap::blind::Blind;
use crate::heap::desk::Desk;
use crate::heap::process::Heap;
use crate::heap::sum::Sums;
use crate::identity::Named;

pub use blind::Facts;
pub use control::{SetError, TableFacts, look, set_interval};
pub(crate) use find::{SharedMemory, TABLE_PATH};
pub(crate) use process::carry_stack;
pub(crate) use table::Record;

/// Processes whose tables are read at most.
const MAX_HEAPS: usize = 1024;
/// Processes that are yet to be looked at, at most.
const MAX_DUE: usize = 65_536;
/// The library's file name.
const LIBRARY: &[u8] = b"/libflamekeeper_heap.so";
/// When a process that did not map the library is looked at, after its `execve`, in nanoseconds: it may be linked into the program.
const LOOK_AFTER: u64 = 1_000_000_000;
/// When one that has mapped it is: its table is made by the library's constructor.
const LOOK_SOON: u64 = 20_000_000;
/// Looks at a process that has mapped the library, each after twice the time.
const LOOKS: u32 = 8;
/// Processes that are looked at in one round.
const LOOKS_A_ROUND: usize = 16;

/// Why a sample of a heap is lost, in whole or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Loss {
    /// Its record was overwritten before it was read: its allocation is not counted, and while it lives it has no stack.
    Overwritten,
    /// Its table had no place for it: it is counted as allocated, and not as live.
    TableFull,
    /// Its record, or its entry, contradicts itself.
    Malformed,
}

impl Loss {
    /// All reasons, in order.
    pub const ALL: [Self; 3] = [Self::Overwritten, Self::TableFull, Self::Malformed];

    /// The reason's name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overwritten => "overwritten",
            Self::TableFull => "table_full",
            Self::Malformed => "malformed",
        }
    }
}

/// The value of [`label::ENDED`] of a process that was killed, or left without its exit handlers.
const KILLED: &str = "killed";

/// Why a heap is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Its process has ended.
    Exited,
    /// Its process runs another program.
    Replaced,
}

/// A process that is to be looked at.
#[derive(Clone, Copy, Debug)]
struct Due {
    pid: u32,
    /// Not before.
    at: u64,
    /// Whether it is known to have the library, and how many more looks it gets.
    looks: u32,
    /// How long to wait after this one.
    pause: u64,
}

/// What the rest of the agent does for a heap's records.
pub(crate) trait Unwind {
    /// Unwinds the stack of a record; locations leaf first, of [`Self::tables`].
    fn unwind(&mut self, pid: u32, record: &Record<'_>, locations: &mut Vec<LocationId>) -> StackEnd;
    /// The tables of these locations.
    fn tables(&mut self) -> &mut Tables;
    /// Whose a process's samples are; none where the process is not known any more.
    fn named(&mut self, pid: u32) -> Option<Arc<Named>>;
    /// Whether a process is left alone.
    fn is_hidden(&mut self, pid: u32) -> bool;
}

/// The live heaps of all processes.
#[derive(Debug, Default)]
pub(crate) struct Heaps {
    /// By process id.
    heaps: HashMap<u32, Heap, foldhash::fast::RandomState>,
    /// Of processes that have ended, or run another program now: until the window's end.
    ended: Vec<(Heap, Ended)>,
    due: Vec<Due>,
    blind: Blind,
    desk: Arc<Desk>,
    memory: Option<SharedMemory>,
    lost: [u64; Loss::ALL.len()],
    samples: u64,
}

impl Heaps {
    /// None yet; questions about them come in at this desk.
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { desk, ..Self::default() }
    }

    /// These processes ran before the agent, and may have a table.
    pub(crate) fn met(&mut self, pids: &[u32]) {
        pids.iter().for_each(|pid| self.plan(Due { pid: *pid, at: 0, looks: 1, pause: 0 }));
    }

    /// A process maps a file.
    pub(crate) fn mapped(&mut self, pid: u32, path: &[u8], now: u64) {
        if path.ends_with(LIBRARY) {
            self.due.retain(|due| due.pid != pid);
            self.plan(Due { pid, at: now.saturating_add(LOOK_SOON), looks: LOOKS, pause: LOOK_SOON });
        }
    }

    /// A process has begun to run another program.
    pub(crate) fn executed(&mut self, pid: u32, now: u64) {
        self.end(pid, Ended::Replaced);
        self.plan(Due { pid, at: now.saturating_add(LOOK_AFTER), looks: 1, pause: 0 });
    }

    /// A process was made by another one: it has a table of its own if that one has one.
    pub(crate) fn forked(&mut self, child: u32, parent: u32, now: u64) {
        if self.heaps.contains_key(&parent) || self.due.iter().any(|due| due.pid == parent && due.looks > 1) {
            self.plan(Due { pid: child, at: now.saturating_add(LOOK_SOON), looks: LOOKS, pause: LOOK_SOON });
        }
    }

    /// A process has ended. Its table is still there as long as it is open.
    pub(crate) fn exited(&mut self, pid: u32) {
        self.end(pid, Ended::Exited);
    }

    fn end(&mut self, pid: u32, how: Ended) {
        self.due.retain(|due| due.pid != pid);
        self.blind.forget(pid);
        if let Some(heap) = self.heaps.remove(&pid) {
            self.ended.push((heap, how));
        }
    }

    fn plan(&mut self, due: Due) {
        if self.due.len() < MAX_DUE {
            self.due.push(due);
        }
    }

    /// Looks for tables that are due, and takes what is new in the rings, up to `limit` in the records' time.
    pub(crate) fn tick(&mut self, limit: u64, unwind: &mut impl Unwind) {
        self.heaps.retain(|pid, _| !unwind.is_hidden(*pid));
        self.look(limit, unwind);
        let Self { heaps, ended, lost, samples, .. } = self;
        for heap in heaps.values_mut().chain(ended.iter_mut().map(|(heap, _)| heap)) {
            heap.read_ring(limit, unwind, lost, samples);
        }
        for question in self.desk.take() {
            // Whoever asked may have gone.
            _ = question.answer.try_send(self.heaps.get(&question.pid).map(Heap::told));
        }
    }

    fn look(&mut self, now: u64, unwind: &mut impl Unwind) {
        let (mut left, mut index) = (LOOKS_A_ROUND, 0);
        while left > 0
            && let Some(due) = self.due.get(index).copied()
        {
            if due.at > now {
                index += 1;
                continue;
            }
            self.due.swap_remove(index);
            left -= 1;
            if self.heaps.contains_key(&due.pid) || self.heaps.len() >= MAX_HEAPS || unwind.is_hidden(due.pid) {
                continue;
            }
            let memory = self.memory.get_or_insert_with(SharedMemory::find);
            match memory.table(due.pid) {
                Some(file) => {
                    tracing::debug!(pid = due.pid, "live heap found");
                    let named = unwind.named(due.pid);
                    self.heaps.insert(due.pid, Heap::new(due.pid, file, named));
                }
                None if due.looks > 1 => {
                    let (looks, pause) = (due.looks - 1, due.pause.saturating_mul(2));
                    self.plan(Due { at: now.saturating_add(pause), looks, pause, ..due });
                }
                None => {}
            }
        }
    }

    /// Whether there are rings to read, or processes to look at soon.
    pub(crate) fn is_watching(&self) -> bool {
        !self.heaps.is_empty() || !self.due.is_empty()
    }

    /// Ends the window: the series of all heaps, over the window's tables.
    pub(crate) fn close(&mut self, limit: u64, unwind: &mut impl Unwind) -> Vec<Series> {
        self.tick(limit, unwind);
        let mut groups: HashMap<Labels, Sums> = HashMap::new();
        let mut ended = std::mem::take(&mut self.ended);
        let all = self.heaps.values_mut().map(|heap| (heap, None));
        for (heap, end) in all.chain(ended.iter_mut().map(|(heap, end)| (heap, Some(*end)))) {
            if end.is_none()
                && let Some(named) = unwind.named(heap.pid())
            {
                heap.name(named);
            }
            let Some(named) = heap.named().filter(|named| !named.excluded) else { continue };
            let mut labels = named.labels.clone();
            if end == Some(Ended::Exited) && heap.was_killed() {
                labels.set(label::ENDED, KILLED);
            }
            let now = end.is_none().then_some(limit);
            heap.close(now, unwind.tables(), groups.entry(labels).or_default(), &mut self.lost);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(a, _), (b, _)| a.iter().cmp(b.iter()));
        groups.into_iter().flat_map(|(labels, sums)| sums.series(&labels, unwind.tables())).collect()
    }

    /// What is not seen of processes that were sampled in the window that ends, over its tables; with whether environments are looked at.
    pub(crate) fn unseen(&mut self, active: (&[u32], bool), now: u64, unwind: &mut impl Unwind) -> Vec<Series> {
        let Self { heaps, blind, .. } = self;
        blind.close(active, now, |pid| heaps.contains_key(&pid), unwind)
    }

    /// Samples taken so far, and those lost by the place of the reason in [`Loss::ALL`].
    pub(crate) const fn counts(&self) -> (u64, [u64; Loss::ALL.len()]) {
        (self.samples, self.lost)
    }

    /// Bytes that all of it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.heaps.values().chain(self.ended.iter().map(|(heap, _)| heap)).map(Heap::bytes).sum()
    }
}

/// The sample types of a heap: what was allocated in a window, and what is live at its end.
pub(crate) fn sample_types() -> [SampleType; 4] {
    [("alloc_space", "bytes"), ("alloc_objects", "count"), ("inuse_space", "bytes"), ("inuse_objects", "count")]
        .map(|(name, unit)| SampleType::plain(name, unit))
}

/// The types of the variances of [`sample_types`].
pub(crate) fn variance_types() -> impl Iterator<Item = SampleType> {
    let of = |of: SampleType| {
        let unit = if of.query_unit() == "bytes" { "square_kibibytes" } else { "square_count" };
        SampleType::variance_of(of.query_name()).map(|name| SampleType::plain(name, unit))
    };
    sample_types().into_iter().filter_map(of)
}
