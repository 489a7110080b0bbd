//! Measures once a tick, decides, and says what the engine is to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use flamekeeper_profile::{AgentFigures, Figure};

use crate::budget::Ceilings;
use crate::budget::cpu::{CpuGovernor, Spent, TICKS};
use crate::budget::frequency::{Ladder, millihertz};
use crate::budget::limits::{self, Limits};
use crate::budget::measure::{self, CpuMeter, Memory, MemoryMeter};
use crate::budget::memory::{MemoryGovernor, Trimmer};

/// The shortest tick, in nanoseconds.
const SHORTEST_TICK: u64 = 100_000_000;

/// What the engine is to do until the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    /// The period of samples in nanoseconds.
    pub(crate) period_ns: u64,
    /// What each structure may hold.
    pub(crate) limits: Limits,
    /// Whether to read the rings and the memory of processes less often, and to learn of new processes only when they are sampled.
    pub(crate) lean: bool,
}

/// What the governor said last, for the other threads.
#[derive(Debug, Default)]
pub(crate) struct BudgetState {
    uploads_paused: AtomicBool,
    lean: AtomicBool,
    frequency_step: AtomicU8,
    cache_step: AtomicU8,
    period_ns: AtomicU64,
    configured_ns: AtomicU64,
    cpu_used: AtomicU64,
    cpu_microcores: AtomicU64,
    cpu_ceiling_microcores: AtomicU64,
    spare_microcores: AtomicU64,
    memory: AtomicU64,
    memory_ceiling: AtomicU64,
    resident: AtomicU64,
    anonymous: AtomicU64,
    /// Times that the frequency was lowered, that it was raised again, and that caches were shrunk.
    lowered: AtomicU64,
    raised: AtomicU64,
    shrunk: AtomicU64,
}

fn get(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

impl BudgetState {
    /// Whether uploads of symbols are to wait.
    pub(crate) fn uploads_paused(&self) -> bool {
        self.uploads_paused.load(Ordering::Relaxed)
    }

    /// What work that can wait may take, in cores: less where the horizon has little left, as in the first minute after a start.
    #[allow(clippy::cast_precision_loss)] // Cores are few.
    pub(crate) fn spare(&self) -> f64 {
        get(&self.spare_microcores) as f64 / 1e6
    }

    pub(super) fn tell_spare(&self, cores: f64) {
        self.spare_microcores.store(microcores(cores), Ordering::Relaxed);
    }

    /// As [`Orders::lean`].
    pub(crate) fn is_lean(&self) -> bool {
        self.lean.load(Ordering::Relaxed)
    }

    /// CPU time since the start, in nanoseconds.
    pub(crate) fn cpu_nanoseconds(&self) -> u64 {
        get(&self.cpu_used)
    }

    /// Anonymous memory of the process in bytes.
    pub(crate) fn anonymous_bytes(&self) -> u64 {
        get(&self.anonymous)
    }

    /// Notes the bytes that count against the ceiling, and those of the process.
    fn tell_memory(&self, used: u64, process: Memory) {
        self.memory.store(used, Ordering::Relaxed);
        self.resident.store(process.resident, Ordering::Relaxed);
        self.anonymous.store(process.anonymous, Ordering::Relaxed);
    }

    /// How often the frequency was lowered, how often it was raised again, how often caches were shrunk.
    pub(crate) fn actions(&self) -> [u64; 3] {
        [get(&self.lowered), get(&self.raised), get(&self.shrunk)]
    }

    /// What is known here, as figures.
    pub(crate) fn figures(&self) -> AgentFigures {
        let mut figures = AgentFigures::default();
        figures.set(Figure::CpuMicrocores, get(&self.cpu_microcores));
        figures.set(Figure::CpuCeilingMicrocores, get(&self.cpu_ceiling_microcores));
        figures.set(Figure::MemoryBytes, get(&self.memory));
        figures.set(Figure::MemoryCeilingBytes, get(&self.memory_ceiling));
        figures.set(Figure::ResidentBytes, get(&self.resident));
        figures.set(Figure::FrequencyMillihertz, millihertz(get(&self.period_ns)));
        figures.set(Figure::ConfiguredMillihertz, millihertz(get(&self.configured_ns)));
        figures.set(Figure::UploadsPaused, u64::from(self.uploads_paused()));
        figures.set(Figure::FrequencySteps, u64::from(self.frequency_step.load(Ordering::Relaxed)));
        figures.set(Figure::CacheSteps, u64::from(self.cache_step.load(Ordering::Relaxed)));
        figures.set(Figure::WakesSlowed, u64::from(self.lean.load(Ordering::Relaxed)));
        figures
    }
}

/// What the levels of restraint are: 1 pauses uploads, the next lower the frequency, the last is lean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Restraint {
    uploads_paused: bool,
    frequency_step: u8,
    lean: bool,
}

impl Restraint {
    const fn at(level: u8, last_step: u8) -> Self {
        let step = level.saturating_sub(1);
        Self { uploads_paused: level > 0, frequency_step: if step < last_step { step } else { last_step }, lean: step > last_step }
    }
}

/// Holds the budget.
#[derive(Debug)]
pub(crate) struct Governor {
    ceilings: Ceilings,
    ladder: Ladder,
    cpu: CpuGovernor,
    memory: MemoryGovernor,
    trimmer: Trimmer,
    meter: CpuMeter,
    memory_meter: MemoryMeter,
    state: Arc<BudgetState>,
    tick: u64,
    /// When the last tick was, and the CPU time used by then; none before the first.
    last: (u64, Option<Duration>),
    restraint: Restraint,
    cache_step: u8,
}

impl Governor {
    /// A governor that restrains nothing yet.
    pub(crate) fn new(ceilings: Ceilings, hertz: u32, meter: CpuMeter, now: u64) -> Self {
        let ladder = Ladder::new(hertz);
        let (configured, last_step) = (ladder.period(0), ladder.last());
        let horizon = u64::try_from(ceilings.horizon.as_nanos()).unwrap_or(u64::MAX);
        let last = (now, None);
        let state = BudgetState::default();
        state.configured_ns.store(configured, Ordering::Relaxed);
        state.period_ns.store(configured, Ordering::Relaxed);
        state.cpu_ceiling_microcores.store(microcores(ceilings.cpu), Ordering::Relaxed);
        state.memory_ceiling.store(ceilings.memory, Ordering::Relaxed);
        let memory_meter = MemoryMeter::new();
        if meter.owns_process() {
            // A window may be told of before the first tick.
            let memory = memory_meter.read();
            state.tell_memory(memory.anonymous, memory);
        }
        Self {
            ladder,
            cpu: CpuGovernor::new(ceilings.cpu, ceilings.horizon, last_step + 2),
            memory: MemoryGovernor::new(ceilings.memory),
            trimmer: Trimmer::new(),
            meter,
            memory_meter,
            state: Arc::new(state),
            tick: (horizon / u64::from(TICKS)).max(SHORTEST_TICK),
            last,
            restraint: Restraint::at(0, last_step),
            cache_step: 0,
            ceilings,
        }
    }

    /// What it says, for the other threads.
    pub(crate) fn state(&self) -> Arc<BudgetState> {
        Arc::clone(&self.state)
    }

    /// What CPU time is counted by.
    pub(crate) const fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    /// Bytes that names of generated code may take.
    pub(crate) fn name_bytes(&self) -> usize {
        limits::name_bytes(self.ceilings.memory)
    }

    /// The CPU time that the agent's share of the horizon allows in all.
    pub(crate) fn allowance(&self) -> Duration {
        self.ceilings.horizon.mul_f64(self.ceilings.cpu.max(0.0))
    }

    /// What work that can wait may take of this tick's CPU time: half of what there is for it.
    pub(crate) fn spare(&self) -> Duration {
        self.cpu.left() / 2
    }

    /// From tick to tick, in nanoseconds.
    pub(crate) const fn tick(&self) -> u64 {
        self.tick
    }

    /// As [`Orders::lean`], now.
    pub(crate) const fn is_lean(&self) -> bool {
        self.restraint.lean
    }

    /// What holds now.
    pub(crate) fn orders(&self) -> Orders {
        Orders {
            period_ns: self.ladder.period(self.restraint.frequency_step),
            limits: Limits::new(self.ceilings.memory, self.cache_step),
            lean: self.restraint.lean,
        }
    }

    /// Measures and decides, if a tick has passed; returns the orders if they were decided anew. `usage` is asked only then.
    pub(crate) fn poll(&mut self, now: u64, usage: impl FnOnce() -> Usage) -> Option<Orders> {
        let elapsed = now.saturating_sub(self.last.0);
        if elapsed < self.tick {
            return None;
        }
        let (used, usage) = (self.meter.used(), usage());
        match self.last.1 {
            None => self.cpu.began(used),
            Some(before) => {
                let spent = Spent { cpu: used.saturating_sub(before), samples: usage.samples };
                self.restrain_cpu(Duration::from_nanos(elapsed), spent);
            }
        }
        self.last = (now, Some(used));
        self.state.tell_spare(self.spare().as_secs_f64() / Duration::from_nanos(self.tick).as_secs_f64());
        self.restrain_memory(&usage);
        self.state.cpu_used.store(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        Some(self.orders())
    }

    fn restrain_cpu(&mut self, elapsed: Duration, spent: Spent) {
        let level = self.cpu.tick(elapsed, spent);
        let restraint = Restraint::at(level, self.ladder.last());
        let (before, after) = (self.restraint.frequency_step, restraint.frequency_step);
        let state = &self.state;
        if after != before {
            let counter = if after > before { &state.lowered } else { &state.raised };
            counter.fetch_add(1, Ordering::Relaxed);
            tracing::info!(
                frequency_millihertz = millihertz(self.ladder.period(after)),
                used_microcores = microcores(self.cpu.used()),
                ceiling_microcores = microcores(self.ceilings.cpu),
                "the frequency follows the CPU ceiling"
            );
        }
        self.restraint = restraint;
        state.uploads_paused.store(restraint.uploads_paused, Ordering::Relaxed);
        state.lean.store(restraint.lean, Ordering::Relaxed);
        state.frequency_step.store(after, Ordering::Relaxed);
        state.period_ns.store(self.ladder.period(after), Ordering::Relaxed);
        state.cpu_microcores.store(microcores(self.cpu.used()), Ordering::Relaxed);
    }

    fn restrain_memory(&mut self, usage: &Usage) {
        let memory = self.memory_meter.read();
        let anonymous = memory.anonymous;
        // In a process that is shared, what others hold is not the agent's to answer for.
        let own = if self.meter.owns_process() { anonymous } else { usage.structures };
        let used = own.saturating_add(usage.rings);
        let step = self.memory.tick(used);
        if step > self.cache_step {
            self.state.shrunk.fetch_add(1, Ordering::Relaxed);
            tracing::info!(used, ceiling = self.ceilings.memory, cache_step = step, "caches shrink to hold the memory ceiling");
        }
        self.cache_step = step;
        let unknown = self.meter.owns_process() && self.trimmer.tick(anonymous, usage.structures);
        if self.memory.is_short(used) || unknown {
            measure::trim();
        }
        self.state.cache_step.store(step, Ordering::Relaxed);
        self.state.tell_memory(used, memory);
    }
}

/// What the engine uses, as it says itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Memory of all rings, in bytes.
    pub(crate) rings: u64,
    /// Memory of caches and tables, in bytes.
    pub(crate) structures: u64,
    /// CPU time that samples cost since it was asked before.
    pub(crate) samples: Duration,
}

/// Cores in millionths; what is negative or no number is none.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // The cast saturates, which is what is wanted.
fn microcores(cores: f64) -> u64 {
    (cores * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mildest first: uploads, then the frequency, then all else.
    #[test]
    fn levels() {
        let at = |level| {
            let Restraint { uploads_paused, frequency_step, lean } = Restraint::at(level, 3);
            (uploads_paused, frequency_step, lean)
        };
        let levels = [(false, 0, false), (true, 0, false), (true, 1, false), (true, 2, false), (true, 3, false), (true, 3, true)];
        assert_eq!([0, 1, 2, 3, 4, 5].map(at), levels);
    }

    /// A thread that burns more than the ceiling lowers the frequency within a few ticks, and the figures say so; the
    /// memory of the structures is what counts in a shared process.
    #[test]
    fn restrains_a_busy_agent() {
        let ceilings = Ceilings { cpu: 0.01, horizon: Duration::from_secs(6), memory: 32 << 20 };
        let mut governor = Governor::new(ceilings, 100, CpuMeter::new(), 0);
        let state = governor.state();
        assert!(governor.poll(1, Usage::default).is_none());
        let mut now = 0;
        for _ in 0..20 {
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_millis(2) {}
            now += 100_000_000;
            assert!(governor.poll(now, || Usage { rings: 8 << 20, structures: 1 << 20, ..Usage::default() }).is_some());
        }
        let orders = governor.orders();
        assert!(orders.period_ns > 15_000_000 && state.uploads_paused(), "{orders:?}");
        let figures = state.figures();
        assert_eq!(figures.get(Figure::FrequencyMillihertz), Some(millihertz(orders.period_ns)));
        assert_eq!(figures.get(Figure::MemoryBytes), Some(9 << 20));
        assert!(figures.get(Figure::CpuMicrocores) > figures.get(Figure::CpuCeilingMicrocores), "{figures:?}");
        assert!(state.actions()[0] > 0 && state.cpu_nanoseconds() > 1_000_000);
    }
}
