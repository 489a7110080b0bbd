//! Whether a level grows along a line, how fast, and how sure that is.
//!
//! The slope is that of Theil and Sen: the median of the slopes between all pairs of points, which a few wild points do not move. Points that
//! follow each other are no independent witnesses: what a cache holds now it held a minute ago. So the interval is that of as many points as
//! the line's residuals say there are: their correlation from point to point is estimated, and the variance of the slope is multiplied by
//! `(1 + r) / (1 - r)` (an autoregression of first order). A chance walk has an `r` near 1 and with it an interval that holds almost anything.
//!
//! A line alone is no growth: what warms up and levels off has a slope too. Growth also goes on in the second half at half the speed or more.

/// Points that a verdict takes at least.
pub const FEWEST_POINTS: usize = 12;
/// Independent points that it takes at least.
const FEWEST_INDEPENDENT: f64 = 4.0;
/// Bytes, and the part of the level, by which it grows in the observed time at least.
const LEAST_BYTES: f64 = 1_048_576.0;
const LEAST_PART: f64 = 0.01;
/// The part of the whole slope that the second half must have.
const STILL: f64 = 0.5;
/// Points whose mean is the level now.
const LATEST: usize = 3;
/// Two-sided quantiles of the normal distribution: of the interval that is told (95 %), and of the one that must not hold 0 (99 %).
const TOLD: f64 = 1.959_964;
const SURE: f64 = 2.575_829;

/// A level at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Seconds, from anywhere.
    pub at: f64,
    /// Bytes.
    pub level: f64,
}

/// What is said of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// It grows, and goes on growing.
    Grows,
    /// What was seen is too little to tell growth from chance.
    TooEarly,
    /// It does not grow, or hardly.
    Flat,
}

impl Trend {
    /// Its name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grows => "grows",
            Self::TooEarly => "too_early",
            Self::Flat => "flat",
        }
    }
}

/// How a level goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// The verdict.
    pub trend: Trend,
    /// Bytes a second.
    pub slope: f64,
    /// Its 95 % interval.
    pub low: f64,
    /// Its end.
    pub high: f64,
    /// Bytes now: the mean of the last points.
    pub level: f64,
    /// Points that it rests on.
    pub points: usize,
    /// How many independent ones they are worth.
    pub independent: f64,
    /// Seconds from the first to the last.
    pub seconds: f64,
}

/// Judges points in order of time.
#[must_use]
pub fn judge(points: &[Point]) -> Growth {
    let latest = &points[points.len().saturating_sub(LATEST)..];
    let level = latest.iter().map(|point| point.level).sum::<f64>() / latest.len().max(1) as f64;
    let seconds = points.first().zip(points.last()).map_or(0.0, |(first, last)| last.at - first.at);
    let unknown =
        Growth { trend: Trend::TooEarly, slope: 0.0, low: 0.0, high: 0.0, level, points: points.len(), independent: 0.0, seconds };
    if points.len() < FEWEST_POINTS || seconds <= 0.0 {
        return unknown;
    }
    let slope = slope(points);
    let line = Line::of(points, slope);
    let half = quantile(TOLD, line.independent - 2.0) * line.error;
    let growth = Growth { slope, low: slope - half, high: slope + half, independent: line.independent, ..unknown };
    let least = LEAST_BYTES.max(level * LEAST_PART);
    let surely = slope - quantile(SURE, line.independent - 2.0) * line.error;
    let later = self::slope(&points[points.len() / 2..]);
    let trend = if line.independent >= FEWEST_INDEPENDENT && surely > 0.0 && slope * seconds >= least && later >= slope * STILL {
        Trend::Grows
    } else if growth.high * seconds < least || later < slope.max(0.0) * STILL && slope * seconds >= least || slope <= 0.0 {
        Trend::Flat
    } else {
        Trend::TooEarly
    };
    Growth { trend, ..growth }
}

/// The median of the slopes between all pairs.
fn slope(points: &[Point]) -> f64 {
    let pairs = points.iter().enumerate().flat_map(|(place, first)| points[place + 1..].iter().map(move |last| (first, last)));
    let mut slopes: Vec<f64> =
        pairs.filter(|(first, last)| last.at > first.at).map(|(first, last)| (last.level - first.level) / (last.at - first.at)).collect();
    median(&mut slopes)
}

/// 0 where there is none.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    if values.len().is_multiple_of(2) { f64::midpoint(lower, upper) } else { upper }
}

/// How well a line fits.
struct Line {
    /// The standard error of its slope.
    error: f64,
    /// Independent points.
    independent: f64,
}

impl Line {
    fn of(points: &[Point], slope: f64) -> Self {
        let count = points.len() as f64;
        let middle = points.iter().map(|point| point.at).sum::<f64>() / count;
        let rest = |point: &Point| point.level - slope * (point.at - middle);
        let mean = points.iter().map(rest).sum::<f64>() / count;
        let rests: Vec<f64> = points.iter().map(|point| rest(point) - mean).collect();
        let squares: f64 = rests.iter().map(|rest| rest * rest).sum();
        let spread: f64 = points.iter().map(|point| (point.at - middle).powi(2)).sum();
        // Less than a byte from the line is how numbers are rounded, and says nothing of how points depend on each other.
        if squares <= count || spread <= 0.0 {
            return Self { error: 0.0, independent: count };
        }
        let neighbours: f64 = rests.iter().zip(&rests[1..]).map(|(one, next)| one * next).sum();
        // The estimate is too small by about this much, since the line was fitted to the same points.
        let raw = neighbours / squares;
        let correlation = (raw + 4.0f64.mul_add(raw.max(0.0), 2.0) / count).clamp(0.0, 1.0 - 1.0 / count);
        let inflation = (1.0 + correlation) / (1.0 - correlation);
        Self { error: (squares / (count - 2.0) / spread * inflation).sqrt(), independent: count / inflation }
    }
}

/// Student's quantile for the normal one, by the expansion of Cornish and Fisher. (Abramowitz and Stegun, 26.7.5.)
fn quantile(normal: f64, freedom: f64) -> f64 {
    let (n, z) = (freedom.max(1.0), normal);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / (n * n) + third / n.powi(3)
}

/// Seconds until a level that grows at `slope` reaches `limit`; none where it does not grow.
#[must_use]
pub fn seconds_until(limit: f64, level: f64, slope: f64) -> Option<f64> {
    (slope > 0.0).then(|| ((limit - level) / slope).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// xorshift64*, and from it numbers of a normal distribution (the sum of twelve).
    struct Random(u64);

    impl Random {
        fn uniform(&mut self) -> f64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
        }
    }

    /// A level by the place of a point.
    type Shape = fn(f64) -> f64;

    /// A point every 10 s, by its place.
    fn points(count: u32, mut level: impl FnMut(f64) -> f64) -> Vec<Point> {
        (0..count).map(|place| Point { at: f64::from(place) * 10.0, level: level(f64::from(place)) }).collect()
    }

    /// 300 runs of a noise that keeps the part `keeps` of itself from point to point: how often the interval holds the slope, and how often
    /// growth is told.
    fn runs(keeps: f64, slope: f64, count: u32) -> (f64, f64) {
        let mut random = Random(88_172_645_463_325_252);
        let (mut held, mut grew) = (0, 0);
        for _ in 0..300 {
            let mut noise = 0.0;
            let growth = judge(&points(count, |place| {
                noise = keeps * noise + 4.0 * MIB * random.normal();
                512.0 * MIB + slope * place * 10.0 + noise
            }));
            held += u32::from(growth.low <= slope && slope <= growth.high);
            grew += u32::from(growth.trend == Trend::Grows);
        }
        (f64::from(held) / 300.0, f64::from(grew) / 300.0)
    }

    /// The interval holds the truth about as often as it says, also where points depend on those before; chance is not called growth,
    /// not even that of a walk, and growth is.
    #[test]
    fn intervals_hold() {
        for (keeps, least) in [(0.0, 0.92), (0.5, 0.92), (0.9, 0.90)] {
            let (held, alarms) = runs(keeps, 0.0, 90);
            assert!(held >= least && alarms <= 0.02, "{keeps}: {held} {alarms}");
        }
        let (_, alarms) = runs(1.0, 0.0, 90);
        assert!(alarms <= 0.06, "a walk: {alarms}");
        let (held, grew) = runs(0.5, 0.1 * MIB, 90);
        assert!(held >= 0.92 && grew >= 0.98, "{held} {grew}");
    }

    /// A straight line is growth without doubt; one that is level, falls, saws, warms up or steps once is none.
    #[test]
    fn shapes() {
        let line = judge(&points(90, |place| 100.0 * MIB + 10.0 * place * MIB));
        assert_eq!(line.trend, Trend::Grows);
        assert!((line.slope / MIB - 1.0).abs() < 1e-9 && line.low <= line.slope && line.slope <= line.high, "{line:?}");
        let shapes: [(&str, Shape); 6] = [
            ("level", |_| 100.0 * MIB),
            ("falling", |place| (2000.0 - place) * MIB),
            ("saw", |place| (100.0 + 5.0 * (place % 15.0)) * MIB),
            ("warming", |place| 500.0 * MIB * (1.0 - (-place / 15.0).exp())),
            ("step", |place| if place < 40.0 { 100.0 * MIB } else { 300.0 * MIB }),
            ("creeping", |place| 1000.0 * MIB + place * 100.0),
        ];
        for (name, level) in shapes {
            let growth = judge(&points(90, level));
            assert_ne!(growth.trend, Trend::Grows, "{name} {growth:?}");
        }
        assert_eq!(judge(&points(90, |_| 7.0)).trend, Trend::Flat);
        // A wild point in each dozen does not move the slope.
        let wild = judge(&points(90, |place| 10.0 * place * MIB + if place % 12.0 == 5.0 { 9000.0 * MIB } else { 0.0 }));
        assert!((wild.slope / MIB - 1.0).abs() < 0.05, "{wild:?}");
    }

    /// Few points, none, equal times and no numbers: too early, and no panic.
    #[test]
    fn too_little() {
        for count in 0..FEWEST_POINTS {
            let few = points(u32::try_from(count).unwrap(), |place| place * MIB);
            assert_eq!(judge(&few).trend, Trend::TooEarly);
        }
        let same = vec![Point { at: 7.0, level: 1.0 }; 40];
        assert_eq!(judge(&same).trend, Trend::TooEarly);
        assert_ne!(judge(&vec![Point { at: 1.0, level: f64::NAN }; 40]).trend, Trend::Grows);
        assert_eq!(
            (seconds_until(100.0, 40.0, 2.0), seconds_until(1.0, 2.0, 1.0), seconds_until(1.0, 0.0, -1.0)),
            (Some(30.0), Some(0.0), None)
        );
    }
}
