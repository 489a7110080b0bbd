//! `flamekeeper symbolize`.

use std::fmt::Write as _;
use std::io::BufRead as _;

use anyhow::{Context as _, Result, bail};
use flamekeeper_profile::BuildId;
use serde::Deserialize;

use crate::api::{Collector, Request, understood};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  flamekeeper symbolize --build-id gnu:abcdef0123456789 0x1a2b 0x1c00
  flamekeeper symbolize -b gnu:abcdef0123456789 - < addresses.txt

Addresses are those that the object itself states, as nm and objdump print them and as frames without a name show them
(module+0x1a2b), in hexadecimal. A return address must be lowered by one, so that it lies in the call. Frames are printed innermost first.";

/// Addresses of one question: some 20 bytes each, within what an address of HTTP may have.
const GROUP: usize = 500;

/// Arguments of `flamekeeper symbolize`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Build id of the object: gnu:HEX, go:HEX or htlhash:HEX
    #[arg(long, short, value_name = "BUILD_ID")]
    build_id: BuildId,
    /// Addresses in hexadecimal, with or without 0x; - reads them from standard input, one a line
    #[arg(value_name = "ADDR", required = true)]
    addresses: Vec<String>,
    #[command(flatten)]
    collector: Collector,
    /// Print the collector's answers as they are, one line each
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    address: String,
    frames: Vec<Frame>,
    unnamed: Option<String>,
}

#[derive(Deserialize)]
struct Frame {
    function: String,
    file: String,
    line: u32,
    inlined: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let addresses = addresses(&arguments.addresses)?;
    let id = arguments.build_id.to_string();
    for group in addresses.chunks(GROUP) {
        let parameters = [("build_id", id.as_str()), ("addresses", &group.join(","))];
        let body = arguments.collector.send(Request::Get, "/api/v1/symbolize", &parameters)?;
        if arguments.json {
            output::print(format!("{}\n", String::from_utf8_lossy(&body).trim_end()).as_bytes())?;
        } else {
            output::print(text(&understood(&body)?).as_bytes())?;
        }
    }
    Ok(())
}

fn addresses(given: &[String]) -> Result<Vec<String>> {
    if given != ["-"] {
        return Ok(given.to_vec());
    }
    let lines = std::io::stdin().lock().lines().map(|line| Ok(line?.trim().to_owned()));
    let lines = lines.collect::<std::io::Result<Vec<_>>>().context("cannot read addresses from standard input")?;
    let addresses: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    if addresses.is_empty() { bail!("there are no addresses on standard input") } else { Ok(addresses) }
}

/// One line for each address, and one more for each caller that it is inlined into.
fn text(answer: &Answer) -> String {
    let mut text = String::new();
    for Address { address, frames, unnamed } in &answer.addresses {
        if let Some(reason) = unnamed {
            // Writing to a String cannot fail.
            _ = writeln!(text, "{address}  ?? ({reason})");
        }
        for (place, frame) in frames.iter().enumerate() {
            let address = if place == 0 { address.as_str() } else { "" };
            let width = frames.first().map_or(0, |_| answer.addresses.iter().map(|address| address.address.len()).max().unwrap_or(0));
            let source = if frame.file.is_empty() { String::new() } else { format!("  {}:{}", frame.file, frame.line) };
            let inlined = if frame.inlined { "  (inlined)" } else { "" };
            _ = writeln!(text, "{address:<width$}  {}{source}{inlined}", frame.function);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inlined frames stand below their address, and what has no name has a reason.
    #[test]
    fn answers() {
        let answer = r#"{"build_id": "gnu:ab", "addresses": [
            {"address": "0x10", "frames": [
                {"function": "leaf", "file": "a.c", "line": 3, "inlined": true}, {"function": "main", "file": "", "line": 0, "inlined": false}]},
            {"address": "0x2000", "frames": [], "unnamed": "no_symbols"}]}"#;
        let text = text(&serde_json::from_str(answer).unwrap());
        assert_eq!(text, "0x10    leaf  a.c:3  (inlined)\n        main\n0x2000  ?? (no_symbols)\n");
    }
}
