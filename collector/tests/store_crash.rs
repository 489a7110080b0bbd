//! The embedded store killed at any moment: what was acknowledged is there, once, and what was not is there whole or not at all.
//!
//! SIGKILL leaves the kernel's page cache, so this shows atomicity and order, not that the disk keeps its promises.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod store_fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use flamekeeper_collector::store::{Appended, Selection, Store as _};
use flamekeeper_profile::{Batch, FrameKind, Labels, Ledger, SampleType, Series, StackEnd, Svma, Tables, Timestamp, Window};
use store_fixture::{Random, SECOND, START, id, open};

const FOLDER: &str = "FLAMEKEEPER_TEST_CRASH_FOLDER";
const FIRST: &str = "FLAMEKEEPER_TEST_CRASH_FIRST";
const THREADS: u64 = 4;

/// Batch `number`: three stacks of which one is its own, and a ledger that names it.
fn numbered(number: u64) -> Batch {
    let mut tables = Tables::new();
    let mut values = Vec::new();
    for address in [number, 1 << 40, (1 << 40) + number % 7] {
        let location = tables.intern_address(FrameKind::Native, None, Svma(address));
        values.push((tables.intern_stack(&[location], StackEnd::Root), 1));
    }
    values.sort_unstable();
    values.dedup();
    let labels = Labels::new().with("service", &format!("s{}", number % 5)).with("host", "a").with("pid", &(number / 3).to_string());
    let from = Timestamp(START + number * SECOND);
    let mut ledger = Ledger::new();
    ledger.take(values.len() as u64);
    let series = vec![Series { labels: labels.clone(), sample_type: SampleType::cpu(1), values }];
    Batch { window: Window::new(from, from.saturating_add(SECOND)), labels, tables, series, ledger }
}

/// Not a test of its own: the process that is killed. Stores batches from four threads and prints each number that was
/// acknowledged.
#[test]
fn child() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else { return };
    let first: u64 = first.parse().unwrap();
    let store = open(Path::new(&folder));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for number in (first + thread..).step_by(THREADS as usize) {
                    assert_eq!(store.append(&id("a", number), numbered(number)).unwrap(), Appended::Accepted);
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "stored {number}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

/// Runs the child on the folder for a while, kills it, and tells what it said was stored.
fn run_and_kill(folder: &Path, first: u64, time: Duration) -> BTreeSet<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let number = |line: String| line.split_once("stored ").and_then(|(_, number)| number.parse().ok());
        output.lines().map_while(Result::ok).filter_map(number).collect::<BTreeSet<u64>>()
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Killed again and again (20 times, or `FLAMEKEEPER_CRASHES`), the store keeps every acknowledged batch exactly once, its
/// totals and ledger fit its rows, and a repeat of what is there is told to be one.
#[test]
fn killed_at_any_moment() {
    let rounds: u64 = std::env::var("FLAMEKEEPER_CRASHES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(u64::from(std::process::id()));
    let mut acknowledged = BTreeSet::new();
    let mut first = 0;
    for round in 0..rounds {
        acknowledged.extend(run_and_kill(folder.path(), first, Duration::from_millis(60 + random.below(250))));
        let there = check(folder.path(), &acknowledged, round);
        first = there.last().map_or(0, |last| last + THREADS);
    }
    assert!(acknowledged.len() as u64 > rounds, "only {} batches in {rounds} rounds", acknowledged.len());
    eprintln!("{} batches acknowledged over {rounds} kills, none lost, none twice", acknowledged.len());
}

/// The numbers of the batches that are there.
fn check(folder: &Path, acknowledged: &BTreeSet<u64>, round: u64) -> BTreeSet<u64> {
    let store = open(folder);
    let window = Window::new(Timestamp(0), Timestamp(u64::MAX));
    let merged = store.merged(&Selection { window, profile_type: "cpu".into(), selector: "".parse().unwrap() }).unwrap();
    let tables = &merged.merged.tables;
    let mut own: BTreeMap<u64, u64> = BTreeMap::new();
    let mut samples = 0;
    for (stack, value) in merged.merged.values() {
        samples += value.samples;
        let address = tables.location(tables.stack(stack).unwrap().locations[0]).unwrap().address.0;
        if address < 1 << 40 {
            *own.entry(address).or_default() += value.samples;
        }
    }
    assert!(own.values().all(|count| *count == 1), "round {round}: something is there twice: {own:?}");
    let there: BTreeSet<u64> = own.into_keys().collect();
    let missing: Vec<_> = acknowledged.difference(&there).collect();
    assert!(missing.is_empty(), "round {round}: acknowledged and lost: {missing:?}");
    let wanted: u64 = there.iter().map(|number| numbered(*number).samples()).sum();
    let status = store.status().unwrap();
    assert_eq!((samples, status.samples_stored, status.ledger.taken), (wanted, wanted, wanted), "round {round}");
    assert_eq!(status.batches as usize, there.len());
    if let Some(last) = there.last() {
        assert_eq!(store.append(&id("a", *last), numbered(*last)).unwrap(), Appended::Duplicate);
    }
    there
}
