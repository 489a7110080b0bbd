//! The engine on real processes of known truth. Needs root (or CAP_PERFMON and its company), g++, nm, node and setpriv; a
//! test whose tool is missing fails and says which.

// All of this is test code, also what stands outside of the test functions.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod programs;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use flamekeeper_agent::engine::{Engine, EngineConfig, EventChoice, OpenError, Target};
use flamekeeper_agent::identity::{Identity, IdentityConfig};
use flamekeeper_agent::stop::StopFlag;
use flamekeeper_profile::{Batch, FrameKind, Series, StackEnd, label};

use programs::{Functions, Running, build, workload};

const BURNERS: [&str; 3] = ["burn_hot", "burn_warm", "burn_cool"];

fn config(target: Target) -> EngineConfig {
    EngineConfig { frequency: 199, window: Duration::from_secs(2), event: EventChoice::CpuClock, target, ..EngineConfig::default() }
}

/// Runs the engine until the watched process has ended, or for a time.
fn sample(config: EngineConfig, limit: Option<Duration>, meanwhile: impl FnOnce() + Send) -> Vec<Batch> {
    let mut engine = Engine::open(config, Identity::new(IdentityConfig::default())).unwrap();
    let stop = StopFlag::new().unwrap();
    let mut batches = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            meanwhile();
            if let Some(limit) = limit {
                std::thread::sleep(limit);
                stop.raise();
            }
        });
        engine.run(&stop, &mut |batch| batches.push(batch)).unwrap();
    });
    for batch in &batches {
        assert_eq!(batch.ledger.taken, batch.samples() + batch.ledger.lost_total(), "taken = stored + lost");
    }
    batches
}

/// Samples of one executable in all batches.
fn of_exe<'a>(batches: &'a [Batch], exe: &str) -> Vec<(&'a Batch, &'a Series)> {
    let all = batches.iter().flat_map(|batch| batch.series.iter().map(move |series| (batch, series)));
    all.filter(|(_, series)| series.sample_type.is_periodic() && series.labels.get(label::EXE) == exe).collect()
}

fn total(series: &[(&Batch, &Series)]) -> u64 {
    series.iter().map(|(_, series)| series.total()).sum()
}

fn at_root(series: &[(&Batch, &Series)]) -> u64 {
    let values = series.iter().flat_map(|(batch, series)| series.values.iter().map(move |value| (batch, value)));
    values
        .filter(|(batch, (stack, _))| batch.tables.stack(*stack).is_some_and(|stack| stack.end == StackEnd::Root))
        .map(|(_, value)| value.1)
        .sum()
}

/// Samples by the first of [`BURNERS`] in their stack, which must be called by the others that `path` names, in order.
fn by_burner(series: &[(&Batch, &Series)], functions: &Functions, path: &[&str]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (batch, series) in series {
        for (stack, count) in &series.values {
            let stack = batch.tables.stack(*stack).unwrap();
            let names: Vec<&str> = stack
                .locations
                .iter()
                .filter_map(|location| batch.tables.location(*location))
                .filter(|location| {
                    location
                        .object
                        .and_then(|id| batch.tables.object(id))
                        .is_some_and(|object| batch.tables.string(object.path).ends_with("/burn"))
                })
                .filter_map(|location| functions.name(location.address.0))
                .collect();
            let Some(at) = names.iter().position(|name| BURNERS.contains(name)) else { continue };
            assert_eq!(&names[at + 1..], path, "callers of {}", names[at]);
            *counts.entry(names[at].to_owned()).or_default() += count;
        }
    }
    counts
}

fn assert_shares(counts: &BTreeMap<String, u64>, truth: &BTreeMap<String, u64>) {
    let (samples, time) = (counts.values().sum::<u64>() as f64, truth.values().sum::<u64>() as f64);
    assert!(samples > 100.0, "too few samples: {counts:?}");
    for name in BURNERS {
        let expected = truth[name] as f64 / time;
        let found = counts.get(name).copied().unwrap_or_default() as f64 / samples;
        let error = (expected * (1.0 - expected) / samples).sqrt();
        assert!((found - expected).abs() < 4.0 * error + 0.005, "{name}: {found:.4} instead of {expected:.4}, {samples} samples");
    }
}

/// C++ without frame pointers, started by the engine: every stack reaches the root, the shares are those that the program
/// measured of itself, the number of samples is its CPU time, and its exit status comes back.
#[test]
fn command_without_frame_pointers() {
    let program = build("burn.cpp", "burn");
    let (output, path) = (program.with_extension("out"), program.to_string_lossy().into_owned());
    let shell = format!("exec {path} 4 1 cpu > {}", output.display());
    let target = Target::Command { program: "sh".into(), arguments: vec!["-c".into(), shell.into()] };
    let batches = sample(config(target), None, || {});
    let series = of_exe(&batches, &path);
    let samples = total(&series);
    assert!(at_root(&series) * 1000 >= samples * 995, "{} of {samples} stacks reach the root", at_root(&series));
    let truth = programs::truth(&std::fs::read_to_string(output).unwrap());
    let counts = by_burner(&series, &Functions::of(&program), &["work", "main", "_start"]);
    assert_shares(&counts, &truth);
    let expected = truth.values().sum::<u64>() as f64 / 1e9 * 199.0;
    assert!((samples as f64 / expected - 1.0).abs() < 0.05, "{samples} samples of {expected:.0}");
}

/// A process that already runs, with two threads: both are seen, and both reach their own root.
#[test]
fn running_process_with_threads() {
    let program = build("burn.cpp", "burn");
    let mut burn = Running::start(Command::new(&program).args(["4", "2", "cpu"]));
    burn.wait_ready();
    let batches = sample(config(Target::Process(burn.pid())), None, || {});
    let series = of_exe(&batches, &program.to_string_lossy());
    let samples = total(&series);
    assert!(samples > 100 && at_root(&series) * 1000 >= samples * 995, "{} of {samples} stacks reach the root", at_root(&series));
    let functions = Functions::of(&program);
    let roots: std::collections::BTreeSet<&str> = series
        .iter()
        .flat_map(|(batch, series)| series.values.iter().map(move |(stack, _)| (batch, batch.tables.stack(*stack).unwrap())))
        .flat_map(|(batch, stack)| stack.locations.iter().filter_map(|location| batch.tables.location(*location)))
        .filter_map(|location| functions.name(location.address.0))
        .collect();
    assert!(roots.contains("main") && roots.contains("thread_main"), "{roots:?}");
}

/// The whole host: programs that live for 20 ms are attributed to their executable though they are long gone when their
/// samples are read, and kernel threads and everybody else are there too.
#[test]
fn short_lives_on_the_host() {
    let program = build("burn.cpp", "brief");
    let path = program.to_string_lossy().into_owned();
    let batches = sample(config(Target::Host), Some(Duration::from_millis(200)), || {
        for _ in 0..60 {
            assert!(Command::new(&program).args(["0.02", "1"]).output().unwrap().status.success());
        }
    });
    let series = of_exe(&batches, &path);
    // 60 times at least one slice of 33 ms, at 199 Hz.
    let expected = 60.0 * 0.033 * 199.0;
    assert!(total(&series) as f64 > expected * 0.8, "{} samples of {expected:.0}", total(&series));
    let pids: std::collections::BTreeSet<&str> = series.iter().map(|(_, series)| series.labels.get(label::PID)).collect();
    assert!(pids.len() >= 55, "{} processes of 60", pids.len());
    assert!(series.iter().all(|(_, series)| series.labels.get(label::COMM) == "brief"));
}

/// Code that V8 generated is named by node's perf map, as JavaScript, and the stacks reach the root.
#[test]
fn node_names_its_code() {
    let mut node = Running::start(Command::new("node").arg("--perf-basic-prof").arg(workload("burn.js")).args(["4", "cpu"]));
    node.wait_ready();
    let batches = sample(config(Target::Process(node.pid())), None, || {});
    let mut named = 0;
    let (mut samples, mut whole) = (0, 0);
    for batch in &batches {
        for series in batch.series.iter().filter(|series| series.sample_type.is_periodic()) {
            for (stack, count) in &series.values {
                let stack = batch.tables.stack(*stack).unwrap();
                let mut javascript = stack
                    .locations
                    .iter()
                    .filter_map(|location| batch.tables.location(*location))
                    .filter(|location| location.kind == FrameKind::V8js);
                let name = javascript.find_map(|location| location.lines.first().map(|line| batch.tables.string(line.function)));
                samples += count;
                whole += if stack.end == StackEnd::Root { *count } else { 0 };
                named += if name.is_some_and(|name| BURNERS.iter().any(|burner| name.contains(burner))) { *count } else { 0 };
            }
        }
    }
    assert!(samples > 100 && named * 100 >= samples * 90, "{named} of {samples} samples are named");
    assert!(whole * 100 >= samples * 95, "{whole} of {samples} stacks reach the root");
}

/// Not run by itself: what [`no_permission_is_explained`] runs as a user without rights.
#[test]
#[ignore = "run by another test, as nobody"]
fn helper_open_host() {
    let error = Engine::open(config(Target::Host), Identity::new(IdentityConfig::default())).err().map(|error| error.to_string());
    println!("OPEN: {error:?}");
}

/// An unprivileged user is told the sysctl as it is, the capability, and how to set both.
#[test]
fn no_permission_is_explained() {
    // The test program may lie where nobody else can reach it.
    let copy = std::env::temp_dir().join(format!("flamekeeper-nobody-{}", std::process::id()));
    // By another process: a descriptor of the copy that is open for writing here would go along with another test's fork,
    // and keep the copy from being executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let run = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&copy)
        .args(["helper_open_host", "--exact", "--ignored", "--nocapture"])
        .current_dir("/")
        .output()
        .expect("setpriv (util-linux) is needed, and root to use it");
    std::fs::remove_file(copy).unwrap();
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    for word in ["kernel.perf_event_paranoid is", level.trim(), "CAP_PERFMON", "setcap"] {
        assert!(output.contains(word), "{word} is missing in: {output} {}", String::from_utf8_lossy(&run.stderr));
    }
}

/// What cannot be sampled is told by name, and nothing is left behind.
#[test]
fn missing_targets_are_named() {
    let open = |target| Engine::open(config(target), Identity::new(IdentityConfig::default()));
    // Above the greatest process id there can be.
    assert!(matches!(open(Target::Process(4_194_305)).unwrap_err(), OpenError::NoProcess { pid: 4_194_305 }));
    let mut engine = open(Target::Command { program: "/nonexistent/program".into(), arguments: Vec::new() }).unwrap();
    let error = engine.run(&StopFlag::new().unwrap(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}
