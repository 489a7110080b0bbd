//! `flamekeeper flamegraph`.

use std::path::PathBuf;

use anyhow::Result;

use crate::api::Selection;
use crate::format::Format;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  flamekeeper flamegraph --service api --from -15m -o api.svg
  flamekeeper flamegraph --query '{host=\"web-1\"}' --from -1h --to -30m -o web.pb.gz
  flamekeeper flamegraph --service api --format folded -o - | grep malloc";

/// Arguments of `flamekeeper flamegraph`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// File to write; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "flamegraph.svg")]
    output: PathBuf,
    /// Format; without it, the file's name tells
    #[arg(long, value_enum, required_if_eq("output", "-"))]
    format: Option<Format>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let format = Format::choose(arguments.format, &arguments.output)?;
    let content = arguments.selection.ask("/api/v1/flamegraph", &[("format", format.name())])?;
    output::write(&arguments.output, &content)?;
    if arguments.output.as_os_str() != "-" {
        eprintln!("wrote {}", arguments.output.display());
    }
    Ok(())
}
