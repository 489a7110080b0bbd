//! The verdict about leaks, from a program's blocks to the command line: every leak is named, and nothing that grows for good reasons.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "all of this file is tests")]

use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{Running, alone, binary, heap_shim, wait_for};
use flamekeeper_testing::{http, metadata, tools};
use serde_json::Value;

#[path = "leaks/killed.rs"]
mod killed;
#[path = "leaks/memory.rs"]
mod memory;

/// Its leaks, and its other sites.
const LEAKS: [&str; 3] = ["lost_buffer", "registered", "chained"];
const BENIGN: [&str; 5] = ["cache_entry", "queue_entry", "sawtooth_entry", "start_up", "doubled"];
/// How long the program is observed before it is judged: old is then 4 s.
const OBSERVED: f64 = 26.0;

fn start(host: &Host) -> Running {
    let program = host.scratch().join("leaky");
    let source = metadata::root().join("testing/workloads/leaks.cpp");
    let mut compiler = Command::new(tools::require("g++"));
    compiler.args(["-O2", "-g", "-fomit-frame-pointer", "-o"]).arg(&program).arg(source);
    assert!(compiler.output().unwrap().status.success());
    let mut command = Command::new(&program);
    command.env("LD_PRELOAD", heap_shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "65536").env("OTEL_SERVICE_NAME", "leaky");
    Running::start("leaky", &mut command)
}

/// The sites of a verdict.
fn sites<'a>(answer: &'a Value, verdict: &str) -> Vec<&'a str> {
    let suspects = answer["suspects"].as_array().unwrap().iter().filter(|suspect| suspect["verdict"] == verdict);
    suspects.map(|suspect| suspect["function"].as_str().unwrap()).collect()
}

/// Whether the suspect's stack has this function.
fn has(suspect: &Value, name: &str) -> bool {
    suspect["stack"].as_array().unwrap().iter().any(|frame| frame["name"].as_str().unwrap().starts_with(name))
}

/// Leaks of three shapes are named with their stacks, and none of five sites that grow for good reasons. Killed, the program's last
/// heap is told of and can be looked at.
#[test]
fn leaks_are_named() {
    let _alone = alone();
    let host = Host::start("leaks", 19);
    // Without the library, and with objects in arenas of its own.
    let mut unwatched = Command::new(tools::require("python3"));
    unwatched.args(["-c", "import time\nwhile True:\n    sum(range(300000))\n    time.sleep(0.05)"]).env("OTEL_SERVICE_NAME", "unwatched");
    let _unwatched = Running::start("unwatched", &mut unwatched);
    let mut workload = start(&host);
    workload.wait_for_line("begun", Duration::from_secs(60));
    let path = "/api/v1/leaks?service=leaky&from=-10m&limit=200";
    let answer = wait_for("the leaks", Duration::from_secs(180), || {
        let answer = host.ask(path);
        let group = answer["groups"].get(0)?;
        let observed = group["to"].as_f64()? - group["from"].as_f64()?;
        let leaks = answer["suspects"].as_array()?.iter().filter(|suspect| suspect["verdict"] == "leaks");
        let named = LEAKS.iter().filter(|name| leaks.clone().any(|suspect| has(suspect, name))).count();
        (observed >= OBSERVED && named == LEAKS.len()).then_some(answer)
    });
    let wrong: Vec<_> = sites(&answer, "leaks").into_iter().filter(|site| BENIGN.iter().any(|name| site.starts_with(name))).collect();
    assert!(wrong.is_empty(), "{wrong:?} do not leak: {answer:#}");
    for suspect in answer["suspects"].as_array().unwrap().iter().filter(|suspect| suspect["verdict"] == "leaks") {
        let of = |name: &str| suspect[name].as_f64().unwrap();
        assert!(of("reached") >= 8.0 && of("low") > 0.0 && of("low") < of("growth") && of("growth") < of("high"), "{suspect:#}");
        assert!(suspect["evidence"].as_str().unwrap().contains("none was freed after it"), "{suspect:#}");
        assert!(LEAKS.iter().any(|name| has(suspect, name)) && has(suspect, "main"), "{suspect:#}");
    }
    // 20,000 bytes are lost 20 times a second; the sampling error of 100 blocks and more is 10 %.
    let buffers = answer["suspects"].as_array().unwrap().iter().find(|suspect| has(suspect, "lost_buffer")).unwrap();
    let rate = buffers["rate"].as_f64().unwrap();
    eprintln!("lost_buffer: {rate:.0} bytes a second of 400000; {}", buffers["evidence"]);
    assert!((200_000.0..800_000.0).contains(&rate), "{buffers:#}");

    let mut command = Command::new(binary("flamekeeper"));
    command.args(["leaks", "--service", "leaky", "--from", "-10m", "--collector", &format!("http://{}", host.address)]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(LEAKS.iter().all(|name| text.contains(&format!("LEAKS       {name}"))), "{text}");

    let unseen = |service: &str| host.ask(&format!("/api/v1/leaks?service={service}&from=-10m"))["blind"].clone();
    assert_eq!(unseen("leaky").as_array().unwrap().len(), 0, "{answer:#}");
    let blind = unseen("unwatched");
    let reasons: Vec<_> = blind[0]["reasons"].as_array().unwrap().iter().map(|reason| reason["reason"].as_str().unwrap()).collect();
    assert_eq!((reasons, blind[0]["sampled"].as_bool()), (vec!["not_sampled", "python_arenas"], Some(false)), "{blind:#}");
    let output = Command::new(binary("flamekeeper"))
        .args(["leaks", "--service", "unwatched", "--collector", &format!("http://{}", host.address)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("not seen  unwatched") && text.contains("do: start it with PYTHONMALLOC=malloc"), "{text}");
    let types = host.ask("/api/v1/types");
    assert!(!types.to_string().contains("heap_blind"), "{types}");

    held_and_lost(&host, workload.pid());

    assert_eq!(answer["killed"].as_array().unwrap().len(), 0, "{answer:#}");
    let pid = workload.pid().to_string();
    workload.signal("KILL");
    let killed = wait_for("the killed process", Duration::from_secs(60), || host.ask(path)["killed"].get(0).cloned());
    assert_eq!((&killed["pid"], &killed["comm"], &killed["service"]), (&pid.into(), &"leaky".into(), &"leaky".into()));
    let (query, at) = (http::encode(killed["query"].as_str().unwrap()), killed["to"].as_f64().unwrap());
    let last = host.ask(&format!("/api/v1/top?type=inuse_space&query={query}&from={}&to={at}&limit=0", at - 10.0));
    assert_eq!(last["total"], killed["bytes"]);
    let registered =
        last["functions"].as_array().unwrap().iter().find(|function| function["name"].as_str().unwrap().starts_with("registered"));
    assert!(registered.unwrap()["total"].as_u64().unwrap() > 1_000_000, "{last:#}");
}

/// Of the blocks that were lost it is proven that nothing points to them, of those that are registered which variable does.
fn held_and_lost(host: &Host, pid: u32) {
    let socket = host.scratch().join("agent/heap.sock");
    let mut scan = Command::new(binary("flamekeeper"));
    scan.args(["heap", "scan", &pid.to_string(), "--json", "--cpu", "100", "--agent-socket"]).arg(socket);
    let output = scan.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stack = |name: &str| {
        let found = answer["stacks"].as_array().unwrap().iter().find(|stack| stack["function"].as_str().unwrap().starts_with(name));
        let stack = found.unwrap_or_else(|| panic!("no {name} in {answer:#}")).clone();
        eprintln!("{name}: {} of {} blocks are lost; held by {}", stack["lost"], stack["blocks"], stack["held"]);
        (stack["blocks"].as_u64().unwrap(), stack["lost"].as_u64().unwrap(), stack)
    };
    let (blocks, lost, buffers) = stack("lost_buffer");
    // The last one is held by a variable; some are by what was left of pointers in memory that is used no more.
    assert!(blocks >= 20 && lost * 10 >= blocks * 8, "{buffers:#}");
    let (blocks, lost, registered) = stack("registered");
    let held = &registered["held"][0];
    assert!(held["by"] == "the variable registry of leaky" && held["blocks"] == blocks && lost == 0, "{registered:#}");
    // Compilers fold functions of equal code: this is the name of the cache's, the list's and the start's entries too.
    let entries =
        answer["stacks"].as_array().unwrap().iter().filter(|stack| stack["function"].as_str().unwrap().starts_with("queue_entry"));
    let sum = |what: &str| entries.clone().map(|stack| stack[what].as_u64().unwrap()).sum::<u64>();
    let (blocks, lost) = (sum("blocks"), sum("lost"));
    eprintln!("entries: {lost} of {blocks} blocks are lost");
    assert!(blocks >= 20 && lost * 10 <= blocks, "{answer:#}");
    eprintln!("{} bytes in {} s", answer["bytes_read"], answer["seconds"]);
}

/// A program that ends in order leaves no last heap to look at.
#[test]
fn an_orderly_end_is_no_death() {
    let _alone = alone();
    let host = Host::start("leaks-end", 19);
    let script = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\
        x = [bytearray(100000) for _ in range(200)]\nprint('begun', flush=True)\ntime.sleep(600)\n";
    let mut command = Command::new(tools::require("python3"));
    command.args(["-c", script]);
    command.env("LD_PRELOAD", heap_shim()).env("FLAMEKEEPER_HEAP_INTERVAL", "65536").env("OTEL_SERVICE_NAME", "orderly");
    let mut workload = Running::start("orderly", &mut command);
    workload.wait_for_line("begun", Duration::from_secs(30));
    wait_for("its heap", Duration::from_secs(60), || {
        let answer = host.ask("/api/v1/leaks?service=orderly&from=-10m");
        (!answer["groups"].as_array()?.is_empty()).then_some(())
    });
    workload.signal("TERM");
    assert!(workload.wait(Duration::from_secs(30)).success());
    let batches = || host.status()["batches"].as_u64();
    let before = batches().unwrap();
    wait_for("the window of its end", Duration::from_secs(60), || (batches()? >= before + 3).then_some(()));
    assert_eq!(host.ask("/api/v1/leaks?service=orderly&from=-10m")["killed"].as_array().unwrap().len(), 0);
}
