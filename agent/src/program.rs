//! The command line of the slim `flamekeeper-agent`: here, so that its man page and completions can be made from it.

use clap::Parser;

use crate::config::Args;

/// Profiles every process of this host all the time and ships the profiles to a Flamekeeper collector.
///
/// Every flag can also be given by the environment variable beside it, or in the configuration file; a flag beats the
/// variable, which beats the file. FLAMEKEEPER_LOG sets what is logged (info by default).
///
/// SIGHUP makes the agent read its configuration again. SIGTERM and SIGINT end it: it ships for up to five seconds more, the rest
/// stays in the spool.
///
/// Sampling needs root, or the capabilities PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYSLOG and CHECKPOINT_RESTORE, and the
/// sysctl kernel.perf_event_paranoid at 2 or less.
#[derive(Debug, Parser)]
#[command(name = "flamekeeper-agent", version)]
pub struct Arguments {
    /// The agent's flags.
    #[command(flatten)]
    pub agent: Args,
}
