//! Go programs under the real agent, asked for at the far end: as built by default, stripped, and stripped and position
//! independent. Shares, names, lines and inlined functions are the same in all, and stacks reach the root of their goroutine.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::flamegraph::{Flamegraph, Node};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::shares::{assert_share, assert_time};
use flamekeeper_testing::workload::{Program, Running, Truth};

const SECONDS: &str = "14";
const FREQUENCY: u32 = 199;
const FUNCTIONS: [&str; 3] = ["main.burnHot", "main.burnWarm", "main.burnCool"];
const PROGRAMS: [(&str, Program); 3] =
    [("burn-go", Program::Go), ("burn-go-stripped", Program::GoStripped), ("burn-go-pie", Program::GoPie)];

/// The first functions of the stacks of goroutines, of the runtime's own threads and of its first thread.
const ROOTS: [&str; 3] = ["runtime.goexit", "runtime.mstart", "runtime.rt0_go"];

/// All three programs, at once: they share the machine's processors.
#[test]
fn go_programs() {
    let mut host = Host::start("golang", FREQUENCY);
    let running = PROGRAMS.map(|(name, program)| {
        let program = program.build(host.scratch().path(), "");
        Running::start(Command::new(program).args([SECONDS, "2"]).env("OTEL_SERVICE_NAME", name))
    });
    let truths = running.map(Running::finish);
    for (name, _) in PROGRAMS {
        let named = || host.flamegraph(name).nodes.iter().any(|node| node.name == "main.worker").then_some(());
        wait_for(&format!("the symbols of {name}"), Duration::from_secs(120), named);
    }
    host.stop_agent();
    for ((name, _), truth) in PROGRAMS.into_iter().zip(&truths) {
        let graph = host.flamegraph(name);
        check_shares(name, &graph, truth);
        check_roots(name, &graph);
        check_frames(name, &graph);
    }
}

/// A function's name without the calling convention that the symbol table adds to those in assembly.
fn plain(name: &str) -> &str {
    name.strip_suffix(".abi0").unwrap_or(name)
}

/// 70, 20 and 10 per cent, and the CPU time that they took.
fn check_shares(name: &str, graph: &Flamegraph, truth: &Truth) {
    let of = |function: &str| graph.total_of(|name| name == function);
    let all: u64 = FUNCTIONS.iter().map(|function| of(function)).sum();
    for function in FUNCTIONS {
        assert_share(&format!("{name}: {function}"), (of(function), all), truth.share(function), graph.samples);
    }
    assert_time(&format!("{name}: all"), all, truth.total(), FREQUENCY);
}

/// Of the stacks with frames of Go that are not continued on another at least 99 in 100 begin at a root.
fn check_roots(name: &str, graph: &Flamegraph) {
    let starts = starts(graph);
    let of = |is: &dyn Fn(&str) -> bool| starts.iter().filter(|(name, _)| is(name)).map(|(_, value)| value).sum::<u64>();
    let (all, rooted) = (of(&|_| true), of(&|name| ROOTS.contains(&plain(name))));
    let elsewhere = of(&|name| name == "[truncated: other_stack]");
    eprintln!("{name}: {rooted} of {all} ns at a root, {elsewhere} on another stack: {starts:?} {}", graph.completeness);
    assert!(rooted * 100 >= (all - elsewhere) * 99, "{name}: {rooted} of {all} ns at a root, {elsewhere} on another stack: {starts:?}");
    // More of them on a busy machine, where goroutines are preempted.
    assert!(elsewhere * 10 < all, "{name}: {elsewhere} of {all} ns on another stack");
}

/// The values of stacks that have a frame of Go, by the frame that they begin at. (A process that begins or ends has none yet, or no
/// more.)
fn starts(graph: &Flamegraph) -> BTreeMap<&str, u64> {
    let (mut sums, mut start) = (BTreeMap::new(), "");
    // The depth of the outermost frame of Go on the path to the node.
    let mut go: Option<u64> = None;
    for node in &graph.nodes {
        if node.depth == 1 {
            start = &node.name;
        }
        go = go.filter(|depth| *depth < node.depth).or_else(|| node.kind.starts_with("go").then_some(node.depth));
        if go.is_some() && node.self_value > 0 {
            *sums.entry(start).or_default() += node.self_value;
        }
    }
    sums
}

/// The stack from the goroutine's root to the function, its file and line, the inlined functions in it, and that all is Go.
fn check_frames(name: &str, graph: &Flamegraph) {
    let paths = graph.paths_to(|name| name == "main.burnHot");
    let names = |path: &[Node]| path.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let all: u64 = paths.iter().map(|(_, total)| total).sum();
    let whole = |path: &[Node]| {
        let names = names(path);
        plain(&names[0]) == "runtime.goexit" && names.ends_with(&["main.worker", "main.work", "main.burnHot"].map(str::to_owned))
    };
    let right: u64 = paths.iter().filter(|(path, _)| whole(path)).map(|(_, total)| total).sum();
    let shown: Vec<_> = paths.iter().take(5).map(|(path, total)| (names(path), *total)).collect();
    assert!(right * 100 >= all * 99, "{name}: {right} of {all} ns are on the stack expected; there are {shown:?}");
    let hot = &paths[0].0.last().unwrap();
    assert!(hot.file.ends_with("/burn.go") && hot.line > 0 && hot.kind == "go", "{name}: {hot:?}");
    let of = |function: &str, kind: &str| {
        let nodes = graph.nodes.iter().filter(|node| node.name == function && node.kind == kind);
        nodes.map(|node| node.total).sum::<u64>()
    };
    let inlined = of("main.mix", "go (inlined)");
    assert!(inlined * 100 > graph.total() * 80, "{name}: main.mix(), inlined, has {inlined} of {} ns", graph.total());
    let step = of("main.step", "go");
    assert!(step * 100 > graph.total() * 30, "{name}: main.step(), which has no frame, has {step} of {} ns", graph.total());
}
