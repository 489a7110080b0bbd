//! Hosts as they are: fewer privileges, another clock. Real agents, on this machine.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flamekeeper_testing::flamegraph::Flamegraph;
use flamekeeper_testing::programs::{Running, alone, binary};
use flamekeeper_testing::scratch::Scratch;
use flamekeeper_testing::setting::Setting;
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::Program;

/// Somebody without rights: `nobody`.
const NOBODY: u32 = 65_534;
const LIMIT: Duration = Duration::from_secs(60);

/// An agent started by `setpriv` with these arguments. Its collector is nowhere: what it samples stays in its spool.
fn agent(scratch: &Scratch, setpriv: &[&str]) -> Running {
    let state = scratch.join("state");
    std::fs::create_dir_all(&state).unwrap();
    if setpriv.iter().any(|argument| argument.starts_with("--reuid")) {
        chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = Command::new(require("setpriv"));
    command.args(setpriv).arg(binary("flamekeeper-agent"));
    command.args(["--collector", "http://127.0.0.1:9", "--window", "1s", "--frequency-hz", "199", "--state-dir"]).arg(state);
    command.env("FLAMEKEEPER_BUDGET_CPU_PERCENT", "200");
    Running::start("agent", &mut command)
}

/// Lets an agent sample for a while, with something to sample, and ends it: how many samples it took, and what it printed.
fn sampled(mut agent: Running) -> (u64, String) {
    agent.wait_for_line(" sampling ", LIMIT);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        std::hint::spin_loop();
    }
    agent.stop();
    let output = agent.output();
    let last = output.lines().find(|line| line.contains("sampling has ended")).unwrap_or_else(|| panic!("{output}"));
    let samples = last.split("samples=").nth(1).and_then(|text| text.split_whitespace().next()?.parse().ok());
    (samples.unwrap_or_else(|| panic!("{last}")), output)
}

/// Each capability that is missing is said in one line at the start, and all else goes on. Names of the kernel's functions need one of
/// two: that of reading them, or that of asking for them.
#[test]
fn each_missing_capability_is_said() {
    let _alone = alone();
    let no_python = "CAP_BPF is missing: Python's functions are not shown";
    for (capability, says) in [
        ("-sys_ptrace", &["CAP_SYS_PTRACE is missing: programs of other users are known by the path that the kernel reports alone"][..]),
        (
            "-dac_read_search,-dac_override",
            &["CAP_DAC_READ_SEARCH is missing: programs and perf maps that only their owner may read are not read"],
        ),
        ("-syslog", &[]),
        ("-bpf,-sys_admin", &[no_python]),
        ("-syslog,-bpf,-sys_admin", &[no_python, "CAP_SYSLOG is missing: functions of the kernel stay without names"]),
        ("-checkpoint_restore,-sys_admin", &["CAP_CHECKPOINT_RESTORE is missing: programs whose file was deleted or replaced"]),
    ] {
        let scratch = Scratch::new("capability");
        let (samples, output) = sampled(agent(&scratch, &["--bounding-set", capability]));
        assert!(samples > 0, "{capability}: {output}");
        let lines: Vec<&str> = output.lines().filter(|line| line.contains("is missing")).collect();
        let all = lines.len() == says.len() && lines.iter().zip(says).all(|(line, says)| line.contains(says));
        assert!(all, "{capability}: {lines:?}");
    }
}

/// Without the right to sample the agent does not start, and says what to do.
#[test]
fn without_perfmon_it_says_what_to_do() {
    let _alone = alone();
    let _level = Setting::change("/proc/sys/kernel/perf_event_paranoid", "2");
    let scratch = Scratch::new("perfmon");
    let mut agent = agent(&scratch, &["--bounding-set", "-perfmon,-sys_admin"]);
    assert!(!agent.wait(LIMIT).success());
    let output = agent.output();
    assert!(output.contains("sampling cannot start: the kernel does not allow to sample the whole host: kernel.perf_event_paranoid is 2 and the program lacks CAP_PERFMON"), "{output}");
    assert!(output.contains("setcap cap_perfmon"), "{output}");
}

/// Arguments of `setpriv` for somebody without rights who has the capabilities of the unit, but for CAP_IPC_LOCK.
const NOBODY_WITH_CAPABILITIES: [&str; 7] =
    ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps", UNIT_CAPABILITIES, "--ambient-caps", UNIT_CAPABILITIES];
const UNIT_CAPABILITIES: &str = "+perfmon,+sys_ptrace,+dac_read_search,+syslog,+checkpoint_restore,+bpf";

/// The unit's capabilities and no root: it samples, and lacks nothing but locked memory; at level 3 as well, which this kernel treats like 2.
#[test]
fn ambient_capabilities_are_enough() {
    let _alone = alone();
    let _level = Setting::change("/proc/sys/kernel/perf_event_paranoid", "3");
    let scratch = Scratch::new("ambient");
    let (samples, output) = sampled(agent(&scratch, &NOBODY_WITH_CAPABILITIES));
    assert!(samples > 0, "{output}");
    assert!(!output.lines().any(|line| line.contains("is missing") && !line.contains("CAP_IPC_LOCK")), "{output}");
    assert!(output.contains("some distributions refuse"), "{output}");
}

/// Where little memory may be locked, rings are smaller, and that is said with their size.
#[test]
fn little_locked_memory_makes_small_rings() {
    let _alone = alone();
    let _level = Setting::change("/proc/sys/kernel/perf_event_paranoid", "2");
    let scratch = Scratch::new("memlock");
    // A user has one allowance for all rings, those of agents of other tests among them: so not root's.
    let prlimit = require("prlimit");
    let limited = [prlimit.to_str().unwrap(), "--memlock=0:0"];
    let (samples, output) = sampled(agent(&scratch, &[&NOBODY_WITH_CAPABILITIES[..], &limited].concat()));
    assert!(samples > 0, "{output}");
    assert!(output.contains("CAP_IPC_LOCK is missing and the limit of locked memory is low: rings of "), "{output}");
    let said = output.split("rings of ").nth(1).and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap();
    let real = output.split("ring_bytes=").nth(1).and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap();
    assert!(real <= said * 1024 && real >= 128 << 10, "said {said} KiB, are {real} bytes");
    // As a rule none is left for those of page faults.
    if let Some(line) = output.lines().find(|line| line.contains("page faults are not sampled")) {
        assert!(line.contains("no locked memory is left for their rings") && line.contains("LimitMEMLOCK=infinity"), "{line}");
    }
}

/// `check-config agent FILE --host` says the same without starting anything.
#[test]
fn check_config_tells_of_the_host() {
    let scratch = Scratch::new("check-host");
    let file = scratch.join("agent.toml");
    std::fs::write(&file, "").unwrap();
    let check = |bounds: &str| {
        let mut command = Command::new(require("setpriv"));
        let output =
            command.args(["--bounding-set", bounds]).arg(binary("flamekeeper")).args(["check-config", "agent"]).arg(&file).arg("--host");
        let output = output.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (good, text) = check("-syslog,-bpf,-sys_admin");
    assert!(good && text.contains("frequency_hz") && text.contains("# on this host: CAP_SYSLOG is missing"), "{text}");
    let (good, text) = check("+all");
    assert!(good && text.contains("# this host lets the agent do all that it needs") || text.contains("# on this host: kernel."), "{text}");
    let _level = Setting::change("/proc/sys/kernel/perf_event_paranoid", "2");
    let (good, text) = check("-perfmon,-sys_admin");
    assert!(!good && text.contains("lacks CAP_PERFMON"), "{text}");
}

/// A user without any right records an own process, without the kernel's part.
#[test]
fn own_process_without_rights() {
    let _alone = alone();
    let _level = Setting::change("/proc/sys/kernel/perf_event_paranoid", "2");
    let scratch = Scratch::new("unprivileged");
    chown(scratch.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let burn = Program::CppWithoutDebug.build(scratch.path(), "");
    let graph = record(&scratch, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &burn);
    assert!(graph.total_of(|name| name.starts_with("burn_hot")) * 2 > graph.total());
    assert!(!graph.nodes.iter().any(|node| node.kind == "kernel"));
}

/// In a time namespace, where the monotonic clock that a process reads is another than the kernel's.
#[test]
fn in_a_time_namespace() {
    let _alone = alone();
    let scratch = Scratch::new("time-namespace");
    let burn = Program::CppWithoutDebug.build(scratch.path(), "");
    for shift in ["86400", "-30"] {
        let graph = record(&scratch, &["unshare", "--time", "--fork", "--monotonic", shift], &burn);
        assert!(graph.total_of(|name| name.starts_with("burn_hot")) * 2 > graph.total(), "shifted by {shift} s");
        assert!(graph.samples > 50, "shifted by {shift} s: {} samples", graph.samples);
    }
}

fn record(scratch: &Scratch, by: &[&str], burn: &Path) -> Flamegraph {
    let file = scratch.join("out.json");
    let mut command = Command::new(require(by[0]));
    command
        .args(&by[1..])
        .arg(binary("flamekeeper"))
        .args(["record", "--frequency", "199", "-o"])
        .arg(&file)
        .arg("--")
        .arg(burn)
        .args(["2", "1"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Flamegraph::read(&serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()).unwrap()
}
