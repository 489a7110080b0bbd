//! The `flamekeeper` command: the programs of a profiled host (`up`, `agent`, `collector`), one program profiled without
//! them (`record`), and what one asks of a collector (`top`, `flamegraph`, `diff`, `deploys`, `requests`, `symbols`, `symbolize`).
//!
//! Each subcommand is a module: its arguments, their help and what it does. Only this file ends the process.

mod agent;
mod api;
mod arguments;
mod check_config;
mod collector;
mod completions;
mod convert_symbols;
mod deploys;
mod diff;
mod doctor;
mod flamegraph;
mod format;
mod heap;
mod leaks;
mod line;
mod logging;
mod memory;
mod output;
mod package_files;
mod record;
mod requests;
mod stop;
mod symbolize;
mod symbols;
mod table;
mod token;
mod top;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    flamekeeper_transport::names::without_modules_of_the_host();
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flamekeeper: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a subcommand. The code is 0 but for `record`, which hands on that of the command it ran, `doctor`, which
/// has 1 for problems, and `diff`, `leaks` and `memory`, which have codes of their own.
fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(arguments) => up::run(&arguments)?,
        Command::Agent(arguments) => agent::run(&arguments)?,
        Command::Collector(arguments) => return collector::run(&arguments),
        Command::Record(arguments) => return record::run(&arguments),
        Command::Top(arguments) => top::run(&arguments)?,
        Command::Flamegraph(arguments) => flamegraph::run(&arguments)?,
        Command::Diff(arguments) => return Ok(diff::run(&arguments)),
        Command::Deploys(arguments) => deploys::run(&arguments)?,
        Command::Requests(arguments) => requests::run(&arguments)?,
        Command::Heap(arguments) => heap::run(&arguments)?,
        Command::Leaks(arguments) => return Ok(leaks::run(&arguments)),
        Command::Memory(arguments) => return Ok(memory::run(&arguments)),
        Command::Symbols(arguments) => symbols::run(&arguments)?,
        Command::Symbolize(arguments) => symbolize::run(&arguments)?,
        Command::ConvertSymbols(arguments) => return Ok(convert_symbols::run(&arguments)),
        Command::Token(arguments) => token::run(&arguments)?,
        Command::CheckConfig(arguments) => check_config::run(&arguments)?,
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::PackageFiles(arguments) => package_files::run(&arguments)?,
        Command::Completions(arguments) => completions::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes in one line; a cause that the message before it ends with is not told again.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        told if told.ends_with(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    /// Each cause is told once.
    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot read x: no such file").context("cannot start");
        assert_eq!(super::chain(&error), "cannot start: cannot read x: no such file");
    }
}
