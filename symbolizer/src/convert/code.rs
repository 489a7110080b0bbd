//! The code of an object, and how much of it is named.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use flamekeeper_profile::Svma;
use symbolic_debuginfo::Symbol;

use super::demangle;

/// Function symbols of an object, by address. Addresses are relative to the load address.
#[derive(Debug, Default)]
pub(super) struct Symbols<'a>(Vec<Symbol<'a>>);

impl<'a> Symbols<'a> {
    /// Symbols of several tables; at an address, the one whose name people know comes first.
    ///
    /// Of equally good names that is the last one: in a table, what other objects can see stands behind what is local (ELF specification,
    /// "Symbol Table", `sh_info`), and `.dynsym`, which holds only the former, is read after `.symtab`.
    pub(super) fn new(symbols: impl Iterator<Item = Symbol<'a>>) -> Self {
        let mut symbols: Vec<_> = symbols.filter(|symbol| symbol.name.as_ref().is_some_and(|name| !name.is_empty())).collect();
        symbols.sort_by_key(|symbol| symbol.address);
        for same in symbols.chunk_by_mut(|a, b| a.address == b.address).filter(|same| same.len() > 1) {
            same.reverse();
            same.sort_by_cached_key(|symbol| Reverse(demangle::familiarity(symbol_name(symbol))));
        }
        Self(symbols)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Symbol<'a>> {
        self.0.iter()
    }

    /// Those that begin in a range.
    pub(super) fn starting_in(&self, range: Range<u64>) -> &[Symbol<'a>] {
        let start = self.0.partition_point(|symbol| symbol.address < range.start);
        let end = self.0.partition_point(|symbol| symbol.address < range.end);
        self.0.get(start..end).unwrap_or(&[])
    }
}

/// What is known of an object's code while its functions are read.
#[derive(Debug)]
pub(super) struct Code<'a> {
    load_address: u64,
    /// The executable segments; nothing is known of them where the object has no program headers.
    segments: Vec<Range<u64>>,
    symbols: &'a Symbols<'a>,
    /// Ranges of functions, by start and end, so that one which several units describe is taken once.
    claimed: BTreeSet<(u64, u64)>,
    /// How many ranges may still be read: many entries may state the same list.
    ranges_left: u64,
}

impl<'a> Code<'a> {
    pub(super) fn new(load_address: Svma, segments: Vec<Range<u64>>, symbols: &'a Symbols<'a>, ranges: u64) -> Self {
        Self { load_address: load_address.0, segments, symbols, claimed: BTreeSet::new(), ranges_left: ranges }
    }

    /// An address from the load address on.
    pub(super) const fn relative(&self, address: u64) -> u64 {
        address.saturating_sub(self.load_address)
    }

    /// A range of code, cut to the segment that it begins in; none where it is empty, or no code, or beyond what a symcache, whose addresses
    /// have 32 bits, can hold.
    pub(super) fn within(&self, range: Range<u64>) -> Option<Range<u64>> {
        let end = if self.segments.is_empty() {
            range.end
        } else {
            self.segments.iter().find(|segment| segment.contains(&range.start))?.end.min(range.end)
        };
        let fits = range.start >= self.load_address && end.checked_sub(self.load_address)? < u64::from(u32::MAX);
        (range.start < end && fits).then_some(range.start..end)
    }

    /// Whether the range was not claimed before.
    pub(super) fn claim(&mut self, range: &Range<u64>) -> bool {
        self.claimed.insert((range.start, range.end))
    }

    /// Whether another range may be read.
    pub(super) const fn spend_range(&mut self) -> bool {
        let more = self.ranges_left > 0;
        self.ranges_left = self.ranges_left.saturating_sub(1);
        more
    }

    /// The name of a symbol that begins there, a mangled one before others.
    pub(super) fn symbol_at(&self, address: u64) -> Option<&'a str> {
        let at = self.relative(address);
        let mut names = self.symbols.starting_in(at..at.saturating_add(1)).iter().map(symbol_name);
        names.clone().find(|name| demangle::is_mangled(name)).or_else(|| names.next())
    }

    /// Symbols that begin in a range of addresses, as the object states them.
    pub(super) fn symbols_in(&self, range: Range<u64>) -> &'a [Symbol<'a>] {
        self.symbols.starting_in(self.relative(range.start)..self.relative(range.end))
    }

    /// The address that the object states for a symbol.
    pub(super) const fn address_of(&self, symbol: &Symbol<'_>) -> u64 {
        symbol.address.saturating_add(self.load_address)
    }

    /// The claimed ranges, merged, to ask whether an address lies in one.
    pub(super) fn claims(&self) -> Claims {
        let mut merged: BTreeMap<u64, u64> = BTreeMap::new();
        let mut last: Option<(u64, u64)> = None;
        for (start, end) in &self.claimed {
            match &mut last {
                Some(open) if *start <= open.1 => open.1 = open.1.max(*end),
                _ => merged.extend(last.replace((*start, *end))),
            }
        }
        merged.extend(last);
        Claims(merged)
    }
}

/// Ranges that functions cover.
#[derive(Debug)]
pub(super) struct Claims(BTreeMap<u64, u64>);

impl Claims {
    /// Whether a function covers the address, as the object states it.
    pub(super) fn contain(&self, address: u64) -> bool {
        self.0.range(..=address).next_back().is_some_and(|(_, end)| address < *end)
    }
}

/// The name of a symbol.
pub(super) fn symbol_name<'s>(symbol: &'s Symbol<'_>) -> &'s str {
    symbol.name.as_ref().map_or("", Cow::as_ref)
}
