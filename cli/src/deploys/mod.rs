//! `flamekeeper deploys`.

mod answer;
mod list;
mod mark;
mod show;

use anyhow::Result;
use clap::Subcommand;

const ABOUT: &str = "\
A deploy is a change of the version of a service. The collector finds deploys and rollbacks in what agents send; what cannot be seen in a
version (a flag, a change of configuration) is marked by whoever does it.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper deploys list
  flamekeeper deploys list --service api --from -30d
  flamekeeper deploys show api
  flamekeeper deploys mark --service api --text 'new cache on'
  flamekeeper diff --service api                      what the newest deploy changed";

/// Arguments of `flamekeeper deploys`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deploys, rollbacks and marks, oldest first
    List(list::Arguments),
    /// Show the deploys of a service with when each host had which version
    Show(show::Arguments),
    /// Mark a change that no version shows
    Mark(mark::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Mark(arguments) => mark::run(arguments),
    }
}
