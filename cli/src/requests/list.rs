//! `flamekeeper requests list`.

use anyhow::Result;
use serde::Deserialize;

use crate::api::{Collector, Request, understood};
use crate::output;

/// Arguments of `flamekeeper requests list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: Collector,
    /// Only this service
    #[arg(long, short, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// Start of the window: -1h, 2026-11-24T14:00:00Z or unix seconds
    #[arg(long, value_name = "TIME", default_value = "-1h", allow_hyphen_values = true)]
    from: String,
    /// End of the window
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    to: String,
    /// Print the collector's answer as it is
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    requests: Vec<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    service: String,
    version: String,
    host: String,
    count: u64,
    counted_seconds: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { collector, service, from, to, json } = arguments;
    let body = collector.send(Request::Get, "/api/v1/requests", &[("service", service), ("from", from), ("to", to)])?;
    if *json {
        return output::print(&body);
    }
    let answer: Answer = understood(&body)?;
    if answer.requests.is_empty() {
        return output::print(format!("no requests were posted from {from} to {to}\n").as_bytes());
    }
    output::print(table(&answer.requests).as_bytes())
}

fn table(sums: &[Sum]) -> String {
    let or = |text: &str, none: &str| if text.is_empty() { none.to_owned() } else { text.to_owned() };
    let mut rows = vec![["REQUESTS", "COUNTED", "SERVICE", "VERSION", "HOST"].map(str::to_owned)];
    rows.extend(sums.iter().map(|sum| {
        let counted = format!("{:.0} s", sum.counted_seconds);
        [sum.count.to_string(), counted, sum.service.clone(), or(&sum.version, "any"), or(&sum.host, "all")]
    }));
    crate::table::text(&rows, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers to the right, and what a count does not name in words.
    #[test]
    fn tables() {
        let answer = r#"{"requests": [{"service": "api", "version": "1.5", "host": "web-1", "count": 72000, "counted_seconds": 600.0},
            {"service": "gate", "version": "", "host": "", "count": 9, "counted_seconds": 60.0}]}"#;
        let Answer { requests } = understood(answer.as_bytes()).unwrap();
        let text = table(&requests);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "REQUESTS  COUNTED  SERVICE  VERSION  HOST");
        assert_eq!(lines[1], "   72000    600 s  api      1.5      web-1");
        assert_eq!(lines[2], "       9     60 s  gate     any      all");
    }
}
