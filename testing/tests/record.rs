//! `flamekeeper record`: one program's flamegraph without a collector, judged by readers that are not ours.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use flamekeeper_testing::flamegraph::Flamegraph;
use flamekeeper_testing::programs::{alone, binary};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::shares::assert_share;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Program, Running, Truth};

fn record(arguments: &[&str], output: &Path, command: &[&str]) -> Output {
    let mut program = Command::new(binary("flamekeeper"));
    program.arg("record").args(arguments).arg("-o").arg(output).arg("--").args(command);
    program.output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a workload printed at its end.
fn truth(output: &Output) -> Truth {
    let text = String::from_utf8_lossy(&output.stdout);
    Truth(serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|error| panic!("{error} in {text:?}: {}", errors(output))))
}

/// Folded text of a C++ program: every sample in it, the shares right, each stack from thread start to leaf.
#[test]
fn command_to_folded_text() {
    let _alone = alone();
    let scratch = Scratch::new("record-folded");
    let burn = Program::Cpp.build(scratch.path(), "");
    let file = scratch.join("out.folded");
    let output = record(&["--frequency", "199"], &file, &[burn.to_str().unwrap(), "8", "2"]);
    assert!(output.status.success(), "{}", errors(&output));
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let text = std::fs::read_to_string(&file).unwrap();
    for line in text.lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        let function = ["burn_hot", "burn_warm", "burn_cool"].into_iter().find(|name| stack.contains(name));
        *sums.entry(function.unwrap_or("other")).or_default() += value.parse::<u64>().unwrap();
    }
    let truth = truth(&output);
    let total: u64 = sums.iter().filter(|(name, _)| **name != "other").map(|(_, value)| value).sum();
    // 199 Hz over what the workload says it spent.
    let samples = truth.total() * 199 / 1_000_000_000;
    for function in ["burn_hot", "burn_warm", "burn_cool"] {
        assert_share(function, (sums[function], total), truth.share(function), samples);
    }
    assert!(text.lines().any(|line| line.starts_with("_start;") && line.contains(";main;work()")), "{text}");
    let summary = errors(&output);
    assert!(summary.contains("samples") && summary.contains("lost") && summary.contains("truncated"), "{summary}");
}

/// pprof output, read by `go tool pprof`: the same functions, cumulative shares right.
#[test]
fn command_to_pprof() {
    let _alone = alone();
    let scratch = Scratch::new("record-pprof");
    let burn = Program::Rust.build(scratch.path(), "");
    let file = scratch.join("out.pb.gz");
    let output = record(&["--frequency", "199"], &file, &[burn.to_str().unwrap(), "6"]);
    assert!(output.status.success(), "{}", errors(&output));
    let pprof = Command::new(require("go")).args(["tool", "pprof", "-top", "-cum", "-nodecount=200"]).arg(&file).output().unwrap();
    let table = String::from_utf8_lossy(&pprof.stdout).into_owned();
    assert!(pprof.status.success(), "{}", String::from_utf8_lossy(&pprof.stderr));
    assert!(table.contains("Type: cpu"), "{table}");
    let truth = truth(&output);
    for function in ["burn_hot", "burn_warm"] {
        let line = table.lines().find(|line| line.contains(&format!("burn::{function}"))).unwrap_or_else(|| panic!("{function}: {table}"));
        let cumulative: f64 = line.split_whitespace().nth(4).and_then(|text| text.trim_end_matches('%').parse().ok()).unwrap();
        assert!((cumulative / 100.0 - truth.share(function)).abs() < 0.06, "{function} {cumulative} %: {table}");
    }
}

/// SVG and JSON: what they are, and that they show the busy function.
#[test]
fn command_to_svg_and_json() {
    let _alone = alone();
    let scratch = Scratch::new("record-svg");
    let burn = Program::CppWithoutDebug.build(scratch.path(), "");
    let (svg, json) = (scratch.join("out.svg"), scratch.join("out.json"));
    let output = record(&[], &svg, &[burn.to_str().unwrap(), "2", "1"]);
    assert!(output.status.success(), "{}", errors(&output));
    let text = std::fs::read_to_string(&svg).unwrap();
    assert!(text.contains("<svg") && text.contains("burn_hot()"), "{}", &text[..text.len().min(500)]);
    let output = record(&[], &json, &[burn.to_str().unwrap(), "2", "1"]);
    assert!(output.status.success(), "{}", errors(&output));
    let graph = Flamegraph::read(&serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap()).unwrap();
    assert!(graph.total_of(|name| name.starts_with("burn_hot")) * 2 > graph.total());
}

/// A process that runs already, by its id, for a while.
#[test]
fn running_process() {
    let _alone = alone();
    let scratch = Scratch::new("record-pid");
    let burn = Program::Cpp.build(scratch.path(), "");
    let workload = Running::start(Command::new(burn).args(["30", "2"]));
    let file = scratch.join("out.json");
    let mut program = Command::new(binary("flamekeeper"));
    program.args(["record", "--pid", &workload.pid().to_string(), "--duration", "4s", "-o"]).arg(&file);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let graph = Flamegraph::read(&serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()).unwrap();
    let threads = graph.nodes.iter().filter(|node| node.depth == 1).map(|node| node.name.as_str());
    let threads: Vec<_> = threads.collect();
    assert!(threads.contains(&"_start") && threads.iter().any(|name| name.ends_with("clone3")), "both threads: {threads:?}");
    assert!(graph.total_of(|name| name.starts_with("work")) * 100 > graph.total() * 95);
}

/// The command's own exit code is handed on, and a command that does not exist is a clear error.
#[test]
fn exit_codes() {
    let _alone = alone();
    let scratch = Scratch::new("record-exit");
    let file = scratch.join("out.svg");
    assert_eq!(record(&[], &file, &["sh", "-c", "exit 7"]).status.code(), Some(7));
    let missing = record(&[], &file, &["/no/such/program"]);
    assert!(!missing.status.success() && errors(&missing).contains("/no/such/program"), "{}", errors(&missing));
}

/// `record` talks to nobody: the whole run makes no socket (children are followed).
#[test]
fn opens_no_network() {
    let _alone = alone();
    let scratch = Scratch::new("record-network");
    let trace = scratch.join("trace");
    let mut program = Command::new(require("strace"));
    program.args(["-f", "-qq", "-e", "trace=socket,connect", "-o"]).arg(&trace).arg(binary("flamekeeper"));
    program.args(["record", "-o"]).arg(scratch.join("out.svg")).args(["--", "true"]);
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let calls = std::fs::read_to_string(&trace).unwrap();
    assert!(!calls.contains("AF_INET"), "{calls}");
}
