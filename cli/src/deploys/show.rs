//! `flamekeeper deploys show`.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use flamekeeper_collector::render::utc;

use super::answer::{Answer, Deploy, Span, length};
use crate::api::understood;
use crate::output;

/// Arguments of `flamekeeper deploys show`.
// --version is the version of the service here.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct Arguments {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Only the deploys of this version
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    #[command(flatten)]
    span: Span,
    /// Print the collector's answer as it is
    #[arg(long, conflicts_with = "version")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let body = arguments.span.ask(&arguments.service)?;
    if arguments.json {
        return output::print(&body);
    }
    let Answer { deploys } = understood(&body)?;
    let wanted = |deploy: &&Deploy| arguments.version.as_ref().is_none_or(|version| deploy.version == *version);
    let shown: Vec<&Deploy> = deploys.iter().filter(wanted).collect();
    if shown.is_empty() {
        let version = arguments.version.as_ref().map_or_else(String::new, |version| format!(" in version {version}"));
        bail!("no deploy of {}{version} was seen {}; name an earlier --from", arguments.service, arguments.span.text());
    }
    output::print(shown.into_iter().map(text).collect::<Vec<_>>().join("\n").as_bytes())
}

fn text(deploy: &Deploy) -> String {
    let mut text = String::new();
    if deploy.kind == "mark" {
        let version = if deploy.version.is_empty() { String::new() } else { format!(" of {}", deploy.version) };
        return format!("{}  mark{version}: {}\n", utc(deploy.at), deploy.text.replace(char::is_control, " "));
    }
    let before = if deploy.previous.is_empty() { "nothing" } else { &deploy.previous };
    // Writing to a String cannot fail.
    _ = writeln!(text, "{}  {} of {}, before it {before}", utc(deploy.at), deploy.kind, deploy.version);
    let rollout = deploy.rolled_out - deploy.at;
    let rolled = if rollout >= 1.0 { format!("on its last host after {}", length(rollout)) } else { "on all hosts at once".to_owned() };
    let overlap = if deploy.overlaps { "; the version before ran beside it" } else { "" };
    _ = writeln!(text, "  {rolled}{overlap}; last seen {}", utc(deploy.last));
    let width = deploy.hosts.iter().map(|host| host.host.chars().count()).max().unwrap_or(0);
    for host in &deploy.hosts {
        _ = writeln!(text, "  {:<width$}  {} to {}, {}", host.host, utc(host.first), utc(host.last), length(host.last - host.first));
    }
    if !deploy.previous.is_empty() {
        let (service, from, to) = (quoted(&deploy.service), quoted(&deploy.previous), quoted(&deploy.version));
        _ = writeln!(text, "  compare: flamekeeper diff --service {service} --from-version {from} --to-version {to}");
    }
    text
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Host;
    use super::*;

    /// When each host had it, and how to compare it.
    #[test]
    fn timeline() {
        let host = |name: &str, first: f64| Host { host: name.into(), first, last: 1_764_009_000.0 };
        let deploy = Deploy {
            service: "my api".into(),
            version: "1.5".into(),
            previous: "1.4".into(),
            kind: "rollback".into(),
            at: 1_764_000_600.0,
            rolled_out: 1_764_000_900.0,
            last: 1_764_009_000.0,
            hosts: vec![host("web-1", 1_764_000_600.0), host("web-22", 1_764_000_900.0)],
            overlaps: true,
            text: String::new(),
        };
        let text = text(&deploy);
        assert!(
            text.starts_with(
                "2025-11-24 16:10:00Z  rollback of 1.5, before it 1.4\n  on its last host after 5 min; the version before ran"
            )
        );
        assert!(text.contains("\n  web-1   2025-11-24 16:10:00Z to 2025-11-24 18:30:00Z, 2 h\n"), "{text}");
        assert!(text.ends_with("diff --service 'my api' --from-version 1.4 --to-version 1.5\n"), "{text}");
    }
}
