//! `flamekeeper-agent`: samples every process of this host and ships profiles to a collector.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use flamekeeper_agent::config::Args;
use flamekeeper_agent::program::Arguments;
use flamekeeper_agent::reload;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    flamekeeper_transport::names::without_modules_of_the_host();
    match run(&Arguments::parse().agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flamekeeper-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let config = args.load()?;
    if args.print_config {
        return write!(std::io::stdout(), "{config}").context("the configuration could not be printed");
    }
    if args.check_config {
        return Ok(());
    }
    let filter = EnvFilter::try_from_env("FLAMEKEEPER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Without colours: they would be another dependency.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    reload::run(args, config)
}
