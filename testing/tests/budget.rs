//! The budget under a crowd: the agent stays within its ceilings by what it says it does, the data say so too, weights stay
//! right, and all is as configured again when the crowd has gone.
//!
//! By hand, with a crowd of the full size: `FLAMEKEEPER_CROWD=1000,5000,10000,200 FLAMEKEEPER_CROWD_SECONDS=120 cargo test
//! --release --test budget -- --nocapture` (processes, mappings, threads, forks a second).

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{self, Running, wait_for};
use flamekeeper_testing::workload::{self, Program};

/// The crowd by default: processes, mappings, threads, forks a second. What a machine that builds and tests can bear.
const CROWD: &str = "300,2000,1000,200";
/// How long it stays by default, in seconds.
const SECONDS: u64 = 22;
/// Over how long the CPU ceiling holds here, in seconds.
const HORIZON: u64 = 8;
/// The memory ceiling, in MiB.
const MEMORY: u64 = 64;
const FREQUENCY: u32 = 99;

/// The CPU ceiling in per cent of a core: a debug build costs about ten times as much as a release build.
const fn cpu_percent() -> f64 {
    if cfg!(debug_assertions) { 5.0 } else { 0.5 }
}

/// The agent's figures by name with labels.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn read(address: SocketAddr) -> Option<Self> {
        let answer = http::get(address, "/metrics").ok().filter(|answer| answer.status == 200)?;
        let text = answer.text();
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Some(Self(
            samples.map(|(name, value)| (name.trim_start_matches("flamekeeper_agent_").to_owned(), value.parse().unwrap())).collect(),
        ))
    }

    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }
}

/// CPU seconds and anonymous bytes of a process, as the kernel tells them.
fn kernel_says(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    (ticks / 100.0, anonymous.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0)
}

/// What was seen, each fraction of a second.
#[derive(Default)]
struct Watch {
    /// Seconds since the start, and CPU seconds.
    cpu: Vec<(f64, f64)>,
    most_memory: f64,
    lowest: f64,
}

impl Watch {
    fn look(&mut self, begun: Instant, pid: u32, metrics: &Metrics) {
        let (cpu, anonymous) = kernel_says(pid);
        self.cpu.push((begun.elapsed().as_secs_f64(), cpu));
        self.most_memory = self.most_memory.max(anonymous + metrics.get("ring_memory_bytes"));
        let frequency = metrics.get("frequency_hertz");
        self.lowest = if self.lowest > 0.0 { self.lowest.min(frequency) } else { frequency };
    }

    /// The most CPU time that any span of the horizon took, in cores.
    fn most_cpu(&self) -> f64 {
        let horizon = f64::from(u32::try_from(HORIZON).unwrap());
        let spans = self.cpu.iter().filter_map(|(from, before)| {
            let (to, after) = self.cpu.iter().find(|(to, _)| to - from >= horizon)?;
            Some((after - before) / (to - from))
        });
        spans.fold(0.0, f64::max)
    }
}

fn crowd() -> (Vec<String>, u64) {
    let size = std::env::var("FLAMEKEEPER_CROWD").unwrap_or_else(|_| CROWD.to_owned());
    let seconds = std::env::var("FLAMEKEEPER_CROWD_SECONDS").ok().map_or(SECONDS, |text| text.parse().unwrap());
    (size.split(',').map(str::to_owned).collect(), seconds)
}

fn start_agent(host: &Host, metrics: SocketAddr) -> Running {
    let mut command = host.agent_command();
    command.args(["--frequency-hz", &FREQUENCY.to_string(), "--window", "2s", "--host-name", "test-host"]);
    command.args(["--budget-cpu-percent", &cpu_percent().to_string(), "--budget-horizon", &format!("{HORIZON}s")]);
    command.args(["--budget-memory", &format!("{MEMORY}MiB"), "--metrics-listen", &metrics.to_string()]);
    Running::start("agent", &mut command)
}

/// The whole of it, in one run: a crowd is expensive.
#[test]
fn stays_within_its_ceilings_and_recovers() {
    let _alone = programs::alone();
    let mut host = Host::with_collector("budget");
    let folder = host.scratch().path().to_owned();
    let (burn, many) = (Program::Cpp.build(&folder, ""), Program::Crowd.build(&folder, ""));
    let (size, seconds) = crowd();
    // The crowd is there before the agent: its start is a part of what it costs.
    let crowd = workload::Running::start(Command::new(many).arg(seconds.to_string()).args(size));
    let address = programs::free_address();
    let (begun, agent) = (Instant::now(), start_agent(&host, address));
    let metrics = || Metrics::read(address);
    wait_for("the agent's figures", Duration::from_secs(30), metrics);
    wait_for("the first batch", Duration::from_secs(30), || (host.status()["batches"].as_u64()? > 0).then_some(()));
    let mut watch = Watch::default();
    let mut look = |until: Duration| {
        while begun.elapsed() < until {
            watch.look(begun, agent.pid(), &metrics().unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    // A debug build's start takes all that it may use in a horizon, so the first of them is sampled at the lowest frequency.
    // The truth is told while the frequency comes back, over several periods.
    look(Duration::from_secs(HORIZON));
    let truth = workload::Running::start(Command::new(burn).args([&(seconds / 2).to_string(), "2"]).env("OTEL_SERVICE_NAME", "truth"));
    look(Duration::from_secs(seconds));
    let (crowd, truth) = (crowd.finish(), truth.finish());
    eprintln!(
        "forks: {}, most CPU {:.4} cores, most memory {:.1} MiB, lowest frequency {:.1} Hz",
        crowd.total(),
        watch.most_cpu(),
        watch.most_memory / 1048576.0,
        watch.lowest
    );
    let recovered = Instant::now();
    let after = wait_for("the configured frequency", Duration::from_secs(120), || {
        let now = metrics()?;
        watch.look(begun, agent.pid(), &now);
        (now.get("frequency_hertz") == now.get("frequency_configured_hertz")).then_some(now)
    });
    eprintln!("recovered {:.1} s after the crowd had gone", recovered.elapsed().as_secs_f64());
    eprintln!("{}", agent.output());
    check_ceilings(&watch, &after);
    host.agent = Some(agent);
    host.stop_agent();
    check_data(&host, truth.total());
}

fn check_ceilings(watch: &Watch, after: &Metrics) {
    // The ceiling is measured by the agent at its own ticks, each of up to a sixtieth of the horizon when the machine lets it
    // run; a storm may take a quarter more before it is seen (`budget/cpu`), and the kernel counts in hundredths of a second.
    let allowed = cpu_percent() / 100.0 * 1.25 + 0.02 / 8.0;
    assert!(watch.most_cpu() <= allowed, "{} of {allowed} cores", watch.most_cpu());
    #[allow(clippy::cast_precision_loss)]
    let memory = (MEMORY << 20) as f64;
    assert!(watch.most_memory <= memory, "{} of {memory} bytes", watch.most_memory);
    assert!(watch.lowest < f64::from(FREQUENCY) / 1.5, "the frequency was never lowered: {}", watch.lowest);
    assert!(after.get("budget_actions_total{action=\"lower_frequency\"}") >= 1.0);
    assert!(after.get("budget_actions_total{action=\"raise_frequency\"}") >= 1.0);
}

fn check_data(host: &Host, spent_ns: u64) {
    let status = host.status();
    let count = |name: &str| status[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"));
    let lost: u64 = status["lost"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(count("samples_taken"), count("samples_stored") + lost, "{status}");
    let hosts = host.ask("/api/v1/hosts?from=-1h");
    let row = &hosts["hosts"][0];
    assert!(row["caveats"]["lower_frequency"].as_u64().unwrap() > 0, "{row}");
    assert_eq!(row["figures"]["memory_ceiling_bytes"].as_u64(), Some(MEMORY << 20), "{row}");
    let graph = host.flamegraph("truth");
    let samples = graph.samples.max(1);
    #[allow(clippy::cast_precision_loss)]
    let (measured, spent, samples) = (graph.total() as f64, spent_ns as f64, samples as f64);
    // Four standard deviations of as many samples, one per cent for clocks, and three for the part of a period that each
    // change of it forgets (`engine/pace.rs`); samples that were lost are not there to be weighed.
    let taken = (count("samples_stored") + lost).max(1);
    #[allow(clippy::cast_precision_loss)]
    let allowed = spent * (4.0 / samples.sqrt() + 0.04 + lost as f64 / taken as f64);
    assert!((measured - spent).abs() <= allowed, "{measured} ns of {spent} ± {allowed}, {samples} samples, {lost} lost");
    eprintln!("truth: {:.3} s of {:.3} s, {samples} samples of several periods, {lost} lost", measured / 1e9, spent / 1e9);
}
