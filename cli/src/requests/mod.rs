//! `flamekeeper requests`.

mod list;
mod post;

use anyhow::Result;
use clap::Subcommand;

const ABOUT: &str = "\
How many requests a service served: with that a diff tells what one request takes, whatever the load was. No sample knows it, so whatever
counts requests (a metric, a load balancer's log, a benchmark) posts the counts. They are taken as exact.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper requests post --service api --count 72000 --from -1m
  flamekeeper requests post --service api --version 1.5 --host web-1 --count 900 --from 2026-11-24T14:00:00Z --to 2026-11-24T14:01:00Z
  flamekeeper requests list --service api --from -1h
  flamekeeper diff --service api --by requests        what one request takes, before and after the newest deploy";

/// Arguments of `flamekeeper requests`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what was posted, by service, version and host
    List(list::Arguments),
    /// Post how many requests a service served
    Post(post::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Post(arguments) => post::run(arguments),
    }
}
