//! Bad input: each mistake gets an error that says what to do, and the programs live on.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::{Command, Output};
use std::time::Duration;

use flamekeeper_testing::host::Host;
use flamekeeper_testing::http::{self, Answer, raw, send};
use flamekeeper_testing::programs::{Running, binary, free_address};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;

const PROFILES: &str = "/v1development/profiles";
const KEY: (&str, &str) = ("Idempotency-Key", "0123456789abcdef0123456789abcdef-1");

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that this user may run: the target directory need not be open to everybody.
fn public_copy(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let copy = scratch.join(name);
    std::fs::copy(binary(name), &copy).unwrap();
    for path in [scratch.path(), &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    copy
}

fn without_privileges(program: &std::path::Path) -> Command {
    let mut command = Command::new(require("setpriv"));
    command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--bounding-set", "-all", "--"]).arg(program);
    command
}

/// Without privileges the agent says which capability or which sysctl is missing, and how to set it.
#[test]
fn no_permission() {
    let scratch = Scratch::new("nobody");
    let agent = public_copy(&scratch, "flamekeeper-agent");
    let output = without_privileges(&agent).arg("--state-dir").arg("/tmp/flamekeeper-nobody").output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("CAP_PERFMON") && said.contains("perf_event_paranoid"), "{said}");
    assert!(said.contains("setcap") || said.contains("sysctl"), "says how to set it: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// So does `record` for a process of another user.
#[test]
fn record_without_permission() {
    let scratch = Scratch::new("nobody-record");
    let flamekeeper = public_copy(&scratch, "flamekeeper");
    let pid = std::process::id().to_string();
    let arguments = ["record", "--pid", &pid, "--duration", "1s", "-o", "/tmp/flamekeeper-nobody.svg"];
    let output = without_privileges(&flamekeeper).args(arguments).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("CAP_PERFMON") || said.contains("perf_event_paranoid") || said.contains("CAP_SYS_PTRACE"), "{said}");
}

/// A key that does not exist is refused with file, line, the key and the one that was meant, by the agent and by `check-config`.
#[test]
fn unknown_configuration_key() {
    let scratch = Scratch::new("config");
    let file = scratch.join("agent.toml");
    std::fs::write(&file, "# comment\nfrequency_hz = 19\nwindwo = \"10s\"\n").unwrap();
    let agent = Command::new(binary("flamekeeper-agent")).arg("--config").arg(&file).output().unwrap();
    let check = Command::new(binary("flamekeeper")).args(["check-config", "agent"]).arg(&file).output().unwrap();
    for output in [agent, check] {
        let said = text(&output);
        assert!(!output.status.success(), "{said}");
        for part in ["agent.toml:3", "windwo", "window"] {
            assert!(said.contains(part), "{part:?} is not in: {said}");
        }
    }
    std::fs::write(&file, "frequency_hz = 5000\n").unwrap();
    let check = Command::new(binary("flamekeeper")).args(["check-config", "agent"]).arg(&file).output().unwrap();
    assert!(text(&check).contains("agent.toml:1") && text(&check).contains("from 1 to 999"), "{}", text(&check));
    std::fs::write(&file, "frequency_hz = 99\n").unwrap();
    let check = Command::new(binary("flamekeeper")).args(["check-config", "agent"]).arg(&file).output().unwrap();
    assert!(check.status.success(), "{}", text(&check));
}

/// The same for the collector's file.
#[test]
fn unknown_collector_key() {
    let scratch = Scratch::new("collector-config");
    let file = scratch.join("collector.toml");
    std::fs::write(&file, "lisen = \"127.0.0.1:4040\"\n").unwrap();
    let check = Command::new(binary("flamekeeper")).args(["check-config", "collector"]).arg(&file).output().unwrap();
    let said = text(&check);
    assert!(!check.status.success(), "{said}");
    assert!(said.contains("collector.toml:1") && said.contains("lisen") && said.contains("listen"), "{said}");
}

/// An agent without a collector says so once, keeps running and keeps its batches.
#[test]
fn unreachable_collector() {
    let scratch = Scratch::new("unreachable");
    let mut command = Command::new(binary("flamekeeper-agent"));
    command.args(["--collector", &format!("http://{}", free_address()), "--window", "1s"]).arg("--state-dir").arg(scratch.path());
    let mut agent = Running::start("agent", &mut command);
    std::thread::sleep(Duration::from_secs(6));
    let kept = std::fs::read_dir(scratch.join("spool")).unwrap().count();
    assert!(kept >= 3, "{kept} batches in the spool");
    agent.signal("TERM");
    assert!(agent.wait(Duration::from_secs(30)).success(), "{}", agent.output());
    let complaints = agent.output().lines().filter(|line| line.contains("WARN")).count();
    assert!((1..=5).contains(&complaints), "{complaints} warnings: {}", agent.output());
}

/// A question to a collector that is not there names the address.
#[test]
fn question_to_nobody() {
    let address = free_address();
    let output = Command::new(binary("flamekeeper")).args(["top", "--collector", &format!("http://{address}")]).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains(&address.to_string()) && said.contains("is it running"), "{said}");
}

fn refused(answer: &Answer, status: &[u16], what: &str) {
    assert!(status.contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = said["error"].as_str().unwrap_or_default();
    assert!(error.len() > 10, "{what}: the error says nothing: {}", answer.text());
}

/// Truncated, oversized and hostile requests are refused by name, and the collector takes good ones afterwards.
#[test]
fn hostile_bodies() {
    let host = Host::with_collector("hostile");
    let post = |headers: &[(&str, &str)], body: &[u8]| send(host.address, "POST", PROFILES, headers, body).unwrap();
    refused(&post(&[KEY], b"\x0a\xff\xff\xff\x7f"), &[400], "a length beyond the body");
    refused(&post(&[KEY], &[0xff; 4096]), &[400], "no protobuf");
    refused(&post(&[KEY, ("Content-Encoding", "gzip")], b"\x1f\x8b\x08\x00 truncated"), &[400], "truncated gzip");
    refused(&post(&[KEY, ("Content-Encoding", "zstd")], b"x"), &[400, 415], "an unknown encoding");
    refused(&post(&[("Idempotency-Key", "../../etc/passwd")], b""), &[400], "a key that is no batch's");
    refused(&post(&[KEY, ("Content-Encoding", "gzip")], &bomb()), &[400, 413], "a decompression bomb");
    let length = format!("POST {PROFILES} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n");
    refused(&raw(host.address, length.as_bytes()).unwrap(), &[400, 413], "a length of 100 GB");
    let put = |id: &str, body: &[u8]| send(host.address, "PUT", &format!("/api/v1/symbols/{id}"), &[], body).unwrap();
    refused(&put("gnu:..%2f..%2fx", b"x"), &[400], "a build id that is a path");
    refused(&put("gnu:abcd", b"\x7fELF but not really"), &[400, 422], "an object that is none");
    for query in ["query=%7Bservice%3D", "from=yesterday", "from=now&to=-1h", "query=%7Ba%3D~%22(((((%22%7D", "min_share=nan", "format=exe"]
    {
        let answer = http::get(host.address, &format!("/api/v1/flamegraph?{query}")).unwrap();
        refused(&answer, &[400], query);
    }
    assert_eq!(http::get(host.address, "/../../etc/passwd").unwrap().status / 100, 4);
    assert_eq!(http::get(host.address, "/healthz").unwrap().status, 200);
    assert_eq!(host.status()["batches"], 0);
}

/// 256 MiB of zeros, compressed by hand: 256 stored runs would be large, so deflate is done by the system's `gzip`.
fn bomb() -> Vec<u8> {
    let gzip = require("gzip").display().to_string();
    let script = format!("head -c 268435456 /dev/zero | {gzip} -9 -c");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stdout.len() < 1 << 20);
    output.stdout
}
