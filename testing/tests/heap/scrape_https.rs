//! Heap profiles behind HTTPS and basic authentication, and what is said where one cannot be had.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::certificates::{Authority, Valid};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{Running, alone, free_address, wait_for};
use flamekeeper_testing::{http, metadata, tools};

use super::flamegraph;
use super::scrape::{GO_KEEPS, build_gate, dropped};

/// Of the agent's own figures: heaps that were read, and those that could not be.
fn scrapes(metrics: SocketAddr) -> Option<(u64, u64)> {
    let page = http::get(metrics, "/metrics").ok().filter(|answer| answer.status == 200)?.text();
    let of = |outcome: &str| {
        let name = format!("flamekeeper_agent_heap_scrapes_total{{outcome=\"{outcome}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
    };
    Some((of("read")?, of("failed")?))
}

fn secret(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A heap behind HTTPS and a password arrives. Beside it a wrong password, a server of an unknown authority, an answer without end, and one
/// that grows when it is decompressed are each told by name, once, and counted each time, and harm neither that heap nor samples of
/// CPU time. A password that is put right is taken without a restart.
#[test]
fn heaps_behind_https_are_told() {
    let _alone = alone();
    let mut host = Host::with_collector("heap-https");
    let folder = host.scratch().path().to_owned();
    let go = build_gate(&folder);
    let (backend, port, metrics) = (free_address().port(), free_address().port(), free_address());
    let go = Running::start("gate", Command::new(go).args([&backend.to_string(), "open-sesame"]).env("OTEL_SERVICE_NAME", "gate"));
    let (authority, stranger) = (Authority::new(&folder.join("known")), Authority::new(&folder.join("stranger")));
    let server = authority.vouch("server", Valid::Now);
    let mut gate = Command::new(tools::require("python3"));
    gate.arg(metadata::root().join("testing/workloads/gate.py")).arg(port.to_string()).args([&server.cert, &server.key]);
    let mut gate = Running::start("gate.py", gate.args(["prober:a b:c", &backend.to_string(), "open-sesame"]));
    gate.wait_for_line("serves", Duration::from_secs(20));

    let right = secret(&folder, "right", "prober:a b:c\n");
    let wrong = secret(&folder, "wrong", "prober:open-sesame\n");
    let target = |service: &str, path: &str, ca: &Authority, login: &Path, more: &str| {
        format!(
            "[[scrape]]\nurl = \"https://127.0.0.1:{port}{path}\"\nservice = \"{service}\"\ninterval = \"2s\"\nca = {:?}\nbasic_auth_file = {login:?}\n{more}\n",
            ca.ca()
        )
    };
    let heap = "/debug/pprof/heap";
    let tables = [
        target("told", heap, &authority, &right, ""),
        target("locked-out", heap, &authority, &wrong, ""),
        target("unknown", heap, &stranger, &right, ""),
        target("endless", "/endless", &authority, &right, ""),
        target("bomb", "/bomb", &authority, &right, "max_bytes = \"8MiB\""),
    ];
    let config = folder.join("agent.toml");
    std::fs::write(&config, tables.concat()).unwrap();
    let mut agent = host.agent_command();
    agent.arg("--config").arg(&config).args(["--frequency-hz", "99", "--window", "2s", "--host-name", "test-host"]);
    host.agent = Some(Running::start("agent", agent.args(["--metrics-listen", &metrics.to_string()])));
    let remembered = |service: &str| {
        flamegraph(&host, "inuse_space", &format!("{{service=\"{service}\", heap.source=\"pprof\"}}"))
            .total_of(|name| name == "main.remember")
    };
    // 128 blocks, sampled with a probability of 86 in 100.
    let is_whole = |service: &str| (remembered(service).abs_diff(GO_KEEPS) < GO_KEEPS / 6).then_some(());
    wait_for("the heap behind HTTPS", Duration::from_secs(90), || {
        is_whole("told").filter(|()| dropped(&go).is_some_and(|(kept, _)| kept == GO_KEEPS))
    });
    let failed = wait_for("failures of all four", Duration::from_secs(60), || Some(scrapes(metrics)?.1).filter(|failed| *failed >= 12));
    assert!(scrapes(metrics).unwrap().0 >= 3, "{:?}", scrapes(metrics));
    let output = host.agent.as_ref().unwrap().output();
    for (service, reason) in [
        ("locked-out", "it answered 401 Unauthorized; see token_file or basic_auth_file"),
        ("unknown", "UnknownIssuer"),
        ("endless", "its answer is larger than 16777216 bytes as it was sent"),
        ("bomb", "larger than 8388608 bytes when decompressed"),
    ] {
        let name = format!("service=\"{service}\"");
        let lines: Vec<_> = output.lines().filter(|line| line.contains("cannot be scraped") && line.contains(&name)).collect();
        assert!(lines.len() == 1 && lines[0].contains(reason), "{service} ({failed} failures): {lines:#?}\n{output}");
        assert_eq!(remembered(service), 0, "{service}");
    }
    // No secret is in what it says, and all samples are there.
    assert!(!output.contains("open-sesame") && !output.contains("a b:c"), "{output}");
    let status = host.status();
    let lost: u64 = status["lost"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let (taken, stored) = (status["samples_taken"].as_u64().unwrap(), status["samples_stored"].as_u64().unwrap());
    assert!(stored > 0 && taken == stored + lost, "{status:#}");

    secret(&folder, "wrong", "prober:a b:c\n");
    wait_for("the heap of the password that was put right", Duration::from_secs(60), || is_whole("locked-out"));
    assert!(host.agent.as_ref().unwrap().output().contains("a heap can be scraped again"));
    host.stop_agent();
}
