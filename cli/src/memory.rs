//! `flamekeeper memory`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use flamekeeper_profile::memory::readable as bytes;
use serde::Deserialize;

use crate::api::{Collector, Request, understood};
use crate::output;

const ABOUT: &str = "\
Says how much memory each service has, over all processes and hosts, whether it grows, how fast with a 95 % interval, and when
its hosts' memory would be used up. Judged is what the kernel cannot drop: anonymous memory, and what of it is in swap. Which code it is that keeps
memory, `flamekeeper leaks` says.

Exit codes: 0 where nothing grows, or it is too early to tell; 1 where something grows; 2 where there is no answer.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper memory
  flamekeeper memory --service api --from -6h
  flamekeeper memory --json | jq '.services[] | select(.verdict == \"grows\") | .evidence'";

/// The code that says that something grows, and the one that says that there is no answer. As those of `flamekeeper leaks`.
const GROWS: u8 = 1;
const UNANSWERED: u8 = 2;

/// Arguments of `flamekeeper memory`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// Only this service, with each kind of its memory
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// Start of the window: -1h, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "-1h", allow_hyphen_values = true)]
    from: String,
    /// End of the window
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
    /// How many services, 1000 at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 50)]
    limit: u32,
    /// Print the collector's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    growing: usize,
    services_total: usize,
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    service: String,
    verdict: String,
    evidence: String,
    slope: f64,
    killed: u64,
    levels: std::collections::BTreeMap<String, Vec<u64>>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match ask(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(GROWS),
        Err(error) => {
            eprintln!("flamekeeper: {}", crate::chain(&error));
            ExitCode::from(UNANSWERED)
        }
    }
}

/// Asks and prints; answers how many services grow.
fn ask(arguments: &Arguments) -> Result<usize> {
    let limit = arguments.limit.to_string();
    let service = arguments.service.as_deref().unwrap_or_default();
    let parameters = [("service", service), ("from", &arguments.from), ("to", &arguments.to), ("limit", &limit)];
    let body = arguments.collector.send(Request::Get, "/api/v1/memory", &parameters)?;
    let answer: Answer = understood(&body)?;
    if arguments.json {
        output::print(&body)?;
    } else {
        output::print(text(&answer, !service.is_empty()).as_bytes())?;
    }
    Ok(answer.growing)
}

fn text(answer: &Answer, kinds: bool) -> String {
    if answer.services.is_empty() {
        return "no memory was measured in this window; agents measure it from their first window on, unless `[memory] levels` is false\n"
            .to_owned();
    }
    let mut text = String::from("VERDICT    RESIDENT      GROWTH        SERVICE\n");
    for Service { service, verdict, evidence, slope, killed, levels } in &answer.services {
        let resident = latest(levels.get("memory_rss"));
        // Writing to a String cannot fail.
        _ = writeln!(text, "{}  {:>9}  {:>11}/s  {service}", mark(verdict), bytes(resident), bytes(*slope));
        if verdict == "grows" || kinds {
            _ = writeln!(text, "  {evidence}");
        }
        if *killed > 0 {
            _ = writeln!(text, "  {killed} processes were killed for want of memory");
        }
        if kinds {
            levels.iter().for_each(|(kind, values)| _ = writeln!(text, "  {kind:<12} {:>9}", bytes(latest(Some(values)))));
        }
    }
    if let Some(more) = answer.services_total.checked_sub(answer.services.len()).filter(|more| *more > 0) {
        _ = writeln!(text, "{more} more services; --limit shows more");
    }
    text
}

/// The newest level, in bytes.
fn latest(levels: Option<&Vec<u64>>) -> f64 {
    levels.and_then(|levels| levels.iter().rev().find(|level| **level > 0)).map_or(0.0, |level| *level as f64)
}

fn mark(verdict: &str) -> &str {
    match verdict {
        "grows" => "GROWS    ",
        "too_early" => "too early",
        "flat" => "flat     ",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What grows is told with its reasons, one service with all of its kinds, and nothing at all with what to do.
    #[test]
    fn text_of_an_answer() {
        let answer = r#"{"from": 0.0, "to": 900.0, "step": 10.0, "growing": 1, "services_total": 3, "services": [
            {"service": "api", "verdict": "grows", "evidence": "why", "slope": 1572864.0, "killed": 0, "levels": {"memory_rss": [1048576, 3145728, 0]}},
            {"service": "db", "verdict": "flat", "evidence": "level", "slope": -12.0, "killed": 2, "levels": {"memory_rss": []}}]}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        let expected = "VERDICT    RESIDENT      GROWTH        SERVICE\nGROWS        3.0 MiB      1.5 MiB/s  api\n  why\n\
            flat             0 B        -12 B/s  db\n  2 processes were killed for want of memory\n1 more services; --limit shows more\n";
        assert_eq!(text(&answer, false), expected);
        assert!(text(&answer, true).contains(
            "flat             0 B        -12 B/s  db\n  level\n  2 processes were killed for want of memory\n  memory_rss         0 B\n"
        ));
        let nothing = r#"{"growing": 0, "services_total": 0, "services": []}"#;
        assert!(text(&serde_json::from_str(nothing).unwrap(), false).contains("[memory] levels"));
    }
}
