//! What the engine has done so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flamekeeper_profile::{AgentFigures, Figure, LossReason, StopReason};

use crate::budget::governor::{BudgetState, Governor};
use crate::budget::measure::CpuMeter;
use crate::heap::Loss;
use crate::perf::session::Session;

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Counts since the engine was opened, for a line of progress. The truth about samples is each batch's ledger.
#[derive(Debug, Default)]
pub struct EngineStats {
    /// Rounds of the engine's loop, several a second: as long as it grows, the engine is alive.
    pub rounds: Counter,
    /// Samples taken, those lost included.
    pub samples: Counter,
    /// Samples lost, for any reason.
    pub lost: Counter,
    /// Samples whose stack does not reach its root.
    pub truncated: Counter,
    /// Processes known now.
    pub processes: Counter,
    /// Cgroups remembered now.
    pub cgroups: Counter,
    /// Objects loaded now.
    pub objects: Counter,
    /// Objects that nobody could be told of because the channel was full.
    pub objects_unannounced: Counter,
    /// Records that came after a younger one: see `order`.
    pub late: Counter,
    /// Samples left out because the hypervisor had stopped the CPU: see `stolen`.
    pub stolen: Counter,
    /// Times that the kernel slowed sampling down.
    pub throttled: Counter,
    /// Mappings that were one too many for their process.
    pub mappings_refused: Counter,
    /// Bytes of names of generated code that are kept.
    pub code_names_bytes: Counter,
    /// Times that such names were not read on because there was no memory for more.
    pub code_names_refused: Counter,
    /// Perf maps and jitdumps that were not read: no regular files, another user's, or older than the program.
    pub code_files_refused: Counter,
    /// Times that a Java virtual machine was made to write its perf map.
    pub java_attached: Counter,
    /// Times that it was not.
    pub java_attach_failed: Counter,
    /// Java virtual machines whose own records of their code could not be read: frame pointers have to do.
    pub java_unreadable: Counter,
    /// Windows closed.
    pub windows: Counter,
    /// Name of the event that is sampled.
    pub event: &'static str,
    /// Size of each ring in bytes.
    pub ring_bytes: usize,
    /// Whether the kernel's part of stacks is left out, for want of permission.
    pub user_only: bool,
    /// Size of all rings together in bytes.
    pub rings_bytes: usize,
    /// Bytes of caches: unwind information, processes, names of generated code.
    pub cache_bytes: Counter,
    /// Samples lost, by the place of the reason in [`LossReason::ALL`].
    pub lost_by_reason: [Counter; LossReason::ALL.len()],
    /// Samples whose stack ends early, by the place of the reason in [`StopReason::ALL`].
    pub truncated_by_reason: [Counter; StopReason::ALL.len()],
    /// Windows closed before their edge because their tables were full.
    pub windows_split: Counter,
    /// Processes, objects and names that were forgotten to hold the memory ceiling.
    pub evicted: Counter,
    /// Frames whose object was loaded already.
    pub object_hits: Counter,
    /// Objects loaded.
    pub object_loads: Counter,
    /// Samples of page faults, those lost included.
    pub fault_samples: Counter,
    /// Those lost, by the place of the reason in [`LossReason::ALL`].
    pub fault_samples_lost: [Counter; LossReason::ALL.len()],
    /// Page faults that the samples stand for.
    pub faults: Counter,
    /// Page faults that samples stood for which found no room.
    pub faults_missed: Counter,
    /// Nanoseconds spent on unwinding.
    pub unwind_ns: Counter,
    /// Samples that processes took of their own heaps, those lost included.
    pub heap_samples: Counter,
    /// Those lost, by the place of the reason in [`Loss::ALL`].
    pub heap_lost: [Counter; Loss::ALL.len()],
    /// Times that the memory of a process was read.
    pub memory_readings: Counter,
    /// Times that its proportional share was.
    pub memory_rollups: Counter,
    /// Readings that are in no window: of one process too many, of one that nobody knows, or too many at once.
    pub memory_lost: Counter,
    /// Memory of the host in bytes, and how much of it is available; 0 before it was read.
    pub host_memory: [Counter; 2],
    pub(crate) budget: Option<Arc<BudgetState>>,
    /// Where threads that the engine starts enter themselves.
    pub(crate) meter: Option<CpuMeter>,
    /// Bytes that names of generated code may take; none: as the reader has it.
    pub(crate) name_bytes: Option<usize>,
}

impl EngineStats {
    pub(crate) fn new(session: &mut Session, governor: Option<&Governor>) -> Self {
        let ring_bytes = session.rings().first().map_or(0, |ring| ring.size());
        let rings_bytes = session.rings_bytes();
        let spec = session.spec();
        let budget = governor.map(Governor::state);
        let meter = governor.map(|governor| governor.meter().clone());
        let name_bytes = governor.map(Governor::name_bytes);
        Self { event: spec.name(), ring_bytes, user_only: spec.exclude_kernel, rings_bytes, budget, meter, name_bytes, ..Self::default() }
    }

    /// Whether the budget asks for less of what can wait.
    pub(crate) fn is_restrained(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.uploads_paused())
    }

    /// The agent's figures now, as far as the engine knows them.
    #[must_use]
    pub fn figures(&self) -> AgentFigures {
        let mut figures = self.budget.as_ref().map_or_else(AgentFigures::default, |budget| budget.figures());
        figures.set(Figure::RingBytes, self.rings_bytes as u64);
        figures.set(Figure::CacheBytes, self.cache_bytes.get());
        figures.set(Figure::Processes, self.processes.get());
        figures.set(Figure::Objects, self.objects.get());
        let host = [Figure::HostMemoryBytes, Figure::HostAvailableBytes].into_iter().zip(&self.host_memory);
        host.filter(|(_, value)| value.get() > 0).for_each(|(figure, value)| figures.set(figure, value.get()));
        figures
    }
}
