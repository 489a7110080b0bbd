//! Runs the agent's engine on one program, and merges what it hands over.

use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use flamekeeper_agent::clock;
use flamekeeper_agent::engine::{Engine, EngineConfig, EngineStats, Target};
use flamekeeper_agent::identity::{Identity, IdentityConfig};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_profile::{Batch, Ledger, Merged, Timestamp, Window};

use super::Arguments;
use crate::line::ProgressLine;

/// What was sampled.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) merged: Merged,
    pub(super) ledger: Ledger,
    pub(super) window: Window,
    pub(super) user_only: bool,
    status: Option<ExitStatus>,
}

impl Captured {
    /// The command's own code; 128 and the signal's number where a signal ended it, as a shell tells it.
    pub(super) fn exit_code(&self) -> ExitCode {
        use std::os::unix::process::ExitStatusExt as _;
        let Some(status) = self.status else { return ExitCode::SUCCESS };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        ExitCode::from(u8::try_from(code).unwrap_or(1))
    }

    fn add(&mut self, batch: &Batch) {
        let remap = self.merged.tables.absorb(&batch.tables);
        for series in &batch.series {
            self.merged.add_series(&remap, &series.sample_type, &series.values);
        }
        self.ledger.add(&batch.ledger);
    }
}

/// Samples until the program's end, the duration's, or a signal.
///
/// # Errors
/// When the events cannot be opened (which says what is missing), or the command not be started.
pub(super) fn capture(arguments: &Arguments) -> Result<Captured> {
    let stop = StopFlag::new().context("cannot start")?;
    crate::stop::on_signals(&stop)?;
    let mut engine = Engine::open(config(arguments), Identity::new(IdentityConfig::default()))?;
    let stats = engine.stats();
    let window = Window::new(clock::now(), Timestamp(u64::MAX));
    let mut captured = Captured { merged: Merged::new(), ledger: Ledger::new(), window, user_only: stats.user_only, status: None };
    std::thread::scope(|scope| {
        let (running, watcher) = (StopFlag::new()?, scope);
        let done = running.clone();
        watcher.spawn(|| watch(arguments.duration, &stats, &running, &stop));
        let result = engine.run(&stop, &mut |batch| captured.add(&batch));
        done.raise();
        result.map_err(anyhow::Error::from)
    })?;
    captured.window.to = clock::now();
    captured.status = if stop.is_raised() && arguments.duration.is_some() { None } else { engine.exit_status()? };
    Ok(captured)
}

fn config(arguments: &Arguments) -> EngineConfig {
    let target = match (arguments.pid, arguments.command.split_first()) {
        (None, Some((program, rest))) => Target::Command { program: program.clone(), arguments: rest.to_vec() },
        (pid, _) => Target::Process(pid.unwrap_or_default()),
    };
    EngineConfig { frequency: arguments.frequency, target, ..EngineConfig::default() }
}

/// Shows progress, and ends the recording when its time is over.
fn watch(duration: Option<Duration>, stats: &EngineStats, done: &StopFlag, stop: &StopFlag) {
    let (start, mut line) = (Instant::now(), ProgressLine::new());
    while !done.is_raised() {
        let passed = start.elapsed();
        if duration.is_some_and(|duration| passed >= duration) {
            stop.raise();
        }
        let (samples, lost) = (stats.samples.get(), stats.lost.get());
        line.show(&format!("{:.0} s, {samples} samples, {lost} lost, {} processes", passed.as_secs_f64(), stats.processes.get()));
        let rest = duration.map_or(Duration::MAX, |duration| duration.saturating_sub(passed));
        std::thread::sleep(rest.clamp(Duration::from_millis(5), Duration::from_millis(100)));
    }
    line.finish();
}
