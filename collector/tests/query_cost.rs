//! What a large answer costs. Run it in release: `cargo test --release -p flamekeeper-collector --test query_cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used)] // What is called by tests may fail as they do; the lint exempts the tests themselves only.

mod query_fixture;

use std::time::{Duration, Instant};

use flamekeeper_collector::query::PrunedTree;
use flamekeeper_collector::render::{self, pprof};
use query_fixture::{Names, random};

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
