//! `flamekeeper deploys mark`.

use anyhow::Result;
use flamekeeper_collector::render::utc;
use serde::Deserialize;
use serde_json::json;

use crate::api::{Collector, Request};
use crate::output;

/// Arguments of `flamekeeper deploys mark`.
// --version is the version of the service here.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// The service that changed
    #[arg(long, short, value_name = "NAME")]
    service: String,
    /// The version, where the change has one
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    version: String,
    /// What changed, in a few words
    #[arg(long, short, value_name = "TEXT", default_value = "", hide_default_value = true)]
    text: String,
    /// When: now, -5m, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    at: String,
}

#[derive(Deserialize)]
struct Marked {
    at: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { service, version, text, at, .. } = arguments;
    let mark = json!({ "service": service, "version": version, "text": text, "at": at });
    let marked: Marked = arguments.collector.read(Request::Json { text: mark.to_string(), key: None }, "/api/v1/deploys", &[])?;
    output::print(format!("marked {service} at {}\n", utc(marked.at)).as_bytes())
}
