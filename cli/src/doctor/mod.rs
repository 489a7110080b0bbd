//! `flamekeeper doctor`: what this host lacks, and what to do.
//!
//! Facts are read in `host` and `network`; `judge` is what they mean, as functions that a test can call.

mod check;
mod host;
mod http_date;
mod judge;
mod network;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use check::{Check, Report};
use flamekeeper_agent::permissions::{self, Facts};

const EXAMPLES: &str = "\
Examples:
  flamekeeper doctor                                        judges by the files in /etc/flamekeeper, if they are there
  flamekeeper doctor --agent-config agent.toml --json
  sudo flamekeeper doctor                                   looks into programs of other users too

Each line is ok, a warning (something is worse than it could be) or a problem (something does not work), and says what to do.
Exits with 1 where there is a problem.";

/// Arguments of `flamekeeper doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The agent's configuration
    #[arg(long, value_name = "FILE", default_value = flamekeeper_agent::config::DEFAULT_PATH)]
    agent_config: PathBuf,
    /// The collector's configuration, for a host that has one
    #[arg(long, value_name = "FILE", default_value = flamekeeper_collector::config::DEFAULT_PATH)]
    collector_config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let report = Report { checks: examine(arguments) };
    let text = if arguments.json { report.json()? } else { report.text() };
    crate::output::print(text.as_bytes())?;
    Ok(if report.has_problems() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(arguments: &Arguments) -> Vec<Check> {
    let mut checks = vec![judge::kernel(&host::kernel_release())];
    let (agent, collector) = configurations(arguments, &mut checks);
    let running = host::agent();
    checks.push(judge::agent(running));
    let facts = running.and_then(|pid| Facts::of_process(pid, &agent)).unwrap_or_else(|| Facts::read(&agent));
    checks.extend(judge::privileges(&permissions::lacks(&facts), running));
    let programs = host::programs();
    let urls = collector.as_ref().map(|config| config.symbols.debuginfod.urls.clone()).unwrap_or_default();
    checks.extend([judge::build_ids(&programs), judge::symbols(&programs, !urls.is_empty())]);
    checks.push(judge::spool_disk(&host::disk(&agent.state_dir), agent.spool.max_bytes.0));
    if let Some(collector) = &collector {
        checks.push(judge::collector_disk(&host::disk(&collector.data_dir), collector.min_free_bytes));
    }
    let reached = network::collector(&agent.collector.to_string(), &agent.credentials.clone().with_systemd());
    let away = reached.as_ref().ok().and_then(|answer| answer.seconds_ahead);
    checks.push(judge::clock(host::clock_is_synchronized(), away));
    checks.push(judge::collector(&agent.collector.to_string(), reached.map(|answer| answer.status)));
    checks.extend(urls.iter().map(|url| judge::debuginfod(url, network::debuginfod(url))));
    if urls.is_empty() {
        checks.push(judge::no_debuginfod());
    }
    checks
}

/// The configurations in effect: the defaults where a file is absent or wrong, no collector's without its file.
fn configurations(
    arguments: &Arguments,
    checks: &mut Vec<Check>,
) -> (flamekeeper_agent::config::Config, Option<flamekeeper_collector::config::Config>) {
    let present = |path: &Path| path.exists();
    let agent = present(&arguments.agent_config).then(|| flamekeeper_agent::config::check_config(&arguments.agent_config));
    checks.push(judge::configuration("agent", &arguments.agent_config, agent.as_ref().map(|read| read.as_ref().err())));
    let collector = present(&arguments.collector_config).then(|| flamekeeper_collector::config::check_config(&arguments.collector_config));
    if let Some(read) = &collector {
        checks.push(judge::configuration("collector", &arguments.collector_config, Some(read.as_ref().err())));
    }
    let agent = agent.and_then(Result::ok).unwrap_or_default();
    let mut collector = collector.map(Result::unwrap_or_default);
    if let Some(config) = &mut collector
        && config.data_dir == flamekeeper_collector::config::Config::default().data_dir
    {
        // What the unit gives it.
        config.data_dir = "/var/lib/flamekeeper-collector".into();
    }
    (agent, collector)
}
