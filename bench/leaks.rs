//! Processes that nobody has, with one leak each among sites whose memory grows for good reasons: the blocks that a heap's sampling
//! would see, made from numbers alone, the same at each run. A part of the measurement of the leak verdict
//! (`profile/tests/leaks_simulation.rs`).
//!
//! All times are in seconds. What a process does takes the times of an [`HOUR`], however long it is observed; half of them started with
//! the observation, the others up to three hours before.

use flamekeeper_profile::leaks::{AgeClass, Span, Step, Survival, account};

/// What the times of the sites' doings are drawn by.
pub(crate) const HOUR: f64 = 3600.0;
/// Parts of the window that are counted apart.
pub(crate) const PARTS: usize = 6;
/// Time between two looks at a table.
const LOOK: f64 = 10.0;

/// Random numbers (xorshift64*), of a process.
pub(crate) struct Random {
    state: u64,
    /// When the observation ends.
    end: f64,
}

impl Random {
    fn new(seed: u64, end: f64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, end }
    }

    fn share(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }

    /// Uniform in the logarithm.
    fn scale(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.share())
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    /// Times of a Poisson process whose rate is `peak` times what `shape` (0 to 1) says.
    fn times(&mut self, from: f64, peak: f64, shape: impl Fn(f64) -> f64) -> Vec<f64> {
        let (mut now, mut times) = (from, Vec::new());
        loop {
            now += self.exponential(1.0 / peak);
            if now >= self.end {
                return times;
            }
            if self.share() < shape(now) {
                times.push(now);
            }
        }
    }
}

/// A sampled block: when it was made, and when freed; infinite where never.
type Block = (f64, f64);

/// What a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WarmingCache,
    FullCache,
    Queue,
    Sawtooth,
    StartUp,
    DoublingVector,
    Requests,
    LostBuffers,
    GrowingRegistry,
    LostChain,
    RareLoss,
}

pub(crate) const BENIGN: [Kind; 7] =
    [Kind::WarmingCache, Kind::FullCache, Kind::Queue, Kind::Sawtooth, Kind::StartUp, Kind::DoublingVector, Kind::Requests];
pub(crate) const LEAKS: [Kind; 4] = [Kind::LostBuffers, Kind::GrowingRegistry, Kind::LostChain, Kind::RareLoss];

/// A site: what is counted of it, and by how many bytes it will grow in another window, where that follows from how it was made.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Survival>,
    pub(crate) growth: Option<f64>,
}

/// A process: when it started (the window begins at 0), and what its sites' counts are.
pub(crate) struct Process {
    pub(crate) spans: Vec<Span>,
    pub(crate) sites: Vec<Site>,
}

impl Process {
    /// Observed for `window`.
    pub(crate) fn new(number: u64, window: f64, age: AgeClass) -> Self {
        let mut random = Random::new(number + 1, window);
        let start = if number.is_multiple_of(2) { 0.0 } else { -random.between(0.2, 3.0) * HOUR };
        let leak = LEAKS[(number / 2) as usize % LEAKS.len()];
        let sites = BENIGN.into_iter().chain([leak]).map(|kind| {
            // A benign site is often many times as large as the leak.
            let bytes = random.scale(0.5e6, 4e6);
            let rate = rate(kind, &mut random);
            let growth = matches!(kind, Kind::LostBuffers | Kind::RareLoss).then_some(rate * HOUR * bytes);
            Site { kind, parts: counts(&blocks(kind, (start, rate), &mut random), bytes, (window, age)), growth }
        });
        let sites = sites.collect();
        let length = window / PARTS as f64;
        let span = |part: usize| {
            let to = (part + 1) as f64 * length;
            let aged = (to - (start + age.seconds() as f64)).clamp(0.0, length);
            Span { seconds: length, processes: length, aged }
        };
        Self { spans: (0..PARTS).map(span).collect(), sites }
    }
}

/// At which a leak loses sampled blocks, at most.
fn rate(kind: Kind, random: &mut Random) -> f64 {
    if kind == Kind::RareLoss { random.scale(14.0, 30.0) / HOUR } else { random.scale(14.0, 400.0) / HOUR }
}

/// The blocks of a site that are sampled.
fn blocks(kind: Kind, (start, rate): (f64, f64), random: &mut Random) -> Vec<Block> {
    match kind {
        Kind::WarmingCache => warming_cache(start, random),
        Kind::FullCache => {
            // First in, first out: all have one lifetime, which ends within the window.
            let (lifetime, rate) = (random.scale(60.0, 0.5 * HOUR), random.scale(20.0, 2000.0) / HOUR);
            random.times(start, rate, |_| 1.0).into_iter().map(|time| (time, time + lifetime)).collect()
        }
        Kind::Queue => queue(start, random),
        Kind::Sawtooth => {
            let (period, rate) = (random.scale(60.0, 0.6 * HOUR), random.scale(20.0, 2000.0) / HOUR);
            let phase = random.share() * period;
            let end = |time: f64| ((time + phase) / period).floor() * period + period - phase;
            random.times(start, rate, |_| 1.0).into_iter().map(|time| (time, end(time))).collect()
        }
        Kind::StartUp => {
            let (length, count) = (random.scale(5.0, 300.0), random.scale(5.0, 1000.0));
            (0..count as usize).map(|_| (start + random.between(0.0, length), f64::INFINITY)).collect()
        }
        Kind::DoublingVector => doubling(start, random),
        Kind::Requests => {
            let (mean, rate) = (random.scale(0.1, 600.0), random.scale(50.0, 5000.0) / HOUR);
            let times = random.times(start, rate, |_| 1.0);
            times.into_iter().map(|time| (time, time + random.exponential(mean))).collect()
        }
        leak => leaked(leak, (start, rate), random),
    }
}

/// Fills up to its capacity, in the first six tenths of an hour of its life; then each new entry takes the place of any other.
fn warming_cache(start: f64, random: &mut Random) -> Vec<Block> {
    let (fill, capacity) = (random.between(0.05, 0.6) * HOUR, random.scale(20.0, 500.0));
    let misses = random.between(0.02, 0.5);
    let rate = capacity / fill;
    let times = random.times(start, rate, |time| if time < start + fill { 1.0 } else { misses });
    let (mut blocks, mut held): (Vec<Block>, Vec<usize>) = (Vec::new(), Vec::new());
    for time in times {
        if held.len() as f64 >= capacity {
            let place = (random.share() * held.len() as f64) as usize;
            let victim = held.swap_remove(place);
            blocks[victim].1 = time;
        }
        held.push(blocks.len());
        blocks.push((time, f64::INFINITY));
    }
    blocks
}

/// First come, first served; now and then more come than are served.
fn queue(start: f64, random: &mut Random) -> Vec<Block> {
    let (rate, rush, pause) = (random.scale(50.0, 1000.0) / HOUR, random.between(30.0, 0.15 * HOUR), random.between(0.1, 0.4) * HOUR);
    let offset = random.share() * pause;
    let times = random.times(start, rate, |time| if (time + offset).rem_euclid(pause) < rush { 1.0 } else { 0.15 });
    let service = 1.0 / (rate * random.between(0.6, 0.9));
    let mut free_at = start;
    let serve = |time: f64| {
        free_at = time.max(free_at) + service;
        (time, free_at)
    };
    times.into_iter().map(serve).collect()
}

/// Vectors that double: the block of each size lives until the next one is needed.
fn doubling(start: f64, random: &mut Random) -> Vec<Block> {
    let vectors = random.scale(1.0, 12.0) as usize;
    let mut blocks = Vec::new();
    for _ in 0..vectors {
        let (mut time, mut lifetime) = (start + random.exponential(0.2 * HOUR), random.scale(1.0, 60.0));
        while time < random.end {
            blocks.push((time, time + lifetime));
            time += lifetime;
            lifetime *= 2.0;
        }
    }
    blocks
}

fn leaked(kind: Kind, (start, rate): (f64, f64), random: &mut Random) -> Vec<Block> {
    match kind {
        // By the load, which swings.
        Kind::GrowingRegistry => {
            let (period, phase) = (random.between(0.2, 2.0) * HOUR, random.share() * std::f64::consts::TAU);
            let swing = |time: f64| 0.65 + 0.35 * (time / period * std::f64::consts::TAU + phase).sin();
            random.times(start, rate, swing).into_iter().map(|time| (time, f64::INFINITY)).collect()
        }
        // Most are freed soon; a whole chain is lost now and then.
        Kind::LostChain => {
            let (share, mean) = (random.scale(0.02, 0.3), random.scale(1.0, 120.0));
            let times = random.times(start, rate / share, |_| 1.0);
            let mut end = |time: f64| if random.share() < share { f64::INFINITY } else { time + random.exponential(mean) };
            times.into_iter().map(|time| (time, end(time))).collect()
        }
        _ => random.times(start, rate, |_| 1.0).into_iter().map(|time| (time, f64::INFINITY)).collect(),
    }
}

/// What the looks at a table count of these blocks.
fn counts(blocks: &[Block], bytes: f64, (window, age): (f64, AgeClass)) -> Vec<Survival> {
    let mut parts = vec![Survival::default(); PARTS];
    let length = window / PARTS as f64;
    for (made, freed) in blocks {
        // Looks see whole steps; what was made and freed between two of them is not seen.
        let death = (freed / LOOK).floor() * LOOK + LOOK / 2.0;
        if freed.is_finite() && (made / LOOK).floor() >= (freed / LOOK).floor() {
            continue;
        }
        // Moved, so that no time is negative.
        let nanoseconds = |seconds: f64| ((seconds + 10.0 * HOUR) * 1e9) as u64;
        for (part, counts) in parts.iter_mut().enumerate() {
            let (from, to) = (part as f64 * length, (part + 1) as f64 * length);
            account(nanoseconds(*made), nanoseconds(from), nanoseconds(to.min(death.max(from))), |class, step| match step {
                Step::Reached if class == age => {
                    counts.reached += 1.0;
                    counts.bytes += bytes;
                }
                Step::Lived(time) if class >= age => counts.lived += time as f64 / 1e9,
                _ => {}
            });
            if (from..to).contains(&death) && death - made >= age.seconds() as f64 {
                counts.freed += 1.0;
            }
        }
    }
    parts
}
