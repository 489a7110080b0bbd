//! What the store in ClickHouse costs its server, on the load of a fleet (`bench/fleet.rs`).
//!
//! `cargo test --workspace --test store_clickhouse_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod clickhouse_front;
#[path = "clickhouse_front/server.rs"]
mod clickhouse_server;
#[path = "../../bench/fleet.rs"]
mod fleet;

use std::time::{Duration, Instant};

use clickhouse_front::Front;
use clickhouse_server::server;
use flamekeeper_collector::store::{Appended, ClickHouseStore, Retention, Selection, Store as _, StoreLimits, migrate};
use flamekeeper_profile::{Batch, Timestamp, Window};
use fleet::{Fleet, SERVICES, STACKS};

const HOSTS: u64 = 40;
/// Windows whose batches are stored one by one, and as many again in which all hosts' series come in one batch.
const WINDOWS: u64 = 6;
const SECOND: u64 = Timestamp::SECOND;
/// Within an hour, from a whole minute on.
const START: u64 = 1_764_000_000 / 3600 * 3600 * SECOND + 600 * SECOND;

/// CPU seconds of a process, all threads (proc(5): utime and stime, 100 ticks a second).
fn cpu_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// The series of several batches of the same fleet in one.
fn together(batches: Vec<(Batch, u64)>) -> (Batch, u64) {
    let mut batches = batches.into_iter();
    let (mut all, mut rows) = batches.next().unwrap();
    for (batch, made) in batches {
        all.series.extend(batch.series);
        all.ledger.add(&batch.ledger);
        rows += made;
    }
    (all, rows)
}

/// Prints what the engine takes to store batches, one by one and many in one, and to answer, and what a row takes on disk.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_fleet() {
    let front = Front::start();
    let pid = front.pid().to_string();
    let server = server(&front);
    let years = 3650 * 24 * 3600 * SECOND;
    let retention = Retention { raw: years, minute: years, hour: years, bytes: u64::MAX };
    migrate(&server, None, &retention).unwrap();
    let store = ClickHouseStore::connect(&server, retention, StoreLimits::default(), || Timestamp(START)).unwrap();
    let fleet = Fleet::new(0..SERVICES);
    let mut rows = 0;
    for window in 0..2 * WINDOWS {
        let from = Timestamp(START + window * 10 * SECOND);
        let mut made: Vec<(Batch, u64)> = (0..HOSTS).map(|host| fleet.batch(host, from, 10, 0..SERVICES, STACKS)).collect();
        if window >= WINDOWS {
            made = vec![together(made)];
        }
        let (before, own, start, batches, mut stored) = (cpu_seconds(&pid), cpu_seconds("self"), Instant::now(), made.len(), 0);
        for (number, (batch, made)) in made.into_iter().enumerate() {
            let id = format!("host_{number}-{window}").parse().unwrap();
            assert_eq!(store.append(&id, batch).unwrap(), Appended::Accepted);
            stored += made;
        }
        rows += stored;
        let engine = cpu_seconds(&pid) - before;
        eprintln!(
            "window {window}: {stored} rows in {batches} batches: {:.0} rows per CPU second of the engine, {:.1} ms of it a batch; {:.1} s, {:.1} s of CPU in this program",
            stored as f64 / engine,
            engine * 1000.0 / batches as f64,
            start.elapsed().as_secs_f64(),
            cpu_seconds("self") - own
        );
    }
    let before = cpu_seconds(&pid);
    for table in
        front.run(&format!("SELECT name FROM system.tables WHERE database = '{}' AND engine LIKE '%MergeTree'", server.database)).lines()
    {
        front.run(&format!("OPTIMIZE TABLE {}.{table} FINAL", server.database));
    }
    eprintln!("{rows} rows; merged into one part a table in {:.1} s of CPU", cpu_seconds(&pid) - before);
    eprint!(
        "{}",
        front.run(&format!(
            "SELECT table, sum(rows), sum(bytes_on_disk), round(sum(bytes_on_disk) / sum(rows), 2) FROM system.parts \
             WHERE active AND database = '{}' GROUP BY table ORDER BY sum(bytes_on_disk) DESC",
            server.database
        ))
    );
    for (what, from, seconds, selector) in [
        ("2 min, minutes", 0, 120, r#"{service="service-3"}"#),
        ("50 s, rows", 5, 50, r#"{service="service-3"}"#),
        ("50 s, rows of a host", 5, 50, r#"{service="service-3",host="web-7"}"#),
    ] {
        let from = START + from * SECOND;
        let window = Window::new(Timestamp(from), Timestamp(from + seconds * SECOND));
        let selection = Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() };
        let (before, mut times) = (cpu_seconds(&pid), Vec::new());
        for _ in 0..9 {
            let start = Instant::now();
            assert!(store.merged(&selection).unwrap().completeness.samples > 0);
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let median: Duration = times[4];
        eprintln!("merged, {what}: {median:.1?} at the median, {:.1} ms of the engine's CPU", (cpu_seconds(&pid) - before) * 1000.0 / 9.0);
    }
}
