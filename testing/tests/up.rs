//! `flamekeeper up`, `top` and `flamegraph`: the two commands of the README.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;
use std::time::{Duration, Instant};

use flamekeeper_testing::http;
use flamekeeper_testing::programs::{Running, alone, binary, free_address, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::workload;
use flamekeeper_testing::workload::Program;

/// Within 15 s of its start the collector answers a flamegraph of this host; it prints its address and lines of progress;
/// `top` and `flamegraph` ask it; it ends well on SIGTERM.
#[test]
fn one_command_profiles_this_host() {
    let _alone = alone();
    let scratch = Scratch::new("up");
    let burn = Program::Cpp.build(scratch.path(), "");
    let _load = workload::Running::start(Command::new(burn).args(["60", "2"]).env("OTEL_SERVICE_NAME", "load"));
    let address = free_address();
    let start = Instant::now();
    let mut command = Command::new(binary("flamekeeper"));
    // As in `Host::agent_command`: a debug build names things in seconds here.
    command.env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200");
    command.args(["up", "--listen", &address.to_string(), "--data-dir"]).arg(scratch.join("data"));
    let mut up = Running::start("up", &mut command);
    up.wait_for_line(&format!("http://{address}"), Duration::from_secs(10));
    wait_for("a flamegraph with the load in it", Duration::from_secs(15).saturating_sub(start.elapsed()), || {
        let answer = http::get(address, "/api/v1/flamegraph?format=folded&from=-5m").ok()?;
        (answer.status == 200 && answer.text().contains("burn_hot")).then_some(())
    });
    eprintln!("the flamegraph of this host was there after {:.1} s", start.elapsed().as_secs_f64());
    up.wait_for_line("samples/s", Duration::from_secs(25));
    check_questions(&scratch, &format!("http://{address}"));
    assert_eq!(http::get(address, "/").unwrap().status, 200);
    up.stop();
}

fn check_questions(scratch: &Scratch, collector: &str) {
    let ask = |arguments: &[&str]| Command::new(binary("flamekeeper")).args(arguments).args(["--collector", collector]).output().unwrap();
    let top = ask(&["top", "--service", "load", "--from", "-5m"]);
    let table = String::from_utf8_lossy(&top.stdout).into_owned();
    assert!(top.status.success() && table.contains("burn_hot") && table.contains("samples"), "{table} {top:?}");
    let file = scratch.join("load.pb.gz");
    let pprof = ask(&["flamegraph", "--service", "load", "--from", "-15m", "-o", file.to_str().unwrap()]);
    assert!(pprof.status.success(), "{pprof:?}");
    assert!(std::fs::read(&file).unwrap().starts_with(&[0x1f, 0x8b]));
    let folded = ask(&["flamegraph", "--service", "load", "--format", "folded", "-o", "-"]);
    assert!(String::from_utf8_lossy(&folded.stdout).contains(";work();burn_hot()"), "{folded:?}");
    let wrong = ask(&["flamegraph", "--query", "{service=", "-o", "x.svg"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("the collector refused"), "{wrong:?}");
}
