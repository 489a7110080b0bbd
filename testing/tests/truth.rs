//! The main job: workloads of known truth run under the real agent, and the far end, the collector's HTTP API, tells that truth.
//!
//! All workloads run once, together, and each test looks at one of them.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use flamekeeper_testing::flamegraph::{Flamegraph, Node};
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::shares::{assert_share, assert_time};
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Program, Running, Truth, script};
use serde_json::Value;

const SECONDS: &str = "24";
const FREQUENCY: u32 = 199;
const FUNCTIONS: [&str; 3] = ["burn_hot", "burn_warm", "burn_cool"];

/// What a workload measured itself, and what the collector answers about it.
struct Service {
    truth: Truth,
    flamegraph: Flamegraph,
}

struct Run {
    cpp: Service,
    cpp_bare: Service,
    rust: Service,
    python: Service,
    node: Service,
    status: Value,
    services: Value,
    errors: String,
}

static RUN: LazyLock<Run> = LazyLock::new(run);

fn service(command: &mut Command, name: &str) -> Running {
    Running::start(command.env("OTEL_SERVICE_NAME", name).env("OTEL_RESOURCE_ATTRIBUTES", "service.version=1.4"))
}

fn run() -> Run {
    let mut host = Host::start("truth", FREQUENCY);
    let build = |program: Program| program.build(host.scratch().path(), "");
    let (cpp, bare, rust) = (build(Program::Cpp), build(Program::CppWithoutDebug), build(Program::Rust));
    let mut python = Command::new("/usr/bin/python3");
    let mut node = Command::new(require("node"));
    let running = [
        service(Command::new(cpp).args([SECONDS, "2"]), "cpp"),
        service(Command::new(bare).args([SECONDS, "1"]), "cpp-bare"),
        service(Command::new(rust).arg(SECONDS), "rust"),
        service(python.arg(script("burn.py")).arg(SECONDS), "python"),
        service(node.arg("--perf-basic-prof").arg(script("burn.js")).arg(SECONDS).current_dir(host.scratch().path()), "node"),
    ];
    let perf_map = format!("/tmp/perf-{}.map", running[4].pid());
    let truths = running.map(Running::finish);
    // Symbols arrive after the samples, smallest first.
    for (name, function) in [("cpp", "main"), ("cpp-bare", "main"), ("rust", "main"), ("python", "Py_RunMain"), ("node", "_start")] {
        let named = || host.flamegraph(name).nodes.iter().any(|node| plain(&node.name) == function).then_some(());
        wait_for(&format!("the symbols of {name}"), Duration::from_secs(120), named);
    }
    host.stop_agent();
    std::fs::remove_file(perf_map).unwrap();
    let names = ["cpp", "cpp-bare", "rust", "python", "node"];
    let graphs = names.map(|name| host.flamegraph(name));
    let mut services = truths.into_iter().zip(graphs).map(|(truth, flamegraph)| Service { truth, flamegraph });
    let mut next = || services.next().unwrap_or_else(|| unreachable!("five names, five services"));
    Run {
        cpp: next(),
        cpp_bare: next(),
        rust: next(),
        python: next(),
        node: next(),
        status: host.status(),
        services: host.ask("/api/v1/services?from=-1h"),
        errors: host.agent.as_ref().map(flamekeeper_testing::programs::Running::output).unwrap_or_default(),
    }
}

/// The run, made by whichever test asks first; the others wait.
fn the_run() -> &'static Run {
    static FIRST: Mutex<()> = Mutex::new(());
    let _one = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    &RUN
}

/// A function's name without its arguments and without the crate. The C library has several names for its starts, and debug
/// information and symbol table differ in which they choose.
fn plain(name: &str) -> &str {
    let name = name.split('(').next().unwrap_or(name);
    let name = name.rsplit("::").next().unwrap_or(name);
    match name {
        "__clone3" => "clone3",
        name if name.starts_with("__libc_start_main") => "__libc_start_main",
        name => name,
    }
}

impl Service {
    /// All shares agree with the truth, and the CPU time as a whole does.
    fn check_shares(&self, is: impl Fn(&str, &str) -> bool) {
        let graph = &self.flamegraph;
        let of = |function: &str| graph.total_of(|name| is(name, function));
        let in_functions: u64 = FUNCTIONS.iter().map(|function| of(function)).sum();
        for function in FUNCTIONS {
            assert_share(function, (of(function), in_functions), self.truth.share(function), graph.samples);
        }
        self.check_time(in_functions);
    }

    /// The measured CPU time is what the workload spent.
    fn check_time(&self, measured: u64) {
        assert_time("all", measured, self.truth.total(), FREQUENCY);
    }

    /// The heaviest path to `burn_hot` from each root is one of those expected, and together they hold nearly all samples.
    fn check_stacks(&self, expected: &[&[&str]]) {
        let paths = self.flamegraph.paths_to(|name| plain(name) == "burn_hot");
        let all: u64 = paths.iter().map(|(_, total)| total).sum();
        let mut right = 0;
        for names in expected {
            let fits = |path: &[Node]| path.len() == names.len() && path.iter().zip(*names).all(|(node, name)| plain(&node.name) == *name);
            let found: u64 = paths.iter().filter(|(path, _)| fits(path)).map(|(_, total)| total).sum();
            assert!(found > 0, "no stack {names:?}; there are {:?}", shown(&paths));
            right += found;
        }
        assert!(right * 100 >= all * 99, "{right} of {all} ns are on the stacks expected; there are {:?}", shown(&paths));
    }
}

fn shown(paths: &[(Vec<Node>, u64)]) -> Vec<(String, u64)> {
    let line = |path: &[Node]| path.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(";");
    paths.iter().take(6).map(|(path, total)| (line(path), *total)).collect()
}

const MAIN: [&str; 4] = ["_start", "__libc_start_main", "__libc_start_call_main", "main"];

/// C++ without frame pointers, two threads: shares, and stacks from the start of each thread to the leaf.
#[test]
fn cpp() {
    let service = &the_run().cpp;
    service.check_shares(|name, function| plain(name) == function);
    let main = [&MAIN[..], &["work", "burn_hot"]].concat();
    let thread = ["clone3", "start_thread", "thread_main", "work", "burn_hot"];
    service.check_stacks(&[&main, &thread]);
}

/// C++ with debug information: file and line, and the inlined functions as frames of their own.
#[test]
fn cpp_lines_and_inlined_functions() {
    let graph = &the_run().cpp.flamegraph;
    let hot = graph.nodes.iter().find(|node| plain(&node.name) == "burn_hot").unwrap();
    assert!(hot.file.ends_with("burn.cpp") && hot.line > 0, "{hot:?}");
    let inlined = graph.nodes.iter().filter(|node| plain(&node.name) == "mix" && node.kind == "native (inlined)");
    let share: u64 = inlined.map(|node| node.total).sum();
    assert!(share * 100 > graph.total() * 80, "mix(), inlined, has {share} of {} ns", graph.total());
}

/// C++ without debug information: the same from the symbol table alone.
#[test]
fn cpp_without_debug_information() {
    let service = &the_run().cpp_bare;
    service.check_shares(|name, function| plain(name) == function);
    service.check_stacks(&[&[&MAIN[..], &["work", "burn_hot"]].concat()]);
}

/// Rust: demangled names, shares, and both threads down to their starts.
#[test]
fn rust() {
    let service = &the_run().rust;
    service.check_shares(|name, function| name == format!("burn::{function}"));
    let paths = service.flamegraph.paths_to(|name| name == "burn::burn_hot");
    for (start, inside) in [("_start", "burn::main"), ("clone3", "start_thread")] {
        let whole = |path: &[Node]| {
            plain(&path[0].name) == start
                && path.iter().any(|node| node.name == inside)
                && path.iter().any(|node| node.name == "burn::work")
        };
        assert!(paths.iter().any(|(path, _)| whole(path)), "no stack from {start} over {inside}: {:?}", shown(&paths));
    }
}

/// Python: functions by name at the interpreter's place in the native stack, with their file, lines and shares.
#[test]
fn python() {
    let service = &the_run().python;
    service.check_shares(|name, function| name == function);
    let graph = &service.flamegraph;
    let hot = graph.nodes.iter().find(|node| node.name == "burn_hot").unwrap();
    assert!(hot.kind == "cpython" && hot.file.ends_with("/burn.py") && (15..=22).contains(&hot.line), "{hot:?}");
    let paths = graph.paths_to(|name| name == "burn_hot");
    let all: u64 = paths.iter().map(|(_, total)| total).sum();
    let whole = |path: &[Node]| {
        let names: Vec<&str> = path.iter().map(|node| node.name.as_str()).collect();
        names[0] == "_start" && names.contains(&"Py_RunMain") && names.ends_with(&["<module>", "main", "burn_hot"])
    };
    let right: u64 = paths.iter().filter(|(path, _)| whole(path)).map(|(_, total)| total).sum();
    assert!(right * 100 >= all * 99, "{right} of {all} ns are on the stacks expected; there are {:?}", shown(&paths));
}

/// Node with a perf map: JavaScript functions by name, and their shares.
#[test]
fn node() {
    let service = &the_run().node;
    service.check_shares(|name, function| name.contains(&format!("{function} ")));
    let graph = &service.flamegraph;
    let paths = graph.paths_to(|name| name.contains("burn_hot "));
    let all: u64 = paths.iter().map(|(_, total)| total).sum();
    let rooted: u64 = paths.iter().filter(|(path, _)| path[0].name == "_start").map(|(_, total)| total).sum();
    assert!(rooted * 100 >= all * 95, "{rooted} of {all} ns of burn_hot come from _start: {:?}", shown(&paths));
}

/// Samples taken = samples stored + samples lost by reason, over everything that the agent took.
#[test]
fn ledger_adds_up() {
    let run = the_run();
    let status = &run.status;
    let count = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"));
    let lost: u64 = status["lost"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(count("samples_taken"), count("samples_stored") + lost, "{status}");
    assert_eq!(count("rejected"), 0, "{status}");
    // Five busy workloads on all CPUs for 24 s: at least three quarters of what the CPUs allow must have been sampled.
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert!(count("samples_taken") > cpus.min(6) * 24 * u64::from(FREQUENCY) * 3 / 4, "{status}");
}

/// Service and version come from the process's environment.
#[test]
fn services_have_their_versions() {
    let run = the_run();
    let services = run.services["services"].as_array().unwrap();
    let cpp = services.iter().find(|service| service["service"] == "cpp").unwrap();
    assert_eq!(cpp["versions"], serde_json::json!(["1.4"]), "{cpp}");
    assert_eq!(cpp["hosts"], 1);
}

/// The agent has nothing to complain about on a healthy host.
#[test]
fn agent_logs_no_error() {
    let errors: Vec<_> = the_run().errors.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    assert!(errors.is_empty(), "{errors:?}");
}
