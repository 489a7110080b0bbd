//! The forecast of one stack.

use super::counts::{Span, Survival};
use super::evidence;
use super::poisson::limits;

/// Sampled blocks that must have reached old age before there is a verdict.
pub const FEWEST: f64 = 8.0;
/// Bunches that they must have come in, at least.
const FEWEST_BUNCHES: f64 = 3.0;
/// The share of the parts, the newest ones, that growth must not have stalled in.
const LATER: usize = 3;

/// What becomes of a stack's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Its blocks reach old age and stay.
    Leaks,
    /// Too few blocks reached old age, or they came in a burst, to say anything.
    TooEarly,
    /// Its old blocks are freed as others come, or no more come.
    LevelsOff,
}

impl Verdict {
    /// The name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leaks => "leaks",
            Self::TooEarly => "too_early",
            Self::LevelsOff => "levels_off",
        }
    }
}

/// What is to be expected of one stack, in bytes over all processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The judgement.
    pub verdict: Verdict,
    /// How its old blocks grow now, in bytes per second.
    pub rate: f64,
    /// By how many bytes they grow within the horizon; negative where they shrink.
    pub growth: f64,
    /// Lower end of the 95 % interval of the growth.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Bytes of old blocks now, about.
    pub old: f64,
    /// Bytes at which they level off at this flow and hazard.
    pub level: f64,
    /// All that was counted.
    pub counts: Survival,
    /// Why, in words.
    pub evidence: String,
}

/// A flow and what it rests on: blocks, and process-seconds.
#[derive(Clone, Copy, Debug)]
struct Flow {
    blocks: f64,
    time: f64,
    /// Whether growth has stalled: it is that of the later parts only.
    stalled: bool,
    /// How much more the parts differ than chance makes them.
    dispersion: f64,
}

/// Judges a stack by what was counted of it beyond an age of so many seconds in equal parts of the window, the oldest first, and what was
/// observed in these parts. A part without a count of the stack is a zero.
#[must_use]
pub fn forecast(age: u64, spans: &[Span], parts: &[Survival], horizon: f64) -> Forecast {
    let counts = total(parts);
    let flow = flow(spans, parts);
    let later = spans.len() - spans.len() / LATER;
    let (late, seen) = (total(parts.get(later..).unwrap_or_default()), total(spans.get(later..).unwrap_or_default()));
    let processes = if seen.seconds > 0.0 { seen.aged / seen.seconds } else { 0.0 };
    let weight = if counts.reached > 0.0 { counts.bytes / counts.reached } else { 0.0 };
    // The mean of the later parts, and half of what came in them, since it was counted in their middle on the average.
    let old = (late.lived / seen.seconds.max(1e-9) + (late.reached - late.freed) / 2.0).max(0.0);
    // Where nothing was freed of late, the whole window says more of how seldom that is.
    let hazard = if late.freed > 0.0 && half_hazard(late) > half_hazard(counts) { late } else { counts };
    let per_second = |blocks: f64| if flow.time > 0.0 { blocks / flow.time * processes } else { 0.0 };
    let grown = |blocks: f64, freed: f64| growth(per_second(blocks), freed / hazard.lived.max(1e-9), old, horizon) * weight;
    let middle = grown(flow.blocks, hazard.freed + 0.5);
    let scale = flow.dispersion;
    let (few, many) = limits(flow.blocks / scale);
    let (seldom, often) = limits(hazard.freed);
    let below = (middle - grown(few * scale, hazard.freed + 0.5)).hypot(middle - grown(flow.blocks, often));
    let above = (grown(many * scale, hazard.freed + 0.5) - middle).hypot(grown(flow.blocks, seldom) - middle);
    let rate = (per_second(flow.blocks) - (hazard.freed + 0.5) / hazard.lived.max(1e-9) * old) * weight;
    let level = per_second(flow.blocks) * hazard.lived / (hazard.freed + 0.5) * weight;
    let mut forecast = Forecast {
        verdict: Verdict::TooEarly,
        rate,
        growth: middle,
        low: middle - below,
        high: middle + above,
        old: old * weight,
        level,
        counts,
        evidence: String::new(),
    };
    forecast.verdict = verdict(&forecast, flow);
    forecast.evidence = evidence::words(&forecast, age, horizon, flow.stalled);
    forecast
}

fn total<T: Copy + Default + std::ops::AddAssign>(parts: &[T]) -> T {
    parts.iter().fold(T::default(), |mut sum, part| {
        sum += *part;
        sum
    })
}

fn half_hazard(counts: Survival) -> f64 {
    if counts.lived > 0.0 { (counts.freed + 0.5) / counts.lived } else { 0.0 }
}

/// `(F / h - n) (1 - exp(-h H))`, and its limit `F H` where nothing is freed.
fn growth(flow: f64, hazard: f64, old: f64, horizon: f64) -> f64 {
    let exponent = hazard * horizon;
    if exponent < 1e-9 { flow * horizon } else { (flow / hazard - old) * -(-exponent).exp_m1() }
}

/// The flow of the whole window, or of its later parts where these have significantly less.
fn flow(spans: &[Span], parts: &[Survival]) -> Flow {
    let of = |from: usize, stalled| {
        let (parts, spans) = (parts.get(from..).unwrap_or_default(), spans.get(from..).unwrap_or_default());
        let dispersion = dispersion(spans, parts);
        Flow { blocks: total(parts).reached, time: total(spans).aged, stalled, dispersion }
    };
    let whole = of(0, false);
    let later = of(spans.len() - spans.len() / LATER, true);
    let expected = whole.blocks * later.time / whole.time.max(1e-9);
    if limits(later.blocks).1 < expected { later } else { whole }
}

/// How much more blocks are bunched in parts than a Poisson process bunches them: chi squared by its degrees of freedom; 1 where
/// chance explains it.
fn dispersion(spans: &[Span], parts: &[Survival]) -> f64 {
    let (time, blocks) = (total(spans).aged, total(parts).reached);
    let used: Vec<_> = spans.iter().zip(parts).filter(|(span, _)| span.aged > 0.0).collect();
    if used.len() < 2 || blocks <= 0.0 {
        return 1.0;
    }
    let squares: f64 = used
        .iter()
        .map(|(span, part)| {
            let expected = blocks * span.aged / time;
            (part.reached - expected).powi(2) / expected
        })
        .sum();
    let freedom = (used.len() - 1) as f64;
    if squares > chi_squared(freedom) { squares / freedom } else { 1.0 }
}

/// What chi squared exceeds one time of twenty, by Wilson's and Hilferty's approximation.
fn chi_squared(freedom: f64) -> f64 {
    const QUANTILE: f64 = 1.644_854;
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + QUANTILE * spread.sqrt()).powi(3)
}

fn verdict(forecast: &Forecast, flow: Flow) -> Verdict {
    let Survival { reached, freed, .. } = forecast.counts;
    if flow.stalled && forecast.low <= 0.0 && reached >= FEWEST {
        return Verdict::LevelsOff;
    }
    if reached < FEWEST {
        return Verdict::TooEarly;
    }
    if flow.blocks / flow.dispersion < FEWEST_BUNCHES {
        return Verdict::TooEarly;
    }
    if forecast.low > 0.0 && freed < reached / 2.0 {
        return Verdict::Leaks;
    }
    if freed >= FEWEST / 2.0 { Verdict::LevelsOff } else { Verdict::TooEarly }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: f64 = 600.0;

    /// One process that is older than the window, six parts of ten minutes.
    fn spans() -> Vec<Span> {
        vec![Span { seconds: PART, processes: PART, aged: PART }; 6]
    }

    fn parts(of: impl Fn(f64) -> (f64, f64, f64)) -> Vec<Survival> {
        let part = |number| {
            let (reached, freed, live) = of(f64::from(number));
            Survival { reached, bytes: reached * 1e6, freed, lived: live * PART }
        };
        (0..6).map(part).collect()
    }

    /// What reaches old age and is never freed leaks at its rate; the interval holds it, and the words say it.
    #[test]
    fn a_leak() {
        let found = forecast(512, &spans(), &parts(|number| (20.0, 0.0, 20.0 * (number + 0.5))), 3600.0);
        assert_eq!(found.verdict, Verdict::Leaks);
        assert!((found.growth / 120e6 - 1.0).abs() < 0.03 && found.low > 90e6 && found.high < 150e6, "{found:?}");
        assert!((found.old / 120e6 - 1.0).abs() < 0.1 && (found.rate * 3600.0 / 120e6 - 1.0).abs() < 0.03, "{found:?}");
        let words = "120 sampled blocks reached the age of 9 min, none was freed after it: +113 MiB within 60 min (95 %: +";
        assert!(found.evidence.starts_with(words), "{}", found.evidence);
    }

    /// Old blocks that are freed as others come level off where they are.
    #[test]
    fn a_full_cache() {
        let found = forecast(512, &spans(), &parts(|_| (20.0, 20.0, 40.0)), 3600.0);
        assert_eq!(found.verdict, Verdict::LevelsOff);
        assert!(found.low < 0.0 && found.high > 0.0 && found.growth.abs() < 1e6, "{found:?}");
        assert!((found.level / 40e6 - 1.0).abs() < 0.1 && found.evidence.contains("levels off near 37.7 MiB"), "{found:?}");
    }

    /// What was made at the start, and a cache that filled long ago, have stopped growing; a burst in the middle is not enough to go by.
    #[test]
    fn bursts() {
        let start = forecast(512, &spans(), &parts(|number| (if number < 1.0 { 90.0 } else { 0.0 }, 0.0, 90.0)), 3600.0);
        assert_eq!(start.verdict, Verdict::LevelsOff);
        assert!(start.evidence.contains("growth has stopped near 85.8 MiB"), "{start:?}");
        let burst = forecast(512, &spans(), &parts(|number| (if number == 4.0 { 90.0 } else { 0.0 }, 0.0, 90.0)), 3600.0);
        assert_eq!(burst.verdict, Verdict::TooEarly);
    }

    /// Few blocks are no verdict, and nothing at all gives no number that is none.
    #[test]
    fn little_to_go_by() {
        let few = forecast(512, &spans(), &parts(|_| (1.0, 0.0, 3.0)), 3600.0);
        assert_eq!((few.verdict, few.evidence.ends_with("too early to tell")), (Verdict::TooEarly, true));
        for spans in [spans(), vec![Span::default(); 6], Vec::new()] {
            for parts in [Vec::new(), vec![Survival::default(); 6], parts(|_| (1e18, 1e18, 1e18))] {
                let found = forecast(512, &spans, &parts, 3600.0);
                let numbers = [found.rate, found.growth, found.low, found.high, found.old, found.level];
                assert!(numbers.iter().all(|number| number.is_finite()), "{found:?}");
            }
        }
    }
}
