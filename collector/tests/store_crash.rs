//! The embedded store killed at any moment, while it stores, derives and deletes: what was acknowledged is there, once, in every
//! tier, and what was not is there whole or not at all.
//!
//! SIGKILL leaves the kernel's page cache, so this shows atomicity and order, not that the disk keeps its promises.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flamekeeper_collector::store::{Appended, EmbeddedStore, Retention, Selection, Store as _};
use flamekeeper_profile::{Timestamp, Window};
use store_fixture::{Random, SECOND, START, folder, id, numbered, open};

const FOLDER: &str = "FLAMEKEEPER_TEST_CRASH_FOLDER";
const FIRST: &str = "FLAMEKEEPER_TEST_CRASH_FIRST";
const THREADS: u64 = 4;
/// Kills of one store, before the next one begins empty: what is checked grows with each.
const KILLS_OF_ONE: u64 = 10;
const HOUR: u64 = 3600 * SECOND;
/// The time that the store is told: the windows of batches lie in the eight hours before.
const NOW: Timestamp = Timestamp(START + 8 * HOUR);
const RETENTION: Retention = Retention { raw: 3 * HOUR, minute: 48 * HOUR, hour: 1000 * HOUR, bytes: u64::MAX };

/// When batch `number` begins: in no order, so that buckets that were derived gain late rows.
const fn begin(number: u64) -> u64 {
    START + number * 7919 % 2880 * 10 * SECOND
}

/// Not a test of its own: the process that is killed. Stores batches from four threads and prints each number that was
/// acknowledged.
#[test]
fn child() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else { return };
    let first: u64 = first.parse().unwrap();
    let store = open(Path::new(&folder));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                store.roll_up(NOW).unwrap();
                store.retain(&RETENTION, NOW).unwrap();
            }
        });
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for number in (first + thread..).step_by(THREADS as usize) {
                    assert_eq!(store.append(&id("a", number), numbered(number, begin(number))).unwrap(), Appended::Accepted);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "stored {number}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// How long a child may take until it has stored something: a machine that is this slow tests nothing.
const PROGRESS: Duration = Duration::from_secs(60);

/// Runs the child on the folder until it has stored so many batches and a while longer, kills it, and tells what it said was stored.
fn run_and_kill(folder: &Path, first: u64, (least, time): (usize, Duration)) -> BTreeSet<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, stored) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let number = |line: String| line.split_once("stored ").and_then(|(_, number)| number.parse::<u64>().ok());
        // The receiver is there until this thread has ended.
        output.lines().map_while(Result::ok).filter_map(number).for_each(|number| sender.send(number).unwrap());
    });
    let next = || stored.recv_timeout(PROGRESS).unwrap_or_else(|_| panic!("nothing was stored for {PROGRESS:?}"));
    let mut told: BTreeSet<u64> = std::iter::repeat_with(next).take(least).collect();
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    told.extend(stored.try_iter());
    told
}

/// What one store went through.
#[derive(Default)]
struct Survived {
    /// Batches that are there at the end.
    batches: usize,
    /// Those that at least were acknowledged.
    least: usize,
    /// Buckets that were left to be derived.
    derived: u64,
}

/// Kills the writers of one store so many times.
fn kill_again_and_again(store: u64, kills: u64, seed: u64) -> Survived {
    let folder = folder();
    let mut random = Random::new(seed + store);
    let mut acknowledged = BTreeSet::new();
    let (mut first, mut survived) = (0, Survived::default());
    for round in 0..kills {
        // One in four is killed at any moment of its start; the others have stored something, on however slow a machine.
        let until = match random.below(4) {
            0 => (0, Duration::from_millis(random.below(60))),
            _ => (1 + random.below(40) as usize, Duration::from_millis(random.below(40))),
        };
        acknowledged.extend(run_and_kill(folder.path(), first, until));
        survived.least += until.0;
        let what = format!("seed {seed}, store {store}, kill {round}");
        let opened = open(folder.path());
        let there = check(&opened, &acknowledged, &what);
        first = there.last().map_or(0, |last| last + THREADS);
    }
    let store = open(folder.path());
    let there = check(&store, &acknowledged, "before the rest is derived");
    survived.derived = store.roll_up(NOW).unwrap().buckets;
    assert_eq!(check(&store, &acknowledged, "after the rest is derived"), there);
    survived.batches = there.len();
    survived
}

/// Killed again and again (200 times, or `FLAMEKEEPER_CRASHES`), the store keeps every acknowledged batch exactly once in each
/// tier, its totals and ledger fit its rows, and a repeat of what is there is told to be one. Two stores at a time: each waits
/// most of its time, for a program to start or for the moment of its end.
#[test]
fn killed_at_any_moment() {
    let rounds: u64 = std::env::var("FLAMEKEEPER_CRASHES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let seed = u64::from(std::process::id());
    let next = AtomicU64::new(0);
    let work = || {
        let stores = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|store| store * KILLS_OF_ONE < rounds));
        stores.map(|store| kill_again_and_again(store, KILLS_OF_ONE.min(rounds - store * KILLS_OF_ONE), seed)).collect::<Vec<_>>()
    };
    let all: Vec<Survived> = std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let (batches, least) = all.iter().fold((0, 0), |(batches, least), one| (batches + one.batches, least + one.least));
    assert!(batches >= least && batches as u64 > rounds, "only {batches} batches in {rounds} rounds, at least {least} were acknowledged");
    let derived: u64 = all.iter().map(|one| one.derived).sum();
    eprintln!("{batches} batches stored over {rounds} kills, none lost, none twice; {derived} buckets were left to be derived at the end");
}

/// How often each batch is there, by the stack that is its own.
fn own_stacks(store: &EmbeddedStore, selector: &str) -> (BTreeMap<u64, u64>, u64) {
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    let merged = store.merged(&Selection { window, profile_type: "cpu".into(), selector: selector.parse().unwrap() }).unwrap();
    let tables = &merged.merged.tables;
    let mut own: BTreeMap<u64, u64> = BTreeMap::new();
    for (stack, value) in merged.merged.values() {
        let address = tables.location(tables.stack(stack).unwrap().locations[0]).unwrap().address.0;
        if address < 1 << 40 {
            *own.entry(address).or_default() += value.samples;
        }
    }
    assert_eq!(merged.completeness.ledger.taken, merged.completeness.samples, "taken = stored, from the same tiers");
    (own, merged.merged.total().samples)
}

/// The numbers of the batches that are there.
fn check(store: &EmbeddedStore, acknowledged: &BTreeSet<u64>, what: &str) -> BTreeSet<u64> {
    let (own, samples) = own_stacks(store, "");
    assert!(own.values().all(|count| *count == 1), "{what}: something is there twice: {own:?}");
    // The same from the rows per series.
    assert_eq!(own_stacks(store, r#"{host="a"}"#), (own.clone(), samples), "{what}");
    let there: BTreeSet<u64> = own.into_keys().collect();
    let missing: Vec<_> = acknowledged.difference(&there).collect();
    assert!(missing.is_empty(), "{what}: acknowledged and lost: {missing:?}");
    let wanted: u64 = there.iter().map(|number| numbered(*number, begin(*number)).samples()).sum();
    let status = store.status().unwrap();
    assert_eq!((samples, status.samples_stored, status.ledger.taken), (wanted, wanted, wanted), "{what}");
    assert_eq!(status.batches as usize, there.len());
    let hosts = store.hosts(Window::new(Timestamp(0), Timestamp(u64::MAX))).unwrap();
    assert_eq!(hosts.iter().map(|host| host.ledger.taken).sum::<u64>(), wanted, "{what}");
    if let Some(last) = there.last() {
        assert_eq!(store.append(&id("a", *last), numbered(*last, begin(*last))).unwrap(), Appended::Duplicate);
    }
    there
}
