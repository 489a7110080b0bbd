//! The figures as a strict reader of the format sees them, and clients that mean harm.

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream as Client;
use std::time::Instant;

use super::*;

struct Running {
    address: SocketAddr,
    stop: StopFlag,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn start() -> Self {
        let stats = EngineStats::default();
        stats.samples.add(12);
        stats.lost_by_reason[0].add(3);
        let source = Source { stats: Arc::new(stats), progress: Arc::default() };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), source).unwrap();
        let (address, stop) = (server.address().unwrap(), StopFlag::new().unwrap());
        let flag = stop.clone();
        let run = move || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(server.run(&flag));
        Self { address, stop, thread: Some(std::thread::spawn(run)) }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
    }

    fn ask(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.raise();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}

/// Reads a page by the rules of the format; every sample by its name with labels.
fn parse(page: &str) -> HashMap<String, f64> {
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let (mut helped, mut samples) = (HashSet::new(), HashMap::new());
    let mut current = "";
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(is_name(name) && text.ends_with('.') && helped.insert(name), "{line}");
            current = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == current && ["gauge", "counter"].contains(&kind) && kinds.insert(name, kind).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
            assert!(name == current && kinds.contains_key(name), "{line}");
            let labels = labels.strip_suffix('}').unwrap();
            for (label, value) in labels.split(',').filter(|label| !label.is_empty()).map(|label| label.split_once('=').unwrap()) {
                assert!(is_name(label) && value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            assert!(samples.insert(key.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    assert_eq!(helped.len(), kinds.len());
    samples
}

/// Every metric has help, type and samples, with names and units as the format and its conventions want them.
#[test]
fn page_is_well_formed() {
    let server = Running::start();
    let answer = server.ask("GET /metrics");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let samples = parse(page);
    let value = |key: &str| samples[&format!("flamekeeper_agent_{key}")];
    assert!((value("samples_total") - 12.0).abs() < 1e-9);
    assert!((value("samples_lost_total{reason=\"ring_full\"}") - 3.0).abs() < 1e-9);
    for key in ["cpu_seconds_total", "resident_memory_bytes", "frequency_hertz", "spool_bytes", "budget_restraint{of=\"frequency\"}"] {
        value(key);
    }
}

/// Only this page, only to read.
#[test]
fn other_requests_are_refused() {
    let server = Running::start();
    assert!(server.ask("GET /").starts_with("HTTP/1.1 404 "));
    let refused = server.ask("DELETE /metrics");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"), "{refused}");
    assert!(server.ask("HEAD /metrics").ends_with("\r\n\r\n"));
    let long = server.ask(&format!("GET /metrics?{}", "x".repeat(20_000)));
    assert!(long.starts_with("HTTP/1.1 4"), "{}", &long[..long.len().min(80)]);
}

/// Clients that say nothing hold the server up for no longer than its limit.
#[test]
fn silent_clients_are_shown_out() {
    let server = Running::start();
    let silent: Vec<Client> = (0..CLIENTS + 2).map(|_| server.connect()).collect();
    let begun = Instant::now();
    assert!(server.ask("GET /metrics").starts_with("HTTP/1.1 200 OK"));
    assert!(begun.elapsed() < Duration::from_secs(28), "{:?}", begun.elapsed());
    drop(silent);
}
