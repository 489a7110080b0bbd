//! The functions of a Go program: names, files, lines and what was inlined.

use std::borrow::Cow;

use flamekeeper_profile::Svma;

use super::inline::{Call, InlineTrees, line};
use super::layout::{HEADER, Layout, RECORD, Record, Version, u32_at};
use super::pc_values::PcValues;

/// Which of a function's further programs says which inlined call an instruction belongs to.
const INLINE_PROGRAM: u64 = 2;
/// Which of a function's data is its inlining tree.
const INLINE_DATA: u64 = 3;
/// Longest name or path that is read.
const TEXT: usize = 64 << 10;

/// A table in memory. Reading never fails as a whole: what is damaged has no name.
#[derive(Clone, Copy, Debug)]
pub struct Functions<'a> {
    table: &'a [u8],
    layout: Layout,
    text_start: u64,
    inline: Option<InlineTrees<'a>>,
}

/// A function.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    functions: Functions<'a>,
    /// Its first address.
    pub start: Svma,
    /// The address behind it.
    pub end: Svma,
    record: Record,
    /// Where its record stands in the table.
    at: u64,
}

/// Code of one line: the part of a function up to `end`, an offset from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first offset.
    pub start: u32,
    /// The offset behind it.
    pub end: u32,
    /// Number of the file, for [`Function::path`].
    pub file: i32,
    /// The line; 0 where unknown.
    pub line: u32,
    /// The inlined call that it belongs to, for [`Function::call`].
    pub call: Option<u32>,
}

impl<'a> Functions<'a> {
    /// Reads a table. `text_start` is where the text begins, for tables whose header does not say, and `inline` the bytes
    /// from the base of inlining trees on; without it no inlined function is known.
    #[must_use]
    pub fn parse(table: &'a [u8], text_start: Option<Svma>, inline: Option<&'a [u8]>) -> Option<Self> {
        let layout = Layout::parse(table.get(..HEADER.min(table.len()))?, table.len() as u64)?;
        let text_start = text_start.map_or(layout.text_start, |start| start.0);
        let inline = inline.and_then(|bytes| InlineTrees::new(layout.version, bytes));
        Some(Self { table, layout, text_start, inline })
    }

    /// The functions, in order of address. A damaged one ends them.
    pub fn iter(self) -> impl Iterator<Item = Function<'a>> {
        (0..self.layout.functions).map_while(move |index| self.function(index))
    }

    /// Bytes of the table.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.table.len()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.layout.functions
    }

    /// Never: a table has at least one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.layout.functions == 0
    }

    /// The function that an address lies in.
    #[must_use]
    pub fn find(&self, address: Svma) -> Option<Function<'a>> {
        let (mut low, mut high) = (0, self.layout.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.address(middle)? <= address.0 { low = middle + 1 } else { high = middle }
        }
        self.function(low.checked_sub(1)?).filter(|function| address < function.end)
    }

    /// Whether the first inlined calls name functions, at addresses within the function that they are inlined into.
    pub(crate) fn inline_makes_sense(&self) -> bool {
        const ENOUGH: usize = 64;
        const FUNCTIONS: usize = 1 << 12;
        const ROWS: usize = 1 << 10;
        let calls = self.iter().take(FUNCTIONS).filter_map(|function| {
            let index = function.ranges(ROWS).iter().find_map(|range| range.call)?;
            let size = function.end.0 - function.start.0;
            let sensible = |call: Call<'_>| u64::from(call.at) < size && !call.name.is_empty() && !call.name.contains(char::is_control);
            Some(function.call(index).is_some_and(sensible))
        });
        calls.take(ENOUGH).all(|sensible| sensible)
    }

    fn function(&self, index: u64) -> Option<Function<'a>> {
        let (_, record) = self.entry(index)?;
        let at = self.layout.records().checked_add(record)?;
        let start = usize::try_from(at).ok()?;
        let bytes = self.table.get(start..self.table.len().min(start.checked_add(RECORD)?))?;
        let record = self.layout.record(bytes)?;
        let (start, end) = (self.address(index)?, self.address(index + 1)?);
        (start <= end).then_some(Function { functions: *self, start: Svma(start), end: Svma(end), record, at })
    }

    fn entry(&self, index: u64) -> Option<(u64, u64)> {
        // Within the table, as the layout was checked to be.
        let at = self.layout.index.checked_add(index.checked_mul(self.layout.entry_len())?)?;
        self.layout.entry(self.table.get(usize::try_from(at).ok()?..)?)
    }

    fn address(&self, index: u64) -> Option<u64> {
        let address = self.entry(index)?.0;
        if self.layout.is_relative() { self.text_start.checked_add(address) } else { Some(address) }
    }

    /// The text that ends with a zero byte at an offset of the table.
    fn text(&self, base: u64, offset: u64) -> Option<Cow<'a, str>> {
        let start = usize::try_from(base.checked_add(offset)?).ok()?;
        let rest = self.table.get(start..)?;
        let rest = rest.get(..rest.len().min(TEXT))?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(rest.get(..end)?))
    }

    fn program(&self, offset: u64) -> PcValues<'a> {
        // No program begins at offset 0: it says that there is none.
        let start = (offset != 0).then(|| self.layout.programs.checked_add(offset)).flatten();
        let bytes = start.and_then(|start| self.table.get(usize::try_from(start).ok()?..)).unwrap_or(&[]);
        PcValues::new(bytes, self.layout.quantum)
    }
}

impl<'a> Function<'a> {
    /// The name, with its package: `main.main`, `runtime.(*mheap).alloc`.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'a, str>> {
        self.functions.text(self.functions.layout.names, self.record.name)
    }

    /// The line that it begins at (`func`, or `TEXT` in assembly): stated from Go 1.20 on, 0 before that.
    #[must_use]
    pub fn start_line(&self) -> u32 {
        line(self.record.start_line)
    }

    /// Its code by line, in order, without gaps; empty where the table does not say. At most `most` of them, since a damaged table could
    /// give all functions the longest program.
    #[must_use]
    pub fn ranges(&self, most: usize) -> Vec<Range> {
        let mut files = Values::new(self.functions.program(self.record.file));
        let mut lines = Values::new(self.functions.program(self.record.line));
        let mut calls = Values::new(self.inline_program());
        let size = u32::try_from(self.end.0 - self.start.0).unwrap_or(u32::MAX);
        let (mut ranges, mut start) = (Vec::new(), 0);
        while start < size && ranges.len() < most {
            let (file, line, call) = (files.at(start), lines.at(start), calls.at(start));
            let ends = [file, line, call].map(|found| found.map_or(size, |(end, _)| end));
            let end = ends.into_iter().fold(size, u32::min);
            if end <= start || (file.is_none() && line.is_none()) {
                break;
            }
            let value = |found: Option<(u32, i32)>| found.map_or(-1, |(_, value)| value);
            let line = u32::try_from(value(line)).unwrap_or(0);
            ranges.push(Range { start, end, file: value(file), line, call: u32::try_from(value(call)).ok() });
            start = end;
        }
        ranges
    }

    /// The path of a file that one of its ranges is in.
    #[must_use]
    pub fn path(&self, file: i32) -> Option<Cow<'a, str>> {
        let functions = &self.functions;
        let file = u64::try_from(file).ok()?;
        let number = |at: u64| u32_at(functions.table, usize::try_from(at).ok()?);
        if functions.layout.version == Version::Go12 {
            // Behind the index stands where the files are: a table of offsets of their paths.
            let pointer = functions.layout.pointer;
            let files = number(functions.layout.index + functions.layout.functions * functions.layout.entry_len() + pointer)?;
            let count = number(u64::from(files))?;
            let offset = number(u64::from(files) + file * 4).filter(|_| file > 0 && file < u64::from(count))?;
            return functions.text(0, u64::from(offset));
        }
        let place = self.record.unit.checked_add(file)?.checked_mul(4)?;
        let offset = number(functions.layout.units.checked_add(place)?).filter(|offset| *offset != u32::MAX)?;
        functions.text(functions.layout.files, u64::from(offset))
    }

    /// An inlined call.
    #[must_use]
    pub fn call(&self, index: u32) -> Option<Call<'a>> {
        let data = self.inline_data()?;
        let call = self.functions.inline.as_ref()?.call(data, index)?;
        let name = self.functions.text(self.functions.layout.names, call.name)?;
        Some(Call { name, at: call.at, start_line: call.start_line })
    }

    fn inline_program(&self) -> PcValues<'a> {
        let has = self.functions.layout.is_relative() && u64::from(self.record.programs) > INLINE_PROGRAM;
        let at = has.then(|| self.at.checked_add(self.record.len + INLINE_PROGRAM * 4)).flatten();
        let offset = at.and_then(|at| u32_at(self.functions.table, usize::try_from(at).ok()?));
        self.functions.program(u64::from(offset.unwrap_or(0)))
    }

    /// Where its inlining tree is, from the base of data.
    fn inline_data(&self) -> Option<u64> {
        let has = self.functions.layout.is_relative() && u64::from(self.record.data) > INLINE_DATA;
        let skip = u64::from(self.record.programs).checked_add(INLINE_DATA)?.checked_mul(4)?;
        let at = has.then(|| self.at.checked_add(self.record.len)?.checked_add(skip)).flatten()?;
        u32_at(self.functions.table, usize::try_from(at).ok()?).filter(|offset| *offset != u32::MAX).map(u64::from)
    }
}

/// Values of a program that is walked along with others.
struct Values<'a> {
    rest: PcValues<'a>,
    now: Option<(u32, i32)>,
}

impl<'a> Values<'a> {
    fn new(mut rest: PcValues<'a>) -> Self {
        let now = rest.next();
        Self { rest, now }
    }

    /// The value at an offset, which never falls, and where it ends.
    fn at(&mut self, offset: u32) -> Option<(u32, i32)> {
        while self.now.is_some_and(|(end, _)| end <= offset) {
            self.now = self.rest.next();
        }
        self.now
    }
}
