//! The scheduler's truth: what the profiles say of CPU time is what the kernel's own accounting says.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]
#![allow(clippy::disallowed_methods, reason = "the question is asked by the wall clock")]
#![allow(clippy::cast_precision_loss, reason = "seconds and counts of a test are far below 2^52")]

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use flamekeeper_testing::cpu_time::proc_stat;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::{self, wait_for};
use flamekeeper_testing::shares::assert_time;
use flamekeeper_testing::workload::{Program, Running, script};

const FREQUENCY: u32 = 99;
/// The window of the agents under test, in seconds.
const WINDOW: u64 = 2;

/// Sleeps until an edge of the agents' windows, and answers it in Unix seconds.
fn next_edge() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let edge = (now.as_secs() / WINDOW + 1) * WINDOW;
    sleep(Duration::from_secs(edge) - now);
    edge
}

/// Work of many kinds: short sleeps, system calls, pipes, short-lived processes, and one that only computes.
struct Mixed(Vec<Child>);

impl Mixed {
    fn start(host: &Host, seconds: u64) -> Self {
        let burn = Program::CppWithoutDebug.build(host.scratch().path(), "-mixed");
        let steps = Program::Steps.build(host.scratch().path(), "-mixed");
        let shell = |text: &str| {
            let mut command = Command::new("timeout");
            command.args([&seconds.to_string(), "sh", "-c", text]);
            command
        };
        let mut naps = Command::new(steps);
        naps.args([&seconds.to_string(), "3000000", "700000"]);
        let mut busy = Command::new(burn);
        busy.args([&(seconds / 2).to_string(), "1"]);
        let commands = [
            busy,
            naps,
            shell("while :; do /bin/true; done"),
            shell("dd if=/dev/zero of=/dev/null bs=1 2>/dev/null"),
            shell("while :; do head -c 3000000 /dev/zero | cat | wc -c >/dev/null; sleep 0.02; done"),
        ];
        Self(commands.map(|mut command| command.stdout(Stdio::null()).spawn().unwrap()).into())
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        // `timeout` passes the signal on; those that have ended need none.
        for child in &mut self.0 {
            _ = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
            _ = child.wait();
        }
    }
}

/// Compares a mixed load of so many seconds with `/proc/stat`; they may differ by the bound, and as much more as chance does.
fn compare(name: &str, seconds: u64, bound: f64) {
    let mut host = Host::start(name, FREQUENCY);
    let mixed = Mixed::start(&host, seconds + 10);
    sleep(Duration::from_secs(2));
    let from = next_edge();
    let before = proc_stat();
    sleep(Duration::from_secs(seconds - WINDOW));
    let to = next_edge();
    let after = proc_stat();
    drop(mixed);
    host.stop_agent();
    let [busy, idle, stolen] = [0, 1, 2].map(|index| after[index] - before[index]);
    let answer = host.ask(&format!("/api/v1/flamegraph?from={from}&to={to}"));
    let (total, samples) = (answer["total"].as_u64().unwrap() as f64 / 1e9, answer["samples"].as_u64().unwrap() as f64);
    // What a full ring lost on a machine that is too busy for the agent was taken all the same, and is in the ledger.
    let lost = answer["completeness"]["lost_total"].as_u64().unwrap() as f64;
    assert!(lost <= samples / 10.0, "{}", answer["completeness"]);
    let total = total * (samples + lost) / samples;
    // Four standard deviations of a count of which a share is met; a CPU that is always busy is always met.
    let share = busy / (busy + idle);
    let chance = 4.0 * (samples * (1.0 - share)).sqrt() / samples;
    eprintln!(
        "{name}: {total:.3} s taken ({lost} samples of it lost), {busy:.2} s busy (ratio {:.4}), {idle:.2} s idle, {stolen:.2} s stolen; allowed {bound} + {chance:.4}",
        total / busy
    );
    assert!((total / busy - 1.0).abs() <= bound + chance, "{total:.3} s sampled, {busy:.3} s busy");
}

/// Twenty seconds of mixed load: the samples' sum is the kernel's busy time within 2 per cent and chance. (Reading `/proc/stat`
/// late by a few milliseconds, and its ticks, are part of the 2 per cent.)
#[test]
fn total_is_the_busy_time() {
    let _alone = programs::alone();
    compare("scheduler", 20, 0.02);
}

/// The same over a minute.
#[test]
#[ignore = "takes more than a minute"]
fn total_is_the_busy_time_of_a_minute() {
    let _alone = programs::alone();
    compare("scheduler-minute", 60, 0.02);
}

/// Per process. Work that wakes with the very frequency of the profiler, and with usual ones, is counted with the time that it
/// took, by its own clock: on the nominal period each of these would be met always or never. And programs with their own mix
/// of program and kernel have what `/proc/PID/stat` says of them.
#[test]
fn processes_have_the_time_that_they_took() {
    let _alone = programs::alone();
    let mut host = Host::start("processes", FREQUENCY);
    let steps = Program::Steps.build(host.scratch().path(), "");
    let burn = Program::Rust.build(host.scratch().path(), "-side");
    let start = |(name, round): (&'static str, u64)| {
        let mut command = Command::new(&steps);
        command.args(["10", &round.to_string(), &(round / 6).to_string()]).env("OTEL_SERVICE_NAME", name);
        (name, Running::start(&mut command))
    };
    let in_step = [("step-own", 1_000_000_000 / u64::from(FREQUENCY)), ("step-100", 10_000_000), ("step-50", 20_000_000)].map(start);
    let run = |name: &'static str, command: &mut Command| {
        (name, command.env("OTEL_SERVICE_NAME", name).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let others = [
        run("burning", Command::new(burn).arg("8")),
        run("calling", Command::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=1", "count=2000000"])),
        run("python", Command::new("/usr/bin/python3").arg(script("burn.py")).arg("8")),
    ];
    let spent = others.map(|(name, mut child)| (name, reap(&mut child)));
    let spent = in_step.map(|(name, running)| (name, running.finish().total())).into_iter().chain(spent);
    let spent: Vec<(&str, u64)> = spent.collect();
    host.stop_agent();
    for (name, nanoseconds) in spent {
        wait_for(name, Duration::from_secs(20), || (host.flamegraph(name).samples > 0).then_some(()));
        assert_time(name, host.flamegraph(name).total(), nanoseconds, FREQUENCY);
    }
}

/// Waits for the end of a process, and answers the CPU time that the kernel charged to it and to its children: what
/// `/proc/PID/stat` shows while it lives. In nanoseconds.
fn reap(child: &mut Child) -> u64 {
    let path = format!("/proc/{}/stat", child.id());
    // An ended process that nobody has waited for keeps its entry.
    let state = || {
        let text = std::fs::read_to_string(&path).unwrap();
        let fields: Vec<String> = text.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
        (fields[0] == "Z").then_some(fields)
    };
    let fields = wait_for("the end of a workload", Duration::from_secs(120), state);
    // utime, stime, cutime, cstime (fields 14 to 17 of proc_pid_stat(5), state being the third), in hundredths of a second.
    let ticks: u64 = fields[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    child.wait().unwrap();
    ticks * 10_000_000
}
