//! `flamekeeper symbols list`.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Deserialize;

use super::size;
use crate::api::{Collector, Request, understood};
use crate::output;

/// Arguments of `flamekeeper symbols list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// How many, the latest used first; 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
    /// Only objects that could not be converted
    #[arg(long)]
    bad: bool,
    /// Print the collector's answer as it is
    #[arg(long, conflicts_with = "bad")]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    now: f64,
    total: usize,
    objects: Vec<Object>,
}

/// An object, as the collector tells it.
#[derive(Deserialize)]
struct Object {
    build_id: String,
    source: Option<String>,
    bytes: Option<u64>,
    reason: Option<String>,
    used: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let body = arguments.collector.send(Request::Get, "/api/v1/symbols", &[("limit", &arguments.limit.to_string())])?;
    if arguments.json {
        return output::print(&body);
    }
    output::print(table(&understood(&body)?, arguments.bad).as_bytes())
}

fn table(answer: &Answer, only_bad: bool) -> String {
    let shown: Vec<&Object> = answer.objects.iter().filter(|object| !only_bad || object.reason.is_some()).collect();
    let width = shown.iter().map(|object| object.build_id.len()).max().unwrap_or(0).clamp(8, 60);
    let mut text = format!("{:<width$}  {:<15} {:>10} {:>9}\n", "BUILD ID", "SOURCE", "SIZE", "LAST USED");
    for object in &shown {
        let source = object.source.as_deref().unwrap_or("bad");
        let size = object.bytes.map_or_else(|| "-".to_owned(), size::bytes);
        let used = size::age(answer.now - object.used);
        let reason = object.reason.as_deref().unwrap_or_default();
        // Writing to a String cannot fail.
        _ = writeln!(text, "{}", format!("{:<width$}  {source:<15} {size:>10} {used:>9}  {reason}", object.build_id).trim_end());
    }
    let bytes = shown.iter().filter_map(|object| object.bytes).sum();
    _ = writeln!(text, "{} of {} objects, {}", shown.len(), answer.total, size::bytes(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects with and without symbols, and what is left out.
    #[test]
    fn tables() {
        let answer = r#"{"now": 1000.0, "total": 3, "objects": [
            {"build_id": "gnu:abcdef", "state": "stored", "source": "debug_info", "bytes": 4096, "used": 940.0},
            {"build_id": "go:01", "state": "bad", "reason": "it is damaged", "used": 100.0}]}"#;
        let text = table(&understood(answer.as_bytes()).unwrap(), false);
        assert!(text.contains("gnu:abcdef  debug_info         4.0 KiB     1 min\n"), "{text}");
        assert!(text.contains("go:01       bad                      -    15 min  it is damaged\n"), "{text}");
        assert!(text.ends_with("2 of 3 objects, 4.0 KiB\n"), "{text}");
        let bad = table(&understood(answer.as_bytes()).unwrap(), true);
        assert!(!bad.contains("abcdef") && bad.ends_with("1 of 3 objects, 0 B\n"), "{bad}");
    }
}
