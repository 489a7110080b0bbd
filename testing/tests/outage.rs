//! The collector dies and comes back: nothing is missing, and nothing is there twice.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::flamegraph::number;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http::encode;
use flamekeeper_testing::workload::{Program, Running};

const FREQUENCY: u32 = 99;

/// 50 s of a workload, with the collector killed (SIGKILL, in the middle of its work) for 30 s of it. Afterwards the ledger adds
/// up with no loss, the CPU time is all there, and every 5 s of the outage hold as much of it as the seconds before.
#[test]
fn collector_killed_for_thirty_seconds() {
    let mut host = Host::start("outage", FREQUENCY);
    let burn = Program::Cpp.build(host.scratch().path(), "");
    let workload = Running::start(Command::new(burn).args(["50", "1"]).env("OTEL_SERVICE_NAME", "steady"));
    std::thread::sleep(Duration::from_secs(9));
    host.collector.signal("KILL");
    let status = host.collector.wait(Duration::from_secs(5));
    assert!(!status.success());
    std::thread::sleep(Duration::from_secs(30));
    host.restart_collector();
    let truth = workload.finish();
    host.stop_agent();

    let status = host.status();
    let taken = number(&status["samples_taken"]).unwrap();
    assert_eq!(taken, number(&status["samples_stored"]).unwrap(), "{status}");
    assert_eq!(status["lost"], serde_json::json!({}), "{status}");

    let graph = host.flamegraph("steady");
    let (measured, spent) = (graph.total(), truth.total());
    assert!(measured.abs_diff(spent) * 25 < spent, "measured {measured} ns, spent {spent} ns");
    steady_over_time(&host);
}

/// Each 5 s inside the workload's time hold a similar amount: a window that was lost or stored twice would stand out.
fn steady_over_time(host: &Host) {
    let answer = host.ask(&format!("/api/v1/timeseries?from=-3m&step=5&query={}", encode("{service=\"steady\"}")));
    let values: Vec<u64> = answer["series"][0]["values"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect();
    let first = values.iter().position(|value| *value > 0).unwrap();
    let last = values.iter().rposition(|value| *value > 0).unwrap();
    // The first and the last step hold a part only; windows of 2 s that start in a step of 5 s belong to it: two or three of them.
    let inside = &values[first + 1..last];
    assert!(inside.len() >= 7, "{values:?}");
    let mut pairs: Vec<u64> = inside.windows(2).map(|two| two[0] + two[1]).collect();
    pairs.sort_unstable();
    let (least, most) = (pairs[0], pairs[pairs.len() - 1]);
    assert!(least * 3 > most * 2, "two steps of 5 s hold between {least} and {most} ns: {values:?}");
}

/// A batch that is sent again, as an agent does whose acknowledgement was lost, is a duplicate and changes nothing.
#[test]
fn batch_sent_twice_counts_once() {
    let host = Host::with_collector("twice");
    // The agent finds no collector and keeps its batches: the spool then holds real ones to send by hand.
    let mut command = host.agent_command();
    command.args(["--collector", &format!("http://{}", flamekeeper_testing::programs::free_address())]);
    command.args(["--frequency-hz", "99", "--window", "1s"]);
    let mut agent = flamekeeper_testing::programs::Running::start("agent", &mut command);
    std::thread::sleep(Duration::from_secs(5));
    agent.signal("TERM");
    agent.wait(Duration::from_secs(30));

    let ship = |host: &Host| {
        let mut agent = flamekeeper_testing::programs::Running::start("agent", host.agent_command().args(["--window", "5m"]));
        std::thread::sleep(Duration::from_secs(3));
        agent.stop();
    };
    let spool = host.scratch().join("agent/spool");
    let copy = host.scratch().join("copy");
    copy_folder(&spool, &copy);
    ship(&host);
    let batches = number(&host.status()["batches"]).unwrap();
    assert!(batches >= 3, "{}", host.status());
    copy_folder(&copy, &spool);
    ship(&host);
    let status = host.status();
    assert!(number(&status["duplicates"]).unwrap() >= batches - 1, "{status}");
    assert_eq!(number(&status["samples_taken"]).unwrap(), number(&status["samples_stored"]).unwrap(), "{status}");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
