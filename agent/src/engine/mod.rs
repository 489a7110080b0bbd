//! The engine: samples, unwinds and folds, and hands over a [`Batch`] at each window's edge.
//!
//! One thread does it all. It sleeps until a ring is filled to its watermark, a program begins, or some time has passed (module
//! `rest`), takes the records of all rings in order of time (module `order`), and unwinds each sample where it lies in
//! the ring, without copying it.

mod command;
mod cost;
pub(crate) mod faults;
mod frames;
mod hotplug;
mod pace;
mod rest;
mod run;
pub(crate) mod sampler;
mod stats;
mod stolen;
mod throttle;
mod windows;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use flamekeeper_profile::{Batch, BuildId, Labels};

pub use crate::perf::error::OpenError;
pub use stats::{Counter, EngineStats};

use crate::budget::governor::{Governor, Usage};
use crate::budget::measure::CpuMeter;
use crate::budget::{self, Ceilings, limits};
use crate::engine::command::Child;
use crate::engine::cost::SampleCost;
use crate::engine::faults::FaultPace;
use crate::engine::pace::Pace;
use crate::engine::rest::{LONG_NS, Needs, Pause};
use crate::engine::sampler::Sampler;
use crate::heap::desk::Desk;
use crate::identity::Identity;
use crate::perf::clock;
use crate::perf::event::Features;
use crate::perf::faults::{self as fault_events, FaultSpec};
use crate::perf::period;
use crate::perf::session::{Scope, Session, SessionSpec};
use crate::scrape::Board;
use crate::stop::StopFlag;

/// The largest copy of a user stack that the kernel makes.
pub const MAX_STACK_BYTES: u32 = 65_528;
/// The largest default ring: at 99 samples a second it holds more than half a second.
const LARGEST_DEFAULT_RING: usize = 4 << 20;
/// The smallest default ring: it holds seven of the largest samples.
const SMALLEST_DEFAULT_RING: usize = 512 << 10;

/// The part of the horizon's CPU time that the first look at running processes may take: one in so many. Those that it does
/// not reach are read bit by bit, or when they are sampled.
const SCAN_PART: u32 = 20;

/// What drives sampling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventChoice {
    /// What measures CPU time: the software clock.
    #[default]
    Auto,
    /// The software clock: a timer for each CPU.
    CpuClock,
    /// The hardware's cycles: an amount of work at the CPU's present speed, not time. An error where there are none.
    Cycles,
}

/// What is sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// All processes and the kernel.
    #[default]
    Host,
    /// A running process, all its threads, and what they create from now on.
    Process(u32),
    /// A command that the engine starts, and what it creates. It begins to run with [`Engine::run`], which returns when it
    /// has ended.
    Command {
        /// Program, found in `PATH` like a shell does.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Samples for a second of CPU time: 1 to 999.
    pub frequency: u32,
    /// Length of a window; its edges are multiples of it on the wall clock.
    pub window: Duration,
    /// Bytes of user stack to copy with each sample: a multiple of 8 up to [`MAX_STACK_BYTES`].
    pub stack_bytes: u32,
    /// Size of each CPU's ring; none: [`default_ring_bytes`].
    pub ring_bytes_per_cpu: Option<usize>,
    /// What drives sampling.
    pub event: EventChoice,
    /// What is sampled.
    pub target: Target,
    /// Whether a Java virtual machine that was sampled without names is asked to write its perf map (`jvm::attach`).
    pub java_perf_map: bool,
    /// Users (real user ids) whose processes are left alone: nothing is read of them, and their samples are counted as excluded.
    pub hidden_users: Vec<u32>,
    /// Whether the memory of all processes is read. It holds for [`Target::Host`] only.
    pub memory: bool,
    /// One page fault in so many is sampled on each CPU, or fewer where there are too many; 0: none. It holds for [`Target::Host`] only.
    pub page_faults: u32,
    /// Labels of the batches themselves.
    pub host_labels: Labels,
    /// What the engine may use of the host; none: whatever it takes. It holds for [`Target::Host`] only: what is recorded for
    /// a person who waits is not to change its frequency.
    pub budget: Option<Ceilings>,
    /// Who wants to know of the objects whose code was sampled; an object that does not fit into the channel is counted in
    /// [`EngineStats::objects_unannounced`].
    pub objects: Option<SyncSender<ObjectSeen>>,
    /// Where questions about the heaps of processes come in.
    pub desk: Arc<Desk>,
    /// Heaps that were scraped, for the windows that they fall in.
    pub scraped: Arc<Board>,
}

impl EngineConfig {
    /// A window without an edge, for a recording that is one whole: names of generated code that its program writes late, or when it
    /// ends, still name what was sampled before. It ends where the clock jumps, and where the tables are full.
    pub const ONE_WINDOW: Duration = Duration::MAX;
}

impl Default for EngineConfig {
    /// The whole host, 19 times a second, in windows of 10 s.
    fn default() -> Self {
        Self {
            frequency: 19,
            window: Duration::from_secs(10),
            stack_bytes: MAX_STACK_BYTES,
            ring_bytes_per_cpu: None,
            event: EventChoice::Auto,
            target: Target::Host,
            java_perf_map: false,
            hidden_users: Vec::new(),
            memory: false,
            page_faults: 0,
            host_labels: Labels::new(),
            budget: None,
            objects: None,
            desk: Arc::default(),
            scraped: Arc::default(),
        }
    }
}

/// The size of each of `cpus` rings where none is configured, in bytes: together they take a quarter of the memory that
/// the engine may use, as long as each holds a few samples.
#[must_use]
pub fn default_ring_bytes(cpus: usize, memory: u64) -> usize {
    let share = limits::ring_bytes(memory) / cpus.max(1) as u64;
    let share = usize::try_from(share).unwrap_or(usize::MAX).clamp(SMALLEST_DEFAULT_RING, LARGEST_DEFAULT_RING);
    // The greatest power of two that is not above the share.
    1 << share.ilog2()
}

/// An object whose code was sampled for the first time.
#[derive(Debug)]
pub struct ObjectSeen {
    /// Its identity.
    pub build_id: BuildId,
    /// Its path, as the process sees it.
    pub path: String,
    /// The very file, open for reading.
    pub file: File,
}

/// Why the engine stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Waiting for the rings failed.
    #[error("cannot wait for the perf rings: {0}")]
    Wait(#[source] io::Error),
    /// The command that was to be sampled could not be run.
    #[error("cannot run the command: {0}")]
    Command(#[source] io::Error),
}

/// Opened events, ready to run.
#[derive(Debug)]
pub struct Engine {
    session: Session,
    sampler: Sampler,
    pace: Pace,
    cost: SampleCost,
    governor: Option<Governor>,
    meter: CpuMeter,
    window: Duration,
    child: Option<Child>,
    watched: Option<u32>,
    stats: Arc<EngineStats>,
}

impl Engine {
    /// Opens the events and reads the processes that are running. Sampling begins here, but for a command.
    ///
    /// # Errors
    /// [`OpenError`] says what is missing and how to come by it.
    pub fn open(config: EngineConfig, identity: Identity) -> Result<Self, OpenError> {
        Self::open_with(config, identity, Features::ALL)
    }

    /// The same with no more than these optional attributes of events, as on a kernel that has no others.
    fn open_with(config: EngineConfig, identity: Identity, features: Features) -> Result<Self, OpenError> {
        check(&config)?;
        let child = match &config.target {
            Target::Command { program, arguments } => Some(Child::prepare(program, arguments)?),
            Target::Host | Target::Process(_) => None,
        };
        let scope = match (&config.target, &child) {
            (Target::Process(pid), _) => Scope::Process(*pid),
            (_, Some(child)) => Scope::Starting(child.pid()),
            (Target::Host | Target::Command { .. }, None) => Scope::Host,
        };
        let cpus = crate::perf::cpus::online().len();
        let spec = SessionSpec {
            scope,
            event: config.event,
            frequency: config.frequency,
            stack_bytes: config.stack_bytes,
            features,
            ring_bytes: config
                .ring_bytes_per_cpu
                .unwrap_or_else(|| default_ring_bytes(cpus, config.budget.map_or(budget::DEFAULT_MEMORY, |ceilings| ceilings.memory))),
        };
        let mut session = Session::open(&spec)?;
        let period_ns = period::period_ns(config.frequency);
        let meter = CpuMeter::new();
        let ceilings = config.budget.filter(|_| matches!(scope, Scope::Host));
        let governor = ceilings.map(|ceilings| Governor::new(ceilings, config.frequency, meter.clone(), clock::monotonic()));
        let faults = FaultPace::new(config.page_faults);
        if config.page_faults > 0 && matches!(scope, Scope::Host) {
            watch_faults(&mut session, &faults, (spec.stack_bytes, ceilings));
        }
        let stats = Arc::new(EngineStats::new(&mut session, governor.as_ref()));
        let window = config.window;
        let memory = config.memory && matches!(scope, Scope::Host);
        let mut sampler = Sampler::new(config, identity, session.spec(), Arc::clone(&stats));
        if let Some(governor) = &governor {
            sampler.obey(&governor.orders());
        }
        if child.is_none() {
            // The other way round, what happens between the two would be missed.
            session.enable()?;
            sampler.scan(scope, clock::monotonic(), governor.as_ref().map(|governor| governor.allowance() / SCAN_PART));
        }
        if !matches!(scope, Scope::Host) {
            // These events are inherited by what the process creates, and with them what is attached by then.
            sampler.interpreters().tapped(session.tap());
        }
        run::interpreters(&mut session, &mut sampler);
        if matches!(scope, Scope::Host) {
            session.hang_bells();
        }
        if memory {
            sampler.watch_memory(window, ceilings);
        }
        let watched = match scope {
            Scope::Host => None,
            Scope::Process(pid) | Scope::Starting(pid) => Some(pid),
        };
        Ok(Self {
            session,
            sampler,
            pace: Pace::new(period_ns, faults),
            cost: SampleCost::default(),
            governor,
            meter,
            window,
            child,
            watched,
            stats,
        })
    }

    /// What the engine has done so far, for whoever wants to show it while [`Self::run`] runs.
    #[must_use]
    pub fn stats(&self) -> Arc<EngineStats> {
        Arc::clone(&self.stats)
    }

    /// Samples until the flag is raised, or the one process that is sampled has ended. `sink` gets each window's batch at
    /// its edge, and at the end the one that was begun.
    ///
    /// # Errors
    /// [`EngineError`] when the rings cannot be waited for, or the command not be started.
    pub fn run(&mut self, stop: &StopFlag, sink: &mut dyn FnMut(Batch)) -> Result<(), EngineError> {
        run::run(self, stop, sink)
    }

    /// Counts CPU time of the agent: each of its threads enters itself.
    pub(crate) const fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    /// Asks the governor, and does what it says. Returns how long the engine may sleep.
    fn keep_budget(&mut self, now: u64) -> Pause {
        let Self { session, sampler, pace, cost, governor, .. } = self;
        let needs = Needs { bells: session.bells().next().is_some(), budget: LONG_NS, ..Needs::default() };
        let Some(governor) = governor else {
            pace.apply(session, clock::monotonic);
            return needs.pause(sampler, now);
        };
        let usage = || Usage { rings: session.rings_bytes() as u64, structures: sampler.bytes() as u64, samples: cost.take() };
        if let Some(orders) = governor.poll(now, usage) {
            sampler.obey(&orders);
            pace.want(orders.period_ns);
            if !orders.lean {
                sampler.scan_more(now, governor.spare());
            }
        }
        pace.apply(session, clock::monotonic);
        let needs = Needs { lean: governor.is_lean(), changing: pace.is_changing(), budget: governor.tick(), ..needs };
        needs.pause(sampler, now)
    }

    /// How the sampled command ended, after [`Self::run`].
    ///
    /// # Errors
    /// [`EngineError::Command`] when it could not be started or waited for.
    pub fn exit_status(&mut self) -> Result<Option<std::process::ExitStatus>, EngineError> {
        self.child.as_mut().map(Child::wait).transpose().map_err(EngineError::Command)
    }
}

/// Samples page faults too, with rings of what those of the CPUs leave. It is no error where that cannot be done.
fn watch_faults(session: &mut Session, pace: &FaultPace, (stack_bytes, ceilings): (u32, Option<Ceilings>)) {
    let memory = ceilings.map_or(budget::DEFAULT_MEMORY, |ceilings| ceilings.memory);
    let room = limits::ring_bytes(memory).saturating_sub(session.rings_bytes() as u64);
    let ring_bytes = fault_events::ring_bytes(session.cpus().len(), room);
    let spec = FaultSpec { period: pace.first(), stack_bytes, cgroup: session.spec().features.cgroup, ring_bytes };
    if let Err(error) = session.watch_faults(spec) {
        tracing::warn!(%error, "page faults are not sampled; all else is");
    }
}

fn check(config: &EngineConfig) -> Result<(), OpenError> {
    let wrong = |what, expected, found| Err(OpenError::Config { what, expected, found });
    if !(1..=999).contains(&config.frequency) {
        return wrong("the sampling frequency", "1 to 999 a second", u64::from(config.frequency));
    }
    if config.stack_bytes > MAX_STACK_BYTES || !config.stack_bytes.is_multiple_of(8) || config.stack_bytes == 0 {
        return wrong("the copy of the stack", "a multiple of 8 up to 65528 bytes", u64::from(config.stack_bytes));
    }
    let one = config.window == EngineConfig::ONE_WINDOW;
    if !one && (config.window < Duration::from_millis(100) || config.window > Duration::from_secs(3600)) {
        let found = u64::try_from(config.window.as_millis()).unwrap_or(u64::MAX);
        return wrong("the window", "100 milliseconds to an hour, in milliseconds", found);
    }
    Ok(())
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod tests {
    use super::*;

    /// Rings share their budget, and none is too small to hold a few samples.
    #[test]
    fn rings_fit_the_budget() {
        let of = |cpus| default_ring_bytes(cpus, budget::DEFAULT_MEMORY);
        assert_eq!([of(0), of(2), of(12), of(48), of(64)], [4 << 20, 4 << 20, 2 << 20, 512 << 10, 512 << 10]);
        assert_eq!((of(1024), default_ring_bytes(2, 16 << 20)), (SMALLEST_DEFAULT_RING, 2 << 20));
    }

    /// Values that the kernel would refuse without a word are refused with one.
    #[test]
    fn bad_values_are_named() {
        let bad = [
            EngineConfig { frequency: 0, ..EngineConfig::default() },
            EngineConfig { stack_bytes: 65_535, ..EngineConfig::default() },
            EngineConfig { window: Duration::ZERO, ..EngineConfig::default() },
        ];
        for (config, word) in bad.iter().zip(["frequency", "stack", "window"]) {
            assert!(check(config).unwrap_err().to_string().contains(word));
        }
        check(&EngineConfig::default()).unwrap();
    }
}
