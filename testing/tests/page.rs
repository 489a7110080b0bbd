//! The page in a real headless Chromium, over a real collector and agent: it opens, shows the busy function, zoom and search
//! work; the page of hosts shows what the agent uses.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::metadata;
use flamekeeper_testing::scratch::artefacts;
use flamekeeper_testing::tools::{require, require_any};
use flamekeeper_testing::workload::{Program, Running};

/// The steps themselves are `ui/e2e/explore.mjs`; the screenshot is kept as `artefacts/page.png`.
#[test]
fn page_shows_the_busy_function() {
    let host = Host::start("page", 99);
    let burn = Program::Cpp.build(host.scratch().path(), "");
    let _workload = Running::start(Command::new(burn).args(["90", "2"]).env("OTEL_SERVICE_NAME", "workload"));
    let screenshot = artefacts().join("page.png");
    let mut script = Command::new(require("node"));
    script.arg("e2e/explore.mjs").current_dir(metadata::root().join("ui"));
    script.env("BASE_URL", format!("http://{}", host.address)).env("SERVICE", "workload").env("FUNCTION", "burn_hot()");
    script.env("OUT", &screenshot).env("CHROMIUM", require_any(&["chromium", "chromium-browser", "google-chrome"]));
    let output = script.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
    let picture = std::fs::read(&screenshot).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
}

/// The page of hosts: `ui/e2e/hosts.mjs`; the screenshot is kept as `artefacts/hosts.png`.
#[test]
fn hosts_are_shown() {
    let host = Host::start("hosts-page", 19);
    let screenshot = artefacts().join("hosts.png");
    let mut script = Command::new(require("node"));
    script.arg("e2e/hosts.mjs").current_dir(metadata::root().join("ui"));
    script.env("BASE_URL", format!("http://{}", host.address)).env("HOST", "test-host").env("OUT", &screenshot);
    script.env("CHROMIUM", require_any(&["chromium", "chromium-browser", "google-chrome"]));
    let output = script.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
}
