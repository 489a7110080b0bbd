//! `flamekeeper requests post`.

use anyhow::Result;
use flamekeeper_collector::render::utc;
use serde::Deserialize;
use serde_json::json;

use crate::api::{Collector, Request};
use crate::output;

/// Arguments of `flamekeeper requests post`.
// --version is the version of the service here.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// The service that served them
    #[arg(long, short, value_name = "NAME")]
    service: String,
    /// Its version, where whoever counts knows it
    #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
    version: String,
    /// The host that served them, as its agent names it [default: all hosts together]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    host: String,
    /// How many; 0 where none came
    #[arg(long, short = 'n', value_name = "COUNT")]
    count: u64,
    /// Start of the time that was counted: -1m, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: String,
    /// Its end, at most an hour later
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
    /// What makes the count this one: posted again with the same key, it counts once [default: all of the above, where the times are absolute]
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
}

#[derive(Deserialize)]
struct Kept {
    from: f64,
    to: f64,
    result: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { collector, service, version, host, count, from, to, key } = arguments;
    let body = json!({ "service": service, "version": version, "host": host, "from": from, "to": to, "count": count });
    let request = Request::Json { text: body.to_string(), key: key.clone() };
    let kept: Kept = collector.read(request, "/api/v1/requests", &[])?;
    let before = if kept.result == "duplicate" { " (it was posted before)" } else { "" };
    output::print(format!("{count} requests of {service} from {} to {}{before}\n", utc(kept.from), utc(kept.to)).as_bytes())
}
