//! `flamekeeper deploys list`.

use anyhow::Result;
use flamekeeper_collector::render::utc;

use super::answer::{Answer, Deploy, Span, length};
use crate::api::understood;
use crate::output;

/// Arguments of `flamekeeper deploys list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    span: Span,
    /// Only this service
    #[arg(long, short, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// Print the collector's answer as it is
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let body = arguments.span.ask(&arguments.service)?;
    if arguments.json {
        return output::print(&body);
    }
    let answer: Answer = understood(&body)?;
    if answer.deploys.is_empty() {
        let text = format!("no deploy was seen {}; a version that ran when the window began is none\n", arguments.span.text());
        return output::print(text.as_bytes());
    }
    output::print(table(&answer.deploys).as_bytes())
}

fn table(deploys: &[Deploy]) -> String {
    let mut rows = vec![["AT", "KIND", "SERVICE", "VERSION", "BEFORE", "HOSTS", "NOTE"].map(str::to_owned)];
    rows.extend(deploys.iter().map(|deploy| {
        let hosts = if deploy.kind == "mark" { String::new() } else { deploy.hosts.len().to_string() };
        [utc(deploy.at), deploy.kind.clone(), deploy.service.clone(), deploy.version.clone(), deploy.previous.clone(), hosts, note(deploy)]
    }));
    crate::table::text(&rows, 0)
}

/// What is worth saying of a deploy in a few words.
fn note(deploy: &Deploy) -> String {
    if deploy.kind == "mark" {
        return deploy.text.replace(char::is_control, " ");
    }
    let rollout = deploy.rolled_out - deploy.at;
    let rolled = if rollout >= 1.0 { format!("rolled out in {}", length(rollout)) } else { "at once".to_owned() };
    if deploy.overlaps { format!("{rolled}, beside the version before") } else { rolled }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rollout, and a mark with its text.
    #[test]
    fn tables() {
        let answer = r#"{"deploys": [
            {"service": "api", "version": "1.5", "previous": "1.4", "kind": "deploy", "at": 1764000600.0, "first": 1764000600.0, "rolled_out": 1764000900.0,
             "last": 1764009000.0, "hosts": [{"host": "web-1", "first": 1764000600.0, "last": 1764009000.0}], "overlaps": true, "text": ""},
            {"service": "api", "version": "", "previous": "", "kind": "mark", "at": 1764000700.0, "first": 1764000700.0, "rolled_out": 1764000700.0,
             "last": 1764000700.0, "hosts": [], "overlaps": false, "text": "flag\non"}]}"#;
        let Answer { deploys } = understood(answer.as_bytes()).unwrap();
        let text = table(&deploys);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "AT                    KIND    SERVICE  VERSION  BEFORE  HOSTS  NOTE");
        assert_eq!(
            lines[1],
            "2025-11-24 16:10:00Z  deploy  api      1.5      1.4     1      rolled out in 5 min, beside the version before"
        );
        assert_eq!(lines[2], "2025-11-24 16:11:40Z  mark    api                              flag on");
    }
}
