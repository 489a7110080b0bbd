//! The difference of two rates, with its interval.

use super::dispersion::Dispersion;
use super::distribution::{beta_regularized, student_quantile, student_tail};

/// What counts are divided by, on each side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposures {
    /// Of A, in host-seconds, or samples where shares are compared.
    pub a: f64,
    /// Of B.
    pub b: f64,
}

/// Samples on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SideCounts {
    /// Of A.
    pub a: f64,
    /// Of B.
    pub b: f64,
}

/// The change of a rate, in samples per unit of exposure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Rate of B less that of A.
    pub change: f64,
    /// Lower end of the 95 % confidence interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Probability of a change as great or greater by chance.
    pub p: f64,
    /// Standard deviation of the change.
    pub deviation: f64,
    /// Degrees of freedom of the interval.
    pub freedom: f64,
    /// The 95 % confidence interval of the change as a part of the rate of A.
    pub relative: Relative,
}

/// By how much a rate changed, as a part of what it was: 0.05 is 5 % more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relative {
    /// Lower end, at least -1.
    pub low: f64,
    /// Upper end; infinite where A may be nothing.
    pub high: f64,
}

impl Relative {
    /// Where nothing is known.
    pub const UNKNOWN: Self = Self { low: -1.0, high: f64::INFINITY };

    /// Fieller's interval of the ratio of two independent estimates, less 1. The rate of A is an estimate too, so this is wider than
    /// the interval of the change divided by that rate. `a` and `b` are rates with the square of half their own interval (the variance
    /// times the square of the quantile).
    ///
    /// Source: Fieller, J. R. Stat. Soc. B 16, 1954.
    #[must_use]
    pub fn of(a: (f64, f64), b: (f64, f64)) -> Self {
        // The ratios r with (b - r a)^2 <= vb + r^2 va.
        let (first, last) = (a.0 * a.0 - a.1, b.0 * b.0 - b.1);
        let inner = first.mul_add(b.1, b.0 * b.0 * a.1);
        let (product, root) = (a.0 * b.0, inner.max(0.0).sqrt());
        // By the product of both roots, which is last / first: right whatever the sign of first.
        let low = if last > 0.0 && product + root > 0.0 { last / (product + root) } else { 0.0 };
        let high = if first > 0.0 { (product + root) / first } else { f64::INFINITY };
        Self { low: low - 1.0, high: high - 1.0 }
    }
}

/// Quantiles of Student's t for one probability. All functions of a diff have few different degrees of freedom.
#[derive(Clone, Debug)]
pub struct Quantiles {
    tail: f64,
    known: Vec<(f64, f64)>,
}

impl Quantiles {
    /// Of the values that are exceeded with probability `tail`.
    #[must_use]
    pub const fn new(tail: f64) -> Self {
        Self { tail, known: Vec::new() }
    }

    /// The value for these degrees of freedom.
    pub fn of(&mut self, freedom: f64) -> f64 {
        if let Some((_, value)) = self.known.iter().find(|(known, _)| known.to_bits() == freedom.to_bits()) {
            return *value;
        }
        let value = student_quantile(self.tail, freedom);
        self.known.push((freedom, value));
        value
    }
}

/// Estimates a change; `quantiles` are those of 0.025. No exposure on a side gives no change and `p` 1.
#[must_use]
pub fn estimate(counts: SideCounts, exposures: Exposures, dispersion: Dispersion, quantiles: &mut Quantiles) -> Estimate {
    let (a, b) = (exposures.a, exposures.b);
    if !(a > 0.0 && b > 0.0) {
        return Estimate {
            change: 0.0,
            low: 0.0,
            high: 0.0,
            p: 1.0,
            deviation: f64::INFINITY,
            freedom: dispersion.freedom,
            relative: Relative::UNKNOWN,
        };
    }
    let change = counts.b / b - counts.a / a;
    // Half a sample more: a count of 0 is no proof of a rate of 0.
    let variances = [(counts.a + 0.5) / (a * a), (counts.b + 0.5) / (b * b)].map(|variance| dispersion.factor * variance);
    let deviation = (variances[0] + variances[1]).sqrt();
    let quantile = quantiles.of(dispersion.freedom);
    let half = variances.map(|variance| quantile * quantile * variance);
    // Were the rates equal, both sides would share one.
    let shared = (counts.a + counts.b) / (a + b) * (1.0 / a + 1.0 / b) * dispersion.factor;
    let by_t = if shared > 0.0 { student_tail(change / shared.sqrt(), dispersion.freedom) } else { 1.0 };
    let p = by_t.max(binomial(counts, exposures, dispersion.factor)).min(1.0);
    Estimate {
        change,
        low: quantile.mul_add(-deviation, change),
        high: quantile.mul_add(deviation, change),
        p,
        deviation,
        freedom: dispersion.freedom,
        relative: Relative::of((counts.a / a, half[0]), (counts.b / b, half[1])),
    }
}

/// Both sides of the binomial test that the samples of both sides are divided as the exposures are: exact for a Poisson process, and with
/// counts divided by the dispersion a fair guess beyond.
fn binomial(counts: SideCounts, exposures: Exposures, factor: f64) -> f64 {
    let (a, b) = (counts.a / factor, counts.b / factor);
    let share = exposures.b / (exposures.a + exposures.b);
    let at_least = if b > 0.0 { beta_regularized(b, a + 1.0, share) } else { 1.0 };
    let at_most = if a > 0.0 { 1.0 - beta_regularized(b + 1.0, a, share) } else { 1.0 };
    2.0 * at_least.min(at_most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POISSON: Dispersion = Dispersion { factor: 1.0, freedom: 1e6 };

    /// Equal counts are chance, ten times as many are not, few samples are held back by the binomial test.
    #[test]
    fn small_and_great_changes() {
        let exposures = Exposures { a: 100.0, b: 100.0 };
        let of = |a, b| estimate(SideCounts { a, b }, exposures, POISSON, &mut Quantiles::new(0.025));
        assert!(of(50.0, 50.0).p > 0.9 && of(0.0, 0.0).p > 0.99);
        let great = of(100.0, 1000.0);
        assert!(great.p < 1e-6 && great.low > 8.0 && great.high < 10.0, "{great:?}");
        // 8 of 8 on one side: 2 / 2^8.
        assert!((of(0.0, 8.0).p - 2.0 / 256.0).abs() < 1e-9);
        assert!(of(8.0, 0.0).change < 0.0);
    }

    /// A greater spread widens the interval, and nothing to divide by is no change.
    #[test]
    fn spread_widens() {
        let (counts, exposures) = (SideCounts { a: 100.0, b: 150.0 }, Exposures { a: 10.0, b: 10.0 });
        let narrow = estimate(counts, exposures, POISSON, &mut Quantiles::new(0.025));
        let wide = estimate(counts, exposures, Dispersion { factor: 4.0, freedom: 5.0 }, &mut Quantiles::new(0.025));
        assert!(wide.high - wide.low > 2.0 * (narrow.high - narrow.low) && wide.p > narrow.p);
        assert!(wide.relative.low < narrow.relative.low && wide.relative.high > narrow.relative.high);
        assert!((estimate(counts, Exposures { a: 0.0, b: 1.0 }, POISSON, &mut Quantiles::new(0.025)).p - 1.0).abs() < 1e-12);
    }

    /// The relative interval holds the ratio that the counts have, takes account of the error of A as well, and has no upper end where A
    /// may be nothing.
    #[test]
    fn relative_changes() {
        let exposures = Exposures { a: 100.0, b: 100.0 };
        let of = |a, b| estimate(SideCounts { a, b }, exposures, POISSON, &mut Quantiles::new(0.025));
        let doubled = of(100.0, 200.0);
        // By the logarithm of the ratio, whose variance is 1/100 + 1/200: 57 % to 154 %.
        assert!((doubled.relative.low - 0.57).abs() < 0.03 && (doubled.relative.high - 1.54).abs() < 0.12, "{doubled:?}");
        assert!(doubled.relative.low < doubled.low / 1.0, "narrower than with a known A: {doubled:?}");
        let new = of(0.0, 60.0);
        assert!(new.relative.low > 10.0 && new.relative.high.is_infinite(), "{new:?}");
        let few = of(1.0, 2.0);
        assert!((few.relative.low + 1.0).abs() < 1e-9 && few.relative.high.is_infinite(), "{few:?}");
        let gone = of(60.0, 0.0);
        assert!((gone.relative.low + 1.0).abs() < 1e-9 && gone.relative.high < 0.0, "{gone:?}");
        // A grid as the judge: a ratio is in the interval where the difference to it is within its own deviation.
        for (a, b) in [(100.0_f64, 200.0_f64), (30.0, 20.0), (1000.0, 1050.0), (5.0, 40.0)] {
            let found = of(a, b).relative;
            let square = 1.959_964_f64.powi(2);
            for step in 1..4000 {
                let ratio = f64::from(step) / 200.0;
                let inside = (b - ratio * a).powi(2) <= square * (b + 0.5 + ratio * ratio * (a + 0.5));
                let near = [found.low, found.high].iter().any(|end| (ratio - 1.0 - end).abs() < 0.01);
                assert!(near || inside == (found.low < ratio - 1.0 && ratio - 1.0 < found.high), "{a} {b} {ratio} {found:?}");
            }
        }
    }
}
