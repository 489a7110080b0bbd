//! Two real agents that see the same objects, behind a network that cuts connections: each object is sent once, and whole.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{self, Running, binary, wait_for};
use flamekeeper_testing::workload;

/// Bytes from an agent after which its connection is cut. A part of an upload is shorter.
const CUT_AFTER: u64 = 1 << 20;

/// Forwards connections to the collector, each only for so many bytes of the agent's.
struct Network {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
}

fn network(collector: SocketAddr) -> Network {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for agent in listener.incoming() {
            let (Ok(agent), Ok(collector)) = (agent, TcpStream::connect(collector)) else { continue };
            let count = Arc::clone(&count);
            let (mut answers, mut back) = (collector.try_clone().unwrap(), agent.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let (mut buffer, mut forwarded) = ([0; 16 << 10], 0);
                while let Ok(length @ 1..) = (&agent).read(&mut buffer) {
                    forwarded += length as u64;
                    if forwarded > CUT_AFTER {
                        count.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    if (&collector).write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                // The other side may have done so already.
                _ = agent.shutdown(Shutdown::Both);
                _ = collector.shutdown(Shutdown::Both);
            });
        }
    });
    Network { address, cuts }
}

fn agent(host: &Host, network: &Network, name: &str) -> programs::Running {
    let mut command = Command::new(binary("flamekeeper-agent"));
    command.args(["--collector", &format!("http://{}", network.address), "--host-name", name, "--window", "2s", "--frequency-hz", "99"]);
    // Whatever else runs on this host may have symbols without end.
    command.args(["--symbols-max-object-bytes", "12MiB"]);
    command.env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200").arg("--state-dir").arg(host.scratch().join(name));
    Running::start(name, &mut command)
}

/// The workload with six megabytes more to send, which cannot be compressed.
fn padded(host: &Host) -> std::path::PathBuf {
    let (pad, code) = (host.scratch().join("pad"), host.scratch().join("pad.s"));
    let mut random = std::fs::File::open("/dev/urandom").unwrap().take(6 << 20);
    std::io::copy(&mut random, &mut std::fs::File::create(&pad).unwrap()).unwrap();
    std::fs::write(&code, format!(".section .debug_pad,\"\",@progbits\n.incbin \"{}\"\n", pad.display())).unwrap();
    let arguments = ["-O2", "-g", "-pthread", code.to_str().unwrap()];
    workload::compile("g++", &arguments, "burn.cpp", &host.scratch().join("fleet-burn"))
}

/// Both agents see the same programs. Nothing is sent twice, nothing that the collector cannot use, and what was cut goes on.
#[test]
fn each_object_once() {
    let host = Host::with_collector("fleet");
    let network = network(host.address);
    let mut agents = ["one", "two"].map(|name| agent(&host, &network, name));
    let truth = workload::Running::start(Command::new(padded(&host)).args(["10", "1"]).env("OTEL_SERVICE_NAME", "fleet-cpp")).finish();
    assert!(truth.total() > 0);
    let named = || host.flamegraph("fleet-cpp").nodes.iter().any(|node| node.name == "main").then_some(());
    wait_for("the symbols of the program", Duration::from_secs(240), named);
    let cuts = network.cuts.load(Ordering::Relaxed);
    assert!(cuts >= 5, "{cuts} cuts");
    agents.iter_mut().for_each(programs::Running::stop);
    // What came last may still be converted.
    wait_for("as many objects as came", Duration::from_secs(120), || {
        let status = host.status();
        (status["uploads"]["objects"] == status["symbols"]["objects"]).then_some(())
    });
    let uploads = &host.status()["uploads"];
    assert!(uploads["refused"] == 0 && uploads["objects"].as_u64().unwrap() > 3, "{uploads}");
}
