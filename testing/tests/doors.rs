//! Agent and collector behind TLS and tokens: own authority, certificates that are exchanged, and tokens that are. What an agent is
//! forbidden to see.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::certificates::{Authority, Certificate, Valid};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{self, Running, binary, wait_for};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::script;

const PATIENCE: Duration = Duration::from_secs(60);

/// A collector on a port that the system chooses, and what it says its address is.
fn collector(scratch: &Scratch, arguments: &[&str]) -> (Running, String) {
    let mut command = Command::new(binary("flamekeeper"));
    command.args(["collector", "--listen", "127.0.0.1:0"]).arg("--data-dir").arg(scratch.join("collector")).args(arguments);
    let mut running = Running::start("collector", &mut command);
    let line = running.wait_for_line("the page is at ", PATIENCE);
    let url = line.split("the page is at ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    (running, url)
}

fn agent(scratch: &Scratch, url: &str, arguments: &[&str]) -> Running {
    let mut command = Command::new(binary("flamekeeper-agent"));
    command.args(["--collector", url, "--window", "1s", "--symbols-upload", "false"]).arg("--state-dir").arg(scratch.join("agent"));
    Running::start("agent", command.args(arguments).env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200"))
}

/// What the command line is answered, or why not.
fn ask(url: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(binary("flamekeeper"));
    command.args(["flamegraph", "--from", "-1h", "--format", "folded", "--output", "-", "--collector", url]).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Puts a file in the place of another, as `mv` does.
fn exchange(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn arguments<'a>(ca: &'a Path, shown: &'a Certificate) -> Vec<&'a str> {
    let text = |path: &'a Path| path.to_str().unwrap();
    vec!["--ca", text(ca), "--client-cert", text(&shown.cert), "--client-key", text(&shown.key)]
}

/// Samples of an agent reach a collector over TLS where each has a certificate of the authority that the other trusts. Nobody is let
/// in or believed whose certificate is missing, expired or of another authority; a new one is served without a restart.
#[test]
fn certificates_on_both_sides() {
    let _alone = programs::alone();
    let scratch = Scratch::new("tls");
    let (own, other) = (Authority::new(&scratch.join("own")), Authority::new(&scratch.join("other")));
    let (server, client) = (own.vouch("server", Valid::Now), own.vouch("client", Valid::Now));
    let (past, stranger) = (own.vouch("past", Valid::Once), other.vouch("stranger", Valid::Now));
    let [cert, key] = ["served.pem", "served.key"].map(|name| scratch.join(name));
    let serve = |certificate: &Certificate| {
        exchange(&cert, &std::fs::read_to_string(&certificate.cert).unwrap());
        exchange(&key, &std::fs::read_to_string(&certificate.key).unwrap());
    };
    serve(&server);
    let authority = own.ca();
    let tls = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--client-ca", authority.to_str().unwrap()];
    let (mut collector, url) = collector(&scratch, &tls);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    collector.wait_for_line("protected by TLS, client certificates", PATIENCE);

    let right = arguments(&authority, &client);
    let mut agent = agent(&scratch, &url, &right);
    wait_for("samples over TLS", PATIENCE, || ask(&url, &right).ok().filter(|stacks| !stacks.is_empty()));
    agent.stop();

    let refused = |arguments: &[&str], expected: &str| {
        let error = ask(&url, arguments).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    };
    refused(&right[..2], "CertificateRequired");
    let strange = other.ca();
    refused(&arguments(&strange, &client), "UnknownIssuer");
    refused(&arguments(&authority, &stranger), "received fatal alert");
    refused(&arguments(&authority, &past), "received fatal alert");
    let plain = url.replace("https:", "http:");
    assert!(ask(&plain, &[]).is_err());

    serve(&past);
    let error = wait_for("the expired certificate", PATIENCE, || ask(&url, &right).err());
    assert!(error.contains("xpired"), "{error}");
    serve(&own.vouch("renewed", Valid::Now));
    wait_for("the renewed certificate", PATIENCE, || ask(&url, &right).ok());
    collector.stop();
    // Nobody reads a key that is no secret.
    std::fs::set_permissions(&client.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&right, "chmod o-rwx");
}

/// An agent whose token is not (or no more) the collector's keeps its batches, says so, and sends them all once it is: nothing is
/// lost and nothing restarted.
#[test]
fn token_exchanged_without_a_restart() {
    let _alone = programs::alone();
    let scratch = Scratch::new("tokens");
    let [first, second, reader] = ["1", "2", "3"].map(|digit| digit.repeat(40));
    let [known, own, people, settings] = ["agents.tokens", "agent.token", "people.token", "collector.toml"].map(|name| scratch.join(name));
    exchange(&known, &second);
    exchange(&people, &reader);
    exchange(&own, &first);
    let entry =
        |name: &str, file: &Path, scope: &str| format!("[[access.tokens]]\nname = \"{name}\"\nfile = {file:?}\nscopes = [\"{scope}\"]\n");
    std::fs::write(&settings, entry("agents", &known, "ingest") + &entry("people", &people, "read")).unwrap();
    let (mut collector, url) = collector(&scratch, &["--config", settings.to_str().unwrap()]);
    collector.wait_for_line("protected by 2 tokens", PATIENCE);
    let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    let status = || {
        let headers = [("Authorization", &*format!("Bearer {reader}"))];
        http::send(address, "GET", "/api/v1/status", &headers, &[]).unwrap().json().unwrap()
    };
    let batches = || status()["batches"].as_u64().unwrap();

    let mut agent = agent(&scratch, &url, &["--token-file", own.to_str().unwrap()]);
    let line = agent.wait_for_line("the collector does not let this agent in", PATIENCE);
    assert!(line.contains("status=401") && line.contains("not known here"), "{line}");
    // The scope of people is not that of agents.
    exchange(&own, &reader);
    wait_for("a token of another scope", PATIENCE, || (status_of(address, &reader) == 403).then_some(()));
    assert_eq!(batches(), 0);
    exchange(&own, &second);
    agent.wait_for_line("the collector takes batches again", PATIENCE);
    wait_for("the first batches", PATIENCE, || (batches() > 0).then_some(()));
    // The collector's token is exchanged first: until the agent has the new one, batches wait.
    exchange(&known, &first);
    let turned_away = || status_of(address, &second) == 401;
    wait_for("the old token to end", PATIENCE, || turned_away().then_some(()));
    let before = batches();
    exchange(&own, &first);
    wait_for("batches by the new token", PATIENCE, || (batches() > before).then_some(()));
    agent.stop();
    let taken = agent.output();
    let taken = taken.lines().find(|line| line.contains("sampling has ended")).unwrap();
    let status = status();
    assert!(taken.contains(&format!("samples={} ", status["samples_taken"])), "{taken} {status}");
    assert_eq!(status["samples_taken"], status["samples_stored"], "{status}");
    assert!(ask(&url, &["--token-file", people.to_str().unwrap()]).is_ok_and(|stacks| !stacks.is_empty()));
    let error = ask(&url, &["--token-file", own.to_str().unwrap()]).unwrap_err();
    assert!(error.contains("agents") && error.contains("needs read"), "{error}");
    assert!(ask(&url, &[]).unwrap_err().contains("--token-file"));
    collector.stop();
}

/// What an ingest request by a token is answered.
fn status_of(address: SocketAddr, token: &str) -> u16 {
    let headers = [("Authorization", &*format!("Bearer {token}"))];
    http::send(address, "POST", "/v1development/profiles", &headers, &[]).unwrap().status
}

/// A user who is excluded is nowhere at the far end: no service, program or function of theirs, whether they began before the agent or
/// run other programs meanwhile; their samples are counted as excluded. The environment of the others is not looked at where that
/// is forbidden.
#[test]
fn excluded_users_and_environments() {
    const USER: &str = "54321";
    let _alone = programs::alone();
    let mut host = Host::with_collector("excluded");
    let [secret, open] = ["secret-burn", "open-burn"].map(|name| host.scratch().join(name));
    let built = Command::new(require("g++")).args(["-O2", "-pthread", "-o"]).arg(&open).arg(script("burn.cpp")).status();
    assert!(built.unwrap().success());
    std::fs::copy(&open, &secret).unwrap();
    let as_user = |line: &str| {
        let mut command = Command::new(require("setpriv"));
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "sh", "-c", line]).env("OTEL_SERVICE_NAME", "secret-service");
        Running::start("excluded", &mut command)
    };
    let mut before = as_user(&format!("exec {} 4 1 cpu", secret.display()));
    let settings = host.scratch().join("agent.toml");
    std::fs::write(&settings, format!("[exclude]\nusers = [\"{USER}\"]\nenvironment = true\n")).unwrap();
    let mut command = host.agent_command();
    command.args(["--frequency-hz", "99", "--window", "1s", "--symbols-upload", "false", "--config"]).arg(&settings);
    let mut agent = Running::start("agent", &mut command);
    agent.wait_for_line(" sampling ", PATIENCE);
    let mut short = as_user(&format!("n=20; while [ $n -gt 0 ]; do {} 0.02 1 cpu; n=$((n-1)); done", secret.display()));
    let mut seen = Running::start("open", Command::new(&open).args(["1", "1", "cpu"]).env("OTEL_SERVICE_NAME", "open-service"));
    for running in [&mut before, &mut short, &mut seen] {
        assert!(running.wait(PATIENCE).success());
    }
    agent.stop();
    host.agent = Some(agent);
    let status = host.status();
    // Of some four seconds of CPU time, on a machine that is busy enough to lose samples too.
    assert!(status["lost"]["excluded"].as_u64().unwrap_or_default() >= 50, "{status}");
    let values = |label: &str| host.ask(&format!("/api/v1/labels/{label}/values?from=-1h")).to_string();
    for label in ["service", "comm", "exe"] {
        let values = values(label);
        assert!(!values.contains("secret"), "{label}: {values}");
        assert!(values.contains("open-burn"), "{label}: {values}");
    }
    assert!(!values("service").contains("open-service"), "the environment was looked at");
    let top = host.ask("/api/v1/top?from=-1h&limit=0").to_string();
    assert!(!top.contains("secret") && top.contains("open-burn"), "{top}");
}
