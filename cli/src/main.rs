//! The `flamekeeper` command: the programs of a profiled host (`up`, `agent`, `collector`), one program profiled without
//! them (`record`), and questions to a collector (`top`, `flamegraph`).
//!
//! Each subcommand is a module: its arguments, their help and what it does. Only this file ends the process.

mod agent;
mod api;
mod arguments;
mod check_config;
mod collector;
mod completions;
mod flamegraph;
mod format;
mod line;
mod logging;
mod output;
mod record;
mod stop;
mod top;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flamekeeper: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a subcommand. The code is 0 but for `record`, which hands on that of the command it ran.
fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(arguments) => up::run(&arguments)?,
        Command::Agent(arguments) => agent::run(&arguments)?,
        Command::Collector(arguments) => collector::run(&arguments)?,
        Command::Record(arguments) => return record::run(&arguments),
        Command::Top(arguments) => top::run(&arguments)?,
        Command::Flamegraph(arguments) => flamegraph::run(&arguments)?,
        Command::CheckConfig(arguments) => check_config::run(&arguments)?,
        Command::Completions(arguments) => completions::run(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes in one line; a cause that the message before it ends with is not told again.
fn chain(error: &anyhow::Error) -> String {
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
