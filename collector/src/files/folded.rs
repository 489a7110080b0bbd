//! Folded text.

use std::collections::HashMap;

use flamekeeper_profile::{FrameKind, LocationId, Merged, StackEnd, Svma, Value, parse_folded};

use super::{FileError, FileLimits, Selected};
use crate::store::MergedProfile;

/// Folded text that was read: stacks over their tables, and the sums of their values.
#[derive(Debug)]
pub(super) struct Folded {
    merged: Merged,
    divisor: u64,
}

/// Whether a text looks like it: its first line that is not empty holds no control characters and ends with a number.
pub(super) fn is_folded(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    !first.chars().any(|character| character.is_control() && character != '\t') && matches!(parse_folded(first).next(), Some(Ok(_)))
}

impl Folded {
    pub(super) fn parse(text: &str, limits: FileLimits) -> Result<Self, FileError> {
        let mut merged = Merged::new();
        let mut known: HashMap<&str, LocationId> = HashMap::new();
        let mut divisor = 0;
        let mut locations = Vec::new();
        for line in parse_folded(text) {
            let line = line.map_err(|error| FileError::Line { line: error.line })?;
            if line.value == 0 {
                continue;
            }
            divisor = greatest_common_divisor(divisor, line.value);
            locations.clear();
            for name in line.frames() {
                let location = *known.entry(name).or_insert_with(|| merged.tables.intern_named(kind(name), None, Svma(0), name));
                locations.push(location);
            }
            locations.reverse();
            let stack = merged.tables.intern_stack(&locations, StackEnd::Unstated);
            merged.add_value(stack, Value { weight: line.value, samples: 0 });
            if merged.tables.stacks().len() > limits.entries {
                return Err(FileError::TooLarge { what: "distinct stacks", limit: limits.entries });
            }
        }
        if divisor == 0 { Err(FileError::Empty) } else { Ok(Self { merged, divisor }) }
    }

    pub(super) const fn divisor(&self) -> u64 {
        self.divisor
    }

    pub(super) fn sum(&self) -> (u64, u64) {
        (self.merged.total().weight, self.merged.values().count() as u64)
    }

    pub(super) fn select(&self, wanted: Option<&str>, weight: u64) -> Selected {
        let mut merged = Merged::new();
        merged.tables = self.merged.tables.clone();
        for (stack, Value { weight: sum, .. }) in self.merged.values() {
            merged.add_value(stack, Value { weight: sum, samples: sum / weight.max(1) });
        }
        let merged = MergedProfile { merged, unit: "count".to_owned(), ..MergedProfile::default() };
        Selected { profile_type: wanted.unwrap_or("samples").to_owned(), merged, seconds: 0.0 }
    }
}

/// Markers of how a stack ends are no functions.
fn kind(name: &str) -> FrameKind {
    if name.starts_with("[truncated: ") || name == "[no stack]" { FrameKind::Other } else { FrameKind::Native }
}

pub(super) const fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal stacks are added up, and the divisor is what all values share.
    #[test]
    fn sums_and_divisor() {
        let folded = Folded::parse("main;a 20\n\nmain;b 30\nmain;a 20\nmain 0\n", FileLimits::default()).unwrap();
        assert_eq!(folded.divisor(), 10);
        let selected = folded.select(None, 10);
        let total = selected.merged.merged.total();
        assert_eq!((total.weight, total.samples, selected.merged.merged.values().count()), (70, 7, 2));
        assert!(matches!(Folded::parse("a 1\nb\n", FileLimits::default()), Err(FileError::Line { line: 2 })));
        let two = FileLimits { entries: 2, ..FileLimits::default() };
        assert!(matches!(Folded::parse("a 1\nb 1\nc 1\n", two), Err(FileError::TooLarge { .. })));
        assert!(matches!(Folded::parse("a 0\n", FileLimits::default()), Err(FileError::Empty)));
    }

    /// What looks like text and what does not.
    #[test]
    fn looks() {
        assert!(is_folded("\n\nmain;operator new(unsigned long) 12\n") && is_folded("a\tb 1"));
        assert!(!is_folded("") && !is_folded("{\"a\": 1}") && !is_folded("\u{8} 1\n") && !is_folded("a 1.5"));
    }
}
