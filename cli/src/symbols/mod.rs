//! `flamekeeper symbols`.

mod add;
mod list;
mod remove;
mod size;
mod status;

use anyhow::Result;
use clap::Subcommand;

const ABOUT: &str = "\
A collector names functions by symbols, which it keeps by build id: one file for each build of a program or library. Agents send what
their hosts have; what was stripped of its symbols is named once somebody adds them, in profiles stored before as well.

Sources, the best first: debug_info (files, lines and inlined functions too), go_table (the same for Go), partial_debug_info (some files
that it goes on in are missing), symbol_table, dynamic_symbols. A better source replaces a worse one.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper symbols list
  flamekeeper symbols add target/release/api             a program with debug information
  flamekeeper symbols add /usr/lib/debug/.build-id/ab/cdef.debug
  flamekeeper symbols remove gnu:abcdef0123456789
  flamekeeper symbols status --collector http://profiles.example:4040";

/// Arguments of `flamekeeper symbols`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the objects that a collector has symbols of, or could not convert
    List(list::Arguments),
    /// Send the symbols of ELF files: programs, libraries, separate debug files
    Add(add::Arguments),
    /// Show how many symbols there are, what became of those that were sent, and what was evicted
    Status(status::Arguments),
    /// Remove the symbols of build ids; agents are asked for them again
    Remove(remove::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Add(arguments) => add::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Remove(arguments) => remove::run(arguments),
    }
}
