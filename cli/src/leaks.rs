//! `flamekeeper leaks`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use serde::Deserialize;

use crate::api::{Collector, Request, understood};
use crate::output;

const ABOUT: &str = "\
Says which stacks leak, of services whose live heap is sampled (`flamekeeper heap enable UNIT`): over all processes and hosts, for each version
apart. A stack leaks when its blocks reach old age and are not freed then; old is a sixth of the time that was observed.

Exit codes: 0 where nothing leaks, or it is too early to tell; 1 where something leaks; 2 where there is no answer.";

const EXAMPLES: &str = "\
Examples:
  flamekeeper leaks
  flamekeeper leaks --service api --from -6h --horizon 86400
  flamekeeper leaks --service api --json | jq '.suspects[] | select(.verdict == \"leaks\")'";

/// The code that says that something leaks, and the one that says that there is no answer. As those of `flamekeeper diff`.
const LEAKS: u8 = 1;
const UNANSWERED: u8 = 2;
/// Frames of a stack that are printed.
const FRAMES: usize = 8;
/// Services that are not watched whose names are printed.
const NAMES: usize = 12;

/// Arguments of `flamekeeper leaks`.
#[derive(Debug, clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// Only this service
    #[arg(long, short, value_name = "NAME")]
    service: Option<String>,
    /// Start of the window: -1h, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "-1h", allow_hyphen_values = true)]
    from: String,
    /// End of the window
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
    /// How far to look ahead
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    horizon: u32,
    /// How many stacks, 200 at most
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
    limit: u32,
    /// Print the collector's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    groups: Vec<Group>,
    groups_left_out: usize,
    leaks: usize,
    suspects_total: usize,
    suspects: Vec<Suspect>,
    killed: Vec<Killed>,
    blind: Vec<Blind>,
    blind_left_out: usize,
}

#[derive(Deserialize)]
struct Group {
    service: String,
    version: String,
    from: f64,
    to: f64,
    age: Option<u64>,
    processes: f64,
    sampled: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    host: String,
    pid: String,
}

#[derive(Deserialize)]
struct Suspect {
    service: String,
    version: String,
    verdict: String,
    evidence: String,
    function: String,
    rate: f64,
    stack: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    name: String,
    module: String,
    file: String,
    line: u32,
}

#[derive(Deserialize)]
struct Killed {
    service: String,
    host: String,
    pid: String,
    comm: String,
    bytes: u64,
    query: String,
}

#[derive(Deserialize)]
struct Blind {
    service: String,
    version: String,
    sampled: bool,
    scraped: bool,
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    cause: String,
    advice: String,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match ask(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(LEAKS),
        Err(error) => {
            eprintln!("flamekeeper: {}", crate::chain(&error));
            ExitCode::from(UNANSWERED)
        }
    }
}

/// Asks and prints; answers how many stacks leak.
fn ask(arguments: &Arguments) -> Result<usize> {
    let (horizon, limit) = (arguments.horizon.to_string(), arguments.limit.to_string());
    let service = arguments.service.as_deref().unwrap_or_default();
    let parameters = [("service", service), ("from", &arguments.from), ("to", &arguments.to), ("horizon", &horizon), ("limit", &limit)];
    let body = arguments.collector.send(Request::Get, "/api/v1/leaks", &parameters)?;
    let answer: Answer = understood(&body)?;
    if arguments.json {
        output::print(&body)?;
    } else {
        output::print(text(&answer, !service.is_empty()).as_bytes())?;
    }
    Ok(answer.leaks)
}

/// `asked`: whether one service was named.
fn text(answer: &Answer, asked: bool) -> String {
    let mut text = String::new();
    if answer.groups.is_empty() {
        text.push_str(
            "no heap was sampled in this window; `flamekeeper heap enable UNIT` has a service's heap sampled from its next start on\n",
        );
    }
    for suspect in &answer.suspects {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{}  {}  {} {}", mark(&suspect.verdict), suspect.function, suspect.service, short(&suspect.version));
        _ = writeln!(text, "  {}", suspect.evidence);
        if suspect.verdict == "leaks" {
            _ = writeln!(text, "  now {:.1} KiB/s", suspect.rate / 1024.0);
            suspect.stack.iter().take(FRAMES).for_each(|frame| _ = writeln!(text, "    {}", place(frame)));
            if let Some(more) = suspect.stack.len().checked_sub(FRAMES).filter(|more| *more > 0) {
                _ = writeln!(text, "    and {more} more");
            }
            let group = answer.groups.iter().find(|group| (&group.service, &group.version) == (&suspect.service, &suspect.version));
            if let Some(Process { host, pid }) = group.and_then(|group| group.sampled.first()) {
                _ = writeln!(text, "  what holds its blocks: `flamekeeper heap scan {pid}` on {host}");
            }
        }
    }
    for killed in &answer.killed {
        let Killed { service, host, pid, comm, bytes, query } = killed;
        let mebibytes = *bytes as f64 / f64::from(1 << 20);
        _ = writeln!(text, "killed  {comm} ({service}, process {pid} on {host}): {mebibytes:.1} MiB were live when it ended");
        _ = writeln!(text, "  flamekeeper flamegraph --type inuse_space --query '{query}'");
    }
    for Group { service, version, from, to, age, processes, .. } in &answer.groups {
        let age = age.map_or_else(|| "too short for a verdict".to_owned(), |age| format!("old is {age} s or more"));
        _ = writeln!(text, "looked at {service} {}: {processes:.1} processes over {:.0} s, {age}", short(version), to - from);
    }
    if answer.groups_left_out > 0 {
        _ = writeln!(text, "{} more versions were not looked at; name one service with --service", answer.groups_left_out);
    }
    if answer.suspects_total > answer.suspects.len() {
        _ = writeln!(text, "{} stacks with old blocks in all; --limit shows more", answer.suspects_total);
    }
    unseen(&mut text, answer, asked);
    text
}

/// What is not seen: in full of services that are sampled, or asked about; the names of the others.
fn unseen(text: &mut String, answer: &Answer, asked: bool) {
    let (told, named): (Vec<_>, Vec<_>) = answer.blind.iter().partition(|blind| asked || blind.sampled);
    for Blind { service, version, scraped, reasons, .. } in told {
        let scraped = if *scraped { " (its own heap profiles are scraped)" } else { "" };
        for Reason { cause, advice } in reasons {
            _ = writeln!(text, "not seen  {service} {}: {cause}{scraped}\n  do: {advice}", short(version));
        }
    }
    let mut names: Vec<&str> = named.iter().filter(|blind| !blind.scraped).map(|blind| &*blind.service).collect();
    // The same service again, of another version, follows somewhere.
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    if !names.is_empty() {
        let more = (names.len() + answer.blind_left_out).saturating_sub(NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        names.truncate(NAMES);
        _ = writeln!(text, "not watched: {}{more}; --service NAME says why, and what to do", names.join(", "));
    }
}

fn mark(verdict: &str) -> &str {
    match verdict {
        "leaks" => "LEAKS     ",
        "levels_off" => "levels off",
        "too_early" => "too early ",
        other => other,
    }
}

/// The first digits of a build id (`gnu:` and many digits); any other version as it is.
fn short(version: &str) -> &str {
    let digits = version.rsplit(':').next().unwrap_or_default();
    let is_build_id = digits.len() >= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_build_id { version.get(..version.len() - digits.len() + 12).unwrap_or(version) } else { version }
}

fn place(frame: &Frame) -> String {
    let module = frame.module.rsplit('/').next().unwrap_or_default();
    match (frame.file.as_str(), frame.line) {
        ("", _) => format!("{} ({module})", frame.name),
        (file, line) => format!("{} ({module}) {file}:{line}", frame.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leak is told with its stack, what is none without, and nothing at all with what to do.
    #[test]
    fn text_of_an_answer() {
        let answer = r#"{"groups": [{"service": "api", "version": "1.5", "from": 0.0, "to": 3600.0, "age": 512, "processes": 2.0, "sampled": [{"host": "web-1", "pid": "7"}]}],
            "groups_left_out": 0, "leaks": 1, "suspects_total": 3,
            "killed": [{"service": "api", "host": "web-1", "pid": "7", "comm": "api", "bytes": 1572864, "query": "{ended=\"killed\"}"}],
            "suspects": [{"service": "api", "version": "1.5", "verdict": "leaks", "evidence": "why", "function": "grow", "rate": 2560.0,
                "stack": [{"name": "grow", "module": "/usr/bin/api", "file": "a.c", "line": 7}, {"name": "main", "module": "/usr/bin/api", "file": "", "line": 0}]},
                {"service": "api", "version": "1.5", "verdict": "levels_off", "evidence": "full", "function": "cache", "rate": 0.0, "stack": []}],
            "blind_left_out": 1, "blind": [
                {"service": "api", "version": "1.5", "sampled": true, "scraped": false, "reasons": [{"reason": "r", "cause": "arenas", "advice": "set it", "total": false}]},
                {"service": "gate", "version": "2", "sampled": false, "scraped": false, "reasons": [{"reason": "r", "cause": "Go", "advice": "scrape", "total": false}]},
                {"service": "gate", "version": "3", "sampled": false, "scraped": false, "reasons": []}]}"#;
        let expected = "LEAKS       grow  api 1.5\n  why\n  now 2.5 KiB/s\n    grow (api) a.c:7\n    main (api)\n  what holds its blocks: `flamekeeper heap scan 7` on web-1\nlevels off  cache  api 1.5\n  full\n\
            killed  api (api, process 7 on web-1): 1.5 MiB were live when it ended\n  flamekeeper flamegraph --type inuse_space --query '{ended=\"killed\"}'\n\
            looked at api 1.5: 2.0 processes over 3600 s, old is 512 s or more\n3 stacks with old blocks in all; --limit shows more\n\
            not seen  api 1.5: arenas\n  do: set it\nnot watched: gate; --service NAME says why, and what to do\n";
        assert_eq!(text(&serde_json::from_str(answer).unwrap(), false), expected);
        let nothing = r#"{"groups": [], "groups_left_out": 0, "leaks": 0, "suspects_total": 0, "suspects": [], "killed": [], "blind": [], "blind_left_out": 0}"#;
        assert!(text(&serde_json::from_str(nothing).unwrap(), false).contains("flamekeeper heap enable UNIT"));
    }
}
