//! Objects whose debug information lies in several files, stripped on the host: sent with what belongs to them, converted in the collector's
//! child, named with inlined functions, files and lines.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_object::{Companions, ObjectFile, SymbolCopy};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{alone, binary, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload;
use flamekeeper_wire::symbols::MAX_PART;
use serde_json::{Value, json};

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(require(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Strips a program; its debug file is beside it, where `.gnu_debuglink` leads.
fn strip(program: &Path) -> PathBuf {
    let debug = program.with_extension("debug");
    tool("objcopy", &["--only-keep-debug", text(program), text(&debug)]);
    tool("objcopy", &["--strip-all", &format!("--add-gnu-debuglink={}", text(&debug)), text(program)]);
    debug
}

/// The workload with its units split and packed beside it; and its debug file.
fn packed(folder: &Path) -> (PathBuf, PathBuf) {
    let program = folder.join("burn-packed");
    let split = ["-O2", "-gdwarf-4", "-gsplit-dwarf", "-pthread", "-c"];
    let object = workload::compile("g++", &split, "burn.cpp", &folder.join("burn-packed.o"));
    tool("g++", &["-pthread", "-Wl,--build-id=sha1", "-o", text(&program), text(&object)]);
    tool("llvm-dwp", &["-e", text(&program), "-o", text(&folder.join("burn-packed.dwp"))]);
    std::fs::remove_file(folder.join("burn-packed.dwo")).unwrap();
    let debug = strip(&program);
    (program, debug)
}

/// The workload with what its debug information has in common with another's moved elsewhere; and its debug file.
fn shared(folder: &Path) -> (PathBuf, PathBuf) {
    let flags = ["-O2", "-g", "-pthread", "-Wl,--build-id=sha1"];
    let [program, other] = ["burn-shared", "burn-other"].map(|name| workload::compile("g++", &flags, "burn.cpp", &folder.join(name)));
    tool("dwz", &["-m", text(&folder.join("common")), text(&program), text(&other)]);
    assert!(ObjectFile::open(&program).unwrap().alt_link().is_some());
    let debug = strip(&program);
    (program, debug)
}

/// The names that a service's flamegraph shows of a program: whether a function has its file and line, and another is inlined into it.
fn is_whole(host: &Host, service: &str, program: &Path) -> bool {
    let graph = host.flamegraph(service);
    let of_program = |name: &str| graph.nodes.iter().find(|node| Path::new(&node.module) == program && node.name.starts_with(name));
    let has_line = |node: &flamekeeper_testing::flamegraph::Node| node.file.ends_with("burn.cpp") && node.line > 0;
    let inlined = graph.nodes.iter().any(|node| Path::new(&node.module) == program && node.kind.ends_with(" (inlined)") && has_line(node));
    of_program("burn_hot").is_some_and(has_line) && inlined
}

/// Two programs run on a host that has all their files: its agent sends them whole.
#[test]
fn an_agent_sends_them() {
    let _alone = alone();
    let scratch = Scratch::new("companions");
    let programs = [packed(scratch.path()).0, shared(scratch.path()).0];
    let host = Host::start("companions-host", 99);
    let running = programs.each_ref().map(|program| {
        let service = program.file_name().unwrap();
        workload::Running::start(Command::new(program).args(["3", "1"]).env("OTEL_SERVICE_NAME", service))
    });
    running.into_iter().for_each(|running| drop(running.finish()));
    for program in &programs {
        let service = program.file_name().unwrap().to_str().unwrap();
        wait_for(&format!("the names of {service}"), Duration::from_secs(120), || is_whole(&host, service, program).then_some(()));
        let id = ObjectFile::open(program).unwrap().identity().to_string();
        assert_eq!(host.ask(&format!("/api/v1/symbols/{id}"))["source"], "debug_info");
    }
}

/// Sends all parts of what an agent offers; the answer to the last.
fn send(host: &Host, id: &str, source: &str, bytes: &[u8]) -> u16 {
    let offers = json!({ "agent": "a", "offers": [{ "build_id": id, "source": source, "bytes": bytes.len() }] }).to_string();
    let json = [("Content-Type", "application/json")];
    let answer = http::send(host.address, "POST", "/api/v1/symbols/offers", &json, offers.as_bytes()).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let Some(lease) = answer["wanted"][0]["lease"].as_str() else { return 0 };
    let put = |number: usize, part: &[u8]| {
        let path = format!("/api/v1/symbols/{id}/parts/{lease}/{}", number * MAX_PART);
        http::send(host.address, "PUT", &path, &[], part).unwrap().status
    };
    bytes.chunks(MAX_PART).enumerate().fold(0, |_, (number, part)| put(number, part))
}

/// Each rank beats those below, whoever sent them first, and none above: a symbol table, debug information without its companions, with them.
#[test]
fn better_sources_come_through() {
    let scratch = Scratch::new("companions-ranks");
    let host = Host::with_collector("companions-ranks-host");
    let (_, debug) = packed(scratch.path());
    let (table, id) = (scratch.join("table"), ObjectFile::open(&debug).unwrap().identity().to_string());
    tool("strip", &["--strip-debug", "-o", text(&table), text(&debug)]);
    let copy = |path: &Path, companions: &Companions| {
        let mut bytes = Vec::new();
        SymbolCopy::of(ObjectFile::open(path).unwrap(), companions).unwrap().write(&mut bytes).unwrap();
        bytes
    };
    let companions = Companions::find(&ObjectFile::open(&debug).unwrap(), &[&debug], Path::new("/"));
    let ranks = [
        ("symbol_table", copy(&table, &Companions::default())),
        ("partial_debug_info", copy(&debug, &Companions::default())),
        ("debug_info", copy(&debug, &companions)),
    ];
    for (number, (source, bytes)) in ranks.iter().enumerate() {
        assert_eq!(send(&host, &id, source, bytes), 204, "{source}");
        assert_eq!(host.ask(&format!("/api/v1/symbols/{id}"))["source"], *source);
        for (source, bytes) in &ranks[..=number] {
            assert_eq!(send(&host, &id, source, bytes), 0, "{source} is not wanted");
        }
    }
}

/// The command line sends what belongs to a file as well, and says what is missing.
#[test]
fn the_command_sends_them() {
    let scratch = Scratch::new("companions-cli");
    let host = Host::with_collector("companions-cli-host");
    let add = |path: &Path| {
        let address = format!("http://{}", host.address);
        let output = Command::new(binary("flamekeeper")).args(["symbols", "add", text(path), "--collector", &address]).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(output.status.success(), "{err}");
        (out, err)
    };
    for (_, debug) in [packed(scratch.path()), shared(scratch.path())] {
        let companion = [debug.with_extension("dwp"), scratch.join("common")].into_iter().find(|path| path.exists()).unwrap();
        let away = scratch.join("away");
        std::fs::rename(&companion, &away).unwrap();
        let (out, err) = add(&debug);
        assert!(
            out.contains(", partial_debug_info, ") && err.contains("1 files that its debug information goes on in are missing"),
            "{out}{err}"
        );
        std::fs::rename(&away, &companion).unwrap();
        let (out, err) = add(&debug);
        assert!(out.contains(", debug_info in the place of partial_debug_info, ") && err.is_empty(), "{out}{err}");
        let id = ObjectFile::open(&debug).unwrap().identity().to_string();
        let hot = Command::new(require("nm")).arg(&debug).output().unwrap();
        let hot = String::from_utf8(hot.stdout).unwrap().lines().find(|line| line.contains("burn_hot")).unwrap()[..16].to_owned();
        let start = u64::from_str_radix(&hot, 16).unwrap();
        let addresses: Vec<_> = (start..start + 64).map(|address| format!("{address:x}")).collect();
        let found = host.ask(&format!("/api/v1/symbolize?build_id={id}&addresses={}", addresses.join(",")));
        let whole = found["addresses"].as_array().unwrap().iter().any(|address| {
            let frames = address["frames"].as_array().unwrap();
            let outer = &frames[frames.len() - 1];
            frames.len() > 1
                && outer["function"].as_str().unwrap().starts_with("burn_hot")
                && frames.iter().all(|frame| frame["line"].as_u64() > Some(0))
        });
        assert!(whole, "{found}");
        std::fs::remove_file(&companion).unwrap();
    }
}
