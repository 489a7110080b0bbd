//! Who processes are: programs that live for 10 ms, and one whose identity changes, under the real agent; the collector's
//! API tells what became of their samples.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::cgroup::Cgroup;
use flamekeeper_testing::cpu_time::proc_stat;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{Running, wait_for};
use flamekeeper_testing::shares::{assert_time, tolerance};
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{self, script};
use serde_json::Value;

const FREQUENCY: u32 = 199;
/// Executions of each kind: ten milliseconds each make two samples each.
const LIVES: u32 = 150;
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "0cc5a2a1-1b1f-4d5e-8a2b-0123456789ab";

/// What the collector answers about the samples of one program, by its name.
struct Samples {
    host: Host,
    /// CPU time that a hypervisor took from the machine meanwhile: the programs' clocks may count it, samples do not.
    stolen: Duration,
}

impl Samples {
    /// Nanoseconds by the value of a label, of the samples that a selector chooses.
    fn by(&self, label: &str, query: &str) -> BTreeMap<String, u64> {
        let query = http::encode(query);
        let answer = self.host.ask(&format!("/api/v1/timeseries?query={query}&from=-1h&by={label}&limit=100"));
        let series = answer["series"].as_array().unwrap();
        let sum = |series: &Value| series["values"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
        series.iter().map(|series| (series["label"].as_str().unwrap().to_owned(), sum(series))).collect()
    }

    /// Asserts that of a program's samples at least 99 % (and all but two) have a value of a label.
    fn assert(&self, program: &str, label: &str, value: &str) {
        let by = self.by(label, &format!("{{comm=\"{program}\"}}"));
        let (total, right) = (by.values().sum::<u64>(), by.get(value).copied().unwrap_or_default());
        let allowed = (total / 100).max(2 * 1_000_000_000 / u64::from(FREQUENCY));
        eprintln!("{program}: {label} is {value} in {right} of {total} ns");
        assert!(right + allowed >= total && right > 0, "{program}: {label} should be {value}: {by:?}");
    }

    /// Asserts that there are about as many samples as the program's executions burnt time, and that their stacks are whole.
    fn assert_whole(&self, program: &str) {
        let query = http::encode(&format!("{{comm=\"{program}\"}}"));
        let answer = self.host.ask(&format!("/api/v1/flamegraph?query={query}&from=-1h&min_share=0"));
        let completeness = &answer["completeness"];
        let (samples, truncated) = (completeness["samples"].as_u64().unwrap(), completeness["truncated"].as_u64().unwrap());
        eprintln!("{program}: {samples} samples, {truncated} truncated: {}", completeness["truncated_reasons"]);
        // Each burns 10 ms, and starts and ends beside that. What the sampling misses by chance, and what may be missing for a reason.
        let expected = u64::from(LIVES) * u64::from(FREQUENCY) / 100;
        let by_chance = 4 * expected.isqrt() + expected / 20;
        let lost = completeness["lost_total"].as_u64().unwrap();
        let stolen = u64::try_from(self.stolen.as_millis()).unwrap() * u64::from(FREQUENCY) / 1000;
        let least = expected.saturating_sub(by_chance + lost + stolen);
        assert!(samples >= least, "{program}: {samples} samples of at least {least}");
        // A process that is in its execve or its end has no user stack that could be copied, or still the registers of the
        // program before.
        let reasons = &completeness["truncated_reasons"];
        let between = ["no_user_stack", "no_mapping"].map(|reason| reasons[reason].as_u64().unwrap_or_default());
        #[allow(clippy::cast_precision_loss, reason = "counts of a test are far below 2^52")]
        let cut = (truncated - between.iter().sum::<u64>()) as f64 / samples as f64;
        assert!(cut <= 0.02 + tolerance(0.02, samples), "{program}: {cut:.3} of {samples} stacks do not reach the root: {completeness}");
    }
}

/// Compiles a workload as the frame-pointer-less program of a name.
fn build(source: &str, folder: &Path, name: &str) -> PathBuf {
    let program = folder.join(name);
    let built = Command::new(require("g++")).args(["-O2", "-fomit-frame-pointer", "-o"]).arg(&program).arg(script(source)).status();
    assert!(built.unwrap().success(), "{source} does not compile");
    program
}

/// A shell that runs a program so many times, with `before` done first and `prefix` before each.
fn lives(program: &Path, before: &str, prefix: &str) -> Running {
    let line = format!("{before}; n={LIVES}; while [ $n -gt 0 ]; do {prefix} {} 10; n=$((n-1)); done", program.display());
    let mut shell = Command::new(require("unshare"));
    shell.args(["--mount", "sh", "-ec", &line]).env_remove("OTEL_SERVICE_NAME").env_remove("OTEL_RESOURCE_ATTRIBUTES");
    Running::start(&line, &mut shell)
}

/// Runs all programs at once, under one agent and collector, which end with the result.
fn run() -> Samples {
    let [.., stolen_before] = proc_stat();
    let mut host = Host::start("identity", FREQUENCY);
    let folder = host.scratch().path().to_owned();
    let pid = std::process::id();
    let unit = Cgroup::new(&format!("/flamekeeper.slice/flamekeeper-{pid}.slice/brief@{pid}.service"));
    let pod = POD.replace('-', "_");
    let container = Cgroup::new(&format!("/kubepods.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{CONTAINER}.scope"));
    let declared = "env OTEL_SERVICE_NAME=brief-service OTEL_RESOURCE_ATTRIBUTES=service.version=3.1,k8s.namespace.name=shop";
    let enter = |cgroup: &Cgroup| format!("echo $$ > {}", cgroup.procs().display());
    // The container's program lies where only the container sees it.
    let boxed = build("brief.cpp", &folder, "brief-boxed");
    let root = folder.join("box");
    std::fs::create_dir(&root).unwrap();
    let fill = format!("mount -t tmpfs box {0}; cp {1} {0}; rm {1}", root.display(), boxed.display());
    let mut running = [
        lives(&build("brief.cpp", &folder, "brief-env"), "true", declared),
        lives(&build("brief.cpp", &folder, "brief-unit"), &enter(&unit), ""),
        lives(&root.join("brief-boxed"), &format!("{fill}; {}", enter(&container)), ""),
    ];
    let context = build("context.cpp", &folder, "context");
    let mut context = Command::new(context);
    context.args(["14", "context-one", "context-two"]).env("OTEL_SERVICE_NAME", "context-env");
    let mut context = Running::start("context", &mut context);
    running.iter_mut().for_each(|running| assert!(running.wait(Duration::from_secs(240)).success()));
    context.wait(Duration::from_secs(240));
    host.stop_agent();
    let spooled = || (host.status()["batches"].as_u64()? > 0).then_some(());
    wait_for("the last batch", Duration::from_secs(20), spooled);
    drop((unit, container));
    let [.., stolen] = proc_stat();
    Samples { host, stolen: Duration::from_secs_f64(stolen - stolen_before) }
}

/// Labels are those that the configuration names, and no others: threads by their names, and a variable of the environment.
#[test]
fn labels_are_chosen() {
    let mut host = Host::with_collector("labels");
    let mut command = host.agent_command();
    command.args(["--frequency-hz", &FREQUENCY.to_string(), "--window", "2s", "--process-labels", "comm,thread,env.TEAM"]);
    host.agent = Some(Running::start("agent", &mut command));
    wait_for("the first batch", Duration::from_secs(30), || (host.status()["batches"].as_u64()? > 0).then_some(()));
    let threads = workload::compile("gcc", &["-O2", "-pthread"], "threads.c", &host.scratch().join("threads"));
    let truth = workload::Running::start(Command::new(threads).args(["3", "1.5"]).env("TEAM", "payments")).finish();
    host.stop_agent();
    let samples = Samples { host, stolen: Duration::ZERO };
    let by = samples.by("thread", "{comm=\"threads\"}");
    for name in ["reader", "writer"] {
        assert_time(name, by.get(name).copied().unwrap_or_default(), truth.0[name], FREQUENCY);
    }
    samples.assert("threads", "env.TEAM", "payments");
    let labels = samples.host.ask("/api/v1/labels?from=-1h");
    let labels: Vec<_> = labels["labels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(["thread", "env.TEAM"].iter().all(|label| labels.contains(label)), "{labels:?}");
    assert!(["exe", "pid", "unit"].iter().all(|label| !labels.contains(label)), "{labels:?}");
}

/// Each kind of process is known for what it is.
#[test]
fn processes_are_known() {
    let samples = run();
    brief_by_environment(&samples);
    brief_in_a_unit(&samples);
    brief_in_a_container(&samples);
    process_context(&samples);
}

/// A program that is given its service at each execve and lives for 10 ms.
fn brief_by_environment(run: &Samples) {
    run.assert_whole("brief-env");
    run.assert("brief-env", "service", "brief-service");
    run.assert("brief-env", "version", "3.1");
    run.assert("brief-env", "k8s.namespace.name", "shop");
    let exe = run.by("exe", "{comm=\"brief-env\"}").into_keys().next().unwrap();
    assert!(exe.ends_with("/brief-env"), "{exe}");
    run.assert("brief-env", "exe", &exe);
}

/// A program in a systemd unit that lives for 10 ms.
fn brief_in_a_unit(run: &Samples) {
    let unit = format!("brief@{}.service", std::process::id());
    run.assert_whole("brief-unit");
    run.assert("brief-unit", "unit", &unit);
    run.assert("brief-unit", "service", unit.trim_end_matches(".service"));
}

/// A program in a container of a Kubernetes pod that lives for 10 ms, in a file system that only the container sees.
fn brief_in_a_container(run: &Samples) {
    run.assert("brief-boxed", "container", CONTAINER);
    run.assert("brief-boxed", "pod", POD);
    run.assert("brief-boxed", "service", CONTAINER);
    run.assert_whole("brief-boxed");
}

/// A process context beats the environment, is there from the first window on, and is followed when it changes.
fn process_context(run: &Samples) {
    let by = run.by("service", "{comm=\"context\"}");
    let total: u64 = by.values().sum();
    let of = |service: &str| by.get(service).copied().unwrap_or_default();
    let (one, two) = (of("context-one"), of("context-two"));
    // The change is seen within two seconds, at the next sample after that, and holds for the whole window of 2 s.
    assert!(one * 100 >= total * 25 && two * 100 >= total * 10, "{by:?}");
    assert!((one + two) * 100 >= total * 80, "{by:?}");
    for (label, value) in [("version", "7.1"), ("instance", "context-two-1"), ("environment", "staging")] {
        let by = run.by(label, "{service=\"context-two\"}");
        assert_eq!(by.keys().collect::<Vec<_>>(), [value], "{label}");
    }
    let labels = run.host.ask("/api/v1/labels?from=-1h");
    let labels: Vec<_> = labels["labels"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(labels.contains(&"environment") && !labels.contains(&"unchosen.attribute"), "{labels:?}");
}
