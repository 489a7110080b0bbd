//! The packages and units on a machine with systemd: installed, watched, broken, upgraded, removed.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::collections::BTreeSet;
use std::process::Command;

use flamekeeper_testing::machine::{Format, Machine, PATIENCE, build_packages};
use flamekeeper_testing::metadata;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::tools::require;
use serde_json::Value;

const AGENT: &str = "flamekeeper-agent.service";
const COLLECTOR: &str = "flamekeeper-collector.service";
/// Where the agent's batches lie on the machine.
const SPOOL: &str = "/var/lib/private/flamekeeper-agent/spool";

/// The life of both packages on a machine: they are installed and at work at once; the agent comes back when it is killed or
/// hangs; a configuration is taken by a reload, a wrong one is refused; an upgrade loses nothing of the spool; removal leaves what is
/// the administrator's, purging leaves nothing.
#[test]
fn a_life_on_a_machine() {
    let machine = Machine::boot("systemd");
    // The agent is built for debugging and may use more than one of a release; what takes ten seconds elsewhere need not here.
    let unit = "/etc/systemd/system/flamekeeper-agent.service.d";
    machine.must(&format!("mkdir {unit} && printf '[Service]\\nRestartSec=1\\nEnvironment=FLAMEKEEPER_BUDGET_CPU_PERCENT=200 FLAMEKEEPER_WINDOW=2s\\n' >{unit}/debug.conf"));
    let before = machine.disk();
    build_packages(Format::Deb, &machine.root().join("root/1"), "0.1.0");
    machine.must("apt-get install --yes /root/1/*.deb 2>&1");
    installed_is_at_work(&machine);
    a_busy_unit_is_seen_by_its_name(&machine);
    the_doctor_finds_no_problem(&machine);
    killed_it_comes_back(&machine);
    a_reload_takes_the_configuration(&machine);
    an_upgrade_keeps_the_spool(&machine);
    a_hang_ends_by_the_watchdog(&machine);
    removed_and_purged(&machine, &before);
}

/// The units are as closed as they claim to be: what `systemd-analyze security` gives.
#[test]
fn units_are_closed() {
    for (unit, most) in [(AGENT, 3.0), (COLLECTOR, 2.0)] {
        let path = metadata::root().join("systemd").join(unit);
        let output =
            Command::new(require("systemd-analyze")).args(["security", "--offline=yes", "--no-pager"]).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let level = text.lines().find(|line| line.contains("Overall exposure level")).and_then(|line| line.split(": ").nth(1));
        let level: f64 = level.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{output:?}"));
        eprintln!("exposure of {unit}: {level}");
        assert!(level <= most, "{text}");
    }
}

fn installed_is_at_work(machine: &Machine) {
    for unit in [AGENT, COLLECTOR] {
        assert_eq!(machine.must(&format!("systemctl is-active {unit}; systemctl is-enabled {unit}")), "active\nenabled");
    }
    assert_eq!(machine.property(AGENT, "User"), "flamekeeper-agent");
    let pid = machine.property(AGENT, "MainPID");
    let uid = machine.must(&format!("stat -c %u /proc/{pid}"));
    assert!(uid.parse::<u32>().unwrap() >= 61184, "the agent runs as {uid}, which systemd did not make for it");
    // The collector listens on the loopback interface only.
    assert!(machine.must("cat /proc/net/tcp").contains("0100007F:0FC8"));
}

fn a_busy_unit_is_seen_by_its_name(machine: &Machine) {
    machine.must("systemd-run --quiet --unit busy bash -c 'while :; do :; done'");
    let path = "/api/v1/top?query=%7Bunit%3D%22busy.service%22%7D&from=-10m";
    wait_for("the busy unit's functions", PATIENCE, || {
        let top: Value = serde_json::from_str(&machine.get(path)).ok()?;
        (!top["functions"].as_array()?.is_empty()).then_some(())
    });
    let services = machine.get("/api/v1/services?from=-10m");
    assert!(services.contains("\"busy\""), "{services}");
}

fn the_doctor_finds_no_problem(machine: &Machine) {
    let report: Value = serde_json::from_str(&machine.must("flamekeeper doctor --json")).unwrap();
    assert_eq!(report["problems"], 0, "{report}");
    let verdict = |name: &str| {
        let checks = report["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))["verdict"].clone()
    };
    for name in ["kernel", "agent", "collector", "disk", "collector disk", "configuration", "privileges"] {
        assert_eq!(verdict(name), "ok", "{name}: {report}");
    }
    machine.must("systemctl stop flamekeeper-collector");
    let output = machine.run("flamekeeper doctor");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("PROBLEM  collector"), "{text}");
    machine.must("systemctl start flamekeeper-collector");
}

/// Waits until the unit's process is another than this one, and is active.
fn another_process(machine: &Machine, unit: &str, pid: &str) -> String {
    wait_for("another process of the unit", PATIENCE, || {
        let (now, state) = (machine.property(unit, "MainPID"), machine.property(unit, "ActiveState"));
        (now != pid && now != "0" && state == "active").then_some(now)
    })
}

fn killed_it_comes_back(machine: &Machine) {
    let pid = machine.property(AGENT, "MainPID");
    machine.must(&format!("kill -KILL {pid}"));
    another_process(machine, AGENT, &pid);
}

fn a_reload_takes_the_configuration(machine: &Machine) {
    let pid = machine.property(AGENT, "MainPID");
    machine.must("sed -i 's/^#frequency_hz = .*/frequency_hz = 47/' /etc/flamekeeper/agent.toml");
    machine.must("systemctl reload flamekeeper-agent");
    wait_for("the new frequency", PATIENCE, || {
        let log = machine.must("journalctl --no-pager --unit flamekeeper-agent");
        (log.contains("frequency_hz=47") && machine.property(AGENT, "ActiveState") == "active").then_some(())
    });
    machine.must("cp /etc/flamekeeper/agent.toml /root/right && echo 'frequency = 1' >>/etc/flamekeeper/agent.toml");
    let refused = machine.run("systemctl reload flamekeeper-agent");
    assert!(!refused.status.success(), "a wrong configuration was taken: {refused:?}");
    assert!(machine.must("journalctl --no-pager --unit flamekeeper-agent").contains("agent.toml:"));
    machine.must("cp /root/right /etc/flamekeeper/agent.toml && systemctl reload flamekeeper-agent");
    assert_eq!((machine.property(AGENT, "MainPID"), machine.property(AGENT, "ActiveState")), (pid, "active".to_owned()));
}

/// The files of batches that wait.
fn spooled(machine: &Machine) -> BTreeSet<String> {
    machine.must(&format!("ls {SPOOL}")).lines().filter(|name| name.ends_with(".batch")).map(str::to_owned).collect()
}

fn an_upgrade_keeps_the_spool(machine: &Machine) {
    machine.must("systemctl stop flamekeeper-collector");
    let waiting = wait_for("a batch that waits", PATIENCE, || Some(spooled(machine)).filter(|files| !files.is_empty()));
    let pid = machine.property(AGENT, "MainPID");
    build_packages(Format::Deb, &machine.root().join("root/2"), "0.1.1");
    // The file that was changed on this machine stays as it is.
    machine.must("apt-get install --yes -o Dpkg::Options::=--force-confold /root/2/*.deb 2>&1");
    assert_eq!(machine.must("dpkg-query -W -f '${Version}' flamekeeper-agent"), "0.1.1");
    assert!(machine.must("cat /etc/flamekeeper/agent.toml").contains("frequency_hz = 47"));
    another_process(machine, AGENT, &pid);
    // The upgrade has started the collector again, so batches go away one after the other: none is lost on the way.
    wait_for("the spool to be empty of them", PATIENCE, || waiting.is_disjoint(&spooled(machine)).then_some(()));
    let status: Value = serde_json::from_str(&machine.get("/api/v1/status")).unwrap();
    let lost = |reason: &str| status["lost"][reason].as_u64().unwrap_or_default();
    assert_eq!([lost("spool_full"), lost("spool_unwritable"), lost("refused")], [0; 3], "{status}");
    assert!(status["samples_stored"].as_u64().unwrap() > 0, "{status}");
}

fn a_hang_ends_by_the_watchdog(machine: &Machine) {
    let units = [AGENT, COLLECTOR];
    for unit in units {
        let folder = format!("/etc/systemd/system/{unit}.d");
        machine.must(&format!(
            "mkdir -p {folder} && printf '[Service]\\nRestartSec=1\\nWatchdogSec=10\\nTimeoutAbortSec=2\\n' >{folder}/test.conf"
        ));
    }
    machine.must("systemctl daemon-reload && systemctl restart flamekeeper-agent flamekeeper-collector");
    let pids = units.map(|unit| machine.property(unit, "MainPID"));
    // It lives longer than the watchdog waits: it tells that it is alive.
    machine.must("sleep 15");
    for (unit, pid) in units.iter().zip(&pids) {
        assert_eq!(machine.property(unit, "MainPID"), *pid, "the watchdog ended {unit}, which was alive");
        machine.must(&format!("kill -STOP {pid}"));
    }
    for (unit, pid) in units.iter().zip(&pids) {
        another_process(machine, unit, pid);
        assert!(machine.must(&format!("journalctl --no-pager --unit {unit}")).contains("Watchdog timeout"), "{unit}");
        machine.must(&format!("rm /etc/systemd/system/{unit}.d/test.conf"));
    }
    machine.must("rmdir /etc/systemd/system/flamekeeper-collector.service.d; systemctl daemon-reload");
}

fn removed_and_purged(machine: &Machine, before: &BTreeSet<String>) {
    machine.must("apt-get remove --yes flamekeeper flamekeeper-agent 2>&1");
    for unit in [AGENT, COLLECTOR] {
        assert_eq!(machine.property(unit, "ActiveState"), "inactive");
    }
    machine
        .must("test ! -e /usr/bin/flamekeeper-agent && test -e /etc/flamekeeper/agent.toml && test -d /var/lib/private/flamekeeper-agent");
    machine.must("systemctl stop busy; apt-get purge --yes flamekeeper flamekeeper-agent flamekeeper-heap 2>&1");
    let after = machine.disk();
    let left: Vec<_> = after.difference(before).filter(|path| *path != "/var/lib/private").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(gone.is_empty(), "taken along: {gone:?}");
}
