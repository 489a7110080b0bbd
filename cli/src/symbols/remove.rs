//! `flamekeeper symbols remove`.

use anyhow::{Context as _, Result};
use flamekeeper_profile::BuildId;

use crate::api::{Collector, Request};
use crate::output;

/// Arguments of `flamekeeper symbols remove`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Build ids, such as gnu:abcdef0123456789
    #[arg(value_name = "BUILD_ID", required = true)]
    build_ids: Vec<BuildId>,
    #[command(flatten)]
    collector: Collector,
    /// Print what was removed as JSON, one line each
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    for id in &arguments.build_ids {
        let path = format!("/api/v1/symbols/{id}");
        let removed = arguments.collector.send(Request::Delete, &path, &[]).with_context(|| format!("{id} was not removed"))?;
        let removed = String::from_utf8_lossy(&removed);
        let text = if arguments.json { format!("{}\n", removed.trim_end()) } else { format!("removed {id}\n") };
        output::print(text.as_bytes())?;
    }
    Ok(())
}
