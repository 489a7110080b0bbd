//! `flamekeeper collector`.

use anyhow::{Context as _, Result};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_collector::Server;
use flamekeeper_collector::config::Args;

use crate::{logging, output, stop};

const EXAMPLES: &str = "\
Examples:
  flamekeeper collector                                     on http://127.0.0.1:4040, data in /var/lib/flamekeeper
  flamekeeper collector --listen 0.0.0.0:4040 --data-dir /srv/profiles
  flamekeeper collector --config /etc/flamekeeper/collector.toml

The collector needs no privileges. It has no access control of its own: keep it in a trusted network, or put a proxy before it.
FLAMEKEEPER_LOG sets what is logged (info by default).";

/// Arguments of `flamekeeper collector`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    collector: Args,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let config = arguments.collector.load()?;
    if arguments.collector.print_config {
        return output::print(config.to_string().as_bytes());
    }
    logging::start("info");
    let flag = StopFlag::new().context("the stop flag could not be made")?;
    stop::on_signals(&flag)?;
    let server = Server::bind(config)?;
    eprintln!("flamekeeper: the page is at http://{}", server.address());
    server.run(stop::raised(flag))
}
