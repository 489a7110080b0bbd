//! A copy of an object that holds what symbolization needs and nothing else, as `objcopy --only-keep-debug` makes one.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io::Write;

use object::elf;

use crate::error::ObjectError;
use crate::facts::SymbolsPresent;
use crate::file::ObjectFile;
use crate::header::{Class, Headers, ProgramHeader, SectionHeader};
use crate::{go, limits};

/// Sections with this alignment or more are aligned to this much: nothing in them needs more in a file.
const MAX_ALIGN: u64 = 64;

/// Debug sections that no symbolizer reads: where variables live, indexes of names and addresses, macros, unwinding.
const UNREAD: [&str; 15] = [
    ".debug_aranges",
    ".debug_loc",
    ".debug_loclists",
    ".debug_frame",
    ".debug_names",
    ".debug_macro",
    ".debug_macinfo",
    ".debug_pubnames",
    ".debug_pubtypes",
    ".debug_gnu_pubnames",
    ".debug_gnu_pubtypes",
    ".debug_gdb_scripts",
    ".zdebug_loc",
    ".zdebug_loclists",
    ".zdebug_frame",
];

/// The copy, in memory: see [`OnlyDebug`].
///
/// # Errors
/// As [`OnlyDebug::of`] and [`OnlyDebug::read_at`], and [`ObjectError::TooLarge`] over [`limits::ONLY_DEBUG`].
pub fn only_debug(object: &ObjectFile) -> Result<Vec<u8>, ObjectError> {
    let copy = OnlyDebug::of(object)?;
    let len = ObjectError::check_size("debug copy", copy.len(), limits::ONLY_DEBUG)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| ObjectError::Truncated("section"))?];
    copy.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Writes the copy, and returns its length in bytes; memory used does not grow with the object. See [`OnlyDebug`].
///
/// # Errors
/// As [`OnlyDebug::of`] and [`OnlyDebug::read_at`], and [`ObjectError::Io`] where writing failed.
pub fn write_only_debug(object: &ObjectFile, out: &mut dyn Write) -> Result<u64, ObjectError> {
    const CHUNK: usize = 256 << 10;
    let copy = OnlyDebug::of(object)?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < copy.len() {
        let len = usize::try_from(copy.len() - at).map_or(CHUNK, |left| left.min(CHUNK));
        copy.read_at(at, &mut buffer[..len])?;
        out.write_all(&buffer[..len])?;
        at += len as u64;
    }
    Ok(at)
}

/// A valid ELF file with the object's headers, notes, symbol tables and debug sections, made as it is read: any part of it
/// can be had without the parts before. The same object always gives the same bytes.
///
/// All sections keep their place and address; those left out become `NOBITS`, and all segments but the notes have no bytes,
/// so that the load address and the build id stay what they were. `.dynsym` stays where there is no `.symtab`. Debug
/// sections that no symbolizer reads (locations of variables, indexes, macros) are left out, which objcopy would keep.
/// `.gnu_debugdata` stays where there is no debug information, since it names functions too, and so does Go's table, which two
/// program headers of our own point to: it need not lie in a section, and its inlining trees lie in none.
#[derive(Debug)]
pub struct OnlyDebug<O> {
    object: O,
    plan: Plan,
    /// File header and program headers.
    head: Vec<u8>,
    /// Section headers, at the end.
    tail: Vec<u8>,
}

impl<O: Borrow<ObjectFile>> OnlyDebug<O> {
    /// Lays out the copy.
    ///
    /// # Errors
    /// [`ObjectError::TooLarge`] where what is kept would be larger than the object: sections overlap many times over.
    pub fn of(object: O) -> Result<Self, ObjectError> {
        let file: &ObjectFile = object.borrow();
        let plan = Plan::of(file);
        let headers = file.headers();
        let kept = plan.pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.size));
        ObjectError::check_size("kept sections", kept, file.source().len())?;
        let mut head = file_header(headers, &plan);
        for (program, place) in headers.programs.iter().zip(&plan.programs) {
            push_program(&mut head, headers.class, program, *place);
        }
        for (part, place) in &plan.parts {
            push_program(&mut head, headers.class, part, Some(*place));
        }
        let mut tail = Vec::new();
        for (section, place) in headers.sections.iter().zip(&plan.sections) {
            push_section(&mut tail, headers.class, section, *place);
        }
        Ok(Self { object, plan, head, tail })
    }

    /// The copy's length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // It holds a header at least.
    pub const fn len(&self) -> u64 {
        self.plan.len
    }

    /// Fills `out` with the copy's bytes from `offset`; zeros beyond its end.
    ///
    /// # Errors
    /// [`ObjectError::Truncated`] where a kept section is not all there, [`ObjectError::Io`] where reading failed.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), ObjectError> {
        out.fill(0);
        lay(out, offset, 0, &self.head);
        lay(out, offset, self.plan.section_headers_at, &self.tail);
        let end = offset.saturating_add(out.len() as u64);
        // Pieces are in the order of their places, without overlap.
        let first = self.plan.pieces.partition_point(|piece| piece.to.saturating_add(piece.size) <= offset);
        for piece in self.plan.pieces[first..].iter().take_while(|piece| piece.to < end) {
            let from = piece.to.max(offset);
            let len = piece.to.saturating_add(piece.size).min(end).saturating_sub(from);
            let at = piece.from.checked_add(from - piece.to).ok_or(ObjectError::Malformed("section offset"))?;
            lay(out, offset, from, &self.object.borrow().source().read(at, len, "section")?);
        }
        Ok(())
    }
}

/// Copies into `out`, which begins at `offset` of the copy, those of `bytes`, which begin at `at` of it, that it has room for.
pub(crate) fn lay(out: &mut [u8], offset: u64, at: u64, bytes: &[u8]) {
    let skip = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
    let place = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
    if let (Some(bytes), Some(room)) = (bytes.get(skip..), out.get_mut(place..)) {
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
    }
}

/// Bytes of the object that the copy keeps, and where.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    size: u64,
    to: u64,
}

/// What stands where in the copy.
#[derive(Debug)]
struct Plan {
    /// By place in the copy.
    pieces: Vec<Piece>,
    /// Indexes of the pieces by where they begin in the object.
    by_origin: BTreeMap<u64, usize>,
    /// The place of each section in the copy, where it keeps its bytes.
    sections: Vec<Option<u64>>,
    /// The place of each segment in the copy, where it keeps its bytes.
    programs: Vec<Option<u64>>,
    /// Program headers that only the copy has, and the places of their bytes.
    parts: Vec<(ProgramHeader, u64)>,
    section_headers_at: u64,
    len: u64,
}

impl Plan {
    fn of(object: &ObjectFile) -> Self {
        let headers = object.headers();
        let class = headers.class;
        let symbols = object.has_symbols();
        let parts = if symbols < SymbolsPresent::DebugInfo { go_parts(object) } else { Vec::new() };
        let programs_size = ((headers.programs.len() + parts.len()) * class.program_header_size()) as u64;
        let mut plan = Self {
            parts: Vec::with_capacity(parts.len()),
            pieces: Vec::new(),
            by_origin: BTreeMap::new(),
            sections: Vec::with_capacity(headers.sections.len()),
            programs: Vec::with_capacity(headers.programs.len()),
            section_headers_at: 0,
            len: class.file_header_size() as u64 + programs_size,
        };
        for program in &headers.programs {
            let note = program.kind == elf::PT_NOTE.0 && program.file_size <= limits::NOTES;
            let kept = note || matches!(program.kind, go::PART_TABLE | go::PART_INLINE);
            let place = kept.then(|| plan.place(program.offset, program.file_size, program.align));
            plan.programs.push(place);
        }
        let full = has_full_table(headers);
        for part in parts {
            let place = plan.place(part.offset, part.file_size, part.align);
            plan.parts.push((part, place));
        }
        let symbol_strings = symbol_strings(headers);
        for (index, section) in headers.sections.iter().enumerate() {
            let named = u32::try_from(index).is_ok_and(|index| index == headers.names_index || symbol_strings.contains(&index));
            let kept = section.has_data() && (named || keeps(headers, section, symbols, full));
            let place = kept.then(|| plan.place(section.offset, section.size, section.align));
            plan.sections.push(place);
        }
        plan.section_headers_at = aligned(plan.len, 8);
        plan.len = plan.section_headers_at.saturating_add((headers.sections.len() * class.section_header_size()) as u64);
        plan
    }

    /// Finds room for bytes of the object. Bytes inside the piece that begins last before them (a note section of a note
    /// segment) are not repeated.
    fn place(&mut self, from: u64, size: u64, align: u64) -> u64 {
        let before = self.by_origin.range(..=from).next_back().map(|(_, index)| self.pieces[*index]);
        let holds = |piece: &Piece| from.saturating_add(size) <= piece.from.saturating_add(piece.size);
        if let Some(piece) = before.filter(holds) {
            return piece.to.saturating_add(from - piece.from);
        }
        let to = aligned(self.len, align.clamp(1, MAX_ALIGN));
        self.by_origin.insert(from, self.pieces.len());
        self.pieces.push(Piece { from, size, to });
        self.len = to.saturating_add(size);
        to
    }
}

/// The next multiple. Sizes are what the file states, so the sum of some may be beyond all numbers: [`OnlyDebug::of`] refuses
/// such a plan.
fn aligned(len: u64, align: u64) -> u64 {
    len.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

/// What names Go's functions, as program headers of the copy ([`go`]): sections need not be there, and none covers the
/// inlining trees.
fn go_parts(object: &ObjectFile) -> Vec<ProgramHeader> {
    let headers = object.headers();
    if headers.programs.iter().any(|program| program.kind == go::PART_TABLE) {
        return Vec::new();
    }
    let Some(found) = object.go_table() else { return Vec::new() };
    let found = found.with_inline(object.source(), headers);
    let part = |kind, place: go::Place, physical| ProgramHeader {
        kind,
        flags: elf::PF_R.0,
        offset: place.offset,
        address: place.svma,
        physical,
        file_size: place.len,
        memory_size: place.len,
        align: 8,
    };
    let table = part(go::PART_TABLE, found.table, found.stated_text_start());
    [Some(table), found.inline.map(|place| part(go::PART_INLINE, place, 0))].into_iter().flatten().collect()
}

/// The string tables of the symbol tables that are kept.
fn symbol_strings(headers: &Headers) -> Vec<u32> {
    let full = has_full_table(headers);
    let tables = headers.sections.iter().filter(|section| is_kept_symbol_table(section, full));
    tables.map(|section| section.link).collect()
}

fn has_full_table(headers: &Headers) -> bool {
    headers.sections.iter().any(|section| section.kind == elf::SHT_SYMTAB.0 && section.has_data())
}

/// `full`: whether the object has a full symbol table, beside which that of dynamic linking is left out.
fn is_kept_symbol_table(section: &SectionHeader, full: bool) -> bool {
    section.kind == elf::SHT_SYMTAB.0 || (section.kind == elf::SHT_DYNSYM.0 && !full)
}

fn keeps(headers: &Headers, section: &SectionHeader, symbols: SymbolsPresent, full: bool) -> bool {
    let name = headers.name(section);
    let loaded = section.flags & elf::SHF_ALLOC.0 != 0;
    let debug = !loaded && (name.starts_with(".debug_") || name.starts_with(".zdebug_")) && !UNREAD.contains(&name);
    let note = section.kind == elf::SHT_NOTE.0 && section.size <= limits::NOTES;
    let without_debug_info = symbols < SymbolsPresent::DebugInfo && name == ".gnu_debugdata";
    debug || note || without_debug_info || name == ".gnu_debugaltlink" || is_kept_symbol_table(section, full)
}

/// Appends a number as wide as the class's addresses. What was read from a 32-bit file fits it again, as do places in a
/// copy of it, which is no longer than the file.
fn push_word(out: &mut Vec<u8>, class: Class, value: u64) {
    let bytes = value.to_le_bytes();
    out.extend_from_slice(&bytes[..class.pick(4, 8)]);
}

fn push_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn file_header(headers: &Headers, plan: &Plan) -> Vec<u8> {
    let class = headers.class;
    let mut out = headers.raw.to_vec();
    let mut patch = |at: usize, value: u64, width: usize| {
        if let Some(field) = out.get_mut(at..at + width) {
            field.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    };
    let word = class.pick(4, 8);
    let programs = headers.programs.len() + plan.parts.len();
    let programs_at = if programs == 0 { 0 } else { class.file_header_size() as u64 };
    let sections_at = if headers.sections.is_empty() { 0 } else { plan.section_headers_at };
    patch(class.pick(28, 32), programs_at, word);
    patch(class.pick(32, 40), sections_at, word);
    if !plan.parts.is_empty() {
        // Their count is capped far below what this field holds.
        patch(class.pick(42, 54), class.program_header_size() as u64, 2);
        patch(class.pick(44, 56), programs as u64, 2);
    }
    out
}

fn push_program(out: &mut Vec<u8>, class: Class, program: &ProgramHeader, place: Option<u64>) {
    // Where the program headers are loaded: nowhere, since no segment of the copy has them.
    push_u32(out, if program.kind == elf::PT_PHDR.0 { elf::PT_NULL.0 } else { program.kind });
    if class == Class::Elf64 {
        push_u32(out, program.flags);
    }
    push_word(out, class, place.unwrap_or(0));
    push_word(out, class, program.address);
    push_word(out, class, program.physical);
    push_word(out, class, if place.is_some() { program.file_size } else { 0 });
    push_word(out, class, program.memory_size);
    if class == Class::Elf32 {
        push_u32(out, program.flags);
    }
    push_word(out, class, program.align);
}

fn push_section(out: &mut Vec<u8>, class: Class, section: &SectionHeader, place: Option<u64>) {
    let left_out = place.is_none() && section.has_data();
    push_u32(out, section.name);
    push_u32(out, if left_out { elf::SHT_NOBITS.0 } else { section.kind });
    // What is not there is not compressed either.
    let flags = if left_out { section.flags & !elf::SHF_COMPRESSED.0 } else { section.flags };
    push_word(out, class, flags);
    push_word(out, class, section.address);
    push_word(out, class, place.unwrap_or(0));
    push_word(out, class, section.size);
    push_u32(out, section.link);
    push_u32(out, section.info);
    push_word(out, class, section.align);
    push_word(out, class, section.entry_size);
}
