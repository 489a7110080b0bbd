//! What a large answer costs. Run it in release: `cargo test --release -p flamekeeper-collector --test query_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;

use std::time::{Duration, Instant};

use flamekeeper_collector::query::PrunedTree;
use flamekeeper_collector::render::{self, pprof};
use flamekeeper_profile::{FrameKind, StackEnd, Svma};
use flamekeeper_symbolizer::{SymbolLimits, SymbolStore, Symbolized};
use query_fixture::{Builder, Names, Random, random};

fn timed<T>(what: &str, work: impl Fn() -> T) -> (T, Duration) {
    let mut best = Duration::MAX;
    let mut result = work();
    for _ in 0..5 {
        let start = Instant::now();
        result = work();
        best = best.min(start.elapsed());
    }
    eprintln!("{what}: {best:.1?}");
    (result, best)
}

/// The tree of 50,000 stacks of 30 frames takes well under 100 ms, and 100,000 nodes are at most 180 kB compressed.
#[test]
#[ignore = "a measurement, which means something in release only"]
fn large_profiles() {
    let profile = random(1, 50_000, 30).profile();
    let (profile, _) = timed("name 50,000 stacks of 30 frames", || profile.clone().symbolize(&Names));
    let (tree, took) = timed("tree", || profile.tree());
    eprintln!("{} stacks, {} nodes, {} functions", profile.total().samples, tree.nodes().len(), tree.frames().len());
    timed("top", || profile.top());
    timed("prune", || PrunedTree::of(&tree, 1.0 / 4000.0));
    let (json, _) = timed("json, pruned", || render::flamegraph_json(&profile, render::DEFAULT_MIN_SHARE).unwrap());
    eprintln!("{} bytes, {} compressed", json.len(), flamekeeper_wire::gzip::compress(&json).len());
    timed("svg", || render::svg(&profile, "t", render::DEFAULT_MIN_SHARE).unwrap());
    timed("folded", || render::folded(&profile));
    timed("pprof", || pprof::gzipped(&profile));
    assert!(took < Duration::from_millis(100), "the tree took {took:?}");
    let narrow = random(2, 5200, 30).symbolized();
    let (json, _) = timed("json of about 100,000 nodes", || render::flamegraph_json(&narrow, 0.0).unwrap());
    let (compressed, _) = timed("gzip", || flamekeeper_wire::gzip::compress_small(&json));
    let nodes = narrow.tree().nodes().len();
    eprintln!("{nodes} nodes: {} bytes, {} compressed", json.len(), compressed.len());
    assert!(compressed.len() * 100_000 / nodes <= 180_000);
}

/// The names of 50,000 distinct locations of a real program, this test itself: at most 100 ms from the mapped symbol file, 10 ms from
/// memory; a lookup at most 1.5 us and 0.1 us.
#[test]
#[ignore = "a measurement, which means something in release only"]
fn names_of_distinct_locations() {
    const LOCATIONS: usize = 50_000;
    let program = std::fs::File::open("/proc/self/exe").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
    let id = store.add_file(None, &program).unwrap().id;
    let size = program.metadata().unwrap().len();
    let mut random = Random(1);
    let mut addresses = std::collections::BTreeSet::new();
    let mut frames = 0;
    while addresses.len() < LOCATIONS {
        let address = random.below(size);
        if let Symbolized::Frames(found) = store.symbolize(&id, Svma(address))
            && addresses.insert(address)
        {
            frames += found.len();
        }
    }
    drop(store);
    eprintln!("{:.2} frames a location", frames as f64 / LOCATIONS as f64);
    let mut builder = Builder::new();
    let object = builder.merged.tables.intern_object(Some(id.clone()), "/usr/bin/program");
    let locations: Vec<_> =
        addresses.iter().map(|address| builder.merged.tables.intern_address(FrameKind::Native, Some(object), Svma(*address))).collect();
    locations.chunks(25).for_each(|stack| builder.add(stack, StackEnd::Root, 1));
    let profile = builder.profile();
    let mut best = [Duration::MAX; 4];
    for _ in 0..5 {
        let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
        let mut times = Vec::new();
        for _ in 0..2 {
            let fresh = profile.clone();
            let start = Instant::now();
            let named = fresh.symbolize(&store);
            times.push(start.elapsed());
            assert_eq!(named.completeness().frames_unnamed, 0);
        }
        let store = SymbolStore::open(directory.path(), SymbolLimits::default()).unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            addresses.iter().for_each(|address| assert!(matches!(store.symbolize(&id, Svma(*address)), Symbolized::Frames(_))));
            times.push(start.elapsed());
        }
        best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
    }
    let [cold, warm, mapped, cached] = best;
    let each = |all: Duration| all.as_nanos() / LOCATIONS as u128;
    eprintln!("{LOCATIONS} locations: cold {cold:.1?}, warm {warm:.1?}; a lookup: mapped {} ns, cached {} ns", each(mapped), each(cached));
}
