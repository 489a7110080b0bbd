//! The engine on this machine's kernel: real events, with less than this kernel has to offer, and driven to losses.

use std::sync::Mutex;
use std::time::Instant;

use flamekeeper_profile::{LossReason, StackEnd};

use super::*;
use crate::identity::IdentityConfig;

/// One at a time: they sample the host, or change its settings.
static ALONE: Mutex<()> = Mutex::new(());

fn identity() -> Identity {
    Identity::new(IdentityConfig::default())
}

fn run(engine: &mut Engine, stop: &StopFlag) -> Vec<Batch> {
    let mut batches = Vec::new();
    engine.run(stop, &mut |batch| batches.push(batch)).unwrap();
    batches
}

/// Work for about half a second of CPU time.
fn busy() -> Target {
    let text = "i=0; while [ $i -lt 400000 ]; do i=$((i + 1)); done";
    Target::Command { program: "sh".into(), arguments: vec!["-c".into(), text.into()] }
}

/// With each optional attribute missing, and with all missing, as on an older kernel: samples arrive and stacks reach their root.
#[test]
fn older_kernels_are_enough() {
    let _alone = ALONE.lock();
    let all = Features::ALL;
    for features in [
        all,
        Features { build_id: false, ..all },
        Features { cgroup: false, ..all },
        Features { lost: false, ..all },
        Features { build_id: false, cgroup: false, lost: false },
    ] {
        let config = EngineConfig { frequency: 499, target: busy(), ..EngineConfig::default() };
        let mut engine = Engine::open_with(config, identity(), features).unwrap();
        let settled = engine.session.spec().features;
        assert!(settled.less_or_equal(features), "{settled:?} is more than {features:?}");
        let batches = run(&mut engine, &StopFlag::new().unwrap());
        let samples: u64 = batches.iter().map(Batch::samples).sum();
        let whole = |batch: &Batch| {
            let stacks = batch.series.iter().filter(|series| series.sample_type.is_periodic()).flat_map(|series| &series.values);
            stacks
                .filter(|(stack, _)| batch.tables.stack(*stack).is_some_and(|stack| stack.end == StackEnd::Root))
                .map(|(_, count)| count)
                .sum::<u64>()
        };
        let whole: u64 = batches.iter().map(whole).sum();
        assert!(samples > 20 && whole * 10 >= samples * 9, "{features:?}: {whole} of {samples} stacks reach their root");
        let lost: u64 = batches.iter().map(|batch| batch.ledger.lost_total()).sum();
        assert_eq!(batches.iter().map(|batch| batch.ledger.taken).sum::<u64>(), samples + lost);
    }
}

/// Rings that are full lose records, and every one is counted: as many as the events themselves say, also those that no
/// record of loss has told of because nothing was written after them.
#[test]
fn every_lost_record_is_counted() {
    let _alone = ALONE.lock();
    let config = EngineConfig { frequency: 999, ring_bytes_per_cpu: Some(1), ..EngineConfig::default() };
    let mut engine = Engine::open(config, identity()).unwrap();
    // Nobody reads the rings: each holds one or two samples.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        std::hint::black_box(start);
    }
    let stop = StopFlag::new().unwrap();
    stop.raise();
    let batches = run(&mut engine, &stop);
    let lost: u64 = batches.iter().map(|batch| batch.ledger.lost(LossReason::RingFull)).sum();
    assert!(lost > 100, "{lost} records lost");
    if let Some(counted) = engine.session.lost() {
        assert_eq!(lost, counted, "the events count other losses than the ledger");
    }
}

struct Restore(&'static str, String);

impl Drop for Restore {
    fn drop(&mut self) {
        std::fs::write(self.0, self.1.trim()).unwrap();
    }
}

/// A kernel that allows fewer samples than are asked for throttles, and the samples that were due are counted. (One sample
/// in each of the kernel's ticks is always allowed, so its tick must be longer than a period: `CONFIG_HZ` below 999.)
#[test]
fn throttling_is_counted() {
    const RATE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";
    let _alone = ALONE.lock();
    let config = EngineConfig { frequency: 999, stack_bytes: 1024, ..EngineConfig::default() };
    let mut engine = Engine::open(config, identity()).unwrap();
    let restore = Restore(RATE, std::fs::read_to_string(RATE).unwrap());
    std::fs::write(RATE, "100").unwrap();
    let stop = StopFlag::new().unwrap();
    let (raise, started) = (stop.clone(), Instant::now());
    let timer = std::thread::spawn(move || {
        while started.elapsed() < Duration::from_millis(1500) {
            std::hint::black_box(started);
        }
        raise.raise();
    });
    let batches = run(&mut engine, &stop);
    let ran = started.elapsed().as_secs_f64();
    timer.join().unwrap();
    drop(restore);
    let missed: u64 = batches.iter().map(|batch| batch.ledger.lost(LossReason::Throttled)).sum();
    let (stored, stats) = (batches.iter().map(Batch::samples).sum::<u64>(), engine.stats());
    let due = ran * 999.0 * engine.session.cpus().len() as f64;
    eprintln!("throttled {} times: {missed} samples missed, {stored} stored, at most {due:.0} were due", stats.throttled.get());
    assert!(stats.throttled.get() > 10 && missed > 100, "throttled {} times, {missed} missed", stats.throttled.get());
    assert!((missed + stored) as f64 <= due * 1.1, "{missed} + {stored} of {due:.0}");
}
