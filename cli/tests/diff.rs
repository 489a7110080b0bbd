//! `flamekeeper diff` and `flamekeeper deploys` against the collector's own routes, over batches whose truth is written here.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

#[path = "../../collector/tests/query_fixture/mod.rs"]
mod query_fixture;
#[path = "../../collector/tests/query_server/mod.rs"]
mod query_server;

use std::process::{Command, Output, Stdio};

use flamekeeper_collector::http::QueryLimits;
use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use query_fixture::PERIOD;
use query_server::Server;
use serde_json::Value;

/// Twenty minutes before the server's now.
const START: u64 = 1_764_001_000 - 1200;

/// 10 s of `api`: samples of `main > steady` and `main > grows`.
fn batch(host: &str, start: u64, version: &str, counts: [u64; 2]) -> Batch {
    let mut tables = Tables::new();
    let [main, steady, grows] = ["main", "steady", "grows"].map(|name| tables.intern_named(FrameKind::Native, None, Svma(0), name));
    let stacks = [steady, grows].map(|leaf| tables.intern_stack(&[leaf, main], StackEnd::Root));
    let mut ledger = Ledger::new();
    ledger.take(counts.iter().sum());
    let labels = Labels::new().with("host", host).with("service", "api").with("version", version);
    Batch {
        window: Window::new(Timestamp(start * Timestamp::SECOND), Timestamp((start + 10) * Timestamp::SECOND)),
        labels: Labels::new().with("host", host),
        tables,
        series: vec![Series { labels, sample_type: SampleType::cpu(PERIOD), values: stacks.into_iter().zip(counts).collect() }],
        ledger,
        figures: AgentFigures::default(),
    }
}

/// Ten minutes of version 1 on two hosts, then ten of version 2, in which `grows` takes twice as much.
fn server() -> Server {
    let server = Server::start(QueryLimits::default());
    for window in 0..120 {
        for (number, host) in ["web-1", "web-2"].into_iter().enumerate() {
            let wobble = (window * 7 + number as u64 * 3) % 5;
            let (version, grows) = if window < 60 { ("1", 100) } else { ("2", 200) };
            server.store.push(batch(host, START + window * 10, version, [400 + wobble, grows + wobble]));
        }
    }
    server
}

fn ask(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let collector = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_flamekeeper"));
    let output: Output = command.args(arguments).args(["--collector", &collector]).stdin(Stdio::null()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!err.contains("panicked"), "{arguments:?}: {err}");
    (output.status.code().unwrap(), out, err)
}

/// The newest deploy is compared with what was before it; the gate fails by the lower end of the interval, and by nothing less.
#[test]
fn newest_deploy_and_its_gate() {
    let server = server();
    let (code, text, err) = ask(&server, &["diff", "--service", "api", "--from", "-30m"]);
    assert_eq!(code, 0, "{err}");
    for part in ["A  {service=\"api\", version=\"1\"}", "Chosen: B begins", "regression", "grows", "With these samples", "2 hosts"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // A function that takes twice as much grew by 100 %: its interval lies around that.
    let versions = ["diff", "--service", "api", "--from-version", "1", "--to-version", "2", "--from", "-30m", "--output", "json"];
    let gated = |limit: &str| {
        let (code, out, _) = ask(&server, &[&versions[..], &["--fail-above", limit]].concat());
        (code, serde_json::from_str::<Value>(&out).unwrap())
    };
    let (code, report) = gated("5%");
    assert_eq!((code, report["gate"]["outcome"].as_str()), (1, Some("failed")), "{report}");
    assert_eq!(report["regressions"][0]["name"], "grows");
    let low = report["regressions"][0]["relative_low"].as_f64().unwrap();
    assert!(low > 0.5 && low < 1.0, "{report}");
    assert_eq!(gated(&format!("{}%", low * 100.0 - 1.0)).0, 1);
    assert_eq!(gated(&format!("{}%", low * 100.0 + 1.0)).0, 0);
}

/// The other way round it is an improvement, which fails nothing; Markdown is a table.
#[test]
fn improvement_passes() {
    let server = server();
    let sides = ["--selector-a", "{version=\"2\"}", "--selector-b", "{version=\"1\"}", "--from", "-30m"];
    let (code, markdown, _) = ask(&server, &[&["diff", "--fail-above", "5%", "--output", "markdown"], &sides[..]].concat());
    assert_eq!(code, 0);
    assert!(
        markdown.starts_with("**Gate passed**") && markdown.contains("#### 2 improvements") && markdown.contains("| grows | "),
        "{markdown}"
    );
}

/// The same version in two windows flags nothing; and `--strict` tells that few samples are no proof.
#[test]
fn same_twice() {
    let server = server();
    let windows = ["--service", "api", "--from-a", "-20m", "--to-a", "-15m", "--from-b", "-15m", "--to-b", "-10m"];
    let (code, text, err) = ask(&server, &[&["diff", "--fail-above", "0%"], &windows[..]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(text.contains("No regressions beyond chance.") && text.contains("Gate passed"), "{text}");
    let (code, text, _) = ask(&server, &[&["diff", "--fail-above", "0.01%", "--strict"], &windows[..]].concat());
    assert!(code == 2 && text.contains("times as many"), "{code} {text}");
}

/// For each request the version that takes more and serves more is none that regressed.
#[test]
fn by_requests() {
    let server = server();
    let versions = ["diff", "--service", "api", "--from", "-30m", "--fail-above", "5%"];
    let (code, text, err) = ask(&server, &[&versions[..], &["--requests-a", "1000", "--requests-b", "2500", "--fold-generics"]].concat());
    assert!(code == 0 && text.contains("ms of CPU a request") && text.contains("one of 2500 in B"), "{code} {text} {err}");
}

/// Counts that are posted need no one who types them: the gate takes them, says so, and says what to do where there are none.
#[test]
fn by_posted_requests() {
    let server = server();
    let asked = ["diff", "--service", "api", "--from", "-30m", "--fail-above", "5%", "--by", "requests"];
    let (code, _, err) = ask(&server, &asked);
    assert!(code == 2 && err.contains("no requests were posted for A") && err.contains("requests post"), "{code} {err}");
    let count = |version: &str, from: &str, to: &str, count: &str| {
        let post = ["requests", "post", "--service", "api", "--version", version, "--from", from, "--to", to, "--count", count];
        let (code, out, err) = ask(&server, &post);
        assert!(code == 0 && out.starts_with(&format!("{count} requests of api from 2025-11-24 ")), "{out} {err}");
    };
    count("1", "-20m", "-10m", "1000");
    count("2", "-10m", "now", "2500");
    let (code, text, err) = ask(&server, &asked);
    assert!(
        code == 0 && text.contains("ms of CPU a request") && text.contains("A: ") && text.contains(" requests were posted for "),
        "{code} {text} {err}"
    );
    let (_, list, _) = ask(&server, &["requests", "list", "--service", "api"]);
    assert!(list.lines().count() == 3 && list.contains("2500    600 s  api      2        all"), "{list}");
    let (_, none, _) = ask(&server, &["requests", "list", "--service", "db"]);
    assert!(none.contains("no requests were posted"), "{none}");
    let (code, _, err) = ask(&server, &["requests", "post", "--service", "api", "--from", "-2h", "--count", "5"]);
    assert!(code == 1 && err.contains("1 s to 1 h"), "{code} {err}");
}

/// What cannot be answered is 2, and says why.
#[test]
fn without_an_answer() {
    let server = server();
    let (code, _, err) = ask(&server, &["diff", "--service", "db"]);
    assert!(code == 2 && err.contains("no deploy of db was seen"), "{code} {err}");
    let (code, text, _) = ask(&server, &["diff", "--selector-a", "{version=\"2\"}", "--selector-b", "{version=\"9\"}", "--from", "-30m"]);
    assert!(code == 2 && text.contains("not answered: B has no samples"), "{code} {text}");
    let (code, _, err) = ask(&server, &["diff", "--selector-a", "{", "--selector-b", "{}"]);
    assert!(code == 2 && err.contains("the collector refused"), "{code} {err}");
    let (code, _, err) = ask(&server, &["diff", "--service", "api", "--from-a", "-5m", "--from-b", "-5m"]);
    assert!(code == 2 && err.contains("both sides are the same"), "{code} {err}");
    let nobody = Command::new(env!("CARGO_BIN_EXE_flamekeeper"))
        .args(["diff", "--service", "x", "--collector", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(2));
}

/// A deploy is listed and shown with its hosts, and a mark that is set stands among them.
#[test]
fn deploys() {
    let server = server();
    let (code, out, err) = ask(&server, &["deploys", "mark", "--service", "api", "--text", "flag on", "--at", "-5m"]);
    assert_eq!((code, out.as_str()), (0, "marked api at 2025-11-24 16:11:40Z\n"), "{err}");
    let (_, list, _) = ask(&server, &["deploys", "list", "--from", "-30m"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 3 && lines[1].contains("deploy  api") && lines[2].ends_with("flag on"), "{list}");
    let (_, show, _) = ask(&server, &["deploys", "show", "api", "--from", "-30m"]);
    assert!(
        show.contains("deploy of 2, before it 1") && show.contains("  web-2  2025-11-24") && show.contains("--from-version 1"),
        "{show}"
    );
    let (code, _, err) = ask(&server, &["deploys", "show", "db"]);
    assert!(code == 1 && err.contains("no deploy of db"), "{err}");
    let (_, none, _) = ask(&server, &["deploys", "list", "--service", "db", "--from", "-30m"]);
    assert!(none.contains("no deploy was seen"), "{none}");
}

/// Files need no collector; the codes are the same.
#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let stacks = |a: u32, b: u32| format!("main;a {a}\nmain;b {b}\n");
    let (a, b) = (file("a.folded", &stacks(1001, 1000)), file("b.folded", &stacks(1003, 2000)));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_flamekeeper")).arg("diff").args(arguments).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(!err.contains("panicked"), "{arguments:?}: {err}");
        (output.status.code().unwrap(), out, err)
    };
    let (code, text, err) = run(&[&a, &b, "--fail-above", "5%"]);
    assert!(code == 1 && text.contains("  b\n") && text.contains("sampling error only"), "{code} {text} {err}");
    let (code, text, _) = run(&[&a, &a, "--", &a, &a]);
    assert!(code == 0 && text.contains("from 2 and 2 files"), "{code} {text}");
    assert_eq!(run(&["--a", &a, "--a", &a, "--b", &b]).0, 0);
    let wrong = file("x.pb.gz", "no profile at all");
    for (arguments, told) in [
        (vec![a.as_str(), wrong.as_str()], "neither pprof"),
        (vec![a.as_str(), "/no/such/file"], "cannot read /no/such/file"),
        (vec![a.as_str()], "a1 a2 -- b1 b2"),
        (vec![a.as_str(), b.as_str(), "--service", "api"], "files have no services"),
        (vec!["--a", a.as_str()], "--b"),
    ] {
        let (code, _, err) = run(&arguments);
        assert!(code == 2 && err.contains(told), "{arguments:?}: {code} {err}");
    }
}
