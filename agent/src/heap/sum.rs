//! Sums of heap samples over a window's stacks.

use std::collections::{BTreeMap, HashMap};

use flamekeeper_profile::leaks::{AgeClass, Step, Survived, account};
use flamekeeper_profile::{FrameKind, Labels, SampleType, Series, StackEnd, StackId, Svma, Tables};

use crate::heap::survival::{Aged, AgedStacks};
use crate::heap::{sample_types, variance_types};

/// Nanoseconds.
const MILLISECOND: u64 = 1_000_000;
/// In square bytes.
const SQUARE_KIBIBYTE: f64 = 1_048_576.0;

/// Blocks and bytes, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) objects: f64,
    pub(crate) bytes: f64,
    /// Of the bytes, in square bytes: how far sums like this one are from the truth.
    pub(crate) variance: f64,
    /// Of the blocks, likewise.
    pub(crate) objects_variance: f64,
}

impl Estimate {
    /// What a sampled block of `size` bytes stands for, at the mean interval `1 << shift`: it was sampled with the probability
    /// `p = 1 - exp(-size / interval)`. Unbiased is also the variance `size^2 (1 - p) / p^2` (Horvitz and Thompson, 1952).
    pub(crate) fn of(size: u64, shift: u8) -> Self {
        // -expm1(-x) = 1 - exp(-x), exact for small x too.
        let probability = -(-(size as f64) / f64::from(shift).exp2()).exp_m1();
        let bytes = size as f64 / probability;
        let (objects, missed) = (1.0 / probability, 1.0 - probability);
        Self { objects, bytes, variance: bytes * bytes * missed, objects_variance: objects * objects * missed }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.variance += other.variance;
        self.objects_variance += other.objects_variance;
    }
}

/// One of the eight sums of a stack.
type Part = fn(&(Estimate, Estimate)) -> f64;

/// By stack of the window's tables: what was allocated, and what is live.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    stacks: HashMap<StackId, (Estimate, Estimate), foldhash::fast::RandomState>,
    aged: AgedStacks,
    /// How long processes were observed at an age of their own, in nanoseconds.
    observed: BTreeMap<AgeClass, u64>,
}

impl Sums {
    pub(crate) fn allocated(&mut self, stack: StackId, estimate: Estimate) {
        self.stacks.entry(stack).or_default().0.add(estimate);
    }

    pub(crate) fn live(&mut self, stack: StackId, estimate: Estimate) {
        self.stacks.entry(stack).or_default().1.add(estimate);
    }

    pub(crate) fn aged(&mut self, stack: StackId, class: AgeClass, aged: Aged) {
        self.aged.entry((stack, class)).or_default().add(aged);
    }

    /// A process that began to sample at `started` was observed in `[from, to)`.
    pub(crate) fn observed(&mut self, started: u64, from: u64, to: u64) {
        account(started, from, to, |class, step| {
            if let Step::Lived(time) = step {
                let sum = self.observed.entry(class).or_default();
                *sum = sum.saturating_add(time);
            }
        });
    }

    /// The series that hold anything: those of [`sample_types`], then those of [`Survived`], whose stacks have the age as their
    /// outermost frame.
    pub(crate) fn series(self, labels: &Labels, tables: &mut Tables) -> Vec<Series> {
        let survived = self.survived(labels, tables);
        self.sums(labels).into_iter().chain(survived).collect()
    }

    fn survived(&self, labels: &Labels, tables: &mut Tables) -> Vec<Series> {
        let mut aged: Vec<_> = self.aged.iter().map(|((stack, class), aged)| (under_age(*stack, *class, tables), *aged)).collect();
        aged.sort_unstable_by_key(|(stack, _)| *stack);
        let observed: Vec<_> = self.observed.iter().map(|(class, time)| (age_alone(*class, tables), *time)).collect();
        let series = Survived::ALL.into_iter().map(|what| {
            let of = |aged: &Aged| match what {
                Survived::Reached => aged.reached,
                // Positive, and `as` saturates.
                Survived::Space => aged.bytes.round() as u64,
                Survived::Freed => aged.freed,
                Survived::Lived => aged.lived / MILLISECOND,
                Survived::Observed => 0,
            };
            let values: Vec<_> = match what {
                Survived::Observed => observed.iter().map(|(stack, time)| (*stack, time / MILLISECOND)).collect(),
                _ => aged.iter().map(|(stack, aged)| (*stack, of(aged))).collect(),
            };
            let values = values.into_iter().filter(|(_, value)| *value > 0).collect();
            Series { labels: labels.clone(), sample_type: SampleType::plain(what.as_str(), what.unit()), values }
        });
        series.filter(|series| !series.values.is_empty()).collect()
    }

    fn sums(self, labels: &Labels) -> Vec<Series> {
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_unstable_by_key(|(stack, _)| *stack);
        let of: [Part; 4] = [|sum| sum.0.bytes, |sum| sum.0.objects, |sum| sum.1.bytes, |sum| sum.1.objects];
        let variances: [Part; 4] = [
            |sum| sum.0.variance / SQUARE_KIBIBYTE,
            |sum| sum.0.objects_variance,
            |sum| sum.1.variance / SQUARE_KIBIBYTE,
            |sum| sum.1.objects_variance,
        ];
        let sums = sample_types().into_iter().zip(of).chain(variance_types().zip(variances));
        let series = sums.map(|(sample_type, of)| {
            // The sums are positive, and `as` saturates.
            let values = stacks.iter().map(|(stack, sum)| (*stack, of(sum).round() as u64)).filter(|(_, value)| *value > 0);
            Series { labels: labels.clone(), sample_type, values: values.collect() }
        });
        series.filter(|series| !series.values.is_empty()).collect()
    }
}

/// A stack under its age.
fn under_age(stack: StackId, class: AgeClass, tables: &mut Tables) -> StackId {
    let (mut locations, end) = tables.stack(stack).map_or((Vec::new(), StackEnd::Unstated), |stack| (stack.locations.to_vec(), stack.end));
    locations.push(tables.intern_named(FrameKind::Other, None, Svma(0), &class.to_string()));
    tables.intern_stack(&locations, end)
}

/// The stack of a time that is no block's.
fn age_alone(class: AgeClass, tables: &mut Tables) -> StackId {
    let age = tables.intern_named(FrameKind::Other, None, Svma(0), &class.to_string());
    tables.intern_stack(&[age], StackEnd::Root)
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
        // A small block's is the interval's square, a large one is known.
        assert!((small.variance / f64::from(1 << 19).powi(2) - 1.0).abs() < 1e-3 && large.variance < 1.0, "{small:?} {large:?}");
    }
}
