//! The collector dies and comes back: nothing is missing, and nothing is there twice.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::flamegraph::number;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http::encode;
use flamekeeper_testing::shares::assert_time;
use flamekeeper_testing::workload::{Program, Running};

const FREQUENCY: u32 = 99;

/// 50 s of a workload, with the collector killed (SIGKILL, in the middle of its work) for 30 s of it. Afterwards the ledger adds
/// up with no loss and to what the agent says it took, the CPU time is all there, and no part of the outage is empty.
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
    // What the agent itself says it took, sample by sample: nothing missing, nothing twice.
    let said = host.agent.as_mut().unwrap().wait_for_line("sampling has ended", Duration::from_secs(5));
    assert!(said.contains(&format!("samples={taken} ")), "the collector has {taken} samples, the agent says: {said}");

    assert_time("steady", host.flamegraph("steady").total(), truth.total(), FREQUENCY);
    busy_all_the_time(&host);
}

/// No 5 s of the workload's time are empty, those of the outage included.
fn busy_all_the_time(host: &Host) {
    let answer = host.ask(&format!("/api/v1/timeseries?from=-3m&step=5&query={}", encode("{service=\"steady\"}")));
    let values: Vec<u64> = answer["series"][0]["values"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect();
    let first = values.iter().position(|value| *value > 0).unwrap();
    let last = values.iter().rposition(|value| *value > 0).unwrap();
    assert!(last - first >= 9, "{values:?}");
    assert!(values[first..=last].iter().all(|value| *value > 0), "{values:?}");
}

/// A batch that is sent again, as an agent does whose acknowledgement was lost, is a duplicate and changes nothing.
#[test]
fn batch_sent_twice_counts_once() {
    let host = Host::with_collector("twice");
    // The agent finds no collector and keeps its batches: the spool then holds real ones to send by hand.
    let mut command = host.agent_command_for(flamekeeper_testing::programs::free_address());
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
