//! Sums of heap samples over a window's stacks.

use std::collections::HashMap;

use flamekeeper_profile::{Labels, Series, StackId};

use crate::heap::sample_types;

/// Blocks and bytes, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) objects: f64,
    pub(crate) bytes: f64,
}

impl Estimate {
    /// What a sampled block of `size` bytes stands for, at the mean interval `1 << shift`: it was sampled with the probability
    /// `1 - exp(-size / interval)`.
    pub(crate) fn of(size: u64, shift: u8) -> Self {
        // -expm1(-x) = 1 - exp(-x), exact for small x too.
        let probability = -(-(size as f64) / f64::from(shift).exp2()).exp_m1();
        Self { objects: 1.0 / probability, bytes: size as f64 / probability }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// One of the four sums of a stack.
type Part = fn(&(Estimate, Estimate)) -> f64;

/// By stack of the window's tables: what was allocated, and what is live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    stacks: HashMap<StackId, (Estimate, Estimate), foldhash::fast::RandomState>,
}

impl Sums {
    pub(crate) fn allocated(&mut self, stack: StackId, estimate: Estimate) {
        self.stacks.entry(stack).or_default().0.add(estimate);
    }

    pub(crate) fn live(&mut self, stack: StackId, estimate: Estimate) {
        self.stacks.entry(stack).or_default().1.add(estimate);
    }

    /// The series that hold anything, in the order of [`sample_types`].
    pub(crate) fn series(self, labels: &Labels) -> Vec<Series> {
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_unstable_by_key(|(stack, _)| *stack);
        let of: [Part; 4] = [|sum| sum.0.bytes, |sum| sum.0.objects, |sum| sum.1.bytes, |sum| sum.1.objects];
        let series = sample_types().into_iter().zip(of).map(|(sample_type, of)| {
            // The sums are positive, and `as` saturates.
            let values = stacks.iter().map(|(stack, sum)| (*stack, of(sum).round() as u64)).filter(|(_, value)| *value > 0);
            Series { labels: labels.clone(), sample_type, values: values.collect() }
        });
        series.filter(|series| !series.values.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block much smaller than the interval stands for an interval of bytes, a much larger one for itself.
    #[test]
    fn estimates_are_unbiased() {
        let small = Estimate::of(64, 19);
        assert!((small.bytes / f64::from(1 << 19) - 1.0).abs() < 1e-3 && (small.objects - small.bytes / 64.0).abs() < 1e-6);
        let large = Estimate::of(64 << 20, 19);
        assert!((large.objects - 1.0).abs() < 1e-12 && (large.bytes - f64::from(64 << 20)).abs() < 1e-3);
        let expected = 1.0 / (1.0 - (-1f64).exp());
        assert!((Estimate::of(1 << 19, 19).objects - expected).abs() < 1e-12);
    }
}
