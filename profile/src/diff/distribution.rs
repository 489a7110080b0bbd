//! Distribution functions: the regularized incomplete beta function, and Student's t by it.

/// `I_x(a, b)`, the regularized incomplete beta function, for `a, b > 0`; `x` outside of 0 to 1 counts as the nearer end. Right to about
/// 1e-10 (continued fraction of DLMF 8.17.22, by Lentz's method).
#[must_use]
pub fn beta_regularized(a: f64, b: f64, x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges fast on this side of the mean; the other side is its mirror.
    if x < (a + 1.0) / (a + b + 2.0) { front * fraction(a, b, x) / a } else { 1.0 - front * fraction(b, a, 1.0 - x) / b }
}

/// The probability that Student's t with `freedom` degrees of freedom lies further from 0 than `t`, on either side.
#[must_use]
pub fn student_tail(t: f64, freedom: f64) -> f64 {
    beta_regularized(freedom / 2.0, 0.5, freedom / t.mul_add(t, freedom))
}

/// The value that Student's t exceeds with probability `tail` (0 to 0.5), for at least one degree of freedom.
#[must_use]
pub fn student_quantile(tail: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    let beyond = |t: f64| student_tail(t, freedom) / 2.0;
    while beyond(high) > tail && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Steps of the continued fraction: some `sqrt(max(a, b))` are needed.
const MOST_STEPS: u32 = 20_000;

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let off_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / off_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..MOST_STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / off_zero(even.mul_add(d, 1.0));
        c = off_zero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / off_zero(odd.mul_add(d, 1.0));
        c = off_zero(1.0 + odd / c);
        let change = d * c;
        value *= change;
        if (change - 1.0).abs() < 1e-13 {
            break;
        }
    }
    value
}

/// The logarithm of the gamma function for `x > 0`: Stirling's series (DLMF 5.11.1) above 10, by the recurrence below.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x.max(1e-300), 0.0);
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5).mul_add(x.ln(), -x) + 0.5 * std::f64::consts::TAU.ln() + series + shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the tables in any book of statistics.
    #[test]
    fn known_values() {
        for (freedom, quantile) in [(1.0, 12.706_2), (4.0, 2.776_45), (10.0, 2.228_14), (1e6, 1.959_97)] {
            assert!((student_quantile(0.025, freedom) - quantile).abs() < 1e-4, "{freedom}");
            assert!((student_tail(quantile, freedom) - 0.05).abs() < 1e-5, "{freedom}");
        }
        assert!((beta_regularized(2.0, 3.0, 0.4) - 0.524_8).abs() < 1e-9);
        // P(X >= 8) of 10 fair coins is 56/1024.
        assert!((beta_regularized(8.0, 3.0, 0.5) - 56.0 / 1024.0).abs() < 1e-9);
        assert!((beta_regularized(50_000.0, 50_000.0, 0.5) - 0.5).abs() < 1e-8);
        assert!((beta_regularized(2.0, 3.0, -1.0), beta_regularized(2.0, 3.0, 2.0)) == (0.0, 1.0));
    }
}
