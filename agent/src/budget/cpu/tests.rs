//! The governor against simulated loads.

use super::*;

const TICK: Duration = Duration::from_secs(1);
const HORIZON: Duration = Duration::from_secs(60);
/// As at 99 Hz: six times half the frequency.
const HIGHEST: u8 = 8;

/// A host: what the agent costs in a second without restraint for samples, and at any frequency.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// For samples, in cores at the configured frequency.
    samples: f64,
    /// For everything else.
    fixed: f64,
}

/// An agent under the governor: level 1 pauses uploads, each level from 2 on halves the frequency, but for the last.
struct Simulation {
    governor: CpuGovernor,
    ceiling: f64,
    level: u8,
    used: VecDeque<f64>,
    noise: u64,
}

impl Simulation {
    fn new(ceiling: f64) -> Self {
        Self { governor: CpuGovernor::new(ceiling, HORIZON, HIGHEST), ceiling, level: 0, used: VecDeque::new(), noise: 1 }
    }

    /// One second under a load, with `burst` seconds of CPU time on top; the level that follows.
    fn second(&mut self, load: Load, burst: f64) -> u8 {
        // Up to a fifth more or less, from a generator of pseudorandom numbers (Lehmer's).
        self.noise = self.noise * 48_271 % 2_147_483_647;
        let noise = 0.8 + 0.4 * f64::from(u32::try_from(self.noise).unwrap()) / 2_147_483_647.0;
        let scale = 0.5_f64.powi(i32::from(self.level.clamp(1, HIGHEST - 1) - 1));
        let cpu = (load.samples * scale + load.fixed) * noise + burst;
        self.used.push_back(cpu);
        if self.used.len() > 60 {
            self.used.pop_front();
        }
        let samples = Duration::from_secs_f64(load.samples * scale * noise);
        self.level = self.governor.tick(TICK, Spent { cpu: Duration::from_secs_f64(cpu), samples });
        self.level
    }

    fn run(&mut self, load: Load, seconds: u32) -> Vec<u8> {
        (0..seconds).map(|_| self.second(load, 0.0)).collect()
    }

    /// CPU time of the last minute as a share of what it may be.
    fn share(&self) -> f64 {
        self.used.iter().sum::<f64>() / (self.ceiling * 60.0)
    }
}

fn changes(levels: &[u8]) -> usize {
    levels.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// A load below the ceiling is left alone, bursts of a second and a quick start included.
#[test]
fn leaves_light_loads_alone() {
    let mut host = Simulation::new(0.005);
    let light = Load { samples: 0.002, fixed: 0.0005 };
    assert_eq!(host.second(light, 0.06), 0);
    for second in 0..600 {
        let burst = if second % 60 == 30 { 0.02 } else { 0.0 };
        assert_eq!(host.second(light, burst), 0, "second {second}");
    }
}

/// Work that can wait and takes half of what is left in each second lowers nothing after a start that took a third of the first minute,
/// and goes on.
#[test]
fn what_can_wait_waits_for_the_start() {
    let mut host = Simulation::new(0.005);
    host.governor.began(Duration::from_millis(100));
    let load = Load { samples: 0.0015, fixed: 0.0002 };
    let mut waited = [0.0; 10];
    for second in 0..600 {
        let can_wait = host.governor.left().as_secs_f64() / 2.0;
        waited[second / 60] += can_wait;
        assert_eq!(host.second(load, can_wait), 0, "second {second}");
    }
    assert!(waited[0] < 0.06 && waited.iter().all(|part| *part > 0.01), "{waited:?}");
}

/// A start that took a third of the minute's share, beside much that is there at any frequency: the frequency falls at once as far as
/// that asks for, and not step by step, each watched for seconds that there is no CPU time for.
#[test]
fn falls_at_once_after_a_dear_start() {
    let mut host = Simulation::new(0.005);
    host.governor.began(Duration::from_millis(100));
    host.used.push_back(0.1);
    let levels = host.run(Load { samples: 0.02, fixed: 0.0025 }, 59);
    // Halving five times is more than the 22 ms of the first second ask for by themselves, which would be four.
    assert!(levels.first().is_some_and(|first| *first >= 6), "{levels:?}");
    assert!(host.share() <= 1.0, "{}", host.share());
}

/// From the first second on, every minute stays below the ceiling, for loads of up to twenty times what may be used, as long
/// as the lowest frequency fits at all.
#[test]
fn holds_over_every_minute() {
    for times in [1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0] {
        let mut host = Simulation::new(0.005);
        let load = Load { samples: 0.005 * times, fixed: 0.0005 };
        for second in 0..1200 {
            host.second(load, 0.0);
            assert!(host.share() <= 1.0, "{times} times the ceiling, second {second}: {}", host.share());
        }
        assert!(host.level > 1, "{times}: nothing was lowered");
    }
}

/// A load that comes when all was calm is caught before the minute's share is used up; it recovers when it goes.
#[test]
fn catches_a_storm_and_recovers() {
    let (calm, storm) = (Load { samples: 0.002, fixed: 0.0002 }, Load { samples: 0.05, fixed: 0.001 });
    let mut host = Simulation::new(0.005);
    for round in 0..5 {
        let levels = host.run(calm, 240);
        assert_eq!(levels.last(), Some(&0), "round {round}: {levels:?}");
        for second in 0..120 {
            host.second(storm, 0.0);
            assert!(host.share() <= 1.0, "round {round}, second {second}: {}", host.share());
        }
        assert!(host.level >= 4);
    }
}

/// Under a steady load the level comes to rest: at most one change in two minutes over half an hour, once settled.
#[test]
fn does_not_swing() {
    for tenth in (8..60).step_by(3) {
        let mut host = Simulation::new(0.005);
        let load = Load { samples: 0.0005 * f64::from(tenth), fixed: 0.0004 };
        host.run(load, 300);
        let levels = host.run(load, 1800);
        assert!(changes(&levels) <= 15, "{} changes at {tenth} tenths: {levels:?}", changes(&levels));
        assert!(host.share() <= 1.0);
    }
}

/// Neither does it where the end of each window is a burst, whatever a sample costs.
#[test]
fn bursts_do_not_swing_it() {
    for tenth in (8..60).step_by(3) {
        let mut host = Simulation::new(0.005);
        let load = Load { samples: 0.0005 * f64::from(tenth), fixed: 0.0004 };
        let mut run =
            |seconds: u32| (0..seconds).map(|second| host.second(load, if second % 10 == 0 { 0.012 } else { 0.0 })).collect::<Vec<_>>();
        run(300);
        let levels = run(1800);
        assert!(changes(&levels) <= 20, "{} changes at {tenth} tenths: {levels:?}", changes(&levels));
        assert!(host.share() <= 1.0);
    }
}

/// Where almost all that is used is no sample's, and near the ceiling, the frequency is what there is room for, and comes back
/// after a storm.
#[test]
fn what_samples_do_not_cost_does_not_keep_them_away() {
    for fixed in [0.0020, 0.0025, 0.0028] {
        let mut host = Simulation::new(0.005);
        let load = Load { samples: 0.0004, fixed };
        host.run(Load { samples: 0.05, fixed }, 60);
        assert!(host.level > 3);
        host.run(load, 240);
        assert_eq!(host.level, 0, "{fixed} cores for other things");
    }
    // More than it may be where nothing is known of what the step adds; the frequency is the configured one all the same.
    let mut host = Simulation::new(0.005);
    host.run(Load { samples: 0.05, fixed: 0.0015 }, 60);
    host.run(Load { samples: 0.0002, fixed: 0.0028 }, 300);
    host.run(Load { samples: 0.0002, fixed: 0.0034 }, 600);
    assert!(host.level <= 1 && host.share() <= 1.0, "{}", host.level);
}

/// It does not give away more than it must: at rest it uses at least a fifth of the ceiling.
#[test]
fn uses_what_it_may() {
    for times in [1.5, 2.0, 3.0, 6.0, 12.0] {
        let mut host = Simulation::new(0.005);
        host.run(Load { samples: 0.005 * times, fixed: 0.0002 }, 900);
        assert!(host.share() > 0.2, "{times}: {}", host.share());
    }
}

/// What no frequency helps against ends at the highest level and stays there; nothing overflows, however time goes.
#[test]
fn endures_the_worst() {
    let mut host = Simulation::new(0.005);
    let levels = host.run(Load { samples: 0.01, fixed: 0.5 }, 600);
    assert!(levels[100..].iter().all(|level| *level == HIGHEST), "{levels:?}");
    let mut governor = CpuGovernor::new(0.005, HORIZON, HIGHEST);
    for elapsed in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(100_000), TICK] {
        for cpu in [Duration::ZERO, Duration::from_secs(1_000_000), Duration::from_nanos(1)] {
            assert!(governor.tick(elapsed, Spent { cpu, samples: cpu / 2 }) <= HIGHEST);
            assert!(governor.used().is_finite());
        }
    }
}

/// Whatever the load does, the level is one that there is, and no minute uses more than a quarter above its share: what a
/// storm of twenty times the ceiling takes in the second or two before it is seen, when the minute was nearly spent.
#[test]
fn any_load() {
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random * 48_271 % 2_147_483_647;
        random % below
    };
    for round in 0..25 {
        let mut host = Simulation::new(0.005);
        let mut load = Load { samples: 0.0, fixed: 0.0002 };
        for second in 0..400 {
            if next(20) == 0 {
                #[allow(clippy::cast_precision_loss)]
                let samples = 0.0001 * next(1000) as f64;
                load.samples = samples;
            }
            assert!(host.second(load, 0.0) <= HIGHEST);
            assert!(host.share() <= 1.25, "round {round}, second {second}: {}", host.share());
        }
    }
}
