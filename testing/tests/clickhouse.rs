//! Collectors that keep profiles in ClickHouse, as people run them: several on one database, with nothing of their own.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

#[path = "../../collector/tests/clickhouse_front/mod.rs"]
mod clickhouse_front;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use clickhouse_front::Front;
use flamekeeper_profile::{AgentFigures, Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use flamekeeper_testing::certificates::{Authority, Certificate, Valid};
use flamekeeper_testing::http::{Answer, get, send};
use flamekeeper_testing::programs::{Running, binary, free_address};
use flamekeeper_testing::scratch::Scratch;

const START: Duration = Duration::from_secs(60);

/// How the front's database is reached: over TLS, with a certificate and a password.
struct Way {
    front: Front,
    ca: PathBuf,
    shown: Certificate,
    password: PathBuf,
}

impl Way {
    fn new(scratch: &Scratch) -> Self {
        let authority = Authority::new(&scratch.join("authority"));
        let (server, shown) = (authority.vouch("server", Valid::Now), authority.vouch("collector", Valid::Now));
        let password = scratch.join("password");
        std::fs::write(&password, "s3cret\n").unwrap();
        Self { front: Front::secure(&server.cert, &server.key, &authority.ca(), "s3cret"), ca: authority.ca(), shown, password }
    }

    /// A command of the collector about the front's database, with nothing to show or to believe it by.
    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("flamekeeper"));
        command.arg("collector").args(arguments).args(["--clickhouse-url", &self.front.url(), "--clickhouse-query-time", "2m"]);
        command
    }

    fn believing(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--clickhouse-ca").arg(&self.ca);
        command
    }

    fn showing(&self, arguments: &[&str]) -> Command {
        let mut command = self.believing(arguments);
        command.arg("--clickhouse-client-cert").arg(&self.shown.cert).arg("--clickhouse-client-key").arg(&self.shown.key);
        command
    }

    fn collector(&self, arguments: &[&str]) -> Command {
        let mut command = self.showing(arguments);
        command.arg("--clickhouse-password-file").arg(&self.password);
        command
    }
}

/// One sample of now.
fn batch() -> Vec<u8> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let mut tables = Tables::new();
    let location = tables.intern_named(FrameKind::Kernel, None, Svma(16), "schedule");
    let stack = tables.intern_stack(&[location], StackEnd::Root);
    let labels = Labels::new().with("service", "api").with("host", "a");
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(50_000_000), values: vec![(stack, 7)] }];
    let mut ledger = Ledger::new();
    ledger.take(7);
    let window = Window::new(Timestamp(now - 10 * Timestamp::SECOND), Timestamp(now));
    flamekeeper_wire::encode(&Batch { window, labels, tables, series, ledger, figures: AgentFigures::default() })
}

fn post(address: SocketAddr, body: &[u8]) -> Answer {
    let headers = [("Content-Type", "application/x-protobuf"), ("Idempotency-Key", "agent_1-1")];
    send(address, "POST", "/v1development/profiles", &headers, body).unwrap()
}

/// Without tables a collector ends and names the command that makes them. After it, two collectors take batches and answer from the same
/// data: a batch that both are sent counts once, and each shows it. The start line says which store it is. All of it over TLS, where
/// nothing is asked of a server of another authority, and nothing is got without a certificate or the password.
#[test]
fn collectors_share_a_database() {
    let scratch = Scratch::new("clickhouse");
    let way = Way::new(&scratch);
    let address = free_address().to_string();
    let folder = scratch.path().join("a").display().to_string();
    let serve = ["--store", "clickhouse", "--listen", &address, "--data-dir", &folder];
    let without = [
        (way.bare(&["migrate"]), "UnknownIssuer; name its authority"),
        (way.believing(&["migrate"]), "CertificateRequired"),
        (way.showing(&["migrate"]), "code 516"),
    ];
    for (mut command, expected) in without {
        let refused = command.output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(expected), "{expected}: {said}");
    }
    let refused = way.collector(&serve).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("run `flamekeeper collector migrate`"), "{said}");
    for expected in ["was made with version 1", "has already version 1"] {
        let migrated = way.collector(&["migrate"]).output().unwrap();
        let said = String::from_utf8_lossy(&migrated.stdout).into_owned();
        assert!(migrated.status.success() && said.contains(expected), "{said}{}", String::from_utf8_lossy(&migrated.stderr));
    }
    let mut running = Vec::new();
    for name in ["a", "b"] {
        let address = free_address();
        let folder = scratch.path().join(name).display().to_string();
        let serve = ["--store", "clickhouse", "--listen", &address.to_string(), "--data-dir", &folder];
        let mut program = Running::start(name, &mut way.collector(&serve));
        let line = program.wait_for_line("the page is at", START);
        assert!(line.contains("the store is ClickHouse at https://127.0.0.1:"), "{line}");
        running.push((address, program));
        assert!(!scratch.path().join(name).join("profiles").exists());
    }
    let body = batch();
    let verdicts: Vec<String> = running.iter().map(|(address, _)| post(*address, &body).header("flamekeeper-batch").to_owned()).collect();
    assert_eq!(verdicts, ["accepted", "duplicate"]);
    for (address, _) in &running {
        let status = get(*address, "/api/v1/status").unwrap().json().unwrap();
        assert_eq!((&status["batches"], &status["samples_stored"]), (&1.into(), &7.into()), "{status}");
        let folded = get(*address, "/api/v1/flamegraph?from=-1h&format=folded").unwrap();
        assert!(folded.text().contains("schedule"), "{}: {}", folded.status, folded.text());
        assert_eq!(get(*address, "/healthz").unwrap().status, 200);
    }
}
