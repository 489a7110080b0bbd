//! The collector dies and comes back: nothing is missing, and nothing is there twice.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use flamekeeper_testing::flamegraph::number;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http::encode;
use flamekeeper_testing::programs::wait_for;
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
    // A machine that is busy enough loses samples in the kernel's rings, and says so.
    let lost = status["lost"].as_object().unwrap().values().map(|lost| number(lost).unwrap()).sum::<u64>();
    assert_eq!(number(&status["samples_taken"]).unwrap(), number(&status["samples_stored"]).unwrap() + lost, "{status}");
}

/// A collector that has no room for bodies sends the agent away. The agent waits as long as it is asked to before it comes again, and when
/// there is room, all that it took is stored, once.
#[test]
fn collector_without_room() {
    let mut host = Host::with_collector("room");
    let mut room = Room::default();
    room.fill(&host);
    let begun = Instant::now();
    let mut command = host.agent_command();
    command.args(["--frequency-hz", "99", "--window", "1s", "--host-name", "test-host"]);
    host.agent = Some(flamekeeper_testing::programs::Running::start("agent", &mut command));
    let sent_away = |host: &Host, room: &Room| number(&host.status()["deferred"]).unwrap() - room.refused;
    wait_for("the agent to be sent away", Duration::from_secs(120), || {
        // What was held for long is soon taken for a body that does not come.
        if room.held.iter().any(|(_, since)| since.elapsed() > Duration::from_secs(15)) {
            room.held.clear();
            room.fill(&host);
        }
        (sent_away(&host, &room) >= 3).then_some(())
    });
    // It was asked to wait for 2 s each time, and one agent sends one batch at a time.
    let (times, seconds) = (sent_away(&host, &room), begun.elapsed().as_secs());
    assert!(times <= seconds / 2 + 2, "sent away {times} times in {seconds} s");
    room.held.clear();
    wait_for("the batches to be stored", Duration::from_secs(60), || (number(&host.status()["batches"]).ok()? >= 3).then_some(()));
    host.stop_agent();
    let status = host.status();
    let said = host.agent.as_mut().unwrap().wait_for_line("sampling has ended", Duration::from_secs(5));
    let taken = number(&status["samples_taken"]).unwrap();
    assert!(said.contains(&format!("samples={taken} ")), "the collector has {taken} samples, the agent says: {said}");
    // A machine that is busy enough loses samples in the kernel's rings, and says so. On the way here none may be lost.
    let lost = status["lost"].as_object().unwrap();
    assert!(!lost.keys().any(|reason| reason.starts_with("spool") || reason == "refused"), "{status}");
    assert_eq!(
        number(&status["samples_stored"]).unwrap() + lost.values().map(|lost| number(lost).unwrap()).sum::<u64>(),
        taken,
        "{status}"
    );
}

/// The room that a collector has for bodies, taken by requests that state one and do not send it.
#[derive(Default)]
struct Room {
    held: Vec<(TcpStream, Instant)>,
    /// How many of these requests were sent away themselves.
    refused: u64,
}

impl Room {
    /// Takes all room that there is, down to the last KiB.
    fn fill(&mut self, host: &Host) {
        let mut size = 16 << 20;
        while size >= 1 << 10 {
            let mut stream = TcpStream::connect(host.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let head = format!("Host: test\r\nExpect: 100-continue\r\nContent-Length: {size}\r\n\r\n");
            stream.write_all(format!("POST /v1development/profiles HTTP/1.1\r\n{head}").as_bytes()).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            match &status {
                b"HTTP/1.1 100" => self.held.push((stream, Instant::now())),
                b"HTTP/1.1 503" => {
                    self.refused += 1;
                    size /= 2;
                }
                other => panic!("{}", String::from_utf8_lossy(other)),
            }
        }
    }
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
