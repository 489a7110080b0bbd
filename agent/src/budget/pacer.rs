//! Spreads work that can wait: so much CPU time at once, and then as much as the budget gives it, less where the horizon has little left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::budget::governor::BudgetState;
use crate::budget::{Ceilings, measure};

/// The part of the ceiling that goes to work that can wait.
const SHARE: f64 = 0.3;
/// The part of a horizon's CPU time that it may take at once.
const AT_ONCE: f64 = 0.05;
/// The longest nap before looking again, and the shortest.
const LONGEST_NAP: Duration = Duration::from_millis(500);
const SHORTEST_NAP: Duration = Duration::from_millis(10);

/// Paces the thread that uses it.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Cores.
    rate: f64,
    /// Seconds.
    at_once: f64,
    begun: Instant,
    /// CPU time in seconds that is left, as of `begun` and of `cpu`.
    left: f64,
    cpu: Duration,
    state: Arc<BudgetState>,
}

impl Pacer {
    /// A pacer for the calling thread.
    pub(crate) fn new(ceilings: &Ceilings, state: Arc<BudgetState>) -> Self {
        let at_once = ceilings.cpu * ceilings.horizon.as_secs_f64() * AT_ONCE;
        // Nothing at first: it begins when the governor has seen what the start took, and found that something is left.
        Self { rate: ceilings.cpu * SHARE, at_once, begun: Instant::now(), left: 0.0, cpu: measure::thread_cpu(), state }
    }

    /// Sleeps as long as the work must wait, or until `stop` says so.
    pub(crate) fn pause(&mut self, stop: impl Fn() -> bool) {
        while !stop() {
            let (now, cpu) = (Instant::now(), measure::thread_cpu());
            let (passed, spent) = ((now - self.begun).as_secs_f64(), cpu.saturating_sub(self.cpu).as_secs_f64());
            let rate = self.rate.min(self.state.spare());
            self.left = (self.left + passed * rate - spent).min(self.at_once);
            (self.begun, self.cpu) = (now, cpu);
            if self.left > 0.0 && !self.state.uploads_paused() {
                return;
            }
            let paid_after = Duration::try_from_secs_f64(-self.left / rate).unwrap_or(LONGEST_NAP);
            std::thread::sleep(paid_after.clamp(SHORTEST_NAP, LONGEST_NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that wants a whole core gets its share, and stops waiting when it is told to.
    #[test]
    fn spreads_work() {
        let ceilings = Ceilings { cpu: 0.5, horizon: Duration::from_secs(2), memory: 0 };
        let state = BudgetState::default();
        state.tell_spare(0.5);
        let mut pacer = Pacer::new(&ceilings, Arc::new(state));
        let (begun, cpu) = (Instant::now(), measure::thread_cpu());
        while begun.elapsed() < Duration::from_secs(2) {
            let step = measure::thread_cpu();
            while measure::thread_cpu() - step < Duration::from_millis(5) {}
            pacer.pause(|| begun.elapsed() > Duration::from_secs(2));
        }
        let used = (measure::thread_cpu() - cpu).as_secs_f64();
        // 0.05 at once, 0.3 over the two seconds, and the last step; no lower bound: the machine may be busy.
        assert!(used < 0.05 + 0.3 * begun.elapsed().as_secs_f64() / 2.0 + 0.05, "{used} s");
        // Where there is nothing left, nothing more is given.
        pacer.state.tell_spare(0.0);
        let (waits, left) = (Instant::now(), pacer.left.min(-1e-3));
        pacer.left = left;
        pacer.pause(|| waits.elapsed() > Duration::from_millis(150));
        assert!(waits.elapsed() >= Duration::from_millis(100) && pacer.left <= left);
        pacer.state.tell_spare(0.5);
        let waits = Instant::now();
        pacer.left = -1e9;
        pacer.pause(|| waits.elapsed() > Duration::from_millis(150));
        assert!(waits.elapsed() >= Duration::from_millis(100));
    }
}
