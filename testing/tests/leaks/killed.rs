//! What is left of a process that was killed for want of memory.

use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{alone, heap_shim, wait_for};
use flamekeeper_testing::workload::compile;
use flamekeeper_testing::{http, tools};

use super::memory::within;

/// A process that its cgroup's limit has killed leaves its last live heap, marked as such: a flamegraph of what filled the memory.
#[test]
fn a_last_heap_says_what_filled_the_memory() {
    const LIMIT: u64 = 96;
    let _alone = alone();
    let host = Host::start("leaks-killed", 19);
    let program = compile("gcc", &["-O2", "-g"], "heap-eager.c", &host.scratch().join("eager"));
    let mut command = Command::new(tools::require("env"));
    command.arg(format!("LD_PRELOAD={}", heap_shim().display())).args(["FLAMEKEEPER_HEAP_INTERVAL=65536", "OTEL_SERVICE_NAME=eager"]);
    let ended = within(LIMIT, command.arg(program));
    assert!(!ended.success(), "{ended}");
    let killed = wait_for("the killed process", Duration::from_secs(60), || {
        host.ask("/api/v1/leaks?service=eager&from=-10m")["killed"].get(0).cloned()
    });
    let (query, at) = (http::encode(killed["query"].as_str().unwrap()), killed["to"].as_f64().unwrap());
    assert!(killed["query"].as_str().unwrap().contains("ended=\"killed\""), "{killed:#}");
    // The rest of the limit is the shim's table, and what the program has beside its heap.
    let bytes = killed["bytes"].as_f64().unwrap();
    eprintln!("{bytes} bytes were live of a limit of {LIMIT} MiB");
    assert!((0.75..1.05).contains(&(bytes / (LIMIT << 20) as f64)), "{killed:#}");
    // Names come with the symbols.
    wait_for("what filled it, by name", Duration::from_secs(60), || {
        let answer = host.ask(&format!("/api/v1/top?type=inuse_space&query={query}&from={}&to={at}&limit=0", at - 10.0));
        let made = answer["functions"].as_array()?.iter().find(|function| function["name"] == "hoard")?;
        (made["total"].as_f64()? > 0.99 * bytes).then_some(())
    });
}
