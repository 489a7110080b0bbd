//! Stack traces and how they end.

use std::hash::{Hash, Hasher};

use indexmap::Equivalent;

use crate::tables::LocationId;

/// Why unwinding stopped before it reached a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopReason {
    /// The copy of the stack that the kernel made ended.
    CopyExhausted,
    /// The return address lies in no mapping of the process.
    NoMapping,
    /// The object has no unwind information that covers the address, and frame pointers did not help.
    NoUnwindInfo,
    /// A frame pointer or return address that cannot be one.
    BadFrame,
    /// More frames than the limit.
    DepthLimit,
    /// The object's unwind information could not be read.
    UnreadableObject,
    /// The user part of the stack was not there (the process was exiting).
    NoUserStack,
    /// The calling frames lie on another stack than the one that ran and was copied: below a handler on an alternate signal
    /// stack, or below a switch of stacks (coroutines, rustc's growing stack).
    OtherStack,
}

impl StopReason {
    /// All reasons. The store writes a reason as its place in here: new ones come last.
    pub const ALL: [Self; 8] = [
        Self::CopyExhausted,
        Self::NoMapping,
        Self::NoUnwindInfo,
        Self::BadFrame,
        Self::DepthLimit,
        Self::UnreadableObject,
        Self::NoUserStack,
        Self::OtherStack,
    ];

    /// The reason's name, in snake case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CopyExhausted => "copy_exhausted",
            Self::NoMapping => "no_mapping",
            Self::NoUnwindInfo => "no_unwind_info",
            Self::BadFrame => "bad_frame",
            Self::DepthLimit => "depth_limit",
            Self::UnreadableObject => "unreadable_object",
            Self::NoUserStack => "no_user_stack",
            Self::OtherStack => "other_stack",
        }
    }
}

/// How a stack trace ends on the side of the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackEnd {
    /// It reaches the first function of its thread.
    #[default]
    Root,
    /// It ends early: the leaf side is right, what called it is not known.
    Truncated(StopReason),
    /// The sender did not say.
    Unstated,
}

impl StackEnd {
    /// The name: `root`, `unstated`, or that of the [`StopReason`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Truncated(reason) => reason.as_str(),
            Self::Unstated => "unstated",
        }
    }

    /// The end of a name; [`Self::Unstated`] for one that is not known.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        if name == "root" {
            return Self::Root;
        }
        StopReason::ALL.into_iter().find(|reason| reason.as_str() == name).map_or(Self::Unstated, Self::Truncated)
    }
}

/// A stack trace: locations leaf first, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The locations, leaf first. Kernel locations come before those of user space.
    pub locations: Box<[LocationId]>,
    /// How it ends.
    pub end: StackEnd,
}

/// A borrowed [`Stack`], to look one up without allocating.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackRef<'a> {
    pub(crate) locations: &'a [LocationId],
    pub(crate) end: StackEnd,
}

// `Stack` and `StackRef` must hash alike: the lookup by the one finds the other.
impl Hash for Stack {
    fn hash<H: Hasher>(&self, state: &mut H) {
        StackRef { locations: &self.locations, end: self.end }.hash(state);
    }
}

impl Hash for StackRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.locations.hash(state);
        self.end.hash(state);
    }
}

impl Equivalent<Stack> for StackRef<'_> {
    fn equivalent(&self, key: &Stack) -> bool {
        *self.locations == *key.locations && self.end == key.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every end reads back from its name.
    #[test]
    fn ends_round_trip() {
        for reason in StopReason::ALL {
            assert_eq!(StackEnd::parse(reason.as_str()), StackEnd::Truncated(reason));
        }
        assert_eq!(StackEnd::parse("root"), StackEnd::Root);
        assert_eq!(StackEnd::parse("moon"), StackEnd::Unstated);
    }
}
