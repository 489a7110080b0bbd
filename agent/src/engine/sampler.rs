//! What each record does: keep the process table, or unwind and fold a sample.

use std::sync::Arc;
use std::time::Duration;

use flamekeeper_profile::{Batch, Caveat, Labels, LocationId, LossReason, SampleType, StackEnd, Timestamp, Window, label};

use crate::budget::governor::Orders;
use crate::budget::limits::Limits;
use crate::engine::frames::GeneratedFrames;
use crate::engine::stolen::Stolen;
use crate::engine::throttle::Throttle;
use crate::engine::{EngineConfig, EngineStats, Target};
use crate::fold::{Fold, SourceSlot};
use crate::heap::Heaps;
use crate::identity::Identity;
use crate::identity::observer::Observer;
use crate::jit::thread::Service;
use crate::kernel::KernelFrames;
use crate::memory::Memory;
use crate::perf::clock;
use crate::perf::cpu_times;
use crate::perf::event::EventSpec;
use crate::perf::period;
use crate::perf::session::Scope;
use crate::process::table::ProcessTable;
use crate::process::users::HiddenUsers;
use crate::python::Interpreters;
use crate::record::{Mmap, Record, Sample, Task, parse, time_of};
use crate::scrape::Board;
use crate::unwind::pool::ObjectPool;
use crate::unwind::{Unwinder, UserFrame};
use labels::{label_samples, named};

/// The state that records work on.
#[derive(Debug)]
pub(crate) struct Sampler {
    processes: ProcessTable,
    unwinder: Unwinder,
    fold: Fold,
    kernel: KernelFrames,
    generated: GeneratedFrames,
    jit: Service,
    identity: Identity,
    observer: Observer,
    /// Whether samples are told apart by their thread's name.
    by_thread: bool,
    host_labels: Labels,
    event: EventSpec,
    sample_type: SampleType,
    stolen: Option<Stolen>,
    interpreters: Interpreters,
    heaps: Heaps,
    /// Whether all of the host is profiled: then it is told too whose heap is not seen.
    whole_host: bool,
    scraped: Arc<Board>,
    memory: Option<Memory>,
    /// What the next sample is worth, in nanoseconds and in what the event counts.
    weight: (u64, u64),
    /// By how much the wall clock is ahead of the records' clock in this window, in nanoseconds; none before its first sample.
    ahead: Option<i64>,
    limits: Option<Limits>,
    throttle: Throttle,
    /// Records that the rings said were lost.
    told_lost: u64,
    /// The time of the last record that makes the next ones urgent.
    urgent: u64,
    frames: Vec<UserFrame>,
    locations: Vec<LocationId>,
    stats: Arc<EngineStats>,
}

impl Sampler {
    /// Knows no process yet.
    pub(crate) fn new(config: EngineConfig, identity: Identity, event: &EventSpec, stats: Arc<EngineStats>) -> Self {
        Self::with_kernel(config, identity, event, stats, KernelFrames::open())
    }

    /// As [`Self::new`], with these names of the kernel's functions.
    pub(crate) fn with_kernel(
        config: EngineConfig,
        identity: Identity,
        event: &EventSpec,
        stats: Arc<EngineStats>,
        kernel: KernelFrames,
    ) -> Self {
        // The clock of a CPU runs on a grid; those of processes begin anew with each of their turns.
        let on_grid = !event.cycles && matches!(config.target, Target::Host);
        Self {
            processes: ProcessTable::new().hiding(HiddenUsers::new(config.hidden_users)),
            unwinder: Unwinder::new(ObjectPool::new(config.objects, Arc::clone(&stats))),
            fold: Fold::new(),
            kernel,
            generated: GeneratedFrames::default(),
            observer: Observer::new(identity.choice().clone()).without_environment(identity.hides_environment()),
            by_thread: identity.choice().has(label::THREAD),
            jit: Service::new(Arc::clone(&stats), config.java_perf_map),
            identity,
            host_labels: config.host_labels,
            event: *event,
            sample_type: event.sample_type(),
            stolen: on_grid.then(|| Stolen::new(event.period())),
            interpreters: Interpreters::default(),
            heaps: Heaps::new(config.desk),
            whole_host: matches!(config.target, Target::Host),
            scraped: config.scraped,
            memory: None,
            weight: (period::period_ns(event.frequency), event.period()),
            ahead: None,
            limits: None,
            throttle: Throttle::default(),
            told_lost: 0,
            urgent: 0,
            frames: Vec::new(),
            locations: Vec::new(),
            stats,
        }
    }

    /// Reads the processes that already run, for about so much CPU time: the rest by [`Self::scan_more`].
    pub(crate) fn scan(&mut self, scope: Scope, now: u64, allowed: Option<Duration>) {
        match scope {
            Scope::Host => self.processes.scan_all(now, allowed.unwrap_or(Duration::MAX)),
            Scope::Process(pid) => self.processes.scan(pid, now),
            // It has not called execve yet: what it maps now is still this program.
            Scope::Starting(_) => {}
        }
        self.interpreters.look_at_all(&mut self.processes, &mut self.unwinder);
        self.stats.processes.set(self.processes.len() as u64);
    }

    /// Reads more of the processes that ran at the start.
    pub(crate) fn scan_more(&mut self, now: u64, allowed: Duration) {
        self.processes.scan_more(now, allowed);
    }

    /// Whether records have to be read soon after they were written: what they tell of is looked at from outside, and there was
    /// something of the kind since this moment, in the records' time.
    pub(crate) fn hurries(&self, since: u64) -> bool {
        self.urgent > since || self.heaps.is_watching() || self.interpreters.is_expecting()
    }

    /// Takes the bounds that hold from now on.
    pub(crate) fn obey(&mut self, orders: &Orders) {
        self.limits = Some(orders.limits);
        self.processes.bound(orders.limits.processes, orders.lean);
        self.unwinder.pool().bound(orders.limits.sections);
    }

    /// Says what the samples from now on are worth, in nanoseconds of CPU time.
    pub(crate) fn weigh(&mut self, period_ns: u64) {
        if self.weight.0 != period_ns {
            self.weight = (period_ns, self.event.units(period_ns));
        }
    }

    /// Whether the window holds as much as it may, and is to be closed before its edge.
    pub(crate) fn is_window_full(&self) -> bool {
        self.limits.is_some_and(|limits| self.window_bytes() > limits.window)
    }

    /// Bytes that all of this takes, roughly.
    pub(crate) fn bytes(&mut self) -> usize {
        let caches = self.unwinder.pool().bytes() + self.unwinder.remembered_bytes() + self.processes.bytes();
        self.stats.cache_bytes.set(caches as u64);
        caches + self.heaps.bytes() + self.memory.as_ref().map_or(0, Memory::bytes) + self.window_bytes()
    }

    fn window_bytes(&self) -> usize {
        self.fold.bytes() + self.generated.bytes()
    }

    fn begin_record(&mut self, bytes: &[u8]) {
        self.processes.at(time_of(bytes));
        let evicted = self.processes.keep_within(self.fold.serial()) + self.unwinder.pool().keep_within();
        if evicted > 0 {
            self.stats.evicted.add(evicted as u64);
        }
    }

    /// Applies a record.
    pub(crate) fn apply(&mut self, bytes: &[u8]) {
        self.begin_record(bytes);
        match parse(bytes) {
            Ok(Record::Sample(sample)) => self.sample(&sample),
            Ok(Record::Mmap(Mmap { task, .. }) | Record::Interpreter { task, .. }) if self.is_hidden(task) => {}
            Ok(Record::Interpreter { task, cpu, bytes }) => self.interpreters.record(cpu, task, bytes),
            Ok(Record::Mmap(mmap)) => {
                // A library that was loaded may be unloaded soon, and others lie in its place then.
                self.urgent = self.urgent.max(time_of(bytes));
                self.interpreters.mapped(mmap.task.pid, mmap.path);
                self.heaps.mapped(mmap.task.pid, mmap.path, time_of(bytes));
                if let Some(process) = self.processes.mmap(&mmap)
                    && process.source.is_some()
                {
                    // It was sampled between its execve and this: now there is a name for it.
                    label_samples(process, &mut self.unwinder, &self.identity, &mut self.observer, &mut self.fold);
                }
                self.meet_machine(&mmap, time_of(bytes));
            }
            Ok(Record::Comm { task, exec, name }) => self.comm(task, (exec, time_of(bytes)), name),
            Ok(Record::Fork { child, parent }) => {
                self.fork(child, parent);
                if child.pid != parent.pid {
                    self.urgent = self.urgent.max(time_of(bytes));
                    self.heaps.forked(child.pid, parent.pid, time_of(bytes));
                }
                self.interpreters.forked(child, parent, &mut self.processes);
            }
            Ok(Record::Exit { task }) => {
                self.processes.exit(task.pid, task.tid);
                if let Some(process) = self.processes.get_mut(task.pid) {
                    if self.by_thread {
                        process.threads.exit(task.tid);
                    }
                    if task.pid == task.tid {
                        process.names.ended(&mut self.jit);
                    }
                }
                self.interpreters.exited(task);
                if task.pid == task.tid {
                    self.heaps.exited(task.pid);
                    self.memory_ended(task.pid, time_of(bytes));
                }
            }
            Ok(Record::Cgroup { id, path }) => self.observer.cgroup_made(id, path),
            Ok(Record::Lost { records }) => {
                self.told_lost = self.told_lost.saturating_add(records);
                self.lose(LossReason::RingFull, records);
            }
            Ok(Record::Throttle { stopped, cpu, time }) => {
                self.stats.throttled.add(u64::from(stopped));
                let missed = self.throttle.record(stopped, cpu, (time, self.weight.0));
                self.lose(LossReason::Throttled, missed);
            }
            Ok(Record::Other(_)) => {}
            Err(_) => self.malformed(),
        }
    }

    /// Counts a record, or a ring, that could not be read.
    pub(crate) fn malformed(&mut self) {
        self.lose(LossReason::MalformedRecord, 1);
    }

    /// Counts what the events themselves say was lost in all, and no record has told.
    pub(crate) fn lost_in_all(&mut self, records: u64) {
        let untold = records.saturating_sub(self.told_lost);
        self.told_lost = self.told_lost.max(records);
        self.lose(LossReason::RingFull, untold);
    }

    /// Counts samples that were lost before there was a record of them.
    pub(crate) fn lose(&mut self, reason: LossReason, samples: u64) {
        self.fold.lose(reason, samples);
        self.stats.samples.add(samples);
        self.stats.lost.add(samples);
        self.stats.lost_by_reason[reason as usize].add(samples);
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        if sample.task.pid == 0 && !self.kernel.in_soft_interrupt(sample.kernel_frames()) {
            // The idle task: a CPU that waits for work does none.
            return;
        }
        if self.stolen.as_mut().is_some_and(|stolen| stolen.takes(sample.cpu, sample.time, self.weight.1)) {
            self.stats.stolen.add(1);
            return;
        }
        self.fold.ledger().take(1);
        self.stats.samples.add(1);
        if self.is_hidden(sample.task) {
            // Counted in the statistics when the window ends, like all that is excluded.
            return self.fold.ledger().lose(LossReason::Excluded, 1);
        }
        self.fold.weigh(self.weight.1);
        if self.weight.1 > self.sample_type.period {
            self.fold.ledger().note(Caveat::LowerFrequency, 1);
        }
        let (end, missing) = self.stack(sample);
        if missing {
            self.fold.ledger().note(Caveat::InterpreterFrames, 1);
        }
        if end != StackEnd::Root {
            self.stats.truncated.add(1);
        }
        if let StackEnd::Truncated(reason) = end {
            self.stats.truncated_by_reason[reason as usize].add(1);
        }
        // Only now: the stack may have shown that another program runs than the one that the records told of.
        let slot = self.slot(sample);
        self.fold.add(slot, &self.locations, end);
        let ahead = *self.ahead.get_or_insert_with(|| clock::moment().ahead());
        self.fold.time(slot, Timestamp(sample.time.saturating_add_signed(ahead)));
    }

    /// Whether a process is left alone.
    fn is_hidden(&mut self, task: Task) -> bool {
        self.processes.is_hidden(task.pid, self.fold.serial())
    }

    fn comm(&mut self, task: Task, (exec, time): (bool, u64), name: &[u8]) {
        if task.pid == task.tid {
            self.processes.comm(task.pid, name, exec);
        }
        // A program that is executed may have another user than the one before.
        if self.is_hidden(task) {
            return;
        }
        if self.by_thread
            && let Some(process) = self.processes.get_mut(task.pid)
        {
            process.threads.comm(task.tid, name);
        }
        if exec {
            self.urgent = self.urgent.max(time);
            self.interpreters.executed(task.pid);
            self.heaps.executed(task.pid, time);
            self.memory_ended(task.pid, time);
        }
    }

    fn fork(&mut self, child: Task, parent: Task) {
        if self.is_hidden(parent) && child.pid != parent.pid {
            return self.processes.fork(child.pid, parent.pid);
        }
        let Some(process) = self.processes.get_mut(parent.pid) else {
            return self.processes.fork(child.pid, parent.pid);
        };
        if child.pid != parent.pid {
            if !process.kernel_thread {
                self.observer.settle_parent(&mut process.origin, parent.pid);
            }
            self.processes.fork(child.pid, parent.pid);
        } else {
            process.threaded = true;
            if self.by_thread {
                process.threads.fork(child.tid, parent.tid);
            }
        }
    }

    fn slot(&mut self, sample: &Sample<'_>) -> SourceSlot {
        let process = self.processes.of_sample(sample.task.pid, sample.time);
        if !process.kernel_thread {
            self.observer.sample(&mut process.origin, sample);
        }
        let own = if self.by_thread && !process.kernel_thread { process.threads.source(sample.task) } else { None };
        let held = own.unwrap_or(&mut process.source);
        let known = *held;
        let slot = self.fold.slot(known, process.pid, process.generation);
        *held = Some(slot);
        // A process that has just called execve has no executable yet; its labels can wait for the record that tells it.
        if known != Some(slot) && (process.kernel_thread || !process.exe.is_empty()) {
            let named = named(process, &mut self.unwinder, &self.identity, &mut self.observer);
            self.fold.label(slot, &named);
        }
        slot
    }

    /// The interpreters of Python processes.
    pub(crate) const fn interpreters(&mut self) -> &mut Interpreters {
        &mut self.interpreters
    }

    /// Does what is due between the records.
    pub(crate) fn tick(&mut self, now: u64) {
        self.interpreters.tick(now, &mut self.processes, &mut self.unwinder);
    }

    /// Has the records of a Java virtual machine looked for as soon as it is mapped: its first frames are to be whole too.
    fn meet_machine(&mut self, mmap: &Mmap<'_>, now: u64) {
        if mmap.executable
            && mmap.path.ends_with(b"/libjvm.so")
            && let Some(process) = self.processes.get_mut(mmap.task.pid)
        {
            process.names.refresh(&mut self.jit, process.pid, process.born, &process.maps, now);
        }
    }

    /// Ends the last window.
    pub(crate) fn close_last(&mut self, window: Window) -> Batch {
        self.generated.await_last_names(&mut self.processes);
        self.close(window)
    }

    /// Ends the window.
    pub(crate) fn close(&mut self, window: Window) -> Batch {
        self.label_late();
        self.generated.settle(&mut self.processes, &mut self.jit, &mut self.fold, self.unwinder.java());
        let levels = self.close_memory(window);
        let heaps = self.close_heaps();
        let mut batch = self.fold.close(window, &self.host_labels, &self.sample_type);
        self.stats.fault_samples_lost[LossReason::Excluded as usize].add(self.fold.take_excluded_faults());
        batch.series.extend(heaps);
        batch.series.extend(levels);
        let excluded = batch.ledger.lost(LossReason::Excluded);
        self.stats.lost.add(excluded);
        self.stats.lost_by_reason[LossReason::Excluded as usize].add(excluded);
        if let Some(stolen) = &mut self.stolen {
            stolen.count(&cpu_times::read());
        }
        self.ahead = None;
        self.kernel.begin_window();
        self.generated.begin_window();
        self.processes.sweep();
        self.observer.sweep();
        self.interpreters.close(&mut self.processes);
        self.unwinder.pool().sweep();
        self.stats.processes.set(self.processes.len() as u64);
        self.stats.mappings_refused.set(self.processes.mappings_refused());
        self.stats.cgroups.set(self.observer.cgroups() as u64);
        self.stats.windows.add(1);
        batch.figures = self.stats.figures();
        batch
    }
}

mod faults;
mod heaps;
mod labels;
mod memory;
mod stack;
#[cfg(test)]
mod tests;
