//! `flamekeeper top`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde::Deserialize;

use crate::api::{Selection, understood};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  flamekeeper top
  flamekeeper top --service api --from -1h --limit 50
  flamekeeper top --query '{host=~\"web-.*\"}' --collector http://profiles.example:4040";

/// Arguments of `flamekeeper top`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// How many functions; 0 for all
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 30)]
    limit: u32,
    /// Print the collector's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    unit: String,
    total: u64,
    functions: Vec<Function>,
    completeness: Completeness,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    module: String,
    /// Why it has no name.
    unnamed: Option<String>,
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    /// The standard error of the total, where there is one.
    total_error: Option<u64>,
}

#[derive(Deserialize)]
struct Completeness {
    samples: u64,
    lost_total: u64,
    truncated: u64,
    unnamed: u64,
    unnamed_reasons: BTreeMap<String, u64>,
    /// Share of distinct frames, 0 to 1.
    unnamed_frames: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let body = arguments.selection.ask("/api/v1/top", &[("limit", &arguments.limit.to_string())])?;
    if arguments.json {
        return output::print(&body);
    }
    let answer: Answer = understood(&body)?;
    output::print(table(&answer).as_bytes())
}

fn table(answer: &Answer) -> String {
    let mut text = format!("{:>7} {:>10} {:>7} {:>10}  FUNCTION\n", "SELF %", "SELF", "TOTAL %", "TOTAL");
    for function in &answer.functions {
        let module = function.module.rsplit('/').next().unwrap_or_default();
        let (own, total) = (percent(function.own, answer.total), percent(function.total, answer.total));
        let (own_value, total_value) = (value(function.own, &answer.unit), value(function.total, &answer.unit));
        let why = function.unnamed.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        // Of 95 of a hundred samplings the truth is so near.
        let near = function.total_error.map_or_else(String::new, |error| format!(" ±{}", value(error.saturating_mul(2), &answer.unit)));
        // Writing to a String cannot fail.
        _ = writeln!(text, "{own:>7.2} {own_value:>10} {total:>7.2} {total_value:>10}{near}  {} ({module}){why}", function.name);
    }
    let Completeness { samples, lost_total, truncated, unnamed, unnamed_reasons, unnamed_frames } = &answer.completeness;
    let total = value(answer.total, &answer.unit);
    _ = writeln!(text, "{total} in {samples} samples; {lost_total} lost, {truncated} truncated, {unnamed} without a name at the leaf");
    if *unnamed_frames > 0.0 {
        let reasons = unnamed_reasons.iter().map(|(reason, count)| format!(", {count} {reason}")).collect::<String>();
        _ = writeln!(text, "{:.1} % of the distinct frames have no name{reasons}", 100.0 * unnamed_frames);
    }
    text
}

#[allow(clippy::cast_precision_loss)] // For display: two digits.
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[allow(clippy::cast_precision_loss)] // For display: three digits.
fn value(amount: u64, unit: &str) -> String {
    match unit {
        "nanoseconds" => format!("{:.2} s", amount as f64 / 1e9),
        "bytes" => format!("{:.1} MiB", amount as f64 / f64::from(1 << 20)),
        _ => format!("{amount} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table tells shares, values in a person's unit, and what is missing.
    #[test]
    fn table_of_an_answer() {
        let answer = r#"{"unit": "nanoseconds", "total": 4000000000,
            "completeness": {"samples": 400, "lost": {"ring_full": 3}, "lost_total": 3, "truncated": 2, "unnamed": 1,
                "unnamed_reasons": {"no_symbols": 1}, "unnamed_frames": 0.125},
            "functions": [{"name": "main", "module": "/usr/bin/api", "file": "", "line": 0, "kind": "native", "self": 1000000000, "total": 4000000000, "total_error": 100000000},
                {"name": "api+0x12", "module": "/usr/bin/api", "unnamed": "no_symbols", "self": 0, "total": 0}]}"#;
        let text = table(&serde_json::from_str(answer).unwrap());
        assert!(
            text.contains("  25.00     1.00 s  100.00     4.00 s ±0.20 s  main (api)\n") && text.contains("  api+0x12 (api): no_symbols\n"),
            "{text}"
        );
        assert!(text.ends_with("4.00 s in 400 samples; 3 lost, 2 truncated, 1 without a name at the leaf\n12.5 % of the distinct frames have no name, 1 no_symbols\n"), "{text}");
    }
}
