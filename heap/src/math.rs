//! The exponential distribution, without a C library.

/// The natural logarithm of a positive, normal number, to better than 1e-8.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52 & 0x7ff) as f64 - 1023.0;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > core::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), by its series.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let mut sum = 0.0;
    let mut term = 15.0;
    while term >= 1.0 {
        sum = sum * q + 1.0 / term;
        term -= 2.0;
    }
    exponent * core::f64::consts::LN_2 + 2.0 * s * sum
}

/// The next number of a sequence without an end (xorshift64*); the state is never 0.
pub(crate) const fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// Draws bytes up to the next sample: exponential, of mean `1 << shift`, rounded down.
pub(crate) fn draw(state: &mut u64, shift: u8) -> i64 {
    // In (0, 1]: 53 bits, and never 0.
    let uniform = ((next(state) >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64);
    (-ln(uniform) * (1u64 << shift) as f64) as i64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// The logarithm is that of the standard library.
    #[test]
    fn logarithm() {
        for x in [1e-16, 0.001, 0.3, 0.5, 0.707, 0.999_999, 1.0, 1.5, 2.0, 1e9] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-8, "{x}");
        }
    }

    /// Draws have the mean and the spread of the exponential distribution.
    #[test]
    fn draws_are_exponential() {
        let mut state = 42;
        let draws: std::vec::Vec<f64> = (0..200_000).map(|_| draw(&mut state, 19) as f64 / f64::from(1 << 19)).collect();
        let mean = draws.iter().sum::<f64>() / 200_000.0;
        let above = draws.iter().filter(|x| **x > 2.0).count() as f64 / 200_000.0;
        // Five standard errors.
        assert!((mean - 1.0).abs() < 5.0 / 447.0, "{mean}");
        assert!((above - (-2f64).exp()).abs() < 0.004, "{above}");
    }

    /// Counting down as allocations do, each sample weighed by its probability, gives back what was allocated.
    #[test]
    fn sampling_is_unbiased() {
        for (seed, size) in [(1u64, 20_000u32), (2, 300), (3, 700_000), (4, 10_000)] {
            let (mut state, mut remaining, mut samples) = (crate::layout::hash(seed) | 1, 0, 0u32);
            let blocks = 40_000_000 / size * 512;
            remaining += draw(&mut state, 19);
            for _ in 0..blocks {
                remaining -= i64::from(size);
                if remaining < 0 {
                    samples += 1;
                    remaining = draw(&mut state, 19);
                }
            }
            let weight = 1.0 / (1.0 - (-f64::from(size) / f64::from(1 << 19)).exp());
            let off = f64::from(samples) * weight / f64::from(blocks) - 1.0;
            // Five standard errors.
            assert!(off.abs() < 5.0 / f64::from(samples).sqrt(), "{size}: {samples} samples, {off}");
        }
    }
}
