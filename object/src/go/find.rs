//! Where an object has its table: in a section of its own, or anywhere.

use flamekeeper_profile::Svma;
use object::elf;

use super::functions::Functions;
use super::layout::{HEADER, Layout};
use super::stack_map::StackMap;
use super::{module, module::Module};
use crate::header::{Headers, ProgramHeader};
use crate::source::Source;
use crate::{identity, limits};

/// Kinds of program headers of a copy ([`crate::only_debug`]), of a range that is left to operating systems: the table, with
/// the start of the text as its physical address, and what lies from the base of inlining trees on. A copy has no segments to find them
/// in by itself.
pub(crate) const PART_TABLE: u32 = 0x666b_676f;
/// See [`PART_TABLE`].
pub(crate) const PART_INLINE: u32 = 0x666b_6769;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) svma: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Where an object's table of Go functions is. Its header and what it says of addresses are checked, the rest is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoTable {
    pub(crate) table: Place,
    /// None for versions that state addresses.
    text_start: Option<u64>,
    pub(crate) inline: Option<Place>,
}

/// The bytes of a table, for [`Functions`].
#[derive(Clone, Copy, Debug)]
pub struct GoBytes<'a> {
    table: &'a [u8],
    text_start: Option<Svma>,
    inline: Option<&'a [u8]>,
}

impl<'a> GoBytes<'a> {
    /// Finds the table of an object in memory; none where it is no Go program.
    #[must_use]
    pub fn of(elf: &'a [u8]) -> Option<Self> {
        let source = Source::Borrowed(elf);
        let headers = Headers::read(&source).ok()?;
        let table = GoTable::find(&source, &headers)?.with_inline(&source, &headers);
        table.bytes(elf)
    }

    /// Reads the functions. Inlining trees that make no sense are left aside.
    #[must_use]
    pub fn functions(&self) -> Option<Functions<'a>> {
        let functions = Functions::parse(self.table, self.text_start, self.inline)?;
        if functions.inline_makes_sense() { Some(functions) } else { Functions::parse(self.table, self.text_start, None) }
    }
}

impl GoTable {
    /// Finds the table of an object; none where it is no Go program, or one whose table makes no sense.
    pub(crate) fn find(source: &Source<'_>, headers: &Headers) -> Option<Self> {
        let part = |kind| headers.programs.iter().find(move |program| program.kind == kind);
        if let Some(table) = part(PART_TABLE) {
            let text_start = Some(table.physical).filter(|start| *start != 0);
            return Some(Self { table: place(table), text_start, inline: part(PART_INLINE).map(place) });
        }
        let mut left = limits::GO_SEARCH;
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let section = names.iter().find_map(|name| headers.section(name)).filter(|section| !section.is_compressed());
        if let Some(section) = section {
            let table = Place { svma: section.address, offset: section.offset, len: section.size };
            return Self::at(source, headers, table, &mut left);
        }
        if !is_go(source, headers) {
            return None;
        }
        // Linkers that are not Go's put it between other read-only data, or data that is read-only once relocated.
        let data = headers.programs.iter().filter(|program| program.kind == elf::PT_LOAD.0 && program.flags & elf::PF_X.0 == 0);
        let candidates = search(source, data.map(place), &mut left);
        candidates.into_iter().find_map(|place| Self::at(source, headers, place, &mut left))
    }

    /// The table at a place, if it is one.
    fn at(source: &Source<'_>, headers: &Headers, table: Place, left: &mut u64) -> Option<Self> {
        let head = source.read(table.offset, table.len.min(HEADER as u64), "Go table").ok()?;
        let layout = Layout::parse(&head, table.len.min(limits::GO_TABLE))?;
        let index = |at: u64| {
            let bytes = source.read(table.offset.checked_add(layout.index)?.checked_add(at)?, layout.entry_len() / 2, "Go table").ok()?;
            Some(layout.entry(&bytes)?.0)
        };
        let (first, end) = (index(0)?, index(layout.index_len() - layout.entry_len() / 2)?);
        let in_text = |start: u64| {
            let (first, end) = (start.checked_add(first)?, start.checked_add(end)?);
            let last = end.checked_sub(1).filter(|last| *last >= first)?;
            headers.programs.iter().find(|program| is_code(program) && holds(program, first) && holds(program, last))
        };
        if !layout.is_relative() {
            return in_text(0).map(|_| Self { table, text_start: None, inline: None });
        }
        let stated = Some(layout.text_start).filter(|start| *start != 0 && in_text(*start).is_some());
        let mut module = || Module::find(source, headers, table.svma, &layout, left).filter(|module| in_text(module.text).is_some());
        let text_start = stated.or_else(|| module().map(|module| module.text))?;
        Some(Self { table, text_start: Some(text_start), inline: None })
    }

    /// Finds the inlining trees too. What is found is not checked: see [`GoBytes::functions`].
    pub(crate) fn with_inline(self, source: &Source<'_>, headers: &Headers) -> Self {
        let find = || {
            let head = source.read(self.table.offset, self.table.len.min(HEADER as u64), "Go table").ok()?;
            let layout = Layout::parse(&head, self.table.len)?;
            let mut left = limits::GO_SEARCH;
            let module = Module::find(source, headers, self.table.svma, &layout, &mut left).filter(|_| layout.is_relative())?;
            inline_place(headers, module.data, self.table)
        };
        Self { inline: self.inline.or_else(find), ..self }
    }

    /// The bytes of the table.
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Option<GoBytes<'a>> {
        let part = |place: Place| {
            let start = usize::try_from(place.offset).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(place.len).ok()?)?)
        };
        let table = part(Place { len: self.table.len.min(limits::GO_TABLE), ..self.table })?;
        Some(GoBytes { table, text_start: self.text_start.map(Svma), inline: self.inline.and_then(part) })
    }

    pub(crate) fn stack_map(&self, source: &Source<'_>) -> Option<StackMap> {
        let mut read = |at: u64, buffer: &mut [u8]| {
            let offset = self.table.offset.checked_add(at);
            let bytes = offset.and_then(|offset| source.read(offset, buffer.len() as u64, "Go table").ok());
            bytes.is_some_and(|bytes| {
                buffer.copy_from_slice(&bytes);
                true
            })
        };
        StackMap::read(self.table.len.min(limits::GO_TABLE), self.text_start.map(Svma), &mut read)
    }

    /// The start of the text, or zero for versions that state addresses.
    pub(crate) fn stated_text_start(&self) -> u64 {
        self.text_start.unwrap_or(0)
    }
}

/// Looks for headers at every place of some segments that they may be at.
fn search(source: &Source<'_>, segments: impl Iterator<Item = Place>, left: &mut u64) -> Vec<Place> {
    // Programs that read such tables may have the magic elsewhere too, but not often.
    const MARKS: usize = 256;
    const CANDIDATES: usize = 16;
    let (mut marks, mut candidates) = (0, Vec::new());
    for segment in segments {
        let stopped = module::chunks(source, segment, left, |svma, bytes| {
            for index in bytes.chunks_exact(8).enumerate().filter(|(_, word)| is_mark(word)).map(|(index, _)| index as u64) {
                // These bytes were read: so far into the segment there is no overflow.
                let skip = svma.wrapping_sub(segment.svma).wrapping_add(index * 8);
                let (svma, offset) = (segment.svma.wrapping_add(skip), segment.offset.saturating_add(skip));
                let place = Place { svma, offset, len: segment.len.saturating_sub(skip) };
                let head = source.read(place.offset, place.len.min(HEADER as u64), "Go table").ok();
                if head.is_some_and(|head| Layout::parse(&head, place.len).is_some()) {
                    candidates.push(place);
                }
                marks += 1;
                if marks >= MARKS || candidates.len() >= CANDIDATES {
                    return Some(());
                }
            }
            None
        });
        if stopped.is_some() {
            break;
        }
    }
    candidates
}

/// Whether a header may begin with these bytes.
const fn is_mark(word: &[u8]) -> bool {
    matches!(word, [0xfb | 0xfa | 0xf0 | 0xf1, 0xff, 0xff, 0xff, 0, 0, 1 | 2 | 4, 4 | 8])
}

/// Whether it is worth looking for a table: Go's note or section, or nothing that would tell.
fn is_go(source: &Source<'_>, headers: &Headers) -> bool {
    let buildinfo = headers.section(".go.buildinfo").is_some();
    buildinfo || headers.sections.is_empty() || identity::has_go_note(source, headers)
}

/// The bytes of a segment.
pub(crate) fn place(program: &ProgramHeader) -> Place {
    Place { svma: program.address, offset: program.offset, len: program.file_size }
}

fn is_code(program: &ProgramHeader) -> bool {
    program.kind == elf::PT_LOAD.0 && program.flags & elf::PF_X.0 != 0
}

fn holds(program: &ProgramHeader, address: u64) -> bool {
    address.checked_sub(program.address).is_some_and(|at| at < program.memory_size)
}

/// The bytes from the base of data on: to the end of the segment, or to the table where that comes before.
fn inline_place(headers: &Headers, base: u64, table: Place) -> Option<Place> {
    let loaded = headers.programs.iter().filter(|program| program.kind == elf::PT_LOAD.0);
    let segment = place(loaded.clone().find(|program| base.checked_sub(program.address).is_some_and(|at| at < program.file_size))?);
    let skip = base - segment.svma;
    let mut len = segment.len - skip;
    if table.svma > base {
        len = len.min(table.svma - base);
    }
    if let Some(inside) = base.checked_sub(table.svma).filter(|inside| *inside < table.len) {
        len = len.min(table.len - inside);
    }
    Some(Place { svma: base, offset: segment.offset.checked_add(skip)?, len: len.min(limits::GO_INLINE) })
}
