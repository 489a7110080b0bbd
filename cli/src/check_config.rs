//! `flamekeeper check-config`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use flamekeeper_agent::config::Config;
use flamekeeper_agent::permissions::{self, Facts};

const EXAMPLES: &str = "\
Examples:
  flamekeeper check-config agent /etc/flamekeeper/agent.toml
  flamekeeper check-config collector /etc/flamekeeper/collector.toml
  flamekeeper check-config agent /etc/flamekeeper/agent.toml --host

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
    /// Also say what this host lets the agent do, started as this command is; fails where it could not sample
    #[arg(long)]
    host: bool,
    /// Say nothing where the file is right
    #[arg(long, short, conflicts_with = "host")]
    quiet: bool,
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
        Program::Agent => {
            let config = flamekeeper_agent::config::check_config(path)?;
            let host = if arguments.host { host(&config)? } else { String::new() };
            format!("{config}{host}")
        }
        Program::Collector if arguments.host => bail!("--host is about what the agent may do: the collector needs no privileges"),
        Program::Collector => flamekeeper_collector::config::check_config(path)?.to_string(),
    };
    if arguments.quiet { Ok(()) } else { crate::output::print(text.as_bytes()) }
}

/// What the agent would lack here, as comments of the configuration that is printed before it.
fn host(config: &Config) -> Result<String> {
    let lacks = permissions::lacks(&Facts::read(config));
    if let Some(fatal) = lacks.iter().find(|lack| lack.fatal) {
        bail!("{fatal}");
    }
    if lacks.is_empty() {
        return Ok("# this host lets the agent do all that it needs\n".into());
    }
    Ok(lacks.iter().fold(String::new(), |text, lack| format!("{text}# on this host: {lack}\n")))
}
