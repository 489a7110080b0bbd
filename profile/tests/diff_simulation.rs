//! Diffs of simulated profiles, whose truth is known: how often chance is called a change, how often a change is seen, and how often an
//! interval holds the truth. Samples are Poisson, hosts differ by a gamma-distributed factor that is their own in each chunk of time (and
//! one that lasts), functions are distributed as Zipf says. The seeds are fixed: the figures are the same in every run.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "all of this file is tests, which print their tables")]

use flamekeeper_profile::diff::{Cell, Change, Exposures, FunctionCounts, Side, SideCounts, Statistics, Verdict, changes};

/// xorshift64*, uniform in (0, 1).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Marsaglia and Tsang's method, for a mean of 1 and a relative variance.
    fn factor(&mut self, variance: f64) -> f64 {
        if variance <= 0.0 {
            return 1.0;
        }
        let shape = 1.0 / variance;
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v / shape;
            }
        }
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return self.normal().mul_add(mean.sqrt(), mean).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }
}

/// What is simulated.
#[derive(Clone, Copy)]
struct World {
    hosts: u32,
    chunks: u32,
    functions: usize,
    /// Samples on a side.
    samples: f64,
    /// Relative variance of a function between hosts, the same at all times.
    between_hosts: f64,
    /// Relative variance of a function between chunks of a host.
    between_chunks: f64,
    /// Whether both sides have the same hosts.
    same_hosts: bool,
}

const SECONDS: f64 = 60.0;

impl World {
    /// Rates of functions per second of a host, as Zipf says.
    fn rates(&self) -> Vec<f64> {
        let weights: Vec<f64> = (1..=self.functions).map(|rank| 1.0 / rank as f64).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum * self.samples / self.exposure()).collect()
    }

    fn exposure(&self) -> f64 {
        f64::from(self.hosts * self.chunks) * SECONDS
    }

    /// A diff in which one function's rate is `factor` times as high in B.
    fn diff(&self, random: &mut Random, changed: usize, factor: f64) -> (Vec<Change>, Statistics) {
        let rates = self.rates();
        let shift = if self.same_hosts { 0 } else { self.hosts };
        let mut cells = Vec::new();
        for side in Side::BOTH {
            for host in 0..self.hosts {
                let host = host + if side == Side::B { shift } else { 0 };
                cells.extend((0..self.chunks).map(|_| Cell { side, host, exposure: SECONDS }));
            }
        }
        let mut functions = Vec::new();
        for (place, rate) in rates.iter().enumerate() {
            let hosts: Vec<f64> = (0..2 * self.hosts).map(|_| random.factor(self.between_hosts)).collect();
            let mut counts = SideCounts::default();
            let mut seen = Vec::new();
            for cell in &cells {
                let change = if cell.side == Side::B && place == changed { factor } else { 1.0 };
                let mean = rate * SECONDS * change * hosts[cell.host as usize] * random.factor(self.between_chunks);
                let count = random.poisson(mean);
                match cell.side {
                    Side::A => counts.a += count,
                    Side::B => counts.b += count,
                }
                seen.push(count);
            }
            functions.push(FunctionCounts { own: counts, total: counts, own_cells: seen.clone(), total_cells: seen });
        }
        changes(&cells, Exposures { a: self.exposure(), b: self.exposure() }, &functions)
    }
}

const WORLD: World =
    World { hosts: 4, chunks: 3, functions: 150, samples: 6_000.0, between_hosts: 0.0, between_chunks: 0.0, same_hosts: true };

/// The worlds of the table in `docs/benchmarks.md`.
fn worlds() -> Vec<(&'static str, World)> {
    vec![
        ("one host, 8 chunks, samples only", World { hosts: 1, chunks: 8, ..WORLD }),
        ("one host, chunks spread by 20 %", World { hosts: 1, chunks: 8, between_chunks: 0.04, ..WORLD }),
        ("4 hosts, samples only", WORLD),
        ("4 hosts, chunks spread by 20 %", World { between_chunks: 0.04, ..WORLD }),
        ("4 hosts, hosts spread by 30 %, chunks by 20 %", World { between_hosts: 0.09, between_chunks: 0.04, ..WORLD }),
        ("12 hosts, hosts by 30 %, chunks by 20 %", World { hosts: 12, chunks: 2, between_hosts: 0.09, between_chunks: 0.04, ..WORLD }),
        ("4 other hosts, hosts by 30 %, chunks by 20 %", World { between_hosts: 0.09, between_chunks: 0.04, same_hosts: false, ..WORLD }),
        ("12 other hosts, hosts by 30 %", World { hosts: 12, chunks: 2, between_hosts: 0.09, same_hosts: false, ..WORLD }),
    ]
}

/// Of 1,000 diffs of nothing, spread over all worlds, at most 5 % flag any function; and no world alone much more.
#[test]
fn null_diffs_flag_nothing() {
    let worlds = worlds();
    let each = 125;
    let mut all = 0;
    for (name, world) in &worlds {
        let mut random = Random(0x5eed_0001);
        let flagged = (0..each).filter(|_| world.diff(&mut random, usize::MAX, 1.0).1.flagged > 0).count();
        println!("| {name} | {flagged} of {each} |");
        // 13 of 125: three standard deviations above 5 %.
        assert!(flagged <= 13, "{name}: {flagged} of {each}");
        all += flagged;
    }
    println!("| all | {all} of {} |", each * worlds.len());
    assert!(all * 20 <= each * worlds.len(), "{all}");
}

/// The 95 % interval of every function with some samples holds the truth in 94 % or more of cases, whether it changed or not.
#[test]
fn intervals_hold_the_truth() {
    for (name, world) in worlds() {
        let mut random = Random(0x5eed_0002);
        let rates = world.rates();
        let (mut held, mut asked) = (0_u32, 0_u32);
        for _ in 0..40 {
            for (change, rate) in world
                .diff(&mut random, 3, 1.5)
                .0
                .iter()
                .zip(&rates)
                .enumerate()
                .map(|(place, (change, rate))| (change, if place == 3 { rate * 0.5 } else { 0.0 }))
            {
                asked += 1;
                held += u32::from(change.estimate.low <= rate && rate <= change.estimate.high);
            }
        }
        let share = f64::from(held) / f64::from(asked);
        println!("| {name} | {:.1} % |", 100.0 * share);
        assert!(share >= 0.94, "{name}: {share}");
    }
}

/// A change of the size that the answer calls visible is flagged in about 80 % of diffs, and half of it in fewer.
#[test]
fn what_is_called_visible_is_seen() {
    for (name, world) in worlds() {
        let mut random = Random(0x5eed_0003);
        let rate = world.rates()[1];
        let seen: f64 = (0..20).map(|_| world.diff(&mut random, usize::MAX, 1.0).0[1].seen).sum::<f64>() / 20.0;
        let mut found = |factor: f64| (0..60).filter(|_| world.diff(&mut random, 1, factor).0[1].verdict == Verdict::Grew).count();
        let (whole, half) = (found(1.0 + seen / rate), found(1.0 + seen / rate / 2.0));
        println!("| {name} | {:.0} % | {whole} of 60 | {half} of 60 |", 100.0 * seen / rate);
        assert!(whole >= 30 && half < whole, "{name}: {whole}, {half}");
    }
}
