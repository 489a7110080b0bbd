//! `flamekeeper check-config`.

use std::path::PathBuf;

use anyhow::Result;

const EXAMPLES: &str = "\
Examples:
  flamekeeper check-config agent /etc/flamekeeper/agent.toml
  flamekeeper check-config collector /etc/flamekeeper/collector.toml

Exits with 0 and prints the configuration that the file gives, or says file, line, key and what was expected.";

/// Arguments of `flamekeeper check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Whose configuration it is
    #[arg(value_enum)]
    program: Program,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A program that reads a configuration file.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Program {
    /// The agent
    Agent,
    /// The collector
    Collector,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let path = &arguments.file;
    let text = match arguments.program {
        Program::Agent => flamekeeper_agent::config::check_config(path)?.to_string(),
        Program::Collector => flamekeeper_collector::config::check_config(path)?.to_string(),
    };
    crate::output::print(text.as_bytes())
}
