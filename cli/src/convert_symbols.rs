//! `flamekeeper convert-symbols`, which people have no use for: see [`flamekeeper_symbolizer::child`].

use std::process::ExitCode;

/// Arguments of `flamekeeper convert-symbols`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The task, as the collector writes it
    #[arg(value_name = "KEY=NUMBER")]
    task: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    flamekeeper_symbolizer::child::run(&arguments.task)
}
