//! Sums per stack of one service and type.

use std::collections::HashMap;

/// Numbers below this are places of a table: they are given one after the other, so that it is full where it is long.
const DENSE: usize = 1 << 22;

/// Values added up by the stack's number, saturating.
#[derive(Debug, Default)]
pub(super) struct Sums {
    dense: Vec<u64>,
    /// Numbers whose place in the table is not 0.
    touched: Vec<u32>,
    sparse: HashMap<u32, u64, foldhash::fast::RandomState>,
}

impl Sums {
    pub(super) fn add(&mut self, stack: u32, value: u64) {
        let place = stack as usize;
        if place >= DENSE {
            let sum = self.sparse.entry(stack).or_default();
            *sum = sum.saturating_add(value);
            return;
        }
        if place >= self.dense.len() {
            self.dense.resize((place + 1).next_power_of_two(), 0);
        }
        let sum = &mut self.dense[place];
        if *sum == 0 && value > 0 {
            self.touched.push(stack);
        }
        *sum = sum.saturating_add(value);
    }

    /// Distinct stacks whose sum is not 0.
    pub(super) fn len(&self) -> usize {
        self.touched.len() + self.sparse.len()
    }

    /// Takes all sums, by number.
    pub(super) fn drain(&mut self) -> Vec<(u32, u64)> {
        let mut sums: Vec<(u32, u64)> =
            self.touched.drain(..).map(|stack| (stack, std::mem::take(&mut self.dense[stack as usize]))).collect();
        sums.extend(self.sparse.drain());
        sums.sort_unstable();
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small and great numbers add up, come out in order, and leave nothing behind.
    #[test]
    fn adds_up() {
        let mut sums = Sums::default();
        for (stack, value) in [(7, 1), (0, 2), (7, u64::MAX), (u32::MAX, 3), (9, 0), (1 << 22, 1), (u32::MAX, 1)] {
            sums.add(stack, value);
        }
        assert_eq!(sums.len(), 4);
        assert_eq!(sums.drain(), [(0, 2), (7, u64::MAX), (1 << 22, 1), (u32::MAX, 4)]);
        assert_eq!((sums.len(), sums.drain()), (0, vec![]));
    }
}
