//! The functions of a unit: their ranges of code, what was inlined into them, and their lines, in the form that a symcache is made from.

use std::ops::Range;

use gimli::{AttributeValue, UnitOffset, constants};
use symbolic_common::{Language, Name, NameMangling};
use symbolic_debuginfo::Function;
use symbolic_debuginfo::function_builder::FunctionBuilder;

use super::code::Code;
use super::lines::Lines;
use super::names::Names;
use super::sections::Slice;
use super::units::{Unit, Units};

/// Deepest nesting of inlined functions that is kept; what lies deeper belongs to the one at this depth.
const MAX_DEPTH: usize = 500;

/// A unit, and what its functions are made of.
pub(super) struct UnitFunctions<'r, 'a> {
    pub(super) units: &'r Units<'a>,
    pub(super) unit: &'r Unit<'a>,
    /// The unit that has the line table: the skeleton of a split one.
    pub(super) lines_of: (&'r Units<'a>, &'r Unit<'a>),
    pub(super) lines: &'r Lines<'a>,
    pub(super) names: &'r Names<'r, 'a>,
}

/// The attributes of a function that matter here.
#[derive(Default)]
struct Attributes<'a> {
    low: Option<AttributeValue<Slice<'a>>>,
    high: Option<AttributeValue<Slice<'a>>>,
    ranges: Option<AttributeValue<Slice<'a>>>,
    origin: Option<AttributeValue<Slice<'a>>>,
    call_file: u64,
    call_line: u64,
}

/// A function whose entries are being read: it has a builder for each range of its code.
struct Open<'a> {
    depth: isize,
    parts: Vec<(Range<u64>, FunctionBuilder<'a>)>,
    /// Depths of the entries of inlined functions that are open.
    inlined: Vec<isize>,
}

impl<'r, 'a> UnitFunctions<'r, 'a> {
    /// Reads all functions and hands them over, with addresses relative to the load address. A damaged entry ends them. Says whether there
    /// are any.
    pub(super) fn read(&self, code: &mut Code<'_>, give: &mut dyn FnMut(&Function<'_>)) -> bool {
        let mut open: Vec<Open<'a>> = Vec::new();
        let mut any = false;
        let mut give = |function: &Function<'_>| {
            any = true;
            give(function);
        };
        // Of a damaged unit, what stands before the damage is kept.
        _ = self.entries(code, &mut open, &mut give);
        while let Some(function) = open.pop() {
            self.finish(function, code, &mut give);
        }
        any
    }

    fn entries(&self, code: &mut Code<'_>, open: &mut Vec<Open<'a>>, give: &mut dyn FnMut(&Function<'_>)) -> Option<()> {
        let mut entries = self.unit.entries_raw(None).ok()?;
        while !entries.is_empty() {
            let (offset, depth) = (entries.next_offset(), entries.next_depth());
            let Some(abbreviation) = entries.read_abbreviation().ok()? else { continue };
            while let Some(function) = open.pop_if(|function| function.depth >= depth) {
                self.finish(function, code, give);
            }
            if let Some(function) = open.last_mut() {
                // Also by an entry that is no function: blocks lie between.
                while function.inlined.pop_if(|open| *open >= depth).is_some() {}
            }
            let tag = abbreviation.tag();
            if tag != constants::DW_TAG_subprogram && tag != constants::DW_TAG_inlined_subroutine {
                entries.skip_attributes(abbreviation.attributes()).ok()?;
                continue;
            }
            let mut attributes = Attributes::default();
            for specification in abbreviation.attributes() {
                attributes.take(&entries.read_attribute(*specification).ok()?);
            }
            let ranges = self.ranges(&attributes, code);
            if tag == constants::DW_TAG_subprogram {
                open.extend(self.open(offset, depth, &ranges, code));
            } else if let Some(function) = open.last_mut() {
                self.inline(function, depth, &ranges, &attributes, code);
            }
        }
        Some(())
    }

    /// Begins a function that has code which was not seen before.
    fn open(&self, offset: UnitOffset, depth: isize, ranges: &[Range<u64>], code: &mut Code<'_>) -> Option<Open<'a>> {
        let fresh: Vec<_> = ranges.iter().filter(|range| code.claim(range)).cloned().collect();
        let first = fresh.iter().map(|range| range.start).min()?;
        let described = self.names.describe(self.units, self.unit, offset);
        let name = described.text(code.symbol_at(first));
        let directory = self.lines_of.1.comp_dir.map_or(&b""[..], |directory| directory.slice());
        let part = |range: Range<u64>| {
            let start = code.relative(range.start);
            let builder = FunctionBuilder::new(finished(name.clone()), directory, start, range.end - range.start);
            (range, builder)
        };
        Some(Open { depth, parts: fresh.into_iter().map(part).collect(), inlined: Vec::new() })
    }

    fn inline(&self, function: &mut Open<'a>, depth: isize, ranges: &[Range<u64>], attributes: &Attributes<'a>, code: &Code<'_>) {
        if ranges.is_empty() || function.inlined.len() >= MAX_DEPTH {
            return;
        }
        let level = u32::try_from(function.inlined.len()).unwrap_or(u32::MAX);
        function.inlined.push(depth);
        let Some(origin) = attributes.origin else { return };
        let name = self.names.inlined(self.units, self.unit, origin);
        let (units, unit) = self.lines_of;
        let file = self.lines.file(&units.dwarf, unit, attributes.call_file);
        for range in ranges {
            let Some((_, part)) = function.parts.iter_mut().find(|(outer, _)| outer.contains(&range.start)) else { continue };
            let start = code.relative(range.start);
            part.add_inlinee(level, finished(name.to_string()), start, range.end - range.start, file.clone(), attributes.call_line);
        }
    }

    fn finish(&self, function: Open<'a>, code: &Code<'_>, give: &mut dyn FnMut(&Function<'_>)) {
        let (units, unit) = self.lines_of;
        for (range, mut part) in function.parts {
            for line in self.lines.of(range) {
                let file = self.lines.file(&units.dwarf, unit, line.file);
                part.add_leaf_line(code.relative(line.range.start), Some(line.range.end - line.range.start), file, line.line);
            }
            give(&part.finish());
        }
    }

    /// The ranges of code of an entry, in the file's order, without those that no code lies in: the linker left such functions out.
    fn ranges(&self, attributes: &Attributes<'a>, code: &mut Code<'_>) -> Vec<Range<u64>> {
        let (dwarf, unit) = (&self.units.dwarf, self.unit);
        let mut ranges = Vec::new();
        if let Some(value) = attributes.ranges {
            let Ok(Some(mut list)) = dwarf.attr_ranges(unit, value) else { return ranges };
            while let Ok(Some(range)) = list.next() {
                if !code.spend_range() {
                    break;
                }
                ranges.extend(code.within(range.begin..range.end));
            }
            return ranges;
        }
        let Some(low) = attributes.low.and_then(|low| dwarf.attr_address(unit, low).ok()?) else { return ranges };
        let high = match attributes.high {
            Some(AttributeValue::Udata(size)) => low.checked_add(size),
            Some(high) => dwarf.attr_address(unit, high).ok().flatten().or_else(|| low.checked_add(high.udata_value()?)),
            None => None,
        };
        ranges.extend(high.and_then(|high| code.within(low..high)));
        ranges
    }
}

impl<'a> Attributes<'a> {
    fn take(&mut self, attribute: &gimli::Attribute<Slice<'a>>) {
        match attribute.name() {
            constants::DW_AT_low_pc => self.low = Some(attribute.value()),
            constants::DW_AT_high_pc => self.high = Some(attribute.value()),
            constants::DW_AT_ranges => self.ranges = Some(attribute.value()),
            constants::DW_AT_abstract_origin => self.origin = Some(attribute.value()),
            constants::DW_AT_call_line => self.call_line = attribute.udata_value().unwrap_or(0),
            constants::DW_AT_call_file => {
                self.call_file = match attribute.value() {
                    AttributeValue::FileIndex(index) => index,
                    value => value.udata_value().unwrap_or(0),
                }
            }
            _ => {}
        }
    }
}

/// A name that is ready to be stored.
pub(super) fn finished<'n>(name: String) -> Name<'n> {
    Name::new(name, NameMangling::Unmangled, Language::Unknown)
}
