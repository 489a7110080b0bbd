//! What becomes of a process's sampled blocks: which reach which age, and which are freed at it (`flamekeeper_profile::leaks`).
//!
//! The agent counts because it alone sees each block at its birth and at its end: a collector has sums of windows, and cannot tell a
//! block that stays from one that is freed and made again. It counts by class of age, so that nothing depends on the window that is
//! asked for later, and all counts merge by addition.

use std::collections::HashMap;

use flamekeeper_profile::StackId;
use flamekeeper_profile::leaks::{AgeClass, Step, account};

use crate::heap::sum::Estimate;
use crate::heap::table::Live;

/// What was counted of one stack in one class of age.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Aged {
    /// Sampled blocks that reached the age.
    pub(crate) reached: u64,
    /// The bytes that they stand for.
    pub(crate) bytes: f64,
    /// Sampled blocks that were freed at the age.
    pub(crate) freed: u64,
    /// What sampled blocks lived at the age, in nanoseconds.
    pub(crate) lived: u64,
}

impl Aged {
    pub(crate) fn add(&mut self, other: Self) {
        self.reached = self.reached.saturating_add(other.reached);
        self.bytes += other.bytes;
        self.freed = self.freed.saturating_add(other.freed);
        self.lived = self.lived.saturating_add(other.lived);
    }
}

/// By stack and class of age. Bounded by the blocks that a table holds: a block is in one class at a time, or passes few.
pub(crate) type AgedStacks = HashMap<(StackId, AgeClass), Aged, foldhash::fast::RandomState>;

/// Counts what blocks do between the last look and this one, both in the records' time. `before` and `now` are the blocks that were
/// live then; `stack` names the stack of a block's number. One that is gone was freed in the middle, as far as anybody knows.
pub(crate) fn count(
    (from, to): (u64, u64),
    (before, now): (&[Live], &[Live]),
    stack: impl Fn(u64) -> Option<StackId>,
    counts: &mut AgedStacks,
) {
    let alive: std::collections::HashSet<u64, foldhash::fast::RandomState> = now.iter().map(|live| live.number).collect();
    let gone = before.iter().filter(|live| !alive.contains(&live.number)).map(|live| (live, true));
    let middle = from + to.saturating_sub(from) / 2;
    for (live, freed) in now.iter().map(|live| (live, false)).chain(gone) {
        let Some(stack) = stack(live.number) else { continue };
        let end = if freed { middle } else { to };
        account(live.time, from, end, |class, step| {
            let aged = counts.entry((stack, class)).or_default();
            match step {
                Step::Reached => {
                    aged.reached += 1;
                    aged.bytes += Estimate::of(live.size, live.shift).bytes;
                }
                Step::Lived(time) => aged.lived = aged.lived.saturating_add(time),
            }
        });
        if freed && let Some(class) = AgeClass::of(end.saturating_sub(live.time)) {
            counts.entry((stack, class)).or_default().freed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{StackEnd, Tables};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A block that stays reaches each age once, whatever the looks; one that is freed is counted at its age, and one that came and went
    /// between looks, or whose stack is not known, is not.
    #[test]
    fn lives_are_counted() {
        let stack = Tables::new().intern_stack(&[], StackEnd::Root);
        let live = |number, time: u64| Live { address: number, number, size: 1 << 30, shift: 19, time: time * SECOND };
        let looks = [
            (10, vec![live(1, 1), live(2, 3)]),
            (20, vec![live(1, 1), live(2, 3), live(3, 15)]),
            (30, vec![live(1, 1), live(3, 15), live(9, 1)]),
            (40, vec![live(1, 1)]),
        ];
        let mut counts = AgedStacks::default();
        for pair in looks.windows(2) {
            let of = |number| (number != 9).then_some(stack);
            count((pair[0].0 * SECOND, pair[1].0 * SECOND), (&pair[0].1, &pair[1].1), of, &mut counts);
        }
        let mut found: Vec<_> =
            counts.iter().map(|((_, class), aged)| (class.seconds(), aged.reached, aged.freed, aged.lived / SECOND)).collect();
        found.sort_unstable();
        // 1 is looked at from 9 to 39 s of its age, 2 from 7 s until it is freed at 22 s, 3 from its birth until it is freed at 20 s.
        assert_eq!(found, [(2, 1, 0, 2), (4, 1, 0, 5), (8, 2, 0, 23), (16, 3, 2, 26), (32, 1, 0, 7)]);
        assert!((counts.values().map(|aged| aged.bytes).sum::<f64>() - 8.0 * f64::from(1 << 30)).abs() < 1.0);
    }
}
