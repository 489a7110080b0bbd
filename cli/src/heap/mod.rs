//! `flamekeeper heap`: sampling of a service's live heap, switched on and off and looked at.

mod dropin;
mod scan;
mod status;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use flamekeeper_agent::heap;

use crate::output;

const ABOUT: &str = "\
A service that is started with libflamekeeper_heap.so samples the blocks that fill its memory, one about every 512 KiB of allocation. The
agent of the host finds it by itself: `flamekeeper flamegraph --type inuse_space` shows what is live, and which code allocated it.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper heap enable api.service && systemctl daemon-reload && systemctl restart api.service
  flamekeeper heap status
  flamekeeper heap status 4711             what of this process's memory would not be seen, and why
  flamekeeper heap scan 4711               which of its blocks are lost, and what holds the others
  flamekeeper heap interval 4711 0         switch a running process's sampling off
  flamekeeper heap disable api.service";

/// Arguments of `flamekeeper heap`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Have a systemd unit started with the library from its next start on
    Enable {
        /// The unit, with or without .service
        unit: String,
        /// Mean bytes between two samples; a power of two is taken
        #[arg(long, value_name = "BYTES", default_value_t = 1 << 19)]
        interval: u64,
        /// Where the library lies
        #[arg(long, value_name = "FILE", default_value = "/usr/lib/flamekeeper/libflamekeeper_heap.so")]
        library: PathBuf,
        /// The folder that the system lies in
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
    },
    /// Have a systemd unit started without it again
    Disable {
        /// The unit, with or without .service
        unit: String,
        /// The folder that the system lies in
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
    },
    /// Show which processes sample their heap, and what of it cannot be seen
    Status {
        /// Processes to look at; none: all that sample, or should
        pids: Vec<u32>,
    },
    /// Say what still points to the sampled blocks of a process: which are lost, and what holds the others
    Scan(scan::Arguments),
    /// Set the interval of a running process that samples; 0 switches sampling off
    Interval {
        /// The process
        pid: u32,
        /// Mean bytes between two samples; a power of two is taken
        bytes: u64,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let said = match &arguments.command {
        Command::Enable { unit, interval, library, root } => {
            let unit = dropin::Unit::parse(unit)?;
            let file = dropin::enable(&unit, root, library, *interval)?;
            format!("wrote {}\nrun: systemctl daemon-reload && systemctl restart {unit}\n", file.display())
        }
        Command::Disable { unit, root } => {
            let unit = dropin::Unit::parse(unit)?;
            match dropin::disable(&unit, root)? {
                Some(file) => format!("removed {}\nrun: systemctl daemon-reload && systemctl restart {unit}\n", file.display()),
                None => format!("{unit} is not enabled\n"),
            }
        }
        Command::Scan(arguments) => return scan::run(arguments),
        Command::Status { pids } => status::text(pids),
        Command::Interval { pid, bytes } => {
            let set = heap::set_interval(*pid, *bytes).with_context(|| format!("cannot set the interval of process {pid}"))?;
            if set == 0 { format!("process {pid} no longer samples\n") } else { format!("process {pid} samples every {set} bytes\n") }
        }
    };
    output::print(said.as_bytes())
}
