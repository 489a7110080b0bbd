//! The page in a real headless Chromium, over a real collector and agent: it opens, shows the busy function, zoom and search
//! work; the page of hosts shows what the agent uses; the page of diffs tells what a deploy changed, that of leaks what leaks.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use flamekeeper_profile::leaks::{AgeClass, Blindness, Survived};
use flamekeeper_profile::{
    AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, StackId, Svma, Tables, Timestamp, Window,
};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::machine::target;
use flamekeeper_testing::metadata;
use flamekeeper_testing::programs::{Running as Collector, binary, free_address};
use flamekeeper_testing::scratch::{Scratch, artefacts};
use flamekeeper_testing::tools::{require, require_any};
use flamekeeper_testing::workload::{Program, Running};

/// The steps themselves are `ui/e2e/explore.mjs`; the screenshot is kept as `artefacts/page.png`.
#[test]
fn page_shows_the_busy_function() {
    let host = Host::start("page", 99);
    let burn = Program::Cpp.build(host.scratch().path(), "");
    let _workload = Running::start(Command::new(burn).args(["90", "2"]).env("OTEL_SERVICE_NAME", "workload"));
    let screenshot = artefacts().join("page.png");
    // Fetched by `./dev test`.
    let speedscope = target().join("speedscope/node_modules/speedscope");
    assert!(speedscope.join("package.json").is_file(), "speedscope is not in {}: ./dev test fetches it", speedscope.display());
    let environment = [
        ("SERVICE", "workload"),
        ("FUNCTION", "burn_hot()"),
        ("SPEEDSCOPE", speedscope.to_str().unwrap()),
        ("OUT", screenshot.to_str().unwrap()),
    ];
    drive("explore.mjs", host.address, &environment);
    let picture = std::fs::read(&screenshot).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
}

/// The page of hosts: `ui/e2e/hosts.mjs`; the screenshot is kept as `artefacts/hosts.png`.
#[test]
fn hosts_are_shown() {
    let host = Host::start("hosts-page", 19);
    let screenshot = artefacts().join("hosts.png");
    drive("hosts.mjs", host.address, &[("HOST", "test-host"), ("OUT", screenshot.to_str().unwrap())]);
}

/// Before and after a deploy with which one function takes a fifth more and another is gone: `ui/e2e/diff.mjs`, and no page has a barrier
/// that axe knows: `ui/e2e/axe.mjs`. Every sample is made here, so that chance has no part in it. The screenshot is kept as `artefacts/diff.png`.
#[test]
fn a_deploy_is_compared() {
    let host = Host::with_collector("diff-page");
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 10 * 10;
    for window in 0..WINDOWS {
        let version = if window < WINDOWS / 2 { "1" } else { "2" };
        for machine in 0..2 {
            post(host.address, &format!("shop{machine}-{window}"), &shop(now - (WINDOWS - window) * 10, window, machine, version));
        }
    }
    // Twice the requests after the deploy.
    for (version, from, to, count) in [("1", WINDOWS, WINDOWS / 2, 8_000), ("2", WINDOWS / 2, 0, 16_000)] {
        let window = (now - from * 10, now - to * 10);
        let body = format!(r#"{{"service": "shop", "version": "{version}", "from": {}, "to": {}, "count": {count}}}"#, window.0, window.1);
        let answer =
            http::send(host.address, "POST", "/api/v1/requests", &[("Content-Type", "application/json")], body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    for half in 0..2 {
        post(host.address, &format!("narrow-{half}"), &narrow(now - (half + 1) * 10));
    }
    let screenshot = artefacts().join("diff.png");
    let functions = [
        ("SERVICE", "shop"),
        ("GREW", "render"),
        ("SAME", "parse"),
        ("GONE", "legacy"),
        ("NARROW", "many"),
        ("OUT", screenshot.to_str().unwrap()),
    ];
    drive("diff.mjs", host.address, &functions);
    drive("axe.mjs", host.address, &[("SERVICE", "shop")]);
}

/// A service that leaks at one site and not at another, and has a process that was killed: `ui/e2e/leaks.mjs`, and no barrier on that page.
/// All counts are made here. The screenshot is kept as `artefacts/leaks.png`.
#[test]
fn leaks_are_shown() {
    let host = Host::with_collector("leaks-page");
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 10 * 10;
    for window in 0..WINDOWS {
        post(host.address, &format!("leaky-{window}"), &leaky(now - (WINDOWS - window) * 10, window));
    }
    let screenshot = artefacts().join("leaks.png");
    drive("leaks.mjs", host.address, &[("LEAK", "grow"), ("CACHE", "fill"), ("SERVICE", "shop"), ("OUT", screenshot.to_str().unwrap())]);
    drive("axe.mjs", host.address, &[("ONLY", "/leaks")]);
}

/// A collector that wants a token: the page asks for it, says why a wrong one is refused, opens by the right one, and a button takes it
/// back: `ui/e2e/session.mjs`. The screenshot is kept as `artefacts/session.png`.
#[test]
fn people_sign_in_and_out() {
    let scratch = Scratch::new("session");
    let token = format!("fk_{}", "0123456789abcdef".repeat(2));
    let [known, settings] = ["people.tokens", "collector.toml"].map(|name| scratch.join(name));
    let private = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&known);
    private.unwrap().write_all(token.as_bytes()).unwrap();
    std::fs::write(&settings, format!("[[access.tokens]]\nname = \"people\"\nfile = {known:?}\nscopes = [\"read\"]\n")).unwrap();
    let address = free_address();
    let mut command = Command::new(binary("flamekeeper"));
    command.args(["collector", "--listen", &address.to_string(), "--config"]).arg(&settings).arg("--data-dir").arg(scratch.join("data"));
    let mut collector = Collector::start("collector", &mut command);
    collector.wait_for_line("protected by 1 token", Duration::from_secs(60));
    drive("session.mjs", address, &[("TOKEN", &token), ("OUT", artefacts().join("session.png").to_str().unwrap())]);
    collector.stop();
}

/// 10 s of a process that has two blocks more at `grow` in each, and as many as ever at `fill`.
fn leaky(start: u64, window: u64) -> Batch {
    let mut tables = Tables::new();
    let stack = |tables: &mut Tables, names: &[&str], age: u64| {
        let class = AgeClass::of(age * Timestamp::SECOND).unwrap().to_string();
        let locations: Vec<_> =
            names.iter().chain([&&*class]).map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name)).collect();
        tables.intern_stack(&locations, StackEnd::Root)
    };
    let mut counts: [Vec<(StackId, u64)>; Survived::ALL.len()] = Default::default();
    for (name, reached, freed, old) in [("grow", 2, 0, 2 * window + 1), ("fill", 4, 4, 30)] {
        let [became, older] = [128, 256].map(|age| stack(&mut tables, &[name, "main"], age));
        let values = [(became, reached), (became, reached << 20), (older, freed), (older, old * 10_000)];
        counts.iter_mut().zip(values).for_each(|(counts, value)| counts.push(value));
    }
    counts[4].push((stack(&mut tables, &[], 10_000), 10_000));
    let labels = Labels::new().with("host", "web-0");
    let of_process = labels.clone().with("service", "shop").with("version", "1").with("pid", "7").with("comm", "shop");
    let mut series: Vec<_> = Survived::ALL
        .into_iter()
        .zip(counts)
        .map(|(what, values)| {
            let values = values.into_iter().filter(|(_, value)| *value > 0).collect();
            Series { labels: of_process.clone(), sample_type: SampleType::plain(what.as_str(), what.unit()), values }
        })
        .collect();
    if window + 1 == WINDOWS {
        let [grow, main] = ["grow", "main"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
        let values = vec![(tables.intern_stack(&[grow, main], StackEnd::Root), 77 << 20)];
        series.push(Series { labels: of_process.with("ended", "killed"), sample_type: SampleType::plain("inuse_space", "bytes"), values });
    }
    for (service, kind) in [("shop", Blindness::Python), ("gate", Blindness::Go)] {
        let labels = labels.clone().with("service", service).with("version", "1");
        let frame = tables.intern_named(FrameKind::Other, None, Svma(0), kind.cause());
        let values = vec![(tables.intern_stack(&[frame], StackEnd::Root), 1)];
        series.push(Series { labels, sample_type: SampleType::plain(&kind.type_name(), "count"), values });
    }
    let window = Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND));
    Batch { window, labels, tables, series, ledger: Ledger::new(), figures: AgentFigures::default() }
}

/// How the page answers with profiles of 100,000 and 1,000,000 nodes, by what it takes of the CPU: `ui/e2e/speed.mjs`. It needs no collector.
#[test]
fn large_profiles_are_drawn_at_once() {
    drive("speed.mjs", SocketAddr::from(([127, 0, 0, 1], 9)), &[]);
}

/// 10 s of a service whose tree is larger than the answer to a diff: most of what is below `narrow` is left out of it.
fn narrow(start: u64) -> Batch {
    let mut tables = Tables::new();
    let [main, narrow, wide] = ["main", "narrow", "wide"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let mut values = Vec::new();
    for number in 0..5_000 {
        let leaf = tables.intern_named(FrameKind::Native, None, Svma(0), &format!("leaf_{number}"));
        for (caller, count) in [(narrow, 1), (wide, 2)] {
            values.push((tables.intern_stack(&[leaf, caller, main], StackEnd::Root), count));
        }
    }
    let labels = Labels::new().with("host", "web-0");
    let mut ledger = Ledger::new();
    ledger.take(values.iter().map(|(_, count)| count).sum());
    let series = Series {
        labels: labels.clone().with("service", "many").with("version", "1"),
        sample_type: SampleType::cpu(Timestamp::SECOND / 100),
        values,
    };
    let window = Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND));
    Batch { window, labels, tables, series: vec![series], ledger, figures: AgentFigures::default() }
}

/// Windows of 10 s: half of them before the deploy.
const WINDOWS: u64 = 96;

/// 10 s of a machine that samples at 100 Hz. Counts waver by less than chance would have them do.
fn shop(start: u64, window: u64, machine: u64, version: &str) -> Batch {
    let waver = |step: u64| (window * step + machine * 3) % 7;
    let (render, legacy) = if version == "1" { (150, 12) } else { (180, 0) };
    let counts =
        [("parse", 100 + waver(3)), ("render", render + waver(5)), ("query", 80 + waver(2)), ("encode", 60 + waver(4)), ("legacy", legacy)];
    let mut tables = Tables::new();
    let [main, serve] = ["main", "serve"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let mut values = Vec::new();
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        let leaf = tables.intern_named(FrameKind::Native, None, Svma(0), name);
        values.push((tables.intern_stack(&[leaf, serve, main], StackEnd::Root), count));
    }
    let labels = Labels::new().with("host", &format!("web-{machine}"));
    let mut ledger = Ledger::new();
    ledger.take(values.iter().map(|(_, count)| count).sum());
    let series = Series {
        labels: labels.clone().with("service", "shop").with("version", version),
        sample_type: SampleType::cpu(Timestamp::SECOND / 100),
        values,
    };
    let window = Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND));
    Batch { window, labels, tables, series: vec![series], ledger, figures: AgentFigures::default() }
}

fn post(address: SocketAddr, identity: &str, batch: &Batch) {
    let headers = [("Content-Type", "application/x-protobuf"), ("Idempotency-Key", identity)];
    let answer = http::send(address, "POST", "/v1development/profiles", &headers, &flamekeeper_wire::encode(batch)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// One browser at a time: on a busy machine two would wait for each other.
static BROWSER: Mutex<()> = Mutex::new(());

/// Runs a script of `ui/e2e` against a collector; it must hold. What it waits for may take long on a busy machine.
fn drive(script: &str, collector: SocketAddr, environment: &[(&str, &str)]) {
    let _one = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(require("node"));
    command
        .env("TIMEOUT", "120")
        .arg(format!("e2e/{script}"))
        .current_dir(metadata::root().join("ui"))
        .env("BASE_URL", format!("http://{collector}"));
    command.envs(environment.iter().copied()).env("CHROMIUM", require_any(&["chromium", "chromium-browser", "google-chrome"]));
    let output = command.output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
