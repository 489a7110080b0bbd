//! The attributes of the events: what is sampled, how often, and what each record carries.

use std::io;

use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, Clock, Counter, ReadFormat};

use crate::engine::EventChoice;
use crate::perf::cpus;
use crate::record::{REGS_USER, SAMPLE_TYPE};

/// Clock speed to assume where the kernel does not tell one.
const ASSUMED_HZ: u64 = 2_000_000_000;

/// Optional attributes, newest first: an older kernel refuses what it does not know (EINVAL or E2BIG), and then the events
/// are opened without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Features {
    /// All that this agent can use.
    All,
    /// Without build ids in mappings (kernels before 5.12).
    NoBuildId,
}

impl Features {
    /// The next smaller set.
    pub(crate) const fn less(self) -> Option<Self> {
        match self {
            Self::All => Some(Self::NoBuildId),
            Self::NoBuildId => None,
        }
    }
}

/// Whom an event watches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// Everything on the CPU.
    Everyone,
    /// One thread and, from now on, what it creates.
    Thread(i32),
    /// A process from its next `execve` on, and what it creates.
    AfterExec(i32),
}

/// What to open on each CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventSpec {
    /// The hardware's cycles, else the software clock.
    pub(crate) cycles: bool,
    /// Samples a second of CPU time.
    pub(crate) frequency: u32,
    /// Bytes of user stack to copy.
    pub(crate) stack_bytes: u32,
    /// Whether samples in the kernel are left out (all that an unprivileged user may have).
    pub(crate) exclude_kernel: bool,
    /// Optional attributes.
    pub(crate) features: Features,
    /// Bytes in the ring at which the reader is woken.
    pub(crate) wakeup_bytes: usize,
}

impl EventSpec {
    /// The event's name, as `perf list` has it.
    pub(crate) const fn name(&self) -> &'static str {
        if self.cycles { "cycles" } else { "cpu-clock" }
    }

    /// What one sample is worth, in nanoseconds of CPU time.
    ///
    /// The period of the software clock is nanoseconds. That of cycles is cycles at the nominal frequency: a CPU that runs
    /// faster than it is sold as yields more samples a second, so that a sample stands for an amount of work.
    pub(crate) fn period_ns(&self) -> u64 {
        1_000_000_000 / u64::from(self.frequency.max(1))
    }

    fn period(&self) -> u64 {
        if self.cycles { cpus::nominal_hz().unwrap_or(ASSUMED_HZ) / u64::from(self.frequency.max(1)) } else { self.period_ns() }
    }

    /// Opens the event, disabled, on one CPU.
    pub(crate) fn open(&self, who: Who, cpu: usize) -> io::Result<Counter> {
        let kind = if self.cycles { Event::Hardware(Hardware::CPU_CYCLES) } else { Event::Software(Software::CPU_CLOCK) };
        let mut builder = Builder::new().kind(kind).one_cpu(cpu);
        builder = match who {
            Who::Everyone => builder.any_pid(),
            Who::Thread(pid) | Who::AfterExec(pid) => builder.observe_pid(pid),
        };
        builder
            .enabled(false)
            .read_format(ReadFormat::empty())
            .sample_period(self.period())
            .sample_id_all(true)
            .clockid(Clock::MONOTONIC)
            .exclude_idle(true)
            .exclude_kernel(self.exclude_kernel)
            .exclude_hv(true)
            .exclude_callchain_user(true)
            .exclude_callchain_kernel(self.exclude_kernel)
            .sample_regs_user(REGS_USER)
            .sample_stack_user(self.stack_bytes)
            .mmap(true)
            .mmap2(true)
            .comm(true)
            .comm_exec(true)
            .task(true)
            .build_id(self.features == Features::All)
            .inherit(!matches!(who, Who::Everyone))
            .enable_on_exec(matches!(who, Who::AfterExec(_)))
            .wakeup_watermark(self.wakeup_bytes);
        builder.attrs_mut().sample_type = SAMPLE_TYPE;
        builder.build()
    }
}

/// Whether `auto` may try the hardware's cycles first.
pub(crate) const fn tries_cycles(choice: EventChoice) -> bool {
    matches!(choice, EventChoice::Auto | EventChoice::Cycles)
}
