//! What each record does: keep the process table, or unwind and fold a sample.

use std::sync::Arc;

use flamekeeper_profile::{Avma, Batch, BuildId, BuildIdKind, Labels, LocationId, LossReason, StackEnd, StopReason, Window};

use crate::engine::frames::{self, GeneratedFrames};
use crate::engine::{EngineConfig, EngineStats};
use crate::fold::{Fold, SourceSlot};
use crate::identity::{Identity, ProcessFacts};
use crate::kernel::KernelFrames;
use crate::perf::session::Scope;
use crate::process::file::FileKey;
use crate::process::maps::Backing;
use crate::process::table::{Process, ProcessTable};
use crate::record::{Record, Sample, parse};
use crate::unwind::pool::ObjectPool;
use crate::unwind::{FrameCode, Resolved, Unwinder, UserFrame};

/// Name for a process that was gone before anything could be learned about it.
const UNKNOWN: &str = "[unknown]";

/// The state that records work on.
#[derive(Debug)]
pub(crate) struct Sampler {
    processes: ProcessTable,
    unwinder: Unwinder,
    fold: Fold,
    kernel: KernelFrames,
    generated: GeneratedFrames,
    identity: Identity,
    host_labels: Labels,
    period_ns: u64,
    frames: Vec<UserFrame>,
    locations: Vec<LocationId>,
    stats: Arc<EngineStats>,
}

impl Sampler {
    /// Knows no process yet.
    pub(crate) fn new(config: EngineConfig, identity: Identity, period_ns: u64, stats: Arc<EngineStats>) -> Self {
        Self {
            processes: ProcessTable::new(),
            unwinder: Unwinder::new(ObjectPool::new(config.objects, Arc::clone(&stats))),
            fold: Fold::new(),
            kernel: KernelFrames::read(),
            generated: GeneratedFrames::default(),
            identity,
            host_labels: config.host_labels,
            period_ns,
            frames: Vec::new(),
            locations: Vec::new(),
            stats,
        }
    }

    /// Reads the processes that already run.
    pub(crate) fn scan(&mut self, scope: Scope, now: u64) {
        match scope {
            Scope::Host => self.processes.scan_all(now),
            Scope::Process(pid) => self.processes.scan(pid, now),
            // It has not called execve yet: what it maps now is still this program.
            Scope::Starting(_) => {}
        }
        self.stats.processes.set(self.processes.len() as u64);
    }

    /// Applies a record.
    pub(crate) fn apply(&mut self, bytes: &[u8]) {
        match parse(bytes) {
            Ok(Record::Sample(sample)) => self.sample(&sample),
            Ok(Record::Mmap(mmap)) => {
                if let Some(process) = self.processes.mmap(&mmap)
                    && process.source.is_some()
                {
                    // It was sampled between its execve and this: now there is a name for it.
                    label(process, &mut self.unwinder, &self.identity, &mut self.fold);
                }
            }
            Ok(Record::Comm { task, exec, name }) => {
                if task.pid == task.tid {
                    self.processes.comm(task.pid, name, exec);
                }
            }
            Ok(Record::Fork { child, parent }) => self.processes.fork(child.pid, parent.pid),
            Ok(Record::Exit { task }) => self.processes.exit(task.pid, task.tid),
            Ok(Record::Lost { records }) => self.lose(LossReason::RingFull, records),
            Ok(Record::Throttle(true)) => self.stats.throttled.add(1),
            Ok(Record::Throttle(false) | Record::Other(_)) => {}
            Err(_) => self.malformed(),
        }
    }

    /// Counts a record, or a ring, that could not be read.
    pub(crate) fn malformed(&mut self) {
        self.lose(LossReason::MalformedRecord, 1);
    }

    fn lose(&mut self, reason: LossReason, samples: u64) {
        self.fold.lose(reason, samples);
        self.stats.samples.add(samples);
        self.stats.lost.add(samples);
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        if sample.task.pid == 0 {
            // The idle task: cycles of a CPU that polls for work are no work.
            return;
        }
        self.fold.ledger().take(1);
        self.stats.samples.add(1);
        let slot = self.slot(sample);
        self.locations.clear();
        self.kernel_part(sample);
        let end = self.user_part(sample);
        if end != StackEnd::Root {
            self.stats.truncated.add(1);
        }
        self.fold.add(slot, &self.locations, end);
    }

    fn slot(&mut self, sample: &Sample<'_>) -> SourceSlot {
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        let known = process.source;
        let slot = self.fold.slot(known, process.pid, process.generation);
        process.source = Some(slot);
        // A process that has just called execve has no executable yet; its labels can wait for the record that tells it.
        if known != Some(slot) && (process.kernel_thread || !process.exe.is_empty()) {
            label(process, &mut self.unwinder, &self.identity, &mut self.fold);
        }
        slot
    }

    fn kernel_part(&mut self, sample: &Sample<'_>) {
        for (depth, address) in sample.kernel_frames().enumerate() {
            // All but the first are return addresses: step back into the call.
            let address = if depth == 0 { address } else { Avma(address.0.wrapping_sub(1)) };
            self.locations.push(self.kernel.location(address, self.fold.tables()));
        }
    }

    fn user_part(&mut self, sample: &Sample<'_>) -> StackEnd {
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        if process.kernel_thread {
            return StackEnd::Root;
        }
        let mut end = self.unwinder.unwind(process, sample, &mut self.frames);
        if end == StackEnd::Truncated(StopReason::NoMapping) && self.processes.rescan(sample.task.pid, sample.time) {
            let process = self.processes.of_sample(sample.task.pid, sample.time);
            end = self.unwinder.unwind(process, sample, &mut self.frames);
        }
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        if self.frames.iter().any(|frame| frame.code == FrameCode::Generated) {
            process.perf_map.refresh(process.pid, sample.time);
        }
        for frame in &self.frames {
            let location = frames::location(frame, process, self.unwinder.pool(), &mut self.fold, &mut self.generated);
            self.locations.push(location);
        }
        end
    }

    /// Ends the window.
    pub(crate) fn close(&mut self, window: Window) -> Batch {
        for source in self.fold.unlabelled() {
            let process = self.processes.get_mut(source.pid).filter(|process| process.generation == source.generation);
            let labels = match process {
                Some(process) => labels_of(process, &mut self.unwinder, &self.identity),
                None => Arc::new(self.identity.process(&ProcessFacts { pid: source.pid, comm: "", exe: UNKNOWN, build_id: None })),
            };
            self.fold.label_late(source, &labels);
        }
        let identity = &self.identity;
        let batch = self.fold.close(window, &self.host_labels, self.period_ns, |labels| identity.excludes(labels));
        self.stats.lost.add(batch.ledger.lost(LossReason::Excluded));
        self.kernel.begin_window();
        self.generated.begin_window();
        self.processes.sweep();
        self.unwinder.pool().sweep();
        self.stats.processes.set(self.processes.len() as u64);
        self.stats.mappings_refused.set(self.processes.mappings_refused());
        self.stats.windows.add(1);
        batch
    }
}

/// Labels a process's samples.
fn label(process: &mut Process, unwinder: &mut Unwinder, identity: &Identity, fold: &mut Fold) {
    let labels = labels_of(process, unwinder, identity);
    if let Some(slot) = process.source {
        fold.label(slot, &labels);
    }
}

/// The labels of a process, asked for once in a generation.
fn labels_of(process: &mut Process, unwinder: &mut Unwinder, identity: &Identity) -> Arc<Labels> {
    if let Some(labels) = &process.labels {
        return Arc::clone(labels);
    }
    let build_id = exe_build_id(process, unwinder);
    // An empty executable is how identity knows a kernel thread.
    let exe = match (process.kernel_thread, &*process.exe, &*process.comm) {
        (true, ..) => "",
        (false, "", "") => UNKNOWN,
        (false, "", comm) => comm,
        (false, exe, _) => exe,
    };
    let facts = ProcessFacts { pid: process.pid, comm: &process.comm, exe, build_id: build_id.as_ref() };
    let labels = Arc::new(identity.process(&facts));
    process.labels = Some(Arc::clone(&labels));
    labels
}

fn exe_build_id(process: &mut Process, unwinder: &mut Unwinder) -> Option<BuildId> {
    let pid = process.pid;
    let mapping = process.exe_mapping()?;
    if let Backing::File(file) = &mapping.backing
        && let FileKey::BuildId(id) = &file.key
    {
        return BuildId::new(BuildIdKind::Gnu, id).ok();
    }
    unwinder.resolve(pid, mapping);
    match mapping.resolved {
        Resolved::Object { object, .. } => unwinder.pool().build_id(object).cloned(),
        Resolved::Unknown | Resolved::Unreadable => None,
    }
}

#[cfg(test)]
mod tests;
