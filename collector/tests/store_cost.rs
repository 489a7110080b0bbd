//! What the embedded store costs, on the load of a fleet: 30 services on each host, 3,000 stacks a service, Zipf, 20 Hz.
//!
//! `cargo test --release -p flamekeeper-collector --test store_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flamekeeper_collector::store::{Selection, Store as _};
use flamekeeper_profile::{
    Batch, BuildId, BuildIdKind, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window,
};
use store_fixture::{Random, SECOND, START, id, open};

const SERVICES: u64 = 30;
const STACKS: u64 = 3_000;
const HOSTS: u64 = 100;
const WINDOWS: u64 = 20;
/// Samples of a service in a window of 10 s, one CPU at 20 Hz.
const SAMPLES: u64 = 200;

/// Stack `number` of a service: 30 frames, whose root side is shared with its neighbours.
fn stack(tables: &mut Tables, service: u64, number: u64) -> flamekeeper_profile::StackId {
    let build_id = BuildId::new(BuildIdKind::Gnu, &[service as u8; 20]).unwrap();
    let object = tables.intern_object(Some(build_id), "/usr/bin/service");
    let locations: Vec<_> = (0..30_u64)
        .map(|depth| {
            let branch = number >> (29 - depth).min(11);
            tables.intern_address(FrameKind::Native, Some(object), Svma(0x1000 + (branch * 31 + depth) % 20_000 * 16))
        })
        .collect();
    tables.intern_stack(&locations, StackEnd::Root)
}

/// A host's batch of one window; with it the number of its rows.
fn fleet_batch(host: u64, window: u64) -> (Batch, u64) {
    let mut random = Random::new(host * 1_000_003 + window);
    let from = Timestamp(START + window * 10 * SECOND);
    let labels = Labels::new().with("host", &format!("web-{host}"));
    let (mut tables, mut series, mut rows) = (Tables::new(), Vec::new(), 0);
    for service in 0..SERVICES {
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for _ in 0..SAMPLES {
            // The inverse of Zipf's law (exponent 1) over the stacks.
            let share = random.below(1 << 20) as f64 / f64::from(1 << 20);
            let rank = (STACKS as f64).powf(share) as u64 - 1;
            *counts.entry(rank).or_default() += 1;
        }
        let values: Vec<_> = counts.into_iter().map(|(number, count)| (stack(&mut tables, service, number), count)).collect();
        rows += values.len() as u64;
        let labels = labels.clone().with("service", &format!("service-{service}")).with("pid", &(1000 + service).to_string());
        series.push(Series { labels: labels.with("version", "1.4"), sample_type: SampleType::cpu(50_000_000), values });
    }
    let mut ledger = Ledger::new();
    ledger.take(SERVICES * SAMPLES);
    (Batch { window: Window::new(from, from.saturating_add(10 * SECOND)), labels, tables, series, ledger }, rows)
}

/// CPU seconds of this process, all threads (proc(5): utime and stime, 100 ticks a second).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Prints rows per CPU second, the time to durability, bytes a row, and the time of a merge.
#[test]
#[ignore = "a measurement, of a release build"]
fn cost_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut rows_total = 0;
    for threads in [1_u64, 8] {
        let next = AtomicU64::new(0);
        let (rows, times) = (AtomicU64::new(0), Mutex::new(Vec::new()));
        let (mut cpu, mut wall) = (0.0, 0.0);
        for window in (0..WINDOWS).map(|window| if threads == 1 { window } else { window + WINDOWS }) {
            let made: Vec<_> = (0..HOSTS).map(|host| fleet_batch(host, window)).collect();
            let (cpu_before, start) = (cpu_seconds(), Instant::now());
            next.store(0, Ordering::Relaxed);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        while let Some((batch, count)) = made.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                            let batch = batch.clone();
                            let agent = batch.labels.get("host").replace('-', "_");
                            let start = Instant::now();
                            store.append(&id(&agent, window), batch).unwrap();
                            times.lock().unwrap().push(start.elapsed());
                            rows.fetch_add(*count, Ordering::Relaxed);
                        }
                    });
                }
            });
            cpu += cpu_seconds() - cpu_before;
            wall += start.elapsed().as_secs_f64();
        }
        let rows = rows.into_inner();
        rows_total += rows;
        let median = median(times.into_inner().unwrap());
        eprintln!(
            "{threads} writers: {rows} rows, {:.0} rows per CPU second, {:.0} rows/s, append {median:.1?} at the median",
            rows as f64 / cpu,
            rows as f64 / wall
        );
    }
    let window = Window::new(Timestamp(START), Timestamp(START + 2 * WINDOWS * 10 * SECOND));
    for (what, selector) in [("one service, all hosts", r#"{service="service-3"}"#), ("one host", r#"{host="web-7"}"#), ("everything", "")]
    {
        let selection = Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() };
        let ask = |_| {
            let start = Instant::now();
            store.merged(&selection).unwrap();
            start.elapsed()
        };
        eprintln!("merge of {what}, {} s: {:.1?}", window.duration() / SECOND, median((0..5).map(ask).collect()));
    }
    drop(store);
    bytes(folder.path(), rows_total);
}

fn bytes(folder: &std::path::Path, rows: u64) {
    let database = fjall::Database::builder(folder).open().unwrap();
    let mut sum = 0;
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap();
        keyspace.rotate_memtable_and_wait().unwrap();
        keyspace.major_compact().unwrap();
        sum += keyspace.disk_space();
        eprintln!("  {:20} {:>10} bytes", &**keyspace.name(), keyspace.disk_space());
    }
    eprintln!("{:.2} bytes a row, dictionaries included, compacted, without the journal", sum as f64 / rows as f64);
}
