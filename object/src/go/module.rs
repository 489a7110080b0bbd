//! The runtime's `moduledata`, which knows what the table's header does not: where the text begins (from Go 1.26 on, and in
//! position-independent programs that another linker linked), and where the functions' data is.
//!
//! It is found by its first word, the address of the table, which either stands in the file or, in position-independent
//! programs, in a relocation.

use object::elf;

use super::find::{Place, place};
use super::layout::{Layout, Version, u64_at};
use crate::header::{Headers, ProgramHeader};
use crate::source::Source;

/// What is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Where the text begins.
    pub(crate) text: u64,
    /// What the offsets of functions' data are from (`go:func.*`).
    pub(crate) data: u64,
}

/// Words of it: the address of the first function and of the text, the same in all versions with relative addresses.
const FIRST_FUNCTION: u64 = 20;
const TEXT: u64 = 22;
/// Candidates that are looked at: other data may have the table's address too.
const CANDIDATES: usize = 64;
const CHUNK: u64 = 256 << 10;

impl Module {
    /// Finds the module of a table. Only 64-bit objects are searched.
    pub(crate) fn find(source: &Source<'_>, headers: &Headers, table: u64, layout: &Layout, left: &mut u64) -> Option<Self> {
        if layout.pointer != 8 {
            return None;
        }
        let mut candidates = CANDIDATES;
        let writable = |program: &&ProgramHeader| program.kind == elf::PT_LOAD.0 && program.flags & elf::PF_W.0 != 0;
        let mut segments = headers.programs.iter().filter(writable).map(place);
        let in_file = segments.find_map(|segment| {
            chunks(source, segment, left, |svma, bytes| {
                let words = bytes.chunks_exact(8).enumerate().filter(|(_, word)| u64_at(word, 0) == Some(table));
                let words = words.take(candidates);
                let mut places = words.map(|(index, _)| svma.wrapping_add(index as u64 * 8));
                places.find_map(|at| {
                    candidates = candidates.saturating_sub(1);
                    Self::at(layout, |index| word_in_file(source, headers, at.checked_add(index * 8)?))
                })
            })
        });
        in_file.or_else(|| Self::by_relocation(source, headers, table, layout, left))
    }

    fn by_relocation(source: &Source<'_>, headers: &Headers, table: u64, layout: &Layout, left: &mut u64) -> Option<Self> {
        let relocations = relocations(source, headers)?;
        let mut candidates = Vec::new();
        each_relocation(source, relocations, left, |at, value| {
            if value == table && candidates.len() < CANDIDATES {
                candidates.push((at, [None; 3]));
            }
        });
        let wanted = [FIRST_FUNCTION, TEXT, data_word(layout)];
        each_relocation(source, relocations, left, |at, value| {
            for (candidate, found) in &mut candidates {
                let word = at.wrapping_sub(*candidate) / 8;
                if let Some(index) = wanted.iter().position(|index| *index == word && at >= *candidate) {
                    found[index] = Some(value);
                }
            }
        });
        candidates.iter().find_map(|(_, found)| {
            let known = |word: u64| wanted.iter().position(|index| *index == word).and_then(|index| found[index]);
            Self::at(layout, known)
        })
    }

    /// The module whose words these are, if they are a module's.
    fn at(layout: &Layout, word: impl Fn(u64) -> Option<u64>) -> Option<Self> {
        let (first, text, data) = (word(FIRST_FUNCTION)?, word(TEXT)?, word(data_word(layout))?);
        (text != 0 && first >= text && data != 0).then_some(Self { text, data })
    }
}

/// Which word says where the functions' data is.
fn data_word(layout: &Layout) -> u64 {
    if layout.version == Version::Go118 { 38 } else { 40 }
}

/// Goes through the bytes of a place, in pieces that begin at addresses that are multiples of 8, until something is found.
pub(crate) fn chunks<T>(source: &Source<'_>, place: Place, left: &mut u64, mut look: impl FnMut(u64, &[u8]) -> Option<T>) -> Option<T> {
    let mut done = place.svma.wrapping_neg() % 8;
    while done < place.len && *left > 0 {
        let len = (place.len - done).min(CHUNK);
        *left = left.saturating_sub(len);
        let bytes = source.read(place.offset.checked_add(done)?, len, "segment").ok()?;
        if let Some(found) = look(place.svma.checked_add(done)?, &bytes) {
            return Some(found);
        }
        done += len;
    }
    None
}

fn word_in_file(source: &Source<'_>, headers: &Headers, address: u64) -> Option<u64> {
    let loaded = headers.programs.iter().filter(|program| program.kind == elf::PT_LOAD.0).map(place);
    let found = loaded.into_iter().find_map(|segment| {
        let skip = address.checked_sub(segment.svma).filter(|skip| *skip < segment.len)?;
        Some(segment.offset.checked_add(skip))
    })?;
    u64_at(&source.read(found?, 8, "segment").ok()?, 0)
}

/// The dynamic relocations with addends.
fn relocations(source: &Source<'_>, headers: &Headers) -> Option<Place> {
    const MOST: u64 = 64 << 10;
    let dynamic = headers.programs.iter().find(|program| program.kind == elf::PT_DYNAMIC.0)?;
    let bytes = source.read(dynamic.offset, dynamic.file_size.min(MOST), "dynamic section").ok()?;
    let of = |tag: u64| bytes.chunks_exact(16).find(|entry| u64_at(entry, 0) == Some(tag)).and_then(|entry| u64_at(entry, 8));
    const ADDRESS: u64 = 7;
    const SIZE: u64 = 8;
    let (address, len) = (of(ADDRESS)?, of(SIZE)?);
    let loaded = headers.programs.iter().filter(|program| program.kind == elf::PT_LOAD.0);
    let segment = loaded.map(place).find(|segment| address.checked_sub(segment.svma).is_some_and(|skip| skip < segment.len))?;
    let skip = address - segment.svma;
    Some(Place { svma: address, offset: segment.offset.checked_add(skip)?, len: len.min(segment.len - skip) })
}

/// The place and the value of every relocation that is relative to the load address (`Elf64_Rela`).
fn each_relocation(source: &Source<'_>, place: Place, left: &mut u64, mut each: impl FnMut(u64, u64)) {
    const ENTRY: usize = 24;
    // A chunk is no multiple of an entry: walk whole entries only.
    let whole = CHUNK - CHUNK % ENTRY as u64;
    let mut done = 0;
    while done < place.len && *left > 0 {
        let len = (place.len - done).min(whole);
        *left = left.saturating_sub(len);
        let Some(bytes) = place.offset.checked_add(done).and_then(|at| source.read(at, len, "relocations").ok()) else { return };
        for entry in bytes.chunks_exact(ENTRY) {
            if let (Some(at), Some(kind), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16))
                && (kind == u64::from(elf::R_X86_64_RELATIVE.0) || kind == u64::from(elf::R_AARCH64_RELATIVE.0))
            {
                each(at, value);
            }
        }
        done += len;
    }
}
