//! The CPU's part of the decision: from measured time to a level of restraint.
//!
//! Each tick (a sixtieth of the horizon) tells what was used. Used over the horizon plus what the recent rate will add must
//! stay below the ceiling; where it would not, the level rises, by as many steps as the rate asks for. It falls again when
//! there is room for what that will add, by as many steps as there is room for. A step of the frequency doubles what samples
//! cost, and nothing else: what processes that come and go cost, and their mappings, is there at any frequency and is no reason
//! to stay at a low one. What the other steps add is not known: they are taken where there is room for about twice the rate.
//!
//! Nothing here swings: a change is followed by a pause in which its effect is measured, and a level that had to be taken
//! back after it was left is left less readily: the pause doubles each time, up to thirty-two times its first length, and
//! begins anew when a step down has held for five horizons.

use std::collections::VecDeque;
use std::time::Duration;

/// Ticks in a horizon.
pub(crate) const TICKS: u32 = 60;
/// Ticks that a decision looks ahead.
const AHEAD: u32 = TICKS / 6;
/// Ticks that the recent rate is taken from: their median, so that a burst of one or two is no trend.
const RECENT: usize = 5;
/// Ticks after a rise before the next: long enough for the median to be of the new level.
const SETTLE: u32 = 4;
/// Ticks at a level before it may fall, at first.
const PAUSE: u32 = 10;
/// The longest such pause.
const LONGEST_PAUSE: u32 = 32 * PAUSE;
/// Ticks after which a fall has proved right.
const PROVED: u32 = 5 * TICKS;
/// How many times what it may take a tick takes in a storm.
const STORM: f64 = 6.0;
/// A rate so many times below what there is room for needs no long pause: it is another load.
const FAR_BELOW: f64 = 8.0;
/// Steps down at once where the load may be the one that raised the level: what few samples cost is told by few.
const CAREFUL: u8 = 2;
/// The shortest tick, in seconds: what is shorter counts as this, so that no rate is infinite.
const SHORTEST: f64 = 1e-3;
/// Share of the ceiling that is aimed at.
const AIM: f64 = 0.85;
/// The share below which a level may fall where it is not known what that adds, and the share that the frequency may be raised to.
const ROOM: f64 = 0.6;
const ROOM_FOR_SAMPLES: f64 = 0.75;

/// CPU time of a tick.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// All of it.
    pub(crate) cpu: Duration,
    /// Of it what samples cost, and twice as many would cost twice.
    pub(crate) samples: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Tick {
    elapsed: f64,
    cpu: f64,
    samples: f64,
}

/// A rate that is to be expected, in cores.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// What is known of it.
    known: f64,
    /// What steps whose cost is not known may add.
    unknown: f64,
}

impl Expected {
    fn all(self) -> f64 {
        self.known + self.unknown
    }
}

/// Decides the level of restraint.
#[derive(Debug)]
pub(crate) struct CpuGovernor {
    /// In cores.
    ceiling: f64,
    /// In seconds.
    horizon: f64,
    history: VecDeque<Tick>,
    level: u8,
    highest: u8,
    /// Ticks since the level changed.
    held: u32,
    /// Ticks that it must be held before it falls.
    pause: u32,
    /// The rate in cores that was to be expected after the last change; none where that was no fall.
    fell: Option<f64>,
}

impl CpuGovernor {
    /// Levels from 0 (none) to `highest`, which is at least 2: the first and the last change something else than the frequency,
    /// each of those between halves it. The ceiling is in cores.
    pub(crate) fn new(ceiling: f64, horizon: Duration, highest: u8) -> Self {
        let horizon = horizon.as_secs_f64();
        Self { ceiling, horizon, history: VecDeque::new(), level: 0, highest, held: 0, pause: PAUSE, fell: None }
    }

    /// Takes note of what was used before the first tick: it counts in the horizon, and says nothing of what is to come.
    pub(crate) fn began(&mut self, cpu: Duration) {
        self.history.push_back(Tick { elapsed: self.horizon / f64::from(TICKS), cpu: cpu.as_secs_f64(), samples: 0.0 });
    }

    /// Takes note of a tick, and says which level holds from now on.
    pub(crate) fn tick(&mut self, elapsed: Duration, spent: Spent) -> u8 {
        let (cpu, samples) = (spent.cpu.as_secs_f64(), spent.samples.min(spent.cpu).as_secs_f64());
        self.history.push_back(Tick { elapsed: elapsed.as_secs_f64(), cpu, samples });
        while self.history.len() > 1 && self.span() - self.history[0].elapsed >= self.horizon {
            self.history.pop_front();
        }
        self.held = self.held.saturating_add(1);
        if self.fell.is_some() && self.held >= PROVED {
            // The last step down has held.
            (self.fell, self.pause) = (None, PAUSE);
        }
        let rate = self.rate();
        let level = if self.is_over(rate) { self.raised(rate) } else { self.lowered(rate) };
        if level != self.level {
            match (&self.fell, rate) {
                (None, _) => {}
                (Some(_), _) if level < self.level => {}
                // More than the fall can have brought: another load, and no mistake.
                (Some(expected), Some(_)) if self.median() > expected * 2.0 => self.pause = PAUSE,
                (Some(_), _) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
            }
            self.fell = if level < self.level { rate.map(|rate| self.expected(rate, self.level - level).all()) } else { None };
            (self.level, self.held) = (level, 0);
        }
        self.level
    }

    /// CPU time over the horizon (or since the start, while that is shorter), in cores.
    pub(crate) fn used(&self) -> f64 {
        self.spent() / self.span().max(SHORTEST)
    }

    /// CPU time that the horizon has left for each tick to come, if it goes to all of them alike. Nothing leaves the first horizon after
    /// the start before its end: what the recent rate will take until then is not left.
    pub(crate) fn left(&self) -> Duration {
        let rest = (self.horizon - self.span()).max(0.0);
        let left = (self.unspent() - self.median() * rest).max(0.0);
        Duration::try_from_secs_f64(left / f64::from(TICKS)).unwrap_or(Duration::MAX)
    }

    /// CPU time that the horizon may take, in seconds.
    fn budget(&self) -> f64 {
        self.ceiling * AIM * self.horizon
    }

    /// What it took of that, in seconds.
    fn spent(&self) -> f64 {
        self.history.iter().map(|tick| tick.cpu).sum()
    }

    /// What is left of it, in seconds.
    fn unspent(&self) -> f64 {
        (self.budget() - self.spent()).max(0.0)
    }

    fn span(&self) -> f64 {
        self.history.iter().map(|tick| tick.elapsed).sum()
    }

    /// Whether it is no longer since the start than a decision looks ahead.
    fn has_just_started(&self) -> bool {
        self.span() < self.horizon * f64::from(AHEAD) / f64::from(TICKS)
    }

    /// The rate in cores that keeps the horizon below the ceiling at every moment of the time that a decision looks ahead:
    /// what was used leaves the horizon bit by bit meanwhile. Nothing leaves the first one after the start before its end.
    fn allowed(&self) -> f64 {
        let step = self.horizon / f64::from(TICKS);
        let budget = self.budget();
        let rest = self.horizon - self.span();
        let mut allowed = if rest > 0.0 { self.unspent() / rest } else { f64::INFINITY };
        let (mut age, mut used, mut newest) = (0.0, 0.0, self.history.iter().rev().peekable());
        for ahead in (1..=AHEAD).rev() {
            let ahead = step * f64::from(ahead);
            while let Some(tick) = newest.next_if(|tick| age + tick.elapsed <= self.horizon - ahead + step / 2.0) {
                (age, used) = (age + tick.elapsed, used + tick.cpu);
            }
            allowed = allowed.min((budget - used) / ahead);
        }
        allowed
    }

    /// The recent rate in cores, blind to a burst of one tick, and of two in five; none while too little is known.
    fn rate(&self) -> Option<f64> {
        let recent = self.history.iter().rev().take(RECENT);
        let rates: Vec<f64> = recent.map(|tick| tick.cpu / tick.elapsed.max(SHORTEST)).collect();
        if let Some(last) = self.history.back().filter(|_| self.is_storm()) {
            return Some(last.cpu / last.elapsed.max(SHORTEST));
        }
        let now = rates.get(..2).map(|last| last[0].min(last[1]))?;
        Some(self.median().max(now))
    }

    /// The median of the last ticks' rates, in cores.
    fn median(&self) -> f64 {
        let recent = self.history.iter().rev().take(RECENT);
        let mut rates: Vec<f64> = recent.map(|tick| tick.cpu / tick.elapsed.max(SHORTEST)).collect();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    }

    /// Whether the last tick alone took more than a quarter of what was left, and many times what a tick may take: such a
    /// rate must not be watched for long. (The end of a window is a burst too, but a smaller one.)
    fn is_storm(&self) -> bool {
        let left = self.unspent();
        let much = self.ceiling * STORM;
        self.history.back().is_some_and(|tick| tick.cpu * 3.0 > left && tick.cpu > much * tick.elapsed.max(self.horizon / f64::from(TICKS)))
    }

    fn is_over(&self, rate: Option<f64>) -> bool {
        let allowed = self.allowed();
        // All was used up already, whatever the rate: or the rate will use it up.
        allowed <= 0.0 || rate.is_some_and(|rate| rate > allowed)
    }

    fn raised(&self, rate: Option<f64>) -> u8 {
        let settling = self.level > 0 && self.fell.is_none() && self.held < SETTLE;
        if settling && !self.is_storm() {
            return self.level;
        }
        // Down to what can be kept up, which may be less than what the horizon still has.
        let target = self.allowed().clamp(0.0, self.ceiling * AIM);
        let rate = rate.unwrap_or(self.ceiling);
        // At the start, which may have taken most of it, nothing is left to try smaller steps: only what samples cost will fall.
        let others = if self.has_just_started() { rate - self.samples().min(rate) } else { 0.0 };
        let steps = steps_between((target - others).max(0.0), rate - others);
        self.level.saturating_add(steps.max(1)).min(self.highest)
    }

    fn lowered(&self, rate: Option<f64>) -> u8 {
        let Some(rate) = rate else { return self.level };
        let is_other = rate * FAR_BELOW < (self.ceiling * ROOM).min(self.allowed() / 2.0);
        let (pause, most) = if is_other { (PAUSE, self.level) } else { (self.pause, self.level.min(CAREFUL)) };
        if self.held < pause {
            return self.level;
        }
        let fits = |steps: &u8| self.fits(self.expected(rate, *steps));
        self.level - (1..=most).take_while(fits).last().unwrap_or(0)
    }

    /// What is to be expected so many steps down from this rate in cores.
    fn expected(&self, rate: f64, steps: u8) -> Expected {
        let doublings = self.doublings(steps);
        let samples = self.samples().min(rate);
        let others = rate - samples;
        Expected { known: others + samples * 2.0_f64.powi(i32::from(doublings)), unknown: others * f64::from(steps - doublings) }
    }

    fn fits(&self, expected: Expected) -> bool {
        let all = expected.all();
        expected.known <= self.ceiling * ROOM_FOR_SAMPLES && all <= self.ceiling * 2.0 * ROOM && all <= self.allowed()
    }

    /// How many of so many steps down double the frequency: all but the one from the highest level and the one from the first.
    fn doublings(&self, steps: u8) -> u8 {
        let (from, to) = (self.level.min(self.highest.saturating_sub(1)), self.level.saturating_sub(steps).max(1));
        from.saturating_sub(to)
    }

    /// What samples cost at this level, in cores.
    fn samples(&self) -> f64 {
        let here = usize::try_from(self.held).unwrap_or(usize::MAX).clamp(1, PAUSE as usize);
        let (elapsed, samples) = self
            .history
            .iter()
            .rev()
            .take(here)
            .fold((0.0, 0.0), |(elapsed, samples), tick| (elapsed + tick.elapsed, samples + tick.samples));
        samples / f64::max(elapsed, SHORTEST)
    }
}

/// How often `low` must be doubled to reach `high`, rounded up; at most 64.
fn steps_between(low: f64, high: f64) -> u8 {
    let mut low = low;
    for steps in 0..64 {
        if low >= high {
            return steps;
        }
        low = (low * 2.0).max(f64::MIN_POSITIVE);
    }
    64
}

#[cfg(test)]
mod tests;
