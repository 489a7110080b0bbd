//! Offers of symbols and their upload in parts, over real connections.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};

use flamekeeper_testing::host::Host;
use flamekeeper_testing::http::{self, Answer};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::tools::require;
use flamekeeper_wire::lz4;
use flamekeeper_wire::symbols::MAX_PART;
use serde_json::{Value, json};

/// A program of its own build id, with debug information and without.
struct Program {
    _folder: Scratch,
    id: String,
    debug: Vec<u8>,
    stripped: Vec<u8>,
}

fn program(id: &str) -> Program {
    let folder = Scratch::new("upload-program");
    let (debug, stripped) = (folder.path().join("debug"), folder.path().join("stripped"));
    let mut compiler = Command::new(require("gcc"))
        .args(["-g", "-x", "c", "-", &format!("-Wl,--build-id=0x{id}"), "-o"])
        .arg(&debug)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Padded, so that it takes some parts.
    let source = format!("static const char pad[{}] = {{1}}; int main(void) {{ return pad[1]; }}", 3 * MAX_PART);
    std::io::Write::write_all(&mut compiler.stdin.take().unwrap(), source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    assert!(Command::new(require("objcopy")).arg("--strip-debug").args([&debug, &stripped]).status().unwrap().success());
    let read = |path| std::fs::read(path).unwrap();
    Program { id: format!("gnu:{id}"), debug: read(&debug), stripped: read(&stripped), _folder: folder }
}

/// What the collector says to one offer: a lease and where to go on, `later`, or nothing.
#[derive(Debug, PartialEq)]
enum Said {
    Send(String, u64),
    Later,
    No,
}

fn offer(collector: &Host, agent: &str, id: &str, source: &str, bytes: usize) -> Said {
    let body = json!({ "agent": agent, "offers": [{ "build_id": id, "source": source, "bytes": bytes }] });
    let answer = offers(collector, &body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = json(&answer);
    match (answer["wanted"].get(0), answer["later"].get(0)) {
        (Some(wanted), None) => Said::Send(wanted["lease"].as_str().unwrap().to_owned(), wanted["received"].as_u64().unwrap()),
        (None, Some(later)) => {
            assert_eq!(later, id);
            Said::Later
        }
        (None, None) => Said::No,
        both => panic!("{both:?}"),
    }
}

fn lease(collector: &Host, agent: &str, id: &str, source: &str, bytes: usize) -> String {
    match offer(collector, agent, id, source, bytes) {
        Said::Send(lease, 0) => lease,
        other => panic!("{other:?}"),
    }
}

fn offers(collector: &Host, body: &str) -> Answer {
    http::send(collector.address, "POST", "/api/v1/symbols/offers", &[("Content-Type", "application/json")], body.as_bytes()).unwrap()
}

fn put(collector: &Host, id: &str, lease: &str, offset: usize, bytes: &[u8]) -> Answer {
    let path = format!("/api/v1/symbols/{id}/parts/{lease}/{offset}");
    http::send(collector.address, "PUT", &path, &[("Content-Encoding", lz4::ENCODING)], &lz4::compress(bytes)).unwrap()
}

/// Sends all parts from one on; the last answer's status.
fn send(collector: &Host, id: &str, lease: &str, from: usize, object: &[u8]) -> u16 {
    let parts = object.chunks(MAX_PART).enumerate().skip(from / MAX_PART);
    parts.fold(0, |_, (number, part)| put(collector, id, lease, number * MAX_PART, part).status)
}

fn uploads(collector: &Host, name: &str) -> Value {
    collector.status()["uploads"][name].clone()
}

/// Two hosts offer the same at once: one sends it, the other is asked to wait, and then nobody is wanted any more. What is
/// better is wanted all the same, from any host.
#[test]
fn one_host_sends() {
    let collector = Host::with_collector("upload-one-sends");
    let program = program("11aa");
    let ours = lease(&collector, "a", &program.id, "symbol_table", program.stripped.len());
    assert_eq!(offer(&collector, "b", &program.id, "symbol_table", program.stripped.len()), Said::Later);
    assert_eq!(offer(&collector, "b", &program.id, "debug_info", program.debug.len()), Said::Later);
    assert_eq!(send(&collector, &program.id, &ours, 0, &program.stripped), 204);
    assert_eq!(offer(&collector, "b", &program.id, "symbol_table", program.stripped.len()), Said::No);
    let theirs = lease(&collector, "b", &program.id, "debug_info", program.debug.len());
    assert_eq!(send(&collector, &program.id, &theirs, 0, &program.debug), 204);
    for agent in ["a", "c"] {
        assert_eq!(offer(&collector, agent, &program.id, "debug_info", program.debug.len()), Said::No);
    }
    assert_eq!((uploads(&collector, "objects"), uploads(&collector, "under_way")), (json!(2), json!(0)));
    assert_eq!(collector.status()["symbols"]["objects"], 1);
    assert_eq!(put(&collector, &program.id, &ours, 0, b"").header("flamekeeper-collector").len(), 32);
}

/// An upload that was cut within a part goes on at that part, also when the collector was started anew meanwhile.
#[test]
fn goes_on() {
    let mut collector = Host::with_collector("upload-goes-on");
    let program = program("22aa");
    let len = program.debug.len();
    let ours = lease(&collector, "a", &program.id, "debug_info", len);
    assert_eq!(json(&put(&collector, &program.id, &ours, 0, &program.debug[..MAX_PART])), json!({ "received": MAX_PART }));
    let path = format!("/api/v1/symbols/{}/parts/{ours}/{MAX_PART}", program.id);
    let mut cut = TcpStream::connect(collector.address).unwrap();
    write!(cut, "PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nonly this").unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    _ = cut.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(offer(&collector, "a", &program.id, "debug_info", len), Said::Send(ours.clone(), MAX_PART as u64));
    // A part whose answer was lost is sent again: the collector says where it is.
    let again = put(&collector, &program.id, &ours, 0, &program.debug[..MAX_PART]);
    assert_eq!((again.status, json(&again)), (409, json!({ "received": MAX_PART })));
    collector.collector.stop();
    collector.restart_collector();
    assert_eq!(offer(&collector, "b", &program.id, "debug_info", len), Said::Later);
    assert_eq!(offer(&collector, "a", &program.id, "debug_info", len), Said::Send(ours.clone(), MAX_PART as u64));
    assert_eq!(send(&collector, &program.id, &ours, MAX_PART, &program.debug), 204);
    let left: Vec<_> =
        std::fs::read_dir(collector.scratch().join("collector").join("uploads")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["collector-id"]);
}

/// What an agent says wrongly is refused by name and leaves nothing behind; what cannot be used is not asked for again, but
/// a better source of the same object is.
#[test]
fn refuses_what_is_wrong() {
    let collector = Host::with_collector("upload-refuses");
    let program = program("33aa");
    for (body, what) in [
        ("{", "no JSON"),
        (r#"{"agent": "a", "offers": [{"build_id": "elf:abcd", "source": "debug_info", "bytes": 1}]}"#, "a kind that is not known"),
        (r#"{"agent": "a", "offers": [{"build_id": "gnu:abcd", "source": "hearsay", "bytes": 1}]}"#, "a source that is not known"),
        (r#"{"agent": "A/..", "offers": []}"#, "no agent's id"),
        (r#"{"agent": "a", "offers": [], "more": 1}"#, "a field that is not known"),
    ] {
        refused(&offers(&collector, body), 400, what);
    }
    let many = vec![json!({ "build_id": "gnu:ab", "source": "debug_info", "bytes": 1 }); 1001];
    refused(&offers(&collector, &json!({ "agent": "a", "offers": many }).to_string()), 400, "too many");
    refused(&offers(&collector, &" ".repeat(1 << 20)), 413, "too long a list");
    assert_eq!(offer(&collector, "a", &program.id, "debug_info", 2 << 30), Said::No);
    assert_eq!(offer(&collector, "a", &program.id, "debug_info", 0), Said::No);

    let none = "0".repeat(32);
    for lease in [none.as_str(), "..%2f..%2f..%2fetc%2fpasswd", "x"] {
        refused(&put(&collector, &program.id, lease, 0, b"x"), 410, "no lease");
    }
    // It says that it has three parts, and sends what does not fit to that.
    let ours = lease(&collector, "a", &program.id, "debug_info", 3 * MAX_PART);
    refused(&put(&collector, &program.id, &ours, 0, b"too little"), 400, "a short part");
    let path = format!("/api/v1/symbols/{}/parts/{ours}/0", program.id);
    let lz4 = [("Content-Encoding", lz4::ENCODING)];
    refused(&put_raw(&collector, &path, &lz4, &lz4::compress(&vec![0; MAX_PART + 1])), 413, "a long part");
    refused(&put_raw(&collector, &path, &lz4, b"\xff\xff\xff\xffx"), 413, "a part that says it is huge");
    refused(&put_raw(&collector, &path, &lz4, b"\0\0\x08\0x"), 400, "a damaged part");
    refused(&put_raw(&collector, &path, &[], &vec![0; 2 * MAX_PART]), 413, "a long part as it is");
    assert_eq!(put(&collector, &program.id, &ours, MAX_PART, &vec![0; MAX_PART]).status, 409);
    assert_eq!(uploads(&collector, "objects"), 0);
    // Garbage of the right length: as it may be one host's fault, others are asked, some of them.
    for agent in ["a", "b", "c"] {
        let lease = match offer(&collector, agent, &program.id, "debug_info", 3 * MAX_PART) {
            Said::Send(lease, 0) => lease,
            other => panic!("{other:?}"),
        };
        assert_eq!(send(&collector, &program.id, &lease, 0, &vec![7; 3 * MAX_PART]), 422);
    }
    assert_eq!(offer(&collector, "d", &program.id, "debug_info", program.debug.len()), Said::No);
    assert_eq!(
        (uploads(&collector, "objects"), uploads(&collector, "refused"), uploads(&collector, "under_way")),
        (json!(3), json!(3), json!(0))
    );
}

/// A stripped object that cannot be used does not stand in the way of a better one.
#[test]
fn worse_does_not_block_better() {
    let collector = Host::with_collector("upload-worse");
    let program = program("44aa");
    for agent in ["a", "b", "c"] {
        let lease = lease(&collector, agent, &program.id, "symbol_table", MAX_PART);
        assert_eq!(send(&collector, &program.id, &lease, 0, &vec![7; MAX_PART]), 422);
    }
    assert_eq!(offer(&collector, "d", &program.id, "symbol_table", MAX_PART), Said::No);
    let lease = lease(&collector, "d", &program.id, "debug_info", program.debug.len());
    assert_eq!(send(&collector, &program.id, &lease, 0, &program.debug), 204);
}

/// Leases that are taken and not used, and uploads that are begun and left, are bounded for each agent and together, on disk
/// as well; the collector goes on taking others as far as they fit.
#[test]
fn abandoned_uploads_are_bounded() {
    let collector = Host::with_collector("upload-abandoned");
    let mut begun = 0;
    for agent in 0..10 {
        let agent = format!("agent{agent}");
        let ids: Vec<_> = (0..20).map(|number| format!("gnu:{}{number:04x}", hex(&agent))).collect();
        let offers: Vec<_> = ids.iter().map(|id| json!({ "build_id": id, "source": "debug_info", "bytes": 100 << 20 })).collect();
        let answer = self::offers(&collector, &json!({ "agent": agent, "offers": offers }).to_string());
        let answer = json(&answer);
        assert_eq!((answer["wanted"].as_array().unwrap().len(), answer["later"].as_array().unwrap().len()), (16, 4));
        for wanted in answer["wanted"].as_array().unwrap() {
            let (id, lease) = (wanted["build_id"].as_str().unwrap(), wanted["lease"].as_str().unwrap());
            let answer = put(&collector, id, lease, 0, &vec![0; MAX_PART]);
            assert!(matches!(answer.status, 202 | 503), "{answer:?}");
            begun += u64::from(answer.status == 202);
        }
    }
    // 4 GiB of what was said would come.
    assert_eq!(begun, 40);
    let bytes: u64 = std::fs::read_dir(collector.scratch().join("collector").join("uploads"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 41 * MAX_PART as u64, "{bytes} bytes");
    assert_eq!(uploads(&collector, "under_way"), 160);
}

/// Requires this status, and an error in words.
fn refused(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text());
    assert!(json(answer)["error"].as_str().unwrap_or_default().len() > 10, "{what}: {}", answer.text());
}

fn put_raw(collector: &Host, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::send(collector.address, "PUT", path, headers, body).unwrap()
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
