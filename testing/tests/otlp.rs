//! What the agent sends, read by OpenTelemetry's own messages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flamekeeper_testing::programs::{Running, binary};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools;
use serde_json::Value;

/// The version of the messages that the judge is checked with; it must know `profiles/v1development` with a dictionary.
const MESSAGES: &str = "opentelemetry-proto==1.45.2";

/// A Python with OpenTelemetry's messages, in the target directory.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("judge");
    let python = folder.join("bin/python");
    let works = |python: &Path| {
        let import = Command::new(python).args(["-c", "import opentelemetry.proto.profiles.v1development.profiles_pb2"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    if !works(&python) {
        let run = |command: &mut Command| {
            let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
            assert!(output.status.success(), "{command:?} (needs the package python3-venv): {}", String::from_utf8_lossy(&output.stderr));
        };
        run(Command::new(tools::require("python3")).args(["-m", "venv"]).arg(&folder));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MESSAGES]));
    }
    python
}

/// Reads one request and accepts it; answers its path, the key of its batch and its body.
fn accept(listener: &TcpListener) -> std::io::Result<(String, String, Vec<u8>)> {
    let (connection, _) = listener.accept()?;
    let mut reader = BufReader::new(connection);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let value = lines.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name));
        value.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let answer = if lines[0].contains("/symbols/") { "{\"wanted\": [], \"later\": []}" } else { "" };
    let length = answer.len();
    let headers = "flamekeeper-batch: accepted\r\nconnection: close";
    write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{headers}\r\n\r\n{answer}")?;
    Ok((lines[0].clone(), header("idempotency-key"), body))
}

/// A batch of a real agent keeps every rule of the format, and its ledger balances. The second one is looked at: the first
/// window is as long as the clock leaves it, perhaps too short for a sample.
#[test]
fn the_agents_batches_are_valid_otlp() {
    let scratch = Scratch::new("otlp");
    let python = python();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(binary("flamekeeper-agent"));
    command.args(["--collector", &format!("http://{}", listener.local_addr().unwrap()), "--window", "2s", "--frequency-hz", "99"]);
    // A debug build takes more for its start than the usual ceiling, and would sample less often after it.
    command.env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200");
    let mut agent = Running::start("agent", command.arg("--state-dir").arg(scratch.join("agent")));
    let busy = Arc::new(AtomicBool::new(true));
    let burner = std::thread::spawn({
        let busy = Arc::clone(&busy);
        move || while busy.load(Ordering::Relaxed) {}
    });
    let mut batches = Vec::new();
    while batches.len() < 2 {
        let (request, key, body) = accept(&listener).unwrap();
        if request.starts_with("POST /v1development/profiles ") {
            batches.push((key, body));
        }
    }
    busy.store(false, Ordering::Relaxed);
    burner.join().unwrap();
    let (key, body) = batches.remove(1);
    agent.signal("KILL");
    agent.wait(Duration::from_secs(5));
    assert!(key.rsplit_once('-').is_some_and(|(_, sequence)| sequence.parse::<u64>().is_ok()), "{key}");
    let file = scratch.join("body");
    std::fs::write(&file, body).unwrap();
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/otlp.py");
    let output = Command::new(python).arg(judge).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ledger = found["ledger"].as_object().unwrap();
    let is_loss = |name: &str| name != "taken" && !name.starts_with("caveat.");
    let lost: u64 = ledger.iter().filter(|(name, _)| is_loss(name)).filter_map(|(_, count)| count.as_u64()).sum();
    let samples = found["samples"].as_u64().unwrap();
    assert!(samples > 0, "{found}");
    assert_eq!(ledger["taken"].as_u64().unwrap(), samples + lost, "{found}");
    assert!(found["figures"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{found}");
}
