//! The memory of processes against programs that know what they have.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

use flamekeeper_testing::host::Host;
use flamekeeper_testing::http;
use flamekeeper_testing::programs::{self, alone, free_address, wait_for};
use flamekeeper_testing::tools::require;
use flamekeeper_testing::workload::{Running, compile};
use serde_json::Value;

const MIB: f64 = 1_048_576.0;
/// The agent's windows, in seconds.
const STEP: u64 = 2;

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The means of the whole steps of the last seconds, oldest first; those that have not arrived are 0.
fn levels(host: &Host, service: &str, kind: &str) -> Vec<f64> {
    let now = now();
    let to = now / STEP * STEP;
    let query = http::encode(&format!("{{service=\"{service}\"}}"));
    let answer = host.ask(&format!("/api/v1/timeseries?type={kind}&query={query}&from={}&to={to}&step={STEP}", to - 20));
    assert!(answer["unit"] == "bytes" || answer["series"] == Value::Array(Vec::new()), "{answer}");
    let values = answer["series"][0]["values"].as_array().into_iter().flatten();
    values.map(|value| value.as_f64().unwrap()).collect()
}

/// Waits until the newest level is as it must be, to 3 %.
fn await_level(host: &Host, service: &str, kind: &str, mib: f64) {
    let what = format!("{service} to have {mib} MiB of {kind}");
    wait_for(&what, Duration::from_secs(60), || {
        let levels = levels(host, service, kind);
        let newest = levels.iter().rev().find(|level| **level > 0.0).copied().unwrap_or_default();
        ((newest - mib * MIB).abs() <= 0.03 * mib * MIB).then_some(())
    });
}

/// Runs a command in a cgroup of its own that may have `mib` MiB.
pub(super) fn within(mib: u64, command: &mut Command) -> ExitStatus {
    let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
    let name = format!("flamekeeper-memory-{}", std::process::id());
    let made = roots.into_iter().find_map(|(root, limit)| {
        let folder = Path::new(root).join(&name);
        std::fs::create_dir(&folder).ok()?;
        let limited = std::fs::write(folder.join(limit), (mib << 20).to_string()).is_ok();
        if !limited {
            std::fs::remove_dir(&folder).unwrap();
        }
        limited.then_some(folder)
    });
    let folder = made.expect("this test needs a cgroup hierarchy below /sys/fs/cgroup that limits memory");
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&folder).arg(command.get_program()).args(command.get_args());
    let status = shell.status().unwrap();
    wait_for("the cgroup to be empty", Duration::from_secs(20), || std::fs::remove_dir(&folder).ok());
    status
}

/// Each kind of memory is where it belongs, to 3 %: what is shared by two processes counts twice as resident memory and once as their
/// proportional share; a process that is killed for want of memory is counted; what grows grows as fast as the program says; an ended one has nothing.
#[test]
fn levels_are_those_of_the_programs() {
    let _alone = alone();
    let host = Host::start("memory", 19);
    let program = compile("gcc", &["-O2"], "memory.c", &host.scratch().join("memory"));
    let start =
        |service: &str, arguments: &[&str]| Running::start(Command::new(&program).args(arguments).env("OTEL_SERVICE_NAME", service));
    let file = host.scratch().join("mapped");
    let mut others = vec![
        start("with-shmem", &["shmem", "48"]),
        start("with-file", &["file", "40", file.to_str().unwrap()]),
        start("growing", &["grow", "8"]),
    ];
    let anonymous = start("with-anon", &["anon", "64"]);
    await_level(&host, "with-anon", "memory_anon", 64.0);
    await_level(&host, "with-shmem", "memory_shmem", 48.0);
    await_level(&host, "with-file", "memory_file", 83.0);
    await_level(&host, "with-file", "memory_pss", 40.5);
    assert!(levels(&host, "with-shmem", "memory_anon").iter().all(|level| *level < 2.0 * MIB));
    let killed = within(16, Command::new(&program).args(["anon", "64"]));
    assert!(!killed.success(), "{killed}");
    wait_for("the kill to be counted", Duration::from_secs(60), || {
        let graph = host.ask("/api/v1/flamegraph?type=oom_kills&query=%7Bservice%3D%22kernel%22%7D");
        (graph["total"].as_u64()? > 0 && graph["strings"][1] == "killed for want of memory").then_some(())
    });
    // Of a straight line, any steps tell the slope; the first may be cut off, and the last two may lack a reading after their end: on
    // a busy machine readings come late, until when a level stays as it was read last.
    wait_for("growth by 8 MiB/s, to 6 %", Duration::from_secs(60), || {
        let levels = levels(&host, "growing", "memory_anon");
        let there: Vec<_> = levels.into_iter().filter(|level| *level > 0.0).collect();
        let whole = there.get(1..there.len().checked_sub(2)?)?;
        let steps = u32::try_from(whole.len().checked_sub(1)?).unwrap();
        let slope = (steps >= 4).then(|| (whole[whole.len() - 1] - whole[0]) / f64::from(steps) / 2.0 / MIB)?;
        eprintln!("growth by {slope:.2} MiB/s in {steps} steps");
        ((slope / 8.0 - 1.0).abs() < 0.06).then_some(())
    });
    // A flamegraph has the mean of its window, and says what it is.
    let query = http::encode("{service=\"with-anon\"}");
    let now = now();
    let (from, to) = (now / STEP * STEP - 8, now / STEP * STEP - 4);
    let graph = wait_for("a flamegraph", Duration::from_secs(30), || {
        let graph = host.ask(&format!("/api/v1/flamegraph?type=memory_anon&query={query}&from={from}&to={to}"));
        ((graph["total"].as_f64()? / MIB / 64.0 - 1.0).abs() < 0.03).then_some(graph)
    });
    assert_eq!((graph["unit"].as_str(), graph["strings"][1].as_str()), (Some("bytes"), Some("anonymous memory")));
    drop(anonymous);
    others.clear();
    wait_for("an ended program to have nothing", Duration::from_secs(60), || {
        // The host itself goes on: its windows arrive.
        let others = levels(&host, "flamekeeper-agent", "memory_anon");
        let ended = levels(&host, "with-anon", "memory_anon");
        let newest = others.iter().rposition(|level| *level > 0.0)?;
        ended.get(newest).is_none_or(|level| *level == 0.0).then_some(())
    });
}

/// A user who is excluded has no memory at the far end, neither levels nor what was touched first, while others have theirs; the samples of
/// page faults are counted as excluded.
#[test]
fn excluded_users_have_no_memory() {
    const USER: &str = "54321";
    let _alone = alone();
    let mut host = Host::with_collector("memory-excluded");
    let open = compile("gcc", &["-O2"], "memory.c", &host.scratch().join("open-memory"));
    let secret = host.scratch().join("secret-memory");
    std::fs::copy(&open, &secret).unwrap();
    let settings = host.scratch().join("agent.toml");
    std::fs::write(&settings, format!("[exclude]\nusers = [\"{USER}\"]\n[memory]\npage_faults = 11\n")).unwrap();
    let (figures, mut command) = (free_address(), host.agent_command());
    // Page faults are sampled at most half as often as time.
    command.args(["--frequency-hz", "499"]);
    command.args(["--window", "2s", "--symbols-upload", "false", "--metrics-listen", &figures.to_string(), "--config"]).arg(&settings);
    host.agent = Some(programs::Running::start("agent", &mut command));
    let as_user = |kind, mib| {
        let mut command = Command::new(require("setpriv"));
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(&secret).args([kind, mib]);
        Running::start(command.env("OTEL_SERVICE_NAME", "secret-service"))
    };
    let as_any = |kind, mib| Running::start(Command::new(&open).args([kind, mib]).env("OTEL_SERVICE_NAME", "open-service"));
    let before = as_user("anon", "40");
    wait_for("the first batch", Duration::from_secs(30), || (host.status()["batches"].as_u64()? > 0).then_some(()));
    let held = as_any("anon", "48");
    await_level(&host, "open-service", "memory_anon", 48.0);
    // One that touches its memory once may be missed by a sampler that has much else to see; these touch more as they go.
    let running = [before, held, as_user("grow", "8"), as_any("grow", "8")];
    wait_for("excluded samples of page faults", Duration::from_secs(30), || {
        let figures = http::get(figures, "/metrics").ok()?.text();
        let excluded = figures.split("page_fault_samples_lost_total{reason=\"excluded\"} ").nth(1)?.lines().next()?.parse::<u64>().ok()?;
        (excluded > 0).then_some(())
    });
    // Until then each was read at least once, and is read again.
    std::thread::sleep(Duration::from_secs(3 * STEP));
    drop(running);
    host.stop_agent();
    for kind in ["memory_anon", "memory_rss", "memory_pss", "touched_space"] {
        let answer = host.ask(&format!("/api/v1/timeseries?type={kind}&by=comm&from=-5m&step=10&limit=100")).to_string();
        assert!(answer.contains("open-memory") && !answer.contains("secret"), "{kind}: {answer}");
    }
    for label in ["service", "comm", "exe"] {
        let values = host.ask(&format!("/api/v1/labels/{label}/values?from=-1h")).to_string();
        assert!(values.contains("open-") && !values.contains("secret"), "{label}: {values}");
    }
}
