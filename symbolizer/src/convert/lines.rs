//! Line tables: which line of which file each address of a unit belongs to.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use gimli::{FileEntry, LineProgramHeader};
use symbolic_debuginfo::FileInfo;

use super::sections::Slice;
use super::units::{Dwarf, Unit};

/// The line table of a unit.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    /// By address.
    sequences: Vec<Sequence>,
    header: Option<LineProgramHeader<Slice<'a>>>,
    files: RefCell<HashMap<u64, FileInfo<'a>>>,
}

/// Rows without a gap.
#[derive(Debug)]
struct Sequence {
    range: Range<u64>,
    /// By address, one for each.
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    address: u64,
    file: u64,
    line: u64,
}

/// Code of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) range: Range<u64>,
    pub(super) file: u64,
    /// 0 where no line was meant.
    pub(super) line: u64,
}

impl<'a> Lines<'a> {
    /// Runs the line program of a unit. What is damaged ends it, and what was read before is kept. `left` is how many rows may still be
    /// made: many units may state the same program.
    pub(super) fn read(unit: &Unit<'a>, left: &mut u64) -> Self {
        let mut lines = Self { sequences: Vec::new(), header: None, files: RefCell::default() };
        let Some(program) = unit.line_program.clone() else { return lines };
        lines.header = Some(program.header().clone());
        let (mut rows, mut table) = (Vec::<Row>::new(), program.rows());
        while let Ok(Some((_, row))) = table.next_row() {
            let Some(less) = left.checked_sub(1) else { break };
            *left = less;
            if row.end_sequence() {
                let rows = std::mem::take(&mut rows);
                lines.sequence(rows, row.address());
                continue;
            }
            let row = Row { address: row.address(), file: row.file_index(), line: row.line().map_or(0, u64::from) };
            match rows.last_mut() {
                // Of several rows at an address, the last one holds.
                Some(last) if last.address == row.address => *last = row,
                // Addresses only rise within a sequence.
                Some(last) if last.address > row.address => {}
                _ => rows.push(row),
            }
        }
        lines.sequences.sort_by_key(|sequence| sequence.range.start);
        lines
    }

    fn sequence(&mut self, rows: Vec<Row>, end: u64) {
        if let Some(start) = rows.first().map(|row| row.address).filter(|start| *start < end) {
            self.sequences.push(Sequence { range: start..end, rows });
        }
    }

    /// The ranges of addresses that it covers, by start.
    pub(super) fn covered(&self) -> impl Iterator<Item = Range<u64>> {
        self.sequences.iter().map(|sequence| sequence.range.clone())
    }

    /// The lines of a range of addresses, in order, cut at its ends.
    pub(super) fn of(&self, range: Range<u64>) -> impl Iterator<Item = Line> {
        let first = self.sequences.partition_point(|sequence| sequence.range.start <= range.start).saturating_sub(1);
        let (start, end) = (range.start, range.end);
        let overlapping = self.sequences.iter().skip(first).take_while(move |sequence| sequence.range.start < end);
        overlapping.flat_map(move |sequence| sequence.lines(start, end))
    }

    /// A file by its number in the table; without a name where it has none.
    pub(super) fn file(&self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, index: u64) -> FileInfo<'a> {
        let look_up = || {
            let header = self.header.as_ref()?;
            Some(file_info(dwarf, unit, header, header.file(index)?))
        };
        self.files.borrow_mut().entry(index).or_insert_with(|| look_up().unwrap_or_default()).clone()
    }
}

impl Sequence {
    fn lines(&self, start: u64, end: u64) -> impl Iterator<Item = Line> {
        let first = self.rows.partition_point(|row| row.address <= start).saturating_sub(1);
        let ends = self.rows.iter().skip(first + 1).map(|row| row.address).chain([self.range.end]);
        let rows = self.rows.iter().skip(first).zip(ends).take_while(move |(row, _)| row.address < end);
        let lines = rows.map(move |(row, next)| Line { range: row.address.max(start)..next.min(end), file: row.file, line: row.line });
        lines.filter(|line| line.range.start < line.range.end)
    }
}

fn file_info<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, header: &LineProgramHeader<Slice<'a>>, file: &FileEntry<Slice<'a>>) -> FileInfo<'a> {
    let text = |value| dwarf.attr_string(unit, value).map_or(&b""[..], |text| text.slice());
    // The first directory is that of the compilation, which each function has.
    let own = file.directory_index() != 0 || unit.comp_dir.is_none();
    let directory = own.then(|| file.directory(header)).flatten().map_or(&b""[..], text);
    FileInfo::new(Cow::Borrowed(directory), Cow::Borrowed(text(file.path_name())))
}
