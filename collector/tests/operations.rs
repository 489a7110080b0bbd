//! What one does to a running collector and to its data: its description asked path by path, backups, checks, its end, and a thousand agents at once.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod collector_process;
#[path = "../../bench/fleet.rs"]
#[allow(dead_code)]
mod fleet;
mod ingest_server;
mod schema;
mod store_fixture;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use collector_process::{MEMORY, Process};
use flamekeeper_collector::backup::{self, BackupError};
use flamekeeper_profile::Timestamp;
use flamekeeper_wire::{encode, gzip};
use fleet::{Fleet, SERVICES, STACKS};
use ingest_server::{Answer, Collector, PROFILES};
use serde_json::Value;
use store_fixture::{SECOND, engine, numbered};

/// The start of a window a minute ago, by the collector's own clock.
fn a_minute_ago(collector: &Collector) -> u64 {
    Timestamp::from_seconds(collector.status()["started"].as_f64().unwrap()).0 - 60 * SECOND
}

fn post(collector: &Collector, number: u64, from: u64) -> Answer {
    collector.post(&[("Idempotency-Key", &format!("agent-{number}"))], &encode(&numbered(number, from)))
}

/// Every path and method of the description is asked with its example, and answers with a status and a body that the description has.
#[test]
fn answers_are_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let from = a_minute_ago(&collector);
    assert_eq!(post(&collector, 1, from).status, 200);
    let document = collector.get("/api/v1/openapi.json").json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let address = schema::address(&document, path, operation);
            let (headers, body) = schema::body(operation);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = collector.send(&method.to_uppercase(), &address, &headers, &body);
            let what = format!("{method} {address}: {answer:?}");
            let responses = operation["responses"].as_object().unwrap();
            let response = responses.get(&answer.status.to_string()).unwrap_or_else(|| panic!("the status is not described: {what}"));
            if method == "get"
                && !path.starts_with("/api/v1/symbols/")
                && !["/api/v1/symbolize", "/api/v1/deploys/compare"].contains(&path.as_str())
            {
                assert_eq!(answer.status, 200, "{what}");
            }
            schema::check_response(&document, response, &answer.head, &answer.body, &what);
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    // The example's answers hold something: what is empty shows little.
    let flamegraph = collector.get("/api/v1/flamegraph?from=-1h").json();
    assert!(flamegraph["nodes"]["depth"].as_array().unwrap().len() > 1);
    collector.stop();
}

/// Every route of the collector's sources is in the description, and the other way round.
#[test]
fn every_route_is_described() {
    let mut routes: BTreeSet<String> = BTreeSet::new();
    // Those that the wire crate names.
    let upload = format!("{}{{build_id}}", flamekeeper_wire::symbols::UPLOAD_PATH);
    let part = format!("{upload}/parts/{{lease}}/{{offset}}");
    routes.extend([flamekeeper_wire::PROFILES_PATH.to_owned(), flamekeeper_wire::symbols::OFFERS_PATH.to_owned(), upload, part]);
    let (mut calls, mut folders) = (0, vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            for call in text.split(".route(").skip(1) {
                calls += 1;
                if let Some(literal) = call.trim_start().strip_prefix('"') {
                    routes.insert(literal.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    assert!(calls >= routes.len() && calls > 15, "{calls} calls: {routes:?}");
    let document: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, routes);
}

/// A backup is refused while the collector runs; restored elsewhere it answers the same and knows its batches; a damaged one is not restored.
#[test]
fn backed_up_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (data, copy, other) = (folder.path().join("data"), folder.path().join("copy"), folder.path().join("other"));
    let collector = Collector::start(&data);
    let from = a_minute_ago(&collector);
    assert!((0..20).all(|number| post(&collector, number, from).status == 200));
    let total = collector.get("/api/v1/flamegraph?from=-1h").json()["total"].clone();
    assert!(matches!(backup::backup(&data, &copy), Err(BackupError::Running(_))));
    collector.stop();
    let made = backup::backup(&data, &copy).unwrap();
    assert!(made.files > 3 && made.bytes > 1000, "{made:?}");
    assert!(matches!(backup::backup(&data, &copy), Err(BackupError::NotEmpty(_))));
    assert_eq!(backup::restore(&copy, &other).unwrap(), made);
    assert!(matches!(backup::restore(&copy, &other), Err(BackupError::NotEmpty(_))));
    assert_eq!(flamekeeper_collector::check(&other).unwrap().damaged, 0);
    let restored = Collector::start(&other);
    assert_eq!(restored.get("/api/v1/flamegraph?from=-1h").json()["total"], total);
    assert_eq!(post(&restored, 7, from).header("flamekeeper-batch"), "duplicate");
    assert_eq!(post(&restored, 99, from).header("flamekeeper-batch"), "accepted");
    restored.stop();
    assert!(matches!(backup::restore(&data, &folder.path().join("new")), Err(BackupError::NoBackup { .. })));
    let journal = std::fs::read_dir(copy.join("profiles")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.push(0);
    std::fs::write(&journal, bytes).unwrap();
    assert!(matches!(backup::restore(&copy, &folder.path().join("new")), Err(BackupError::Damaged(_))));
    assert!(!folder.path().join("new").exists());
}

/// Check finds nothing in a sound store, also after tiers were derived, and names a dictionary's entry that is gone and the rows that need it.
#[test]
fn checked() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let from = a_minute_ago(&collector);
    assert!((0..50).all(|number| post(&collector, number, from).status == 200));
    collector.stop();
    let sound = flamekeeper_collector::check(folder.path()).unwrap();
    assert!(sound.entries > 300 && sound.damaged == 0, "{sound:?}");
    let database = engine(&folder.path().join("profiles"));
    let name = database.list_keyspace_names().into_iter().find(|name| name.starts_with("words-")).unwrap();
    let words = database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap();
    let last = words.prefix("l").next_back().unwrap().key().unwrap();
    words.remove(last).unwrap();
    database.persist(fjall::PersistMode::SyncAll).unwrap();
    drop((words, database));
    let damaged = flamekeeper_collector::check(folder.path()).unwrap();
    assert!(damaged.damaged > 0 && damaged.damages.iter().any(|damage| damage.contains("location")), "{damaged:?}");
}

/// Bytes that changed within a file of the engine's tables, which a seal knows by length only, are found by reading them.
#[test]
fn damaged_tables_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let from = a_minute_ago(&collector);
    assert!((0..20).all(|number| post(&collector, number, from).status == 200));
    collector.stop();
    let profiles = folder.path().join("profiles");
    {
        let database = engine(&profiles);
        for name in database.list_keyspace_names() {
            database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap().rotate_memtable_and_wait().unwrap();
        }
    }
    assert_eq!(flamekeeper_collector::check(folder.path()).unwrap().damaged, 0);
    let mut folders = vec![profiles];
    let mut tables = Vec::new();
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            folders.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.parent().unwrap().ends_with("tables") && !path.to_string_lossy().contains("/keyspaces/0/") {
            tables.push((path.metadata().unwrap().len(), path));
        }
    }
    // Not the engine's own, without which nothing can be opened. Its first blocks are of data.
    let (_, table) = tables.into_iter().max().unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[40..60].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&table, bytes).unwrap();
    let checked = flamekeeper_collector::check(folder.path()).unwrap();
    let named = ["words-", "raw-"].iter().any(|kind| checked.damages[0].starts_with(kind)) && checked.damages[0].contains("not looked at");
    assert!(checked.damaged > 0 && checked.files == 0 && named, "{checked:?}");
}

/// A collector that is told to end while agents send finishes what it took: every acknowledged batch is there afterwards, once.
#[test]
fn ends_with_its_commits() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let from = a_minute_ago(&collector);
    let (next, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    let address = collector.address;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    match try_post(address, &format!("agent-{number}"), "", &encode(&numbered(number, from))) {
                        Some(answer) if answer.status == 200 => acknowledged.fetch_add(1, Ordering::Relaxed),
                        _ => return,
                    };
                }
            });
        }
        while acknowledged.load(Ordering::Relaxed) < 50 {
            std::thread::yield_now();
        }
        collector.stop();
    });
    let (next, acknowledged) = (next.into_inner(), acknowledged.into_inner());
    assert_eq!(flamekeeper_collector::check(folder.path()).unwrap().damaged, 0);
    let collector = Collector::start(folder.path());
    let batches = collector.status()["batches"].as_u64().unwrap();
    assert!((acknowledged..=next).contains(&batches), "{acknowledged} acknowledged, {batches} stored, {next} sent");
    collector.stop();
}

/// Posts; none where no answer came.
fn try_post(address: SocketAddr, key: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let head = format!(
        "POST {PROFILES} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nIdempotency-Key: {key}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    // One that answers before it has read all is understood: its answer is read.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    Some(Answer::read(stream)).filter(|answer| answer.status != 0)
}

/// Not a test of its own: see [`collector_process`].
#[test]
fn child() {
    collector_process::serve();
}

/// So many agents, each with so many batches of so many services, all at once; each waits as long as it is asked to. Everything is stored, once, and
/// the collector stays within its memory.
fn agents_at_once(agents: u64, batches: u64, services: u64) {
    let folder = tempfile::tempdir().unwrap();
    let collector = Process::start(folder.path());
    let address = collector.address;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 10 * 10;
    let fleet = Fleet::new(0..services);
    let bodies: Vec<(Vec<u8>, u64)> = (0..batches)
        .map(|number| {
            let (batch, _) = fleet.batch(number, Timestamp((now - 60 - number * 10) * SECOND), 10, 0..services, STACKS);
            (gzip::compress(&encode(&batch)), batch.samples())
        })
        .collect();
    let (deferred, start) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for agent in 0..agents {
            let (bodies, deferred) = (&bodies, &deferred);
            let ship = move || bodies.iter().enumerate().for_each(|(number, (body, _))| ship(address, (agent, number), body, deferred));
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, ship).unwrap();
        }
    });
    let found = collector.status();
    assert_eq!(found["batches"].as_u64(), Some(agents * batches), "{found}");
    let samples: u64 = bodies.iter().map(|(_, samples)| samples).sum();
    assert_eq!(found["samples_stored"].as_u64(), Some(agents * samples), "{found}");
    let peak = collector.peak_anonymous();
    let took = start.elapsed();
    eprintln!(
        "{agents} agents, {batches} batches of {} bytes each: {took:.1?}; sent away {} times, duplicates {}; peak memory {} MiB of {} MiB",
        bodies[0].0.len(),
        deferred.into_inner(),
        found["duplicates"],
        peak >> 20,
        MEMORY >> 20
    );
    assert!(peak <= MEMORY, "{peak} bytes");
    collector.stop();
}

/// Sends one batch until it is taken, as the agent does (`agent/src/ship`).
fn ship(address: SocketAddr, (agent, number): (u64, usize), body: &[u8], deferred: &AtomicU64) {
    loop {
        match try_post(address, &format!("agent_{agent}-{number}"), "Content-Encoding: gzip\r\n", body) {
            Some(answer) if answer.status == 200 => return,
            Some(answer) => {
                assert!([429, 503].contains(&answer.status), "{answer:?}");
                let seconds: u64 = answer.header("retry-after").parse().unwrap();
                deferred.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(seconds) + Duration::from_millis(agent % 1000));
            }
            // The listener's queue was full, or the connection cut: as a network does.
            None => std::thread::sleep(Duration::from_millis(500 + agent % 1000)),
        }
    }
}

/// A thousand agents at once: all is stored, once, within the memory that the collector was given.
#[test]
fn a_thousand_agents() {
    agents_at_once(1000, 1, 1);
}

/// The same with five batches of all services from each.
#[test]
#[ignore = "a measurement, of a release build"]
fn a_thousand_busy_agents() {
    agents_at_once(1000, 5, SERVICES);
}
