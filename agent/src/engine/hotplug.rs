//! CPUs that come and go while the engine runs.
//!
//! When a CPU goes offline the kernel ends its event for good, without a word: also when the CPU comes back, it must be
//! opened anew. So once a second the list of online CPUs is read. A CPU that is gone keeps its ring until that is empty; one
//! that has come is opened. A CPU that went and came back between two looks shows by its silence: the timer of every CPU
//! that is watched leaves a record in each period, also on an idle one. Silence alone is no proof, though: a CPU that the
//! hypervisor does not let run is silent as well, and so is a machine that was stopped as a whole. There nothing ran and so
//! nothing is lost. The event itself tells: the time that it has been enabled for goes on until it is ended.
//!
//! What a new CPU did before its event was open nobody knows. As many samples as there would have been at most are counted
//! as lost.

use flamekeeper_profile::LossReason;

use crate::engine::pace::Pace;
use crate::engine::sampler::Sampler;
use crate::perf::error::OpenError;
use crate::perf::online::Online;
use crate::perf::session::{Scope, Session};

/// From look to look, in nanoseconds.
const LOOK_NS: u64 = 1_000_000_000;
/// A ring without a record for so long may belong to an event that has ended, unless a few periods take longer.
const SILENT_NS: u64 = 5_000_000_000;
/// Those few periods.
const SILENT_PERIODS: u64 = 4;

/// What is known of each CPU.
#[derive(Debug)]
pub(super) struct Hotplug {
    online: Online,
    cpus: Vec<usize>,
    looked: u64,
    /// How far each ring was written, and since when.
    written: Vec<(u64, u64)>,
    failing: bool,
}

impl Hotplug {
    /// All CPUs that the session has opened are online now.
    pub(super) fn new(session: &Session, now: u64) -> Self {
        Self { online: Online::open(), cpus: session.cpus().to_vec(), looked: now, written: Vec::new(), failing: false }
    }

    /// Looks, when it is time. Returns whether rings were opened or closed.
    pub(super) fn look(&mut self, (session, sampler, pace): (&mut Session, &mut Sampler, &mut Pace), now: u64) -> bool {
        let since = now.saturating_sub(self.looked);
        if since < LOOK_NS {
            return false;
        }
        self.looked = now;
        let came_and_went = self.online.changed().is_some_and(|online| {
            self.cpus = online;
            true
        });
        let mut changed = self.close_gone(session);
        if came_and_went || self.failing {
            changed |= self.open_new((session, sampler, pace), since);
        }
        changed | self.reopen_silent((session, sampler, pace), now)
    }

    fn close_gone(&self, session: &mut Session) -> bool {
        let gone: Vec<usize> = session.open_cpus().filter(|cpu| !self.cpus.contains(cpu)).collect();
        gone.into_iter().fold(false, |changed, cpu| {
            let closed = session.close(cpu);
            if closed {
                tracing::info!(cpu, "a CPU has gone offline; it is sampled again when it comes back");
            }
            changed | closed
        })
    }

    fn open_new(&mut self, (session, sampler, pace): (&mut Session, &mut Sampler, &mut Pace), since: u64) -> bool {
        let open: Vec<usize> = session.open_cpus().collect();
        self.failing = false;
        let mut changed = false;
        for cpu in self.cpus.iter().copied().filter(|cpu| !open.contains(cpu)) {
            match reopen(session, pace, (cpu, self.looked)) {
                Ok(true) => {
                    tracing::info!(cpu, "a CPU has come online and is sampled from now on");
                    sampler.lose(LossReason::UnwatchedCpu, since / session.spec().interval_ns().max(1));
                    changed = true;
                }
                // It has gone again.
                Ok(false) => self.failing = true,
                Err(error) => {
                    tracing::warn!(cpu, %error, "a CPU has come online and cannot be sampled; tried again every second");
                    sampler.lose(LossReason::UnwatchedCpu, since / session.spec().interval_ns().max(1));
                    self.failing = true;
                }
            }
        }
        changed
    }

    fn reopen_silent(&mut self, (session, sampler, pace): (&mut Session, &mut Sampler, &mut Pace), now: u64) -> bool {
        // A cycle counter is silent on an idle CPU, a process's event where the process does not run.
        if session.spec().cycles || !matches!(session.scope(), Scope::Host) {
            return false;
        }
        let limit = SILENT_NS.max(pace.longest().saturating_mul(SILENT_PERIODS));
        let mut changed = false;
        for (cpu, written) in session.written() {
            if self.written.len() <= cpu {
                self.written.resize(cpu + 1, (0, now));
            }
            let Some(known) = self.written.get_mut(cpu) else { continue };
            if known.0 != written {
                *known = (written, now);
            }
            let silent = now.saturating_sub(known.1);
            if silent < limit || !self.cpus.contains(&cpu) {
                continue;
            }
            if session.is_alive(cpu) {
                tracing::debug!(cpu, silent_seconds = silent / 1_000_000_000, "a CPU did not run for a while");
                known.1 = now;
                continue;
            }
            if session.close(cpu) {
                *known = (0, now);
                let opened = reopen(session, pace, (cpu, now));
                tracing::info!(cpu, opened = matches!(opened, Ok(true)), "the event of a CPU had ended and is opened anew");
                sampler.lose(LossReason::UnwatchedCpu, silent / session.spec().interval_ns().max(1));
                self.failing |= !matches!(opened, Ok(true));
                changed = true;
            }
        }
        changed
    }
}

/// Opens a CPU's events, which begin with the configured period. False where the CPU is gone.
fn reopen(session: &mut Session, pace: &mut Pace, (cpu, now): (usize, u64)) -> Result<bool, OpenError> {
    let opened = session.open_cpu(cpu)?;
    if let Some(ring) = session.ring_of(cpu) {
        pace.begin_anew(ring, now);
    }
    if let Some(place) = session.faults().and_then(|faults| faults.place_of(cpu)) {
        pace.faults.begin_anew(place, now);
    }
    Ok(opened)
}
