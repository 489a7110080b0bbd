//! `flamekeeper symbols status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Deserialize;

use super::size;
use crate::api::{Collector, Request, understood};
use crate::output;

/// Arguments of `flamekeeper symbols status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    symbols: serde_json::Value,
}

#[derive(Deserialize)]
struct Symbols {
    objects: u64,
    bytes: u64,
    quota_bytes: u64,
    bad: u64,
    conversions: u64,
    failures: BTreeMap<String, u64>,
    evictions: u64,
    evicted_bytes: u64,
    cache_hits: u64,
    cache_misses: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Answer { symbols } = arguments.collector.read(Request::Get, "/api/v1/status", &[])?;
    if arguments.json {
        return output::print(format!("{symbols}\n").as_bytes());
    }
    output::print(text(&understood(symbols.to_string().as_bytes())?).as_bytes())
}

fn text(symbols: &Symbols) -> String {
    let Symbols { objects, bytes, quota_bytes, bad, .. } = symbols;
    let mut text = format!("{objects} objects, {} of {} on disk\n", size::bytes(*bytes), size::bytes(*quota_bytes));
    let mut line = |line: String| {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{line}");
    };
    line(format!("{bad} objects that cannot be converted (flamekeeper symbols list --bad)"));
    line("since the collector started:".to_owned());
    line(format!("  {} conversions", symbols.conversions));
    for (reason, count) in &symbols.failures {
        line(format!("  {count} objects not stored: {reason}"));
    }
    line(format!("  {} objects, {}, made room for others", symbols.evictions, size::bytes(symbols.evicted_bytes)));
    line(format!("  {} lookups, {} of them answered from memory", symbols.cache_hits + symbols.cache_misses, symbols.cache_hits));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every figure stands there with its unit.
    #[test]
    fn figures() {
        let answer = r#"{"objects": 2, "bytes": 8192, "quota_bytes": 1073741824, "bad": 1, "conversions": 4, "failures": {"unreadable": 3},
            "evictions": 5, "evicted_bytes": 2048, "cache_hits": 7, "cache_misses": 2}"#;
        let text = text(&serde_json::from_str(answer).unwrap());
        assert!(text.starts_with("2 objects, 8.0 KiB of 1.0 GiB on disk\n1 objects that cannot"), "{text}");
        assert!(text.contains("  3 objects not stored: unreadable\n  5 objects, 2.0 KiB, made room"), "{text}");
        assert!(text.ends_with("  9 lookups, 7 of them answered from memory\n"), "{text}");
    }
}
