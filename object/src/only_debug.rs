//! A copy of an object that holds what symbolization needs and nothing else, as `objcopy --only-keep-debug` makes one.

use std::io::Write;

use object::elf;

use crate::error::ObjectError;
use crate::facts::SymbolsPresent;
use crate::file::ObjectFile;
use crate::header::{Class, Headers, ProgramHeader, SectionHeader};
use crate::limits;
use crate::source::Source;

/// Sections with this alignment or more are aligned to this much: nothing in them needs more in a file.
const MAX_ALIGN: u64 = 64;

/// Debug sections that no symbolizer reads: where variables live, name indexes, macros, unwinding.
const UNREAD: [&str; 14] = [
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

/// The copy, in memory: see [`write_only_debug`].
///
/// # Errors
/// As [`write_only_debug`], and [`ObjectError::TooLarge`] over [`limits::ONLY_DEBUG`].
pub fn only_debug(object: &ObjectFile) -> Result<Vec<u8>, ObjectError> {
    let plan = Plan::of(object);
    ObjectError::check_size("debug copy", plan.len, limits::ONLY_DEBUG)?;
    let mut copy = Vec::new();
    plan.write(object.headers(), object.source(), &mut copy)?;
    Ok(copy)
}

/// Writes a valid ELF file with the object's headers, notes, symbol tables and debug sections, and returns its length in
/// bytes. Memory used does not grow with the object.
///
/// All sections keep their place and address; those left out become `NOBITS`, and all segments but the notes have no bytes,
/// so that the load address and the build id stay what they were. `.dynsym` stays where there is no `.symtab`. Debug
/// sections that no symbolizer reads (locations of variables, indexes, macros) are left out, which objcopy would keep.
/// Go's `.gopclntab` stays where there is no debug information, since it names functions too, and so does
/// `.gnu_debugdata`.
///
/// # Errors
/// [`ObjectError::Truncated`] where a kept section is not all there, [`ObjectError::Io`] where reading or writing failed.
pub fn write_only_debug(object: &ObjectFile, out: &mut dyn Write) -> Result<u64, ObjectError> {
    let plan = Plan::of(object);
    plan.write(object.headers(), object.source(), out)?;
    Ok(plan.len)
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
    /// The place of each section in the copy, where it keeps its bytes.
    sections: Vec<Option<u64>>,
    /// The place of each segment in the copy, where it keeps its bytes.
    programs: Vec<Option<u64>>,
    section_headers_at: u64,
    len: u64,
}

impl Plan {
    fn of(object: &ObjectFile) -> Self {
        let headers = object.headers();
        let class = headers.class;
        let programs_size = (headers.programs.len() * class.program_header_size()) as u64;
        let mut plan = Self {
            pieces: Vec::new(),
            sections: Vec::with_capacity(headers.sections.len()),
            programs: Vec::with_capacity(headers.programs.len()),
            section_headers_at: 0,
            len: class.file_header_size() as u64 + programs_size,
        };
        for program in &headers.programs {
            let kept = program.kind == elf::PT_NOTE.0 && program.file_size <= limits::NOTES;
            let place = kept.then(|| plan.place(program.offset, program.file_size, program.align));
            plan.programs.push(place);
        }
        let symbols = object.has_symbols();
        let symbol_strings = symbol_strings(headers);
        for (index, section) in headers.sections.iter().enumerate() {
            let named = u32::try_from(index).is_ok_and(|index| index == headers.names_index || symbol_strings.contains(&index));
            let kept = section.has_data() && (named || keeps(headers, section, symbols));
            let place = kept.then(|| plan.place(section.offset, section.size, section.align));
            plan.sections.push(place);
        }
        plan.section_headers_at = plan.len.next_multiple_of(8);
        plan.len = plan.section_headers_at + (headers.sections.len() * class.section_header_size()) as u64;
        plan
    }

    /// Finds room for bytes of the object; bytes inside a piece that is already there (a note section of a note segment)
    /// are not repeated.
    fn place(&mut self, from: u64, size: u64, align: u64) -> u64 {
        let holds = |piece: &&Piece| from >= piece.from && from.saturating_add(size) <= piece.from.saturating_add(piece.size);
        if let Some(piece) = self.pieces.iter().find(holds) {
            return piece.to + (from - piece.from);
        }
        let to = self.len.next_multiple_of(align.clamp(1, MAX_ALIGN));
        self.pieces.push(Piece { from, size, to });
        self.len = to.saturating_add(size);
        to
    }

    fn write(&self, headers: &Headers, source: &Source<'_>, out: &mut dyn Write) -> Result<(), ObjectError> {
        // Sections that overlap many times over would make a copy far larger than the object.
        let kept = self.pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.size));
        ObjectError::check_size("kept sections", kept, source.len())?;
        let mut at = 0;
        let mut head = file_header(headers, self);
        for (program, place) in headers.programs.iter().zip(&self.programs) {
            push_program(&mut head, headers.class, program, *place);
        }
        put(out, &mut at, &head)?;
        for piece in &self.pieces {
            pad(out, &mut at, piece.to)?;
            copy(source, *piece, out)?;
            at += piece.size;
        }
        pad(out, &mut at, self.section_headers_at)?;
        for (section, place) in headers.sections.iter().zip(&self.sections) {
            let mut bytes = Vec::with_capacity(headers.class.section_header_size());
            push_section(&mut bytes, headers.class, section, *place);
            put(out, &mut at, &bytes)?;
        }
        Ok(())
    }
}

/// The string tables of the symbol tables that are kept.
fn symbol_strings(headers: &Headers) -> Vec<u32> {
    let tables = headers.sections.iter().filter(|section| is_kept_symbol_table(headers, section));
    tables.map(|section| section.link).collect()
}

fn is_kept_symbol_table(headers: &Headers, section: &SectionHeader) -> bool {
    let full = headers.sections.iter().any(|section| section.kind == elf::SHT_SYMTAB.0 && section.has_data());
    section.kind == elf::SHT_SYMTAB.0 || (section.kind == elf::SHT_DYNSYM.0 && !full)
}

fn keeps(headers: &Headers, section: &SectionHeader, symbols: SymbolsPresent) -> bool {
    let name = headers.name(section);
    let loaded = section.flags & elf::SHF_ALLOC.0 != 0;
    let debug = !loaded && (name.starts_with(".debug_") || name.starts_with(".zdebug_")) && !UNREAD.contains(&name);
    let note = section.kind == elf::SHT_NOTE.0 && section.size <= limits::NOTES;
    let without_debug_info = symbols < SymbolsPresent::DebugInfo && matches!(name, ".gopclntab" | ".gnu_debugdata");
    debug || note || without_debug_info || name == ".gnu_debugaltlink" || is_kept_symbol_table(headers, section)
}

fn put(out: &mut dyn Write, at: &mut u64, bytes: &[u8]) -> Result<(), ObjectError> {
    out.write_all(bytes)?;
    *at += bytes.len() as u64;
    Ok(())
}

/// Zeros up to the next piece; at most an alignment's worth.
fn pad(out: &mut dyn Write, at: &mut u64, to: u64) -> Result<(), ObjectError> {
    const ZEROS: [u8; 64] = [0; 64];
    let len = usize::try_from(to.saturating_sub(*at)).unwrap_or(0).min(ZEROS.len());
    put(out, at, &ZEROS[..len])
}

fn copy(source: &Source<'_>, piece: Piece, out: &mut dyn Write) -> Result<(), ObjectError> {
    const CHUNK: u64 = 256 << 10;
    let mut done = 0;
    while done < piece.size {
        let len = (piece.size - done).min(CHUNK);
        // The pieces' sum was checked against the file's length, their ends are checked by the read.
        let from = piece.from.checked_add(done).ok_or(ObjectError::Malformed("section offset"))?;
        out.write_all(&source.read(from, len, "section")?)?;
        done += len;
    }
    Ok(())
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
    let programs_at = if headers.programs.is_empty() { 0 } else { class.file_header_size() as u64 };
    let sections_at = if headers.sections.is_empty() { 0 } else { plan.section_headers_at };
    patch(class.pick(28, 32), programs_at, word);
    patch(class.pick(32, 40), sections_at, word);
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
