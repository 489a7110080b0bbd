//! The attributes of the events: what is sampled, how often, and what each record carries.

use std::io;

use flamekeeper_profile::SampleType;
use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, Clock, Counter, ReadFormat};

use crate::engine::EventChoice;
use crate::perf::{cpus, period, reading};
use crate::record::{REGS_USER, SAMPLE_CGROUP, SAMPLE_TYPE};

/// Clock speed to assume where the kernel does not tell one.
const ASSUMED_HZ: u64 = 2_000_000_000;

/// Optional attributes that events are opened with. A kernel refuses what it does not know (EINVAL or E2BIG), and then the
/// events are opened with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// Mappings carry the build id of their file (kernel 5.12).
    pub(crate) build_id: bool,
    /// Samples carry their cgroup, and new cgroups are told (5.7, and only with `CONFIG_CGROUP_PERF`).
    pub(crate) cgroup: bool,
    /// Events count the records that found no room (6.0).
    pub(crate) lost: bool,
}

impl Features {
    /// All that this agent can use.
    pub(crate) const ALL: Self = Self { build_id: true, cgroup: true, lost: true };

    /// Whether these are a part of others.
    #[cfg(test)]
    pub(crate) const fn less_or_equal(self, other: Self) -> bool {
        (other.build_id || !self.build_id) && (other.cgroup || !self.cgroup) && (other.lost || !self.lost)
    }

    /// All subsets of these, those with the most and the newest that is missing first.
    pub(crate) fn subsets(self) -> impl Iterator<Item = Self> {
        let with = |lost: bool| {
            [(true, true), (true, false), (false, true), (false, false)].map(|(build_id, cgroup)| Self { build_id, cgroup, lost })
        };
        let all = with(true).into_iter().chain(with(false));
        all.filter(move |set| (self.build_id || !set.build_id) && (self.cgroup || !set.cgroup) && (self.lost || !set.lost))
    }

    /// The set to try after this one.
    pub(crate) fn less(self, of: Self) -> Option<Self> {
        of.subsets().skip_while(|set| *set != self).nth(1)
    }
}

/// For how long a ring has to have room for samples while the reader is being woken, in milliseconds, where it is large
/// enough: the reader may wait for a CPU as all others do.
const ROOM_MS: u64 = 350;

/// How many bytes in a ring wake its reader: half of it, or less where that leaves too little room for what comes meanwhile.
pub(crate) fn wakeup_bytes(ring: usize, frequency: u32, stack: u32) -> usize {
    // A record has more than the stack: registers, the kernel's part.
    let sample = u64::from(stack) + 1024;
    let room = usize::try_from(u64::from(frequency) * sample * ROOM_MS / 1000).unwrap_or(usize::MAX);
    ring - room.clamp(ring / 2, ring / 4 * 3)
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
    /// The hardware's cycles instead of the software clock.
    pub(crate) cycles: bool,
    /// Samples a second of CPU time.
    pub(crate) frequency: u32,
    /// Bytes of user stack to copy.
    pub(crate) stack_bytes: u32,
    /// Whether samples of idle CPUs are left out already in the kernel.
    pub(crate) exclude_idle: bool,
    /// Whether samples in the kernel are left out (all that an unprivileged user may have).
    pub(crate) exclude_kernel: bool,
    /// Optional attributes.
    pub(crate) features: Features,
    /// Bytes in the ring at which the reader is woken.
    pub(crate) wakeup_bytes: usize,
}

impl EventSpec {
    /// Whole stacks of everybody, in the kernel as well, with all that a kernel may have to offer.
    pub(crate) const fn new(choice: EventChoice, frequency: u32, stack_bytes: u32) -> Self {
        Self {
            cycles: wants_cycles(choice),
            frequency,
            stack_bytes,
            exclude_idle: false,
            exclude_kernel: false,
            features: Features::ALL,
            wakeup_bytes: 1,
        }
    }

    /// The event's name, as `perf list` has it.
    pub(crate) const fn name(&self) -> &'static str {
        if self.cycles { "cycles" } else { "cpu-clock" }
    }

    /// From sample to sample at the nominal speed, in nanoseconds.
    pub(crate) fn interval_ns(&self) -> u64 {
        period::period_ns(self.frequency)
    }

    /// From sample to sample, in the event's own unit: nanoseconds, or cycles. As many cycles as the CPU makes at its nominal
    /// frequency in a period.
    pub(crate) fn period(&self) -> u64 {
        self.units(self.interval_ns())
    }

    /// So many nanoseconds in the event's own unit.
    pub(crate) fn units(&self, nanoseconds: u64) -> u64 {
        if !self.cycles {
            return nanoseconds;
        }
        let cycles = u128::from(cpus::nominal_hz().unwrap_or(ASSUMED_HZ)) * u128::from(nanoseconds) / 1_000_000_000;
        u64::try_from(cycles).unwrap_or(u64::MAX).max(1)
    }

    /// What a sample counts and is worth.
    ///
    /// Only the software clock's period is time. A cycle is none: the same second has more of them on a CPU that boosts and
    /// fewer on one that saves power, so cycles stay cycles and are a type of their own.
    pub(crate) fn sample_type(&self) -> SampleType {
        let time = SampleType::cpu(self.period());
        if self.cycles { SampleType { period_name: "cycles".into(), period_unit: "count".into(), ..time } } else { time }
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
            .exclude_idle(self.exclude_idle)
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
            .build_id(self.features.build_id)
            .cgroup(self.features.cgroup)
            .inherit(!matches!(who, Who::Everyone))
            .enable_on_exec(matches!(who, Who::AfterExec(_)))
            .wakeup_watermark(self.wakeup_bytes);
        builder.attrs_mut().read_format = reading::format(self.features.lost);
        builder.attrs_mut().sample_type = SAMPLE_TYPE | if self.features.cgroup { SAMPLE_CGROUP } else { 0 };
        builder.build()
    }
}

/// Whether a choice means the hardware's cycles.
const fn wants_cycles(choice: EventChoice) -> bool {
    matches!(choice, EventChoice::Cycles)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The usual ring wakes its reader rarely at a usual frequency, and early at a high one; none waits until it is full.
    #[test]
    fn rings_wake_in_time() {
        let of = |ring: usize, frequency| wakeup_bytes(ring << 20, frequency, 65_528) >> 10;
        assert_eq!([of(4, 19), of(4, 99), of(4, 999), of(1, 99)], [2048, 1844, 1024, 256]);
        assert!((1..=999).all(|frequency| (1..5).all(|ring| (ring << 8..=ring << 9).contains(&of(ring, frequency)))));
    }

    /// A sample of the clock is worth its period of CPU time; one of cycles says cycles, as many as its period has.
    #[test]
    fn samples_are_worth_their_period() {
        let clock = EventSpec::new(EventChoice::Auto, 99, 8);
        assert_eq!((clock.sample_type().query_name(), clock.sample_type().weigh(2)), ("cpu", 2 * clock.period()));
        assert!((10_101_010..10_700_000).contains(&clock.period()), "{}", clock.period());
        let cycles = EventSpec::new(EventChoice::Cycles, 99, 8);
        assert_eq!((cycles.sample_type().query_name(), cycles.sample_type().query_unit()), ("cycles", "count"));
        assert_eq!(cycles.sample_type().weigh(1), cycles.period());
    }
}
