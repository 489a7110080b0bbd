//! CPUs that come and go: nothing else that samples may run meanwhile, since all of the machine has one CPU less.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::setting::Setting;
use flamekeeper_testing::shares::assert_time;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Program, Running};

const LIMIT: Duration = Duration::from_secs(60);

const CPU1: &str = "/sys/devices/system/cpu/cpu1/online";

/// A CPU goes offline and comes back, once slowly and once between two looks: each is said, and what runs on it afterwards
/// is counted with all its time. Where the kernel or the machine has no CPU to take away, there is nothing to see.
#[test]
fn cpus_come_and_go() {
    if !Path::new(CPU1).exists() {
        eprintln!("this machine has no second CPU that can be taken offline: not tested here");
        return;
    }
    let mut host = Host::start("hotplug", 99);
    {
        let _gone = Setting::change(CPU1, "0");
        host.agent.as_mut().unwrap().wait_for_line("a CPU has gone offline", LIMIT);
    }
    host.agent.as_mut().unwrap().wait_for_line("a CPU has come online and is sampled from now on", LIMIT);
    assert_eq!(std::fs::read_to_string(CPU1).unwrap().trim(), "1");
    count_on_cpu1(&host, "after-slow");
    drop(Setting::change(CPU1, "0"));
    let again = ["the event of a CPU had ended and is opened anew", "a CPU has come online"];
    let reopened = || {
        let output = host.agent.as_ref().unwrap().output();
        let count: usize = again.iter().map(|text| output.matches(text).count()).sum();
        (count > 1).then_some(())
    };
    wait_for("the CPU's event to be opened anew", LIMIT, reopened);
    count_on_cpu1(&host, "after-quick");
    host.stop_agent();
    let status = host.status();
    assert!(status["lost"]["unwatched_cpu"].as_u64() > Some(0), "{status}");
}

fn count_on_cpu1(host: &Host, name: &str) {
    let burn = Program::CppWithoutDebug.build(host.scratch().path(), name);
    let mut command = Command::new(require("taskset"));
    let running = Running::start(command.args(["-c", "1"]).arg(burn).args(["3", "1"]).env("OTEL_SERVICE_NAME", name));
    let truth = running.finish();
    // The window that holds the end must be stored.
    sleep(Duration::from_secs(3));
    let graph = wait_for(name, LIMIT, || Some(host.flamegraph(name)).filter(|graph| graph.samples > 0));
    assert_time(name, graph.total(), truth.total(), 99);
}
