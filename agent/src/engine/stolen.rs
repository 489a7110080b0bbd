//! Samples of time that was no CPU time: a hypervisor had stopped the virtual CPU.
//!
//! The software clock samples wall time. Where a hypervisor takes a virtual CPU away although it has work ("steal"), the
//! moments that fall into the pause are sampled late, as soon as the CPU runs again (once, however many they were: the
//! kernel's timer leaves the others out). Whoever stood on the CPU would so be charged with time that neither it nor
//! anybody else had; the kernel's own accounting (`/proc/stat`, `/proc/PID/stat`) charges nobody.
//!
//! The timer of a CPU expires on a grid, so how late a sample is can be told from its time alone. But a sample is late as
//! well when interrupts were off, and that is CPU time. So a late sample is held for stolen only as long as the kernel's
//! count of stolen time for that CPU covers it: on a machine without a hypervisor that count is 0 and nothing is left out.
//! The count is read at each window's edge and so lags by a window.

use crate::perf::cpu_times::CpuTimes;

/// A sample that is later than this may be one of stolen time, in nanoseconds. Interrupts that wait for each other, and
/// sections with interrupts off, take far less.
const LATE_NS: u64 = 1_000_000;
/// After so many samples the grid is placed anew: it moves when the kernel restarts the timer.
const PLACE_EVERY: u32 = 32;
/// Stolen time that no late sample has used is kept for so many periods.
const KEPT_PERIODS: u64 = 64;

/// Tells samples of stolen time from others.
#[derive(Debug)]
pub(crate) struct Stolen {
    period: u64,
    cpus: Vec<Cpu>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    /// The timer's period.
    period: u64,
    /// Where in a period the timer expires, as far as known.
    phase: Option<u64>,
    /// The least lateness since the grid was placed.
    least: u64,
    seen: u32,
    /// Stolen nanoseconds that no sample has been left out for.
    credit: u64,
    /// The kernel's count when it was last read.
    counted: Option<u64>,
}

impl Stolen {
    /// For a timer of this period, in nanoseconds.
    pub(crate) fn new(period: u64) -> Self {
        Self { period: period.max(1), cpus: Vec::new() }
    }

    /// Whether a sample, at a time of the monotonic clock, fell into stolen time. `period` is that of the timer as it was
    /// then, in nanoseconds.
    pub(crate) fn takes(&mut self, cpu: u32, time: u64, period: u64) -> bool {
        let period = period.max(1);
        let Some(cpu) = self.cpu(cpu as usize) else { return false };
        if cpu.period != period {
            // The timer has restarted, on another grid.
            (cpu.period, cpu.phase, cpu.seen, cpu.least) = (period, None, 0, 0);
        }
        let late = cpu.lateness(time, period);
        if late < LATE_NS || cpu.credit == 0 {
            return false;
        }
        cpu.credit = cpu.credit.saturating_sub(period);
        true
    }

    /// Takes note of the kernel's counts.
    pub(crate) fn count(&mut self, times: &[CpuTimes]) {
        let most = self.period.saturating_mul(KEPT_PERIODS);
        for CpuTimes { cpu, stolen, .. } in times {
            let Some(cpu) = self.cpu(*cpu) else { continue };
            let more = cpu.counted.map_or(0, |before| stolen.saturating_sub(before));
            cpu.credit = cpu.credit.saturating_add(more).min(most);
            cpu.counted = Some(*stolen);
        }
    }

    fn cpu(&mut self, cpu: usize) -> Option<&mut Cpu> {
        if cpu >= crate::perf::cpus::MAX_CPUS {
            return None;
        }
        if cpu >= self.cpus.len() {
            self.cpus.resize(cpu + 1, Cpu::default());
        }
        self.cpus.get_mut(cpu)
    }
}

impl Cpu {
    fn lateness(&mut self, time: u64, period: u64) -> u64 {
        let now = time % period;
        let phase = *self.phase.get_or_insert(now);
        let mut late = (now + period - phase) % period;
        if late > period / 4 * 3 {
            // Rather a little before the grid than that much behind: the sample that placed it was late itself.
            self.phase = Some(now);
            late = 0;
        }
        self.least = if self.seen == 0 { late } else { self.least.min(late) };
        self.seen += 1;
        if self.seen == PLACE_EVERY {
            self.seen = 0;
            self.phase = self.phase.map(|phase| (phase + self.least) % period);
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 50_000_000;
    const MS: u64 = 1_000_000;

    fn stolen(total: u64) -> [CpuTimes; 1] {
        [CpuTimes { cpu: 3, busy: 0, stolen: total }]
    }

    /// Late samples are left out as far as the kernel has counted stolen time, and no further.
    #[test]
    fn late_samples_are_left_out_as_far_as_time_was_stolen() {
        let mut state = Stolen::new(PERIOD);
        state.count(&stolen(7000 * MS));
        let at = |n: u64, late: u64| 1000 * PERIOD + 17 * MS + n * PERIOD + late;
        assert!(!state.takes(3, at(0, 0), PERIOD));
        assert!(!state.takes(3, at(1, 9 * MS), PERIOD), "nothing was stolen: interrupts were off");
        state.count(&stolen(7000 * MS + 2 * PERIOD));
        assert!(!state.takes(3, at(2, 20_000), PERIOD), "on time");
        assert!(state.takes(3, at(3, 9 * MS), PERIOD));
        assert!(!state.takes(2, at(3, 9 * MS), PERIOD), "another CPU");
        assert!(state.takes(3, at(4, 2 * MS), PERIOD));
        assert!(!state.takes(3, at(5, 9 * MS), PERIOD), "all that was stolen is used");
    }

    /// A timer of another period runs on another grid: its samples are on time there.
    #[test]
    fn grid_follows_the_period() {
        let mut state = Stolen::new(PERIOD);
        state.count(&stolen(0));
        state.count(&stolen(1_000_000 * MS));
        for n in 0..200 {
            assert!(!state.takes(3, n * PERIOD, PERIOD));
        }
        for n in 0..200 {
            assert!(!state.takes(3, 200 * PERIOD + 33 * MS + n * 2 * PERIOD, 2 * PERIOD), "{n}");
        }
    }

    /// Of a busy CPU of which a third is stolen in pauses of 3 to 60 ms, what is left is the time that it had, within the error of
    /// so many samples; also when the timer restarts on another grid.
    #[test]
    fn what_is_left_is_the_time_that_was_had() {
        let mut state = Stolen::new(PERIOD);
        let (mut now, mut grid, mut seed, mut had, mut kept, mut total) = (0_u64, 13 * MS, 7_u64, 0_u64, 0_u64, 0_u64);
        let mut random = |from: u64, to: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from + (seed >> 33) % (to - from)
        };
        for round in 0..20_000 {
            let (run, pause) = (random(3 * MS, 120 * MS), random(3 * MS, 60 * MS));
            let (pause_at, resume) = (now + run, now + run + pause);
            while grid < resume {
                let at = grid.max(now).max(if grid >= pause_at { resume } else { 0 }) + random(1_000, 90_000);
                kept += u64::from(!state.takes(3, at, PERIOD));
                grid = (grid + PERIOD).max(grid + (at - grid).div_ceil(PERIOD) * PERIOD);
            }
            had += run;
            total += pause;
            now = resume;
            if round % 60 == 0 {
                state.count(&stolen(total));
            }
            if round % 3000 == 2999 {
                grid = now + random(0, PERIOD);
            }
        }
        let ratio = (kept * PERIOD) as f64 / had as f64;
        assert!((0.97..1.03).contains(&ratio), "{ratio}");
    }
}
