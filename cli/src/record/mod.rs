//! `flamekeeper record`: one program's flamegraph, without a collector and without any network.

mod capture;
mod duration;
mod symbols;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use flamekeeper_collector::query::SymbolizedProfile;
use flamekeeper_collector::render;

use crate::format::Format;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  flamekeeper record -- ./server --port 8080          until it ends; writes flamegraph.svg
  flamekeeper record -o build.pb.gz -- make -j8       then: go tool pprof -http=: build.pb.gz
  flamekeeper record --pid 4242 --duration 10s -o api.folded
  flamekeeper record --frequency 499 --format json -o - -- ./bench > bench.json

Sampling one's own programs works without privileges where kernel.perf_event_paranoid is 2 or less (then without the
kernel's frames); else run it as root or with CAP_PERFMON.";

/// Arguments of `flamekeeper record`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Process to sample, with all its threads and what they start
    #[arg(long, short, value_name = "PID", conflicts_with = "command", required_unless_present = "command")]
    pub(crate) pid: Option<u32>,
    /// How long to sample, such as 10s or 1m; without it until the end of the program or Ctrl-C
    #[arg(long, short, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) duration: Option<std::time::Duration>,
    /// Samples for each second of CPU time, 1 to 999
    #[arg(long, short = 'F', value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub(crate) frequency: u32,
    /// File to write; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "flamegraph.svg")]
    output: PathBuf,
    /// Format; without it, the file's name tells
    #[arg(long, value_enum, required_if_eq("output", "-"))]
    format: Option<Format>,
    /// Command to start and sample, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Records, writes, and answers the exit code of the command (0 for a process that was there before).
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let format = Format::choose(arguments.format, &arguments.output)?;
    crate::logging::start("warn");
    let (captured, mut program) = capture::capture(arguments)?;
    let title = arguments.title();
    let (profile, notes) = symbols::name(captured, arguments.pid);
    let content = render(&profile, format, &title)?;
    output::write(&arguments.output, &content)?;
    eprintln!("{}", summary(&profile, arguments, &notes));
    program.exit_code()
}

impl Arguments {
    /// What is recorded, for people.
    fn title(&self) -> String {
        match self.pid {
            Some(pid) => format!("process {pid}"),
            None => self.command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
        }
    }
}

fn render(profile: &SymbolizedProfile, format: Format, title: &str) -> Result<Vec<u8>> {
    match format {
        Format::Svg => render::svg(profile, title, render::DEFAULT_MIN_SHARE).context("cannot draw the flamegraph"),
        Format::Pprof => Ok(render::pprof::gzipped(profile)),
        Format::Folded => Ok(render::folded(profile).into_bytes()),
        Format::Json => render::flamegraph_json(profile, 0.0).context("cannot write the call tree"),
    }
}

fn summary(profile: &SymbolizedProfile, arguments: &Arguments, notes: &str) -> String {
    let completeness = profile.completeness();
    let (samples, lost) = (completeness.samples, completeness.ledger.lost_total());
    let (truncated, unnamed) = (completeness.truncated_total(), completeness.unnamed);
    let output = arguments.output.display();
    format!(
        "{samples} samples at {} Hz, {lost} lost, {truncated} truncated, {unnamed} without a name at the leaf{notes}: {output}",
        arguments.frequency
    )
}
