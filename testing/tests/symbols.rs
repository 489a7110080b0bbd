//! Symbols that come late: a stripped program is sampled, its symbols are added later, and the same question has names.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use flamekeeper_object::ObjectFile;
use flamekeeper_profile::{
    AgentFigures, Batch, BuildId, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window,
};
use flamekeeper_testing::flamegraph::{Flamegraph, Node};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{alone, binary, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{self, Program};
use serde_json::Value;

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(require(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A stripped program, and its debug file where nobody looks for it.
fn stripped(scratch: &Scratch) -> (PathBuf, PathBuf, BuildId) {
    let whole = Program::Cpp.build(scratch.path(), "-whole");
    let (program, debug) = (scratch.join("stripped-burn"), scratch.join("kept-apart.debug"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    tool("objcopy", &["--only-keep-debug", &text(&whole), &text(&debug)]);
    tool("strip", &["--strip-all", "-o", &text(&program), &text(&whole)]);
    std::fs::remove_file(&whole).unwrap();
    let id = ObjectFile::open(&program).unwrap().build_id().unwrap().clone();
    (program, debug, id)
}

/// The command line, asked for a collector.
struct Cli(String);

impl Cli {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(binary("flamekeeper")).args(arguments).args(["--collector", &self.0]).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The nodes of the program itself.
fn own<'a>(graph: &'a Flamegraph, program: &Path) -> Vec<&'a Node> {
    graph.nodes.iter().filter(|node| Path::new(&node.module) == program).collect()
}

/// Names of the workload in the answer, and the share of its nodes that have one.
fn named(graph: &Flamegraph, program: &Path) -> (usize, usize) {
    let nodes = own(graph, program);
    (nodes.iter().filter(|node| !node.name.contains("+0x")).count(), nodes.len())
}

/// An hour of profiles as an agent would have sent them, from 90 minutes ago on: the addresses that were sampled in the stripped program, in
/// a batch every 5 minutes, under a service of their own.
fn send_an_hour(host: &Host, program: &Path, id: &BuildId, addresses: &[Svma]) {
    let minute = 60 * Timestamp::SECOND;
    let start = Timestamp::from_seconds(host.status()["started"].as_f64().unwrap()).saturating_sub(90 * minute);
    for number in 0..12 {
        let from = start.saturating_add(number * 5 * minute);
        let mut tables = Tables::new();
        let object = tables.intern_object(Some(id.clone()), program.to_str().unwrap());
        let stack = |address: &Svma| {
            let location = tables.intern_address(FrameKind::Native, Some(object), *address);
            (tables.intern_stack(&[location], StackEnd::Root), 3)
        };
        let values: Vec<_> = addresses.iter().map(stack).collect();
        let mut ledger = Ledger::default();
        ledger.take(3 * values.len() as u64);
        let labels = Labels::new().with("service", "an-hour-ago").with("host", "test-host");
        let series = vec![Series { labels, sample_type: SampleType::cpu(10_000_000), values }];
        let window = Window::new(from, from.saturating_add(10 * Timestamp::SECOND));
        let batch =
            Batch { window, labels: Labels::new().with("host", "test-host"), tables, series, ledger, figures: AgentFigures::default() };
        let body = flamekeeper_wire::encode(&batch);
        let answer = http::send(host.address, "POST", "/v1development/profiles", &[], &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What that hour answers now.
fn an_hour_ago(host: &Host) -> Flamegraph {
    let query = http::encode("{service=\"an-hour-ago\"}");
    Flamegraph::read(&host.ask(&format!("/api/v1/flamegraph?query={query}&from=-2h&to=-20m&min_share=0"))).unwrap()
}

/// The addresses of a program that its frames without a name show.
fn addresses(graph: &Flamegraph, program: &Path) -> Vec<Svma> {
    let hex = |node: &&Node| u64::from_str_radix(node.name.split_once("+0x")?.1, 16).ok().map(Svma);
    let found: BTreeSet<_> = own(graph, program).iter().filter_map(hex).collect();
    found.into_iter().collect()
}

/// While symbols are missing, frames are addresses with a reason and the answer says so; once the debug file is added, the same
/// stored profile has functions, inlined ones, files and lines, and the same weights, and so has an hour of older ones; once it is removed,
/// addresses again.
#[test]
fn late_symbols_name_old_profiles() {
    let _alone = alone();
    let scratch = Scratch::new("symbols");
    let (program, debug, id) = stripped(&scratch);
    let mut host = Host::start("symbols-host", 99);
    let burn = workload::Running::start(Command::new(&program).args(["6", "1"]).env("OTEL_SERVICE_NAME", "stripped"));
    drop(burn.finish());
    host.stop_agent();
    let cli = Cli(format!("http://{}", host.address));

    let before = wait_for("samples of the stripped program", Duration::from_secs(30), || {
        let graph = host.flamegraph("stripped");
        (!own(&graph, &program).is_empty()).then_some(graph)
    });
    let (with_name, nodes) = named(&before, &program);
    assert!(nodes >= 2 && with_name * 5 <= nodes, "{with_name} of {nodes} have a name already");
    let unnamed = own(&before, &program).into_iter().find(|node| node.name.contains("+0x")).unwrap();
    assert!(unnamed.name.starts_with("stripped-burn+0x"), "{}", unnamed.name);
    assert!(["no_symbols", "not_covered"].contains(&&*unnamed.unnamed), "{unnamed:?}");
    let completeness = &before.completeness;
    assert!(completeness["unnamed"].as_u64() > Some(10), "{completeness}");
    assert!(completeness["unnamed_frames"].as_f64() > Some(0.0));
    assert!(completeness["unnamed_reasons"][&unnamed.unnamed].as_u64() > Some(10), "{completeness}");
    let top = cli.text(&["top", "--service", "stripped", "--from", "-1h"]);
    assert!(top.contains("% of the distinct frames have no name, ") && top.contains(&unnamed.unnamed), "{top}");

    let sampled = addresses(&before, &program);
    send_an_hour(&host, &program, &id, &sampled);
    let earlier = an_hour_ago(&host);
    assert_eq!((earlier.samples, addresses(&earlier, &program)), (12 * 3 * sampled.len() as u64, sampled));

    let added = cli.text(&["symbols", "add", debug.to_str().unwrap()]);
    assert!(added.contains(&format!("stored {id}, debug_info")), "{added}");
    let later = an_hour_ago(&host);
    let (with_name, nodes) = named(&later, &program);
    assert!(nodes > 0 && with_name * 10 >= nodes * 9, "{with_name} of {nodes} of an hour ago have a name");
    assert_eq!((later.samples, later.total()), (earlier.samples, earlier.total()));
    assert!(own(&later, &program).iter().any(|node| node.name.starts_with("burn_hot")), "no burn_hot an hour ago");
    let after = host.flamegraph("stripped");
    let (with_name, nodes) = named(&after, &program);
    assert!(with_name * 10 >= nodes * 9, "{with_name} of {nodes} have a name");
    assert_eq!((after.samples, after.nodes[0].total), (before.samples, before.nodes[0].total), "the same samples, under names");
    let hot = own(&after, &program).into_iter().find(|node| node.name.starts_with("burn_hot")).unwrap();
    assert!(hot.file.ends_with("burn.cpp") && hot.line > 0 && hot.unnamed.is_empty(), "{hot:?}");
    assert!(own(&after, &program).iter().any(|node| node.kind.ends_with(" (inlined)")), "no inlined function");
    check_symbolize(&cli, &debug, &id);

    assert_eq!(cli.text(&["symbols", "remove", &id.to_string()]), format!("removed {id}\n"));
    let removed = host.flamegraph("stripped");
    let unnamed = own(&removed, &program).into_iter().find(|node| node.name.contains("+0x")).unwrap();
    assert_eq!(unnamed.unnamed, "no_symbols");
    assert!(cli.error(&["symbols", "remove", &id.to_string()]).contains("there are no symbols of"), "it is gone");
}

/// `flamekeeper symbolize` names an address of the debug file's own table.
fn check_symbolize(cli: &Cli, debug: &Path, id: &BuildId) {
    let symbols = Command::new(require("nm")).arg(debug).output().unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let hot = symbols.lines().find(|line| line.contains("burn_hot")).unwrap();
    let address = hot.split(' ').next().unwrap();
    let text = cli.text(&["symbolize", "--build-id", &id.to_string(), address, "0x1"]);
    assert!(text.contains("burn_hot") && text.contains("burn.cpp:") && text.contains("0x1") && text.contains("?? (not_covered)"), "{text}");
    let json: Value = serde_json::from_str(&cli.text(&["symbolize", "-b", &id.to_string(), address, "--json"])).unwrap();
    assert!(json["addresses"][0]["frames"][0]["function"].as_str().unwrap().starts_with("burn_hot"), "{json}");
    assert!(cli.error(&["symbolize", "-b", &id.to_string(), "main"]).contains("hexadecimal"));
    assert!(cli.error(&["symbolize", "-b", "main", "0x1"]).contains("build id must start with"));
}

/// Objects are listed with their source; a better source replaces a worse one and says so; what cannot be converted is listed
/// with its reason, and replaced by what can.
#[test]
fn commands_manage_the_store() {
    let scratch = Scratch::new("symbols-cli");
    let host = Host::with_collector("symbols-cli-host");
    let cli = Cli(format!("http://{}", host.address));
    let whole = Program::Cpp.build(scratch.path(), "");
    let whole = whole.to_str().unwrap();
    let table = scratch.join("table");
    tool("strip", &["--strip-debug", "-o", table.to_str().unwrap(), whole]);
    let id = ObjectFile::open(&table).unwrap().build_id().unwrap().to_string();

    // Sent whole, as no agent and no command would: the debug information is overwritten.
    let mut damaged = std::fs::read(whole).unwrap();
    let start = damaged.len() / 2;
    damaged.truncate(start);
    let answer = http::send(host.address, "POST", "/api/v1/symbols", &[("Content-Type", "application/octet-stream")], &damaged).unwrap();
    assert!(matches!(answer.status, 422), "{} {}", answer.status, answer.text());
    let status: Value = serde_json::from_str(&cli.text(&["symbols", "status", "--json"])).unwrap();
    assert_eq!(status["failures"].as_object().unwrap().len(), 1, "{status}");

    let added = cli.text(&["symbols", "add", table.to_str().unwrap()]);
    assert!(added.contains(&format!("stored {id}, symbol_table, ")), "{added}");
    let added = cli.text(&["symbols", "add", whole]);
    assert!(added.contains(&format!("stored {id}, debug_info in the place of symbol_table, ")), "{added}");
    let again: Value = serde_json::from_str(&cli.text(&["symbols", "add", table.to_str().unwrap(), "--json"])).unwrap();
    assert_eq!((&again["result"], &again["source"]), (&"already_there".into(), &"debug_info".into()));
    let list = cli.text(&["symbols", "list"]);
    assert!(list.contains(&format!("{id}  debug_info")) && list.contains("1 of 1 objects, "), "{list}");
    let status = cli.text(&["symbols", "status"]);
    assert!(status.starts_with("1 objects, ") && status.contains("  3 conversions\n"), "{status}");

    assert!(cli.error(&["symbols", "add", "/nonexistent"]).contains("/nonexistent"));
    assert!(cli.error(&["symbols", "add", "/etc/passwd"]).contains("not an ELF file"));
    let other = http::send(host.address, "POST", "/api/v1/symbols", &[("Content-Type", "text/plain")], b"x").unwrap();
    assert_eq!(other.status, 415, "what a form of another page could send");
    let unreachable = Command::new(binary("flamekeeper")).args(["symbols", "list", "--collector", "http://127.0.0.1:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unreachable.stderr).contains("cannot reach a collector"));
}
