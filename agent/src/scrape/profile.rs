//! A heap profile as it was scraped, whatever format it came in.

use std::collections::HashMap;

use flamekeeper_profile::{FrameKind, Location, LocationId, StackEnd, StackId, StopReason, Svma, Tables};

use crate::heap::carry_stack;

/// Stacks of one profile that are kept: the others, those with least memory, become one.
const MAX_STACKS: usize = 8192;
/// Frames of a stack that are kept, from the leaf on.
pub(super) const MAX_DEPTH: usize = 256;
/// Bytes of a name or a path that are kept.
const MAX_TEXT: usize = 1024;
/// The name of the stack of what is beyond the limit.
const OTHERS: &str = "[stacks beyond the agent's limit]";

/// Why an answer is no heap profile that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// It is of no known format.
    #[error("it is neither pprof (profile.proto) nor the text of jemalloc's or tcmalloc's heap profiles (heap_v2)")]
    Foreign,
    /// It is larger than it may be.
    #[error("it is larger than {0}; the limits protect the agent")]
    TooLarge(&'static str),
    /// It is a pprof of something else.
    #[error("it is a profile without inuse_space, inuse_objects, alloc_space or alloc_objects: no heap profile")]
    NoHeap,
    /// It contradicts itself.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// What is known of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Allocated since the process began, in bytes.
    pub(crate) alloc_space: u64,
    /// The same, in blocks.
    pub(crate) alloc_objects: u64,
    /// Live, in bytes.
    pub(crate) inuse_space: u64,
    /// Live, in blocks.
    pub(crate) inuse_objects: u64,
}

impl Amounts {
    fn add(&mut self, other: Self) {
        self.alloc_space = self.alloc_space.saturating_add(other.alloc_space);
        self.alloc_objects = self.alloc_objects.saturating_add(other.alloc_objects);
        self.inuse_space = self.inuse_space.saturating_add(other.inuse_space);
        self.inuse_objects = self.inuse_objects.saturating_add(other.inuse_objects);
    }

    const fn weight(self) -> u64 {
        if self.inuse_space > self.alloc_space { self.inuse_space } else { self.alloc_space }
    }
}

type Stacks = HashMap<StackId, Amounts, foldhash::fast::RandomState>;

/// A heap profile: what each stack has.
#[derive(Debug, Default)]
pub(crate) struct HeapProfile {
    pub(super) tables: Tables,
    stacks: Stacks,
}

impl HeapProfile {
    /// Adds a stack, leaf first.
    pub(super) fn add(&mut self, locations: &[LocationId], amounts: Amounts) {
        if amounts == Amounts::default() {
            return;
        }
        let stack = match locations.get(..MAX_DEPTH) {
            Some(kept) if locations.len() > MAX_DEPTH => self.tables.intern_stack(kept, StackEnd::Truncated(StopReason::DepthLimit)),
            _ => self.tables.intern_stack(locations, StackEnd::Unstated),
        };
        self.stacks.entry(stack).or_default().add(amounts);
    }

    /// A location; texts of it are bounded by whoever made it ([`clipped`]).
    pub(super) fn locate(&mut self, location: Location) -> LocationId {
        self.tables.intern_location(location)
    }

    /// Ends the reading: no more stacks than may be are kept, and nothing is lost of the sums.
    pub(super) fn finish(mut self) -> Self {
        if self.stacks.len() <= MAX_STACKS {
            return self;
        }
        let mut all: Vec<_> = std::mem::take(&mut self.stacks).into_iter().collect();
        all.sort_unstable_by_key(|(stack, amounts)| (std::cmp::Reverse(amounts.weight()), *stack));
        let rest = all.split_off(MAX_STACKS - 1);
        let mut kept = Self::default();
        for (stack, amounts) in all {
            let stack = carry_stack(&self.tables, stack, &mut kept.tables);
            kept.stacks.insert(stack, amounts);
        }
        let other = kept.tables.intern_named(FrameKind::Other, None, Svma(0), OTHERS);
        rest.into_iter().for_each(|(_, amounts)| kept.add(&[other], amounts));
        kept
    }

    /// The stacks, over [`Self::tables`].
    pub(crate) fn stacks(&self) -> impl Iterator<Item = (StackId, Amounts)> {
        self.stacks.iter().map(|(stack, amounts)| (*stack, *amounts))
    }

    /// What the stacks are made of.
    pub(crate) const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// All stacks together.
    pub(crate) fn total(&self) -> Amounts {
        self.stacks().fold(Amounts::default(), |mut sum, (_, amounts)| {
            sum.add(amounts);
            sum
        })
    }

    /// Puts what was allocated since an earlier profile of the same program in the place of what was since the program began. It was
    /// started anew where less was allocated in all than then; then all of it is new.
    pub(super) fn since(&mut self, earlier: &Self) {
        // Scaled figures waver by little where blocks of several sizes come from one stack.
        let (now, then) = (self.total(), earlier.total());
        if now.alloc_space < then.alloc_space - then.alloc_space / 64 {
            return;
        }
        for (stack, amounts) in earlier.stacks() {
            let stack = carry_stack(&earlier.tables, stack, &mut self.tables);
            if let Some(now) = self.stacks.get_mut(&stack) {
                now.alloc_space = now.alloc_space.saturating_sub(amounts.alloc_space);
                now.alloc_objects = now.alloc_objects.saturating_sub(amounts.alloc_objects);
            }
        }
    }

    /// Adds what was allocated in another profile.
    pub(super) fn add_allocated(&mut self, other: &Self) {
        for (stack, Amounts { alloc_space, alloc_objects, .. }) in other.stacks() {
            let stack = carry_stack(&other.tables, stack, &mut self.tables);
            self.stacks.entry(stack).or_default().add(Amounts { alloc_space, alloc_objects, ..Amounts::default() });
        }
    }

    /// Leaves out what was allocated: since when is not known.
    pub(super) fn forget_allocated(&mut self) {
        for amounts in self.stacks.values_mut() {
            (amounts.alloc_space, amounts.alloc_objects) = (0, 0);
        }
    }
}

impl Clone for HeapProfile {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        for (stack, amounts) in self.stacks() {
            let stack = carry_stack(&self.tables, stack, &mut copy.tables);
            copy.stacks.insert(stack, amounts);
        }
        copy
    }
}

/// A text without control characters, of at most so many bytes as are kept.
pub(super) fn clipped(text: &str) -> String {
    let mut clipped = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if clipped.len() + letter.len_utf8() > MAX_TEXT {
            break;
        }
        clipped.push(letter);
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(stacks: &[(&str, u64, u64)]) -> HeapProfile {
        let mut profile = HeapProfile::default();
        for (name, alloc, inuse) in stacks {
            let frame = profile.tables.intern_named(FrameKind::Go, None, Svma(0), name);
            let amounts = Amounts { alloc_space: *alloc, alloc_objects: alloc / 10, inuse_space: *inuse, inuse_objects: inuse / 10 };
            profile.add(&[frame], amounts);
        }
        profile.finish()
    }

    fn of(profile: &HeapProfile, name: &str) -> Option<(u64, u64)> {
        let named = |stack| {
            let location = profile.tables.location(*profile.tables.stack(stack)?.locations.first()?)?;
            Some(profile.tables.string(location.lines.first()?.function) == name)
        };
        profile.stacks().find(|(stack, _)| named(*stack) == Some(true)).map(|(_, amounts)| (amounts.alloc_space, amounts.inuse_space))
    }

    /// Between two scrapes only what came since counts as allocated; of a program that was started anew, all of it.
    #[test]
    fn allocations_are_since_the_last_scrape() {
        let first = profile(&[("grow", 1000, 900), ("churn", 50_000, 10)]);
        let mut second = profile(&[("grow", 1400, 1300), ("churn", 70_000, 10), ("new", 30, 30)]);
        second.since(&first);
        assert_eq!(
            [of(&second, "grow"), of(&second, "churn"), of(&second, "new")],
            [Some((400, 1300)), Some((20_000, 10)), Some((30, 30))]
        );
        let mut anew = profile(&[("grow", 100, 90), ("churn", 5000, 10)]);
        anew.since(&first);
        assert_eq!([of(&anew, "grow"), of(&anew, "churn")], [Some((100, 90)), Some((5000, 10))]);
        anew.forget_allocated();
        assert_eq!(of(&anew, "grow"), Some((0, 90)));
    }

    /// A profile of too many stacks keeps its sums.
    #[test]
    fn sums_outlast_the_limit() {
        let names: Vec<String> = (0..MAX_STACKS + 100).map(|number| format!("f{number}")).collect();
        let stacks: Vec<_> = names.iter().zip(0_u64..).map(|(name, number)| (name.as_str(), number, number)).collect();
        let profile = profile(&stacks);
        let count = stacks.len() as u64;
        assert_eq!((profile.stacks().count(), profile.total().inuse_space), (MAX_STACKS, count * (count - 1) / 2));
        assert_eq!(of(&profile, OTHERS), Some((101 * 100 / 2, 101 * 100 / 2)));
    }
}
