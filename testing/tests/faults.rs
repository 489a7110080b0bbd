//! Who first touches memory, by sampled page faults: programs of known truth under the real agent, looked at through the collector's HTTP
//! API.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]
#![allow(clippy::cast_precision_loss, reason = "bytes and counts of a test are far below 2^52")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::flamegraph::Flamegraph;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{Running as Program, alone, free_address, wait_for};
use flamekeeper_testing::shares::{assert_share, assert_time};
use flamekeeper_testing::workload::{Running, Truth, compile, script};

const FREQUENCY: u32 = 99;

/// What the agent counts of page faults.
#[derive(Clone, Copy, Debug)]
struct Figures {
    samples: f64,
    lost: f64,
    kept: f64,
    missed: f64,
}

impl Figures {
    fn read(address: SocketAddr) -> Self {
        let text = wait_for("the agent's figures", Duration::from_secs(30), || {
            http::get(address, "/metrics").ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
        });
        let values: BTreeMap<&str, f64> =
            text.lines().filter_map(|line| line.rsplit_once(' ')).filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
        let get = |name: &str| values[&*format!("flamekeeper_agent_page_fault{name}")];
        let lost = values
            .iter()
            .filter(|(name, _)| name.starts_with("flamekeeper_agent_page_fault_samples_lost_total{"))
            .map(|(_, value)| value)
            .sum();
        Self { samples: get("_samples_total"), lost, kept: get("s_total{outcome=\"kept\"}"), missed: get("s_total{outcome=\"missed\"}") }
    }

    /// The part of the faults that is in no stack, because its samples found no room.
    fn missed_share(&self) -> f64 {
        self.missed / (self.kept + self.missed).max(1.0)
    }

    /// About how many samples so many faults had. Periods differ over time, so as many samples tell less than they would otherwise.
    fn samples_of(&self, faults: u64) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let samples = ((self.samples - self.lost) / self.kept.max(1.0) * faults as f64 / 2.0) as u64;
        samples
    }
}

fn start_agent(host: &Host, arguments: &[&str]) -> (Program, SocketAddr) {
    let figures = free_address();
    let mut command = host.agent_command();
    command.args(["--window", "2s", "--host-name", "test-host", "--metrics-listen", &figures.to_string()]).args(arguments);
    let agent = Program::start("agent", &mut command);
    wait_for("the first batch", Duration::from_secs(30), || (host.status()["batches"].as_u64()? > 0).then_some(()));
    (agent, figures)
}

fn start(command: &mut Command, service: &str) -> Running {
    Running::start(command.env("OTEL_SERVICE_NAME", service))
}

fn graph(host: &Host, service: &str, kind: &str) -> Flamegraph {
    let query = http::encode(&format!("{{service=\"{service}\"}}"));
    Flamegraph::read(&host.ask(&format!("/api/v1/flamegraph?type={kind}&query={query}&from=-1h&min_share=0"))).unwrap()
}

fn touched(host: &Host, service: &str) -> Flamegraph {
    graph(host, service, "touched_space")
}

/// Waits until a program's functions have their names.
fn await_symbols(host: &Host, service: &str, function: &str) {
    wait_for("the symbols", Duration::from_secs(120), || {
        touched(host, service).nodes.iter().any(|node| node.name == function).then_some(())
    });
}

/// Asserts that measured bytes are the true ones, as far as so many samples can tell and but for what was missed.
#[track_caller]
fn assert_bytes(what: &str, measured: u64, truth: u64, allowed: f64, missed: f64) {
    let ratio = measured as f64 / truth as f64;
    eprintln!("{what}: {measured} of {truth} bytes, {ratio:.3}; allowed {allowed:.3}, missed {missed:.3}");
    assert!((1.0 - allowed - missed..=1.0 + allowed).contains(&ratio), "{what}: {measured} of {truth} bytes");
}

/// The truth of a program, but for a part that is no function.
fn function(truth: &Truth, name: &str) -> u64 {
    truth.0[name]
}

/// Each function has the memory that it touched first, by share and in bytes: also where the kernel touched it on behalf of a
/// call, where the pages were huge, and where Python code did it. What only touches again what is there has nothing. The samples
/// of CPU time are what they are without: all that was spent.
#[test]
fn memory_is_where_it_was_touched_first() {
    let _alone = alone();
    // Where a storm of another program's faults filled the rings, too little is left to tell anything of these programs: then once more.
    assert!((0..3).any(|_| touched_first()), "other programs' faults filled the rings three times");
}

/// One measurement, asserted; false where a quarter of the host's faults and more found no room in the rings.
fn touched_first() -> bool {
    let host = Host::with_collector("faults");
    let (mut agent, figures) = start_agent(&host, &["--frequency-hz", &FREQUENCY.to_string()]);
    let program = compile("gcc", &["-O2", "-g"], "faults.c", &host.scratch().join("faults"));
    let mix = start(Command::new(&program).args(["mix", "26"]), "mix").finish();
    let mut python = Command::new("/usr/bin/python3");
    let python = start(python.arg(script("touch.py")).arg("8"), "touch-py").finish();
    let before_huge = Figures::read(figures);
    let huge = start(Command::new(&program).args(["huge", "16"]), "huge").finish();
    await_symbols(&host, "mix", "touch_much");
    let figures = Figures::read(figures);
    eprintln!("{before_huge:?}, then {figures:?}");
    agent.stop();
    if figures.missed_share() >= 0.25 {
        return false;
    }

    let graph = touched(&host, "mix");
    let of = |name: &str| graph.total_of(|node| node == name);
    let functions = ["touch_much", "touch_little", "read_fresh"];
    let (measured, spent): (u64, u64) =
        (functions.iter().map(|name| of(name)).sum(), functions.iter().map(|name| function(&mix, name)).sum());
    let samples = before_huge.samples_of(spent / 4096);
    for name in functions {
        assert_share(name, (of(name), measured), function(&mix, name) as f64 / spent as f64, samples);
    }
    assert_bytes("mix", measured, spent, 4.0 / (samples as f64).sqrt(), before_huge.missed_share());
    assert_eq!((of("reuse"), graph.samples), (0, 0), "no page of it is fresh, and none of this is a sample of CPU time");
    let is_kernel = |name: &str| graph.nodes.iter().any(|node| node.name == name && node.kind == "kernel");
    assert!(is_kernel("ksys_read") || is_kernel("vfs_read"), "the kernel's part of read_fresh");

    let graph = touched(&host, "touch-py");
    let (of_python, truth) = (graph.total_of(|node| node == "touch_pages"), function(&python, "touch_pages"));
    assert_bytes("touch_pages", of_python, truth, 4.0 / (before_huge.samples_of(truth / 4096) as f64).sqrt(), before_huge.missed_share());

    let graph = touched(&host, "huge");
    let (measured, truth, faults) = (graph.total_of(|node| node == "touch_huge"), function(&huge, "touch_huge"), function(&huge, "faults"));
    eprintln!("pages of {} bytes on average", truth / faults);
    assert!(measured > truth / 50, "weighed as pages of 4 KiB it would be a 512th: {measured} of {truth}");
    assert_bytes("touch_huge", measured, truth, 4.0 / (figures.samples_of(faults).max(1) as f64).sqrt(), figures.missed_share());

    let cpu = self::graph(&host, "mix", "cpu");
    assert_time("the CPU time of mix", cpu.total(), function(&mix, "cpu"), FREQUENCY);
    let types = host.ask("/api/v1/types?from=-1h").to_string();
    assert!(types.contains(r#"{"type":"touched_space","unit":"bytes"}"#), "{types}");
    true
}

/// A storm of faults has at most half as many samples as the CPU has, soon after it begins, and they stand for all its memory but what is
/// counted as missed.
#[test]
fn storms_are_capped_and_weigh_what_they_are() {
    let _alone = alone();
    let host = Host::with_collector("fault-storm");
    let (mut agent, address) = start_agent(&host, &["--frequency-hz", "19"]);
    let program = compile("gcc", &["-O2", "-g"], "faults.c", &host.scratch().join("faults"));
    let storm = start(Command::new(&program).args(["storm", "14"]), "storm");
    std::thread::sleep(Duration::from_secs(5));
    let early = Figures::read(address);
    std::thread::sleep(Duration::from_secs(8));
    let late = Figures::read(address);
    let storm = storm.finish();
    await_symbols(&host, "storm", "touch_storm");
    let figures = Figures::read(address);
    agent.stop();
    eprintln!("{early:?}, then {late:?}, then {figures:?}");
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    let rate = (late.samples - early.samples) / 8.0 / cpus;
    assert!(rate < 19.0 / 2.0 * 1.3, "{rate} samples a second on each CPU");
    assert!(late.kept - early.kept > 100_000.0, "no storm");
    assert!(figures.missed_share() < 0.25, "{figures:?}");
    let measured = touched(&host, "storm").total_of(|node| node == "touch_storm");
    assert_bytes("touch_storm", measured, function(&storm, "touch_storm"), 0.15, figures.missed_share());
}
