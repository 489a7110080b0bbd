//! `flamekeeper agent`.

use anyhow::Result;
use flamekeeper_agent::config::Args;
use flamekeeper_agent::reload;

use crate::{logging, output};

const EXAMPLES: &str = "\
Examples:
  flamekeeper agent --collector http://profiles.example:4040
  flamekeeper agent --config /etc/flamekeeper/agent.toml
  flamekeeper agent --frequency-hz 99 --label env=staging --label region=eu
  flamekeeper agent --print-config

Sampling needs root, or the capabilities PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYSLOG and CHECKPOINT_RESTORE, and the
sysctl kernel.perf_event_paranoid at 2 or less. FLAMEKEEPER_LOG sets what is logged (info by default).";

/// Arguments of `flamekeeper agent`: those of the slim `flamekeeper-agent`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    agent: Args,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = arguments.agent.load()?;
    if arguments.agent.print_config {
        return output::print(config.to_string().as_bytes());
    }
    if arguments.agent.check_config {
        return Ok(());
    }
    logging::start("info");
    reload::run(&arguments.agent, config)
}
