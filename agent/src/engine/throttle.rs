//! Samples that the kernel did not take because it throttled an event.
//!
//! More samples of a CPU in one of the kernel's ticks than `kernel.perf_event_max_sample_rate` allows (which the kernel
//! lowers by itself to stay within `kernel.perf_cpu_time_max_percent`) stop that CPU's event until a later tick. The kernel
//! says when it stopped and when it went on, so how many samples would have been due in between is known: the time by the
//! period. They are counted as lost. That is a bound from above: some may have met an idle CPU.

use crate::perf::cpus::MAX_CPUS;

/// Counts the samples that were due while events were stopped.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    cpus: Vec<Cpu>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    /// Since when the event is stopped, in nanoseconds of the monotonic clock.
    since: Option<u64>,
    /// Nanoseconds of the pauses before that made no whole period.
    rest: u64,
}

impl Throttle {
    /// The kernel says that a CPU's event, of this period in nanoseconds, stopped, or goes on. Returns the samples that were due
    /// meanwhile.
    pub(crate) fn record(&mut self, stopped: bool, cpu: u32, (time, period): (u64, u64)) -> u64 {
        let (period, index) = (period.max(1), cpu as usize);
        if index >= MAX_CPUS {
            return 0;
        }
        if index >= self.cpus.len() {
            self.cpus.resize(index + 1, Cpu::default());
        }
        let Some(cpu) = self.cpus.get_mut(index) else { return 0 };
        if stopped {
            // Of several events of one CPU (those of a process's threads) the first counts.
            cpu.since.get_or_insert(time);
            return 0;
        }
        let Some(since) = cpu.since.take() else { return 0 };
        let paused = time.saturating_sub(since).saturating_add(cpu.rest);
        cpu.rest = paused % period;
        paused / period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses add up to the samples that were due in them, per CPU; what was never stopped cannot go on.
    #[test]
    fn pauses_are_worth_their_periods() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.record(false, 1, (100, 10)), 0);
        let mut missed = 0;
        for turn in 0..10 {
            assert_eq!(throttle.record(true, 1, (turn * 100, 10)), 0);
            assert_eq!(throttle.record(true, 1, (turn * 100 + 3, 10)), 0);
            missed += throttle.record(false, 1, (turn * 100 + 17, 10));
        }
        assert_eq!(missed, 17);
        throttle.record(true, 0, (50, 10));
        assert_eq!(throttle.record(false, 1, (5_000, 10)), 0);
        assert_eq!(throttle.record(false, 0, (40, 10)), 0, "a clock that goes back is no pause");
        assert_eq!(throttle.record(true, u32::MAX, (1, 0)), 0);
    }
}
