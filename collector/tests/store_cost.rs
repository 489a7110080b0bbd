//! What the embedded store costs, on the load of a fleet (`bench/fleet.rs`): 200 hosts, 30 services, 3,000 stacks a service, Zipf, 20 Hz.
//!
//! `cargo test --release --workspace --test store_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod collector_process;
#[path = "../../bench/fleet.rs"]
mod fleet;
mod ingest_server;
mod query_fixture;
mod store_fixture;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use collector_process::{MEMORY, Process};
use flamekeeper_collector::query::Profile;
use flamekeeper_collector::query::diff::{Diff, Normalization, gather};
use flamekeeper_collector::store::{EmbeddedStore, Selection, Store as _};
use flamekeeper_profile::{Batch, Ledger, Tables, Timestamp, Window};
use flamekeeper_wire::{Limits, gzip};
use fleet::{Fleet, SERVICES, STACKS};
use ingest_server::PROFILES;
use query_fixture::Names;
use store_fixture::{SECOND, START, engine, id, open};

const HOSTS: u64 = 200;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The service that is asked about, and the only one that has more than [`FULL_MINUTES`].
const ASKED: u64 = 3;
/// The last minutes, in which all services have batches of 10 s.
const FULL_MINUTES: u64 = 1;
/// The end of all data: not at the edge of an hour or a minute, as a question's end seldom is.
const END: Timestamp = Timestamp((START / DAY + 8) * DAY + 13 * HOUR + 17 * MINUTE + 20 * SECOND);

/// CPU seconds of this process.
fn cpu_seconds() -> f64 {
    collector_process::cpu_seconds("self")
}

/// CPU time of this thread (Documentation/scheduler/sched-stats.rst: the first number is nanoseconds on a CPU).
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Stores what `make` makes of each number below `count`, from many threads; gives the rows.
fn store_all(store: &EmbeddedStore, agent: &str, count: u64, make: impl Fn(u64) -> (Batch, u64) + Sync) -> u64 {
    let (next, rows) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let (batch, made) = make(number);
                    store.append(&id(agent, number), batch).unwrap();
                    rows.fetch_add(made, Ordering::Relaxed);
                }
            });
        }
    });
    rows.into_inner()
}

/// The week before, in windows of an hour: five hosts have all stacks, the others the most frequent ones, so that the merged hours are
/// what they would be and making them takes less. Then the last hour before the full minutes, in windows of 10 s. The series of
/// all hosts come in one batch a window, and each host's ledger in one of its own.
fn past(store: &EmbeddedStore) {
    let fleet = Fleet::new(ASKED..ASKED + 1);
    let recent = (END.0 - 75 * MINUTE) / HOUR * HOUR;
    let first_hour = (END.0 - 8 * DAY) / HOUR;
    let hours = recent / HOUR - first_hour;
    let stacks = |host| if host < 5 { STACKS } else { 50 };
    store_all(store, "week", hours, |hour| together(&fleet, Timestamp((first_hour + hour) * HOUR), 3600, stacks));
    let windows = (END.0 - FULL_MINUTES * MINUTE - recent) / (10 * SECOND);
    store_all(store, "hour", windows, |window| together(&fleet, Timestamp(recent + window * 10 * SECOND), 10, |_| STACKS));
    let ledger = |number: u64, from: u64, seconds| {
        let (mut batch, _) = fleet.batch(number % HOSTS, Timestamp(from), seconds, 0..0, 0);
        batch.tables = Tables::new();
        batch.ledger.take(seconds * fleet::HERTZ);
        (batch, 0)
    };
    store_all(store, "week_ledger", HOSTS * hours, |number| ledger(number, (first_hour + number / HOSTS) * HOUR, 3600));
    store_all(store, "hour_ledger", HOSTS * windows, |number| ledger(number, recent + number / HOSTS * 10 * SECOND, 10));
}

/// One batch with the asked service's series of all hosts, and no ledger.
fn together(fleet: &Fleet, from: Timestamp, seconds: u64, stacks: impl Fn(u64) -> u64) -> (Batch, u64) {
    let (mut all, mut rows) = fleet.batch(0, from, seconds, ASKED..ASKED + 1, stacks(0));
    for host in 1..HOSTS {
        let (series, made) = fleet.series(host, from, seconds, ASKED, stacks(host));
        all.series.push(series);
        rows += made;
    }
    all.ledger = Ledger::new();
    (all, rows)
}

/// What became of a body: the time that it took, and the CPU time of this thread to unzip, decode and store it.
struct Stored {
    wall: Duration,
    cpu: [Duration; 3],
}

fn store_body(store: &EmbeddedStore, body: &[u8], window: u64) -> Stored {
    let (start, limits) = (Instant::now(), Limits::default());
    let mut marks = vec![thread_cpu()];
    let body = gzip::decompress(body, limits.decompressed_bytes).unwrap();
    marks.push(thread_cpu());
    let batch = flamekeeper_wire::decode(&body, &limits).unwrap();
    marks.push(thread_cpu());
    let host = batch.labels.get("host").replace('-', "_");
    store.append(&id(&host, window), batch).unwrap();
    marks.push(thread_cpu());
    let cpu = [0, 1, 2].map(|phase| marks[phase + 1].saturating_sub(marks[phase]));
    Stored { wall: start.elapsed(), cpu }
}

/// A window of all hosts, as their agents would send it, and its rows.
fn bodies(fleet: &Fleet, from: Timestamp) -> (Vec<Vec<u8>>, u64) {
    let mut rows = 0;
    let of_host = |host| {
        let (batch, made) = fleet.batch(host, from, 10, 0..SERVICES, STACKS);
        rows += made;
        gzip::compress(&flamekeeper_wire::encode(&batch))
    };
    ((0..HOSTS).map(of_host).collect(), rows)
}

/// The full minutes, as bodies that agents would send; prints what they took.
fn ingest(store: &EmbeddedStore, fleet: &Fleet) -> u64 {
    let (mut rows, mut cpu, mut wall, mut bytes) = (0, 0.0, 0.0, 0);
    let all = Mutex::new(Vec::new());
    for window in 0..FULL_MINUTES * 6 {
        let from = Timestamp(END.0 - FULL_MINUTES * MINUTE + window * 10 * SECOND);
        let (bodies, made) = bodies(fleet, from);
        rows += made;
        bytes += bodies.iter().map(Vec::len).sum::<usize>();
        let (cpu_before, start, next) = (cpu_seconds(), Instant::now(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let stored = store_body(store, body, window);
                        all.lock().unwrap().push(stored);
                    }
                });
            }
        });
        let took = cpu_seconds() - cpu_before;
        eprintln!("window {window}: {:.0} rows per CPU second", made as f64 / took);
        cpu += took;
        wall += start.elapsed().as_secs_f64();
    }
    let all = all.into_inner().unwrap();
    let count = all.len() as u64;
    eprintln!(
        "ingest: {rows} rows, {} of {} bytes a body; unzipped, decoded and stored durably: {:.0} rows per CPU second (the whole process), {:.0} rows/s by two threads",
        count,
        bytes as u64 / count,
        rows as f64 / cpu,
        rows as f64 / wall,
    );
    let [unzip, decode, append] = [0, 1, 2].map(|phase| median(all.iter().map(|stored| stored.cpu[phase]).collect()));
    eprintln!(
        "a body of {} rows, medians: {:.1?} of wall time; of CPU time {unzip:.1?} to unzip, {decode:.1?} to decode, {append:.1?} to store, together {:.0} rows a second",
        rows / count,
        median(all.iter().map(|stored| stored.wall).collect()),
        rows as f64 / count as f64 / (unzip + decode + append).as_secs_f64()
    );
    rows
}

fn roll_up(store: &EmbeddedStore, what: &str, now: Timestamp) {
    let (cpu, start) = (cpu_seconds(), Instant::now());
    let rolled = store.roll_up(now).unwrap();
    let cpu = cpu_seconds() - cpu;
    eprintln!("derived, {what}: {} buckets from {} stored rows in {cpu:.2} s of CPU, {:.1?}", rolled.buckets, rolled.rows, start.elapsed());
}

/// How often each question is asked.
const QUESTIONS: u32 = 15;

/// From the question to the tree, without names of symbols.
fn ask(store: &EmbeddedStore, window: Window, selector: &str) -> (String, u64, usize) {
    let selection = Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() };
    let mut answer = (0, 0);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..QUESTIONS {
        let (start, cpu) = (Instant::now(), thread_cpu());
        let found = store.merged(&selection).unwrap();
        let merged = thread_cpu();
        let mut profile = Profile::new("cpu");
        (profile.merged, profile.unit, profile.window, profile.completeness) = (found.merged, found.unit, window, found.completeness);
        let named = profile.symbolize(&Names);
        let tree = named.tree();
        answer = (named.total().samples, tree.nodes().len());
        let all = [start.elapsed(), thread_cpu().saturating_sub(cpu), merged.saturating_sub(cpu)];
        times.iter_mut().zip(all).for_each(|(times, time)| times.push(time));
    }
    // The machine may be busy with something else: CPU time is the part that is this question's.
    let first = times[0][0];
    let [wall, cpu, merged] = times.map(median);
    let took = format!("{wall:.1?} at the median (the first {first:.1?}), {cpu:.1?} of CPU ({merged:.1?} in the store)");
    (took, answer.0, answer.1)
}

/// Prints what storing costs by itself: the full minutes of the fleet in a store that has nothing yet.
#[test]
#[ignore = "a measurement, of a release build"]
fn cost_of_ingest() {
    let folder = tempfile::tempdir().unwrap();
    ingest(&open(folder.path()), &Fleet::new(0..SERVICES));
}

/// Prints what storing, deriving and asking cost.
#[test]
#[ignore = "a measurement, of a release build"]
fn cost_of_a_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    past(&store);
    roll_up(&store, "a week of one service", Timestamp(END.0 - FULL_MINUTES * MINUTE));
    let rows = ingest(&store, &Fleet::new(0..SERVICES));
    roll_up(&store, "the full minutes", END);
    for (what, length) in [("10 min", 10 * MINUTE), ("1 h", HOUR), ("24 h", DAY), ("7 d", 7 * DAY)] {
        let window = Window::new(Timestamp(END.0 - length), END);
        let (took, samples, nodes) = ask(&store, window, r#"{service="service-3"}"#);
        eprintln!("one service, {HOSTS} hosts, {what}: {took} to the tree of {nodes} nodes, {samples} samples");
    }
    for selector in [r#"{service="service-3",host="web-7"}"#, r#"{service="service-3",host=~"web-1.*"}"#] {
        let (took, samples, nodes) = ask(&store, Window::new(Timestamp(END.0 - HOUR), END), selector);
        eprintln!("{selector}, 1 h: {took} to the tree of {nodes} nodes, {samples} samples");
    }
    for (what, length) in [("1 h", HOUR), ("7 d", 7 * DAY)] {
        let (cpu, start) = (cpu_seconds(), Instant::now());
        let found = store.series(Window::new(Timestamp(END.0 - length), END)).unwrap().len();
        eprintln!("{found} series of {what}: {:.1?}, {:.0} ms of CPU", start.elapsed(), (cpu_seconds() - cpu) * 1000.0);
    }
    for (what, length) in [("10 min", 10 * MINUTE), ("30 min", 30 * MINUTE), ("24 h", DAY), ("3 d", 3 * DAY)] {
        diff(&store, what, length);
    }
    drop(store);
    bytes(folder.path(), rows);
}

/// What a diff of the newest window of a length with the one before it costs, in its two halves.
fn diff(store: &EmbeddedStore, what: &str, length: u64) {
    let side = |ago: u64| Selection {
        window: Window::new(Timestamp(END.0 - (ago + 1) * length), Timestamp(END.0 - ago * length)),
        profile_type: "cpu".into(),
        selector: r#"{service="service-3"}"#.parse().unwrap(),
    };
    let cpu = cpu_seconds();
    let sides = [gather(store, &side(1)).unwrap(), gather(store, &side(0)).unwrap()];
    let units = sides.iter().map(|side| side.units.len()).sum::<usize>();
    let gathered = cpu_seconds();
    let diff = Diff::of("cpu", sides, Normalization::Cores, &Names, 20_000);
    let (gather, compare) = ((gathered - cpu) * 1000.0, (cpu_seconds() - gathered) * 1000.0);
    let (functions, flagged) = (diff.functions.len(), diff.statistics.flagged);
    eprintln!(
        "diff of one service, {HOSTS} hosts, {what} a side: {gather:.0} ms of CPU to gather {units} parts, {compare:.0} ms to compare {functions} functions, {flagged} flagged"
    );
}

/// Bytes of the slot that holds the full minutes.
fn bytes(folder: &std::path::Path, rows: u64) {
    let database = engine(folder);
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap();
        keyspace.rotate_memtable_and_wait().unwrap();
        keyspace.major_compact().unwrap();
        eprintln!("  {:20} {:>12} bytes", &*name, keyspace.disk_space());
    }
    eprintln!("{rows} rows of the full minutes are in the newest raw slot, with those of the asked service of the hour before");
}

/// Not a test of its own: see [`collector_process`].
#[test]
fn child() {
    collector_process::serve();
}

/// Windows of 10 s that are sent over HTTP: two whole minutes.
const HTTP_WINDOWS: u64 = 12;
/// How often the collector derives its tiers, twice.
const DERIVED: Duration = Duration::from_secs(25);

/// Prints what the same bodies take over HTTP, of a collector in a process of its own.
#[test]
#[ignore = "a measurement, of a release build"]
fn cost_over_http() {
    let (folder, fleet) = (tempfile::tempdir().unwrap(), Fleet::new(0..SERVICES));
    let collector = Process::start(folder.path());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    // Minutes that are over for so long that they are derived at once.
    let from = now / 60 * 60 - 60 - HTTP_WINDOWS * 10;
    let (mut rows, mut batches, mut cpu) = (0, 0, 0.0);
    for window in 0..HTTP_WINDOWS {
        let (bodies, made) = bodies(&fleet, Timestamp((from + window * 10) * SECOND));
        (rows, batches) = (rows + made, batches + bodies.len() as u64);
        let (before, next) = (collector.cpu_seconds(), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut connection = Connection::to(collector.address);
                    loop {
                        let host = next.fetch_add(1, Ordering::Relaxed);
                        let Some(body) = bodies.get(host as usize) else { return };
                        connection.post(&format!("web_{host}-{window}"), body);
                    }
                });
            }
        });
        let took = collector.cpu_seconds() - before;
        cpu += took;
        eprintln!("window {window}: {:.0} rows per CPU second", made as f64 / took);
    }
    assert_eq!(collector.status()["batches"].as_u64(), Some(batches));
    std::thread::sleep(DERIVED);
    eprintln!(
        "over HTTP: {rows} rows in {batches} batches by two connections: {:.0} rows per CPU second of the collector's process while they came, {:.0} of all \
         its CPU time from its start until the minutes were derived; peak memory {} MiB of {} MiB",
        rows as f64 / cpu,
        rows as f64 / collector.cpu_seconds(),
        collector.peak_anonymous() >> 20,
        MEMORY >> 20
    );
    collector.stop();
}

/// A connection that is kept, as an agent keeps its own.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Posts a batch, which is to be taken.
    fn post(&mut self, key: &str, body: &[u8]) {
        let head = format!(
            "POST {PROFILES} HTTP/1.1\r\nHost: test\r\nIdempotency-Key: {key}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
        self.0.get_mut().write_all(body).unwrap();
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "no answer: {head}");
            head += &line.to_lowercase();
        }
        assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 0") && head.contains("accepted"), "{head}");
    }
}
