//! Runs the agent's engine on one program, and merges what it hands over.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use flamekeeper_agent::clock;
use flamekeeper_agent::engine::{Engine, EngineConfig, EngineStats, Target};
use flamekeeper_agent::identity::{Identity, IdentityConfig};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_profile::{Batch, Ledger, Merged, Timestamp, Window};

use super::Arguments;
use crate::line::ProgressLine;

/// What was sampled, and the engine, which knows how the command ended.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) merged: Merged,
    pub(super) ledger: Ledger,
    pub(super) window: Window,
    /// Whether the kernel's part of stacks is missing, for want of permission.
    pub(super) user_only: bool,
}

impl Captured {
    fn add(&mut self, batch: &Batch) {
        let remap = self.merged.tables.absorb(&batch.tables);
        // Not what the engine tells beside its samples.
        for series in batch.series.iter().filter(|series| series.sample_type.is_periodic()) {
            self.merged.add_series(&remap, &series.sample_type, &series.values);
        }
        self.ledger.add(&batch.ledger);
    }
}

/// The sampled program, after its recording.
#[derive(Debug)]
pub(super) struct Program {
    engine: Engine,
    signalled: bool,
}

impl Program {
    /// Waits for the command and answers its own code; 128 and the signal's number where a signal ended it, as a shell tells
    /// it. Somebody who ended the recording by a signal does not wait for the command. 0 for a process that was there before.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn exit_code(&mut self) -> Result<ExitCode> {
        use std::os::unix::process::ExitStatusExt as _;
        if self.signalled {
            return Ok(ExitCode::from(128 + 2));
        }
        let Some(status) = self.engine.exit_status()? else { return Ok(ExitCode::SUCCESS) };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }
}

/// Samples until the program's end, the duration's, or a signal.
///
/// # Errors
/// When the events cannot be opened (which says what is missing), or the command not be started.
pub(super) fn capture(arguments: &Arguments) -> Result<(Captured, Program)> {
    let (stop, done) = (StopFlag::new().context("cannot start")?, StopFlag::new().context("cannot start")?);
    crate::stop::on_signals(&stop)?;
    let mut engine = Engine::open(config(arguments), Identity::new(IdentityConfig::default()))?;
    let stats = engine.stats();
    let window = Window::new(clock::now(), Timestamp(u64::MAX));
    let mut captured = Captured { merged: Merged::new(), ledger: Ledger::new(), window, user_only: stats.user_only };
    let expired = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(arguments.duration, &stats, &done, &stop));
        let sampled = engine.run(&stop, &mut |batch| captured.add(&batch));
        done.raise();
        let expired = watcher.join().unwrap_or_default();
        sampled.map(|()| expired).with_context(|| format!("cannot record {}", arguments.title()))
    })?;
    captured.window.to = clock::now();
    let signalled = stop.is_raised() && !expired && !arguments.command.is_empty();
    Ok((captured, Program { engine, signalled }))
}

fn config(arguments: &Arguments) -> EngineConfig {
    let target = match (arguments.pid, arguments.command.split_first()) {
        (None, Some((program, rest))) => Target::Command { program: program.clone(), arguments: rest.to_vec() },
        (pid, _) => Target::Process(pid.unwrap_or_default()),
    };
    EngineConfig { frequency: arguments.frequency, target, window: EngineConfig::ONE_WINDOW, ..EngineConfig::default() }
}

/// Shows progress, and ends the recording when its time is over; answers whether it did.
fn watch(duration: Option<Duration>, stats: &EngineStats, done: &StopFlag, stop: &StopFlag) -> bool {
    let (start, mut line) = (Instant::now(), ProgressLine::new());
    while !done.is_raised() {
        let passed = start.elapsed();
        if duration.is_some_and(|duration| passed >= duration) {
            stop.raise();
            line.finish();
            return true;
        }
        let (samples, lost) = (stats.samples.get(), stats.lost.get());
        line.show(&format!("{:.0} s, {samples} samples, {lost} lost, {} processes", passed.as_secs_f64(), stats.processes.get()));
        let rest = duration.map_or(Duration::MAX, |duration| duration.saturating_sub(passed));
        std::thread::sleep(rest.clamp(Duration::from_millis(5), Duration::from_millis(100)));
    }
    line.finish();
    false
}
