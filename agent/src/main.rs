//! `flamekeeper-agent`: samples every process of this host and ships profiles to a collector.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use flamekeeper_agent::config::Args;
use flamekeeper_agent::progress::Progress;
use flamekeeper_agent::service;
use flamekeeper_agent::stop::StopFlag;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Profiles every process of this host all the time and ships the profiles to a Flamekeeper collector.
///
/// Every flag can also be given by the environment variable beside it, or in the configuration file; a flag beats the
/// variable, which beats the file. FLAMEKEEPER_LOG sets what is logged (info by default).
///
/// Sampling needs root, or the capabilities PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYSLOG and CHECKPOINT_RESTORE, and the
/// sysctl kernel.perf_event_paranoid at 2 or less.
#[derive(Debug, Parser)]
#[command(name = "flamekeeper-agent", version)]
struct Arguments {
    #[command(flatten)]
    agent: Args,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flamekeeper-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let config = args.load()?;
    if args.print_config {
        return write!(std::io::stdout(), "{config}").context("the configuration could not be printed");
    }
    let filter = EnvFilter::try_from_env("FLAMEKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let stop = StopFlag::new().context("the stop flag could not be made")?;
    stop_on_signal(stop.clone())?;
    service::run(config, stop, Arc::<Progress>::default())
}

/// Raises the flag on SIGTERM and SIGINT. Signals are caught from here on.
fn stop_on_signal(stop: StopFlag) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime for signals")?;
    let entered = runtime.enter();
    let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut int = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    drop(entered);
    let wait = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        stop.raise();
    };
    let thread = std::thread::Builder::new().name("fk-signals".into());
    thread.spawn(move || runtime.block_on(wait)).context("no thread for signals")?;
    Ok(())
}
