//! Agent and collector killed again and again: the ledger adds up, and nothing is there twice.

#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

use std::process::Command;
use std::time::Duration;

use flamekeeper_testing::flamegraph::number;
use flamekeeper_testing::host::Host;
use flamekeeper_testing::programs::wait_for;
use flamekeeper_testing::workload::{Program, Running};

const FREQUENCY: u32 = 99;
/// Samples that must have been stored between two kills: the next one comes only then, however slow the machine is.
const PROGRESS: u64 = 50;

/// Collector, agent or both are killed (SIGKILL) 10 times (or `FLAMEKEEPER_CRASHES`) at random moments and started again, each time
/// after more was stored. Nothing that was stored before a kill is missing after it; samples taken = stored + lost over all that
/// reached the collector; the workload's CPU time is there at most once.
#[test]
fn both_killed_again_and_again() {
    let kills: u64 = std::env::var("FLAMEKEEPER_CRASHES").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10);
    let mut seed = u64::from(std::process::id());
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut host = Host::start("crash", FREQUENCY);
    let burn = Program::Cpp.build(host.scratch().path(), "");
    let seconds = (4 * kills).to_string();
    let workload = Running::start(Command::new(burn).args([&seconds, "1"]).env("OTEL_SERVICE_NAME", "steady"));
    let (mut stored, mut steady) = (0, 0);
    for kill in 0..kills {
        stored = wait_for("more samples to be stored", Duration::from_secs(60), || {
            let now = number(&host.status()["samples_stored"]).unwrap();
            assert!(now >= stored, "{stored} samples were stored, and after a kill {now} are");
            (now >= stored + PROGRESS).then_some(now)
        });
        let now = host.flamegraph("steady").total();
        assert!(now >= steady, "{steady} ns of the workload were stored, and after a kill {now} are");
        steady = now;
        std::thread::sleep(Duration::from_millis(300 + random(2500)));
        let what = random(3);
        eprintln!("kill {kill}: {}", ["the collector", "the agent", "both"][what as usize]);
        if what != 0 {
            let agent = host.agent.as_mut().unwrap();
            agent.signal("KILL");
            agent.wait(Duration::from_secs(5));
            if what == 2 {
                host.collector.signal("KILL");
                host.collector.wait(Duration::from_secs(5));
                host.restart_collector();
            }
            host.start_agent(FREQUENCY);
        } else {
            host.collector.signal("KILL");
            host.collector.wait(Duration::from_secs(5));
            host.restart_collector();
        }
    }
    let truth = Duration::from_nanos(workload.finish().total());
    host.stop_agent();
    let status = host.status();
    let lost: u64 = status["lost"].as_object().unwrap().values().map(|count| number(count).unwrap()).sum();
    assert_eq!(number(&status["samples_taken"]).unwrap(), number(&status["samples_stored"]).unwrap() + lost, "{status}");
    assert!(status["lost"].get("spool_corrupt").is_none() && status["lost"].get("refused").is_none(), "{status}");
    let measured = Duration::from_nanos(host.flamegraph("steady").total());
    // Four standard deviations of so many samples, and one per cent for the clocks.
    let allowed = truth.mul_f64(4.0 / (truth.as_secs_f64() * f64::from(FREQUENCY)).sqrt() + 0.01);
    assert!(measured <= truth + allowed, "measured {measured:?} of {truth:?}: something is there twice");
    assert!(measured >= Duration::from_nanos(steady) && steady > 0, "{steady} ns were stored before the last kill, {measured:?} after it");
    let all = number(&status["samples_stored"]).unwrap();
    assert!(all >= stored && stored >= PROGRESS * kills, "{all} samples at the end, {stored} before the last kill");
    eprintln!("{kills} kills: measured {measured:?} of {truth:?}; {status}");
}
