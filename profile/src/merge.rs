//! Merging series into one profile.

use std::collections::HashMap;

use crate::sample_type::SampleType;
use crate::tables::{StackId, Tables, TablesRemap};

/// What a stack adds up to over all merged series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// The weight, in [`SampleType::query_unit`].
    pub weight: u64,
    /// How many samples it rests on; 0 where the type does not count samples.
    pub samples: u64,
}

/// Series merged over shared tables: the sum per distinct stack. Sums saturate.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// What the stacks are made of.
    pub tables: Tables,
    values: HashMap<StackId, Value, foldhash::fast::RandomState>,
}

impl Merged {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value of one stack of `self.tables`.
    pub fn add(&mut self, stack: StackId, sample_type: &SampleType, value: u64) {
        let sum = self.values.entry(stack).or_default();
        sum.weight = sum.weight.saturating_add(sample_type.weigh(value));
        if sample_type.is_periodic() {
            sum.samples = sum.samples.saturating_add(value);
        }
    }

    /// Adds to what a stack of `self.tables` adds up to.
    pub fn add_value(&mut self, stack: StackId, value: Value) {
        let sum = self.values.entry(stack).or_default();
        sum.weight = sum.weight.saturating_add(value.weight);
        sum.samples = sum.samples.saturating_add(value.samples);
    }

    /// Adds values over other tables, whose stacks `remap` (of [`Tables::absorb`]) places in `self.tables`. A stack
    /// that is in neither is left out; [`Tables::absorb`] leaves none out.
    pub fn add_series(&mut self, remap: &TablesRemap, sample_type: &SampleType, values: &[(StackId, u64)]) {
        for (stack, value) in values {
            if let Some(stack) = remap.stack(*stack) {
                self.add(stack, sample_type, *value);
            }
        }
    }

    /// The stacks and their sums, in no order.
    pub fn values(&self) -> impl Iterator<Item = (StackId, Value)> {
        self.values.iter().map(|(stack, value)| (*stack, *value))
    }

    /// Weight and samples over all stacks.
    #[must_use]
    pub fn total(&self) -> Value {
        self.values.values().fold(Value::default(), |sum, value| Value {
            weight: sum.weight.saturating_add(value.weight),
            samples: sum.samples.saturating_add(value.samples),
        })
    }
}
