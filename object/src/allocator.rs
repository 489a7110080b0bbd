//! Whether a program brings an allocator of its own, which a library in `LD_PRELOAD` cannot stand before.

use memchr::memmem;
use object::elf;

use crate::file::ObjectFile;
use crate::header::{Class, SectionHeader};
use crate::section;

/// Bytes of a table of symbols, of their names, or of read-only data that are searched.
const SEARCHED: u64 = 16 << 20;

/// An allocator in a program's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// One of no known family: the program defines `malloc`.
    Own,
    /// jemalloc.
    Jemalloc,
    /// tcmalloc.
    Tcmalloc,
    /// mimalloc.
    Mimalloc,
}

/// Functions that tell it, the more exact ones before `malloc`. Rust's crates give jemalloc's functions the prefix `_rjem_`.
const FUNCTIONS: [(&[u8], Allocator); 8] = [
    (b"_rjem_malloc", Allocator::Jemalloc),
    (b"_rjem_je_malloc_default", Allocator::Jemalloc),
    (b"je_malloc", Allocator::Jemalloc),
    (b"mallctl", Allocator::Jemalloc),
    (b"tc_malloc", Allocator::Tcmalloc),
    (b"TCMallocInternalMalloc", Allocator::Tcmalloc),
    (b"mi_malloc", Allocator::Mimalloc),
    (b"malloc", Allocator::Own),
];

/// How the names of those end, each with the 0 after it. Most programs have none of these among their names.
const ENDINGS: [&[u8]; 4] = [b"malloc\0", b"mallctl\0", b"malloc_default\0", b"InternalMalloc\0"];
/// Bytes of a table of names that are looked through at once.
const PIECE: u64 = 64 << 10;
/// Bytes that two such pieces have in common: as many as the longest ending has.
const COMMON: u64 = 16;

/// How messages of theirs begin, which are still there when symbols were stripped.
const MESSAGES: [(&[u8], Allocator); 3] =
    [(b"<jemalloc>", Allocator::Jemalloc), (b"tcmalloc: large alloc", Allocator::Tcmalloc), (b"mimalloc: ", Allocator::Mimalloc)];

/// jemalloc's functions that take flags, without those that neither make nor free a block.
const FLAGGED: [&[u8]; 4] = [b"mallocx", b"rallocx", b"dallocx", b"sdallocx"];

impl ObjectFile {
    /// Whether no loader is asked for: libraries are then not loaded into it, whatever its environment says.
    #[must_use]
    pub fn is_static(&self) -> bool {
        !self.headers().programs.iter().any(|program| program.kind == elf::PT_INTERP.0)
    }

    /// The allocator that is linked into it, as far as its symbols tell, and where these were stripped, its messages. Tables of more than 16 MiB
    /// are not searched: an agent asks this beside its sampling.
    #[must_use]
    pub fn allocator(&self) -> Option<Allocator> {
        let found = [elf::SHT_SYMTAB.0, elf::SHT_DYNSYM.0].into_iter().find_map(|kind| self.defines(kind));
        let stripped = !self.headers().sections.iter().any(|section| section.kind == elf::SHT_SYMTAB.0 && section.has_data());
        found.or_else(|| stripped.then(|| self.says()).flatten())
    }

    /// Whether it calls jemalloc's `mallocx` or its like in a library.
    #[must_use]
    pub fn calls_mallocx(&self) -> bool {
        let mut found = false;
        self.each_symbol(elf::SHT_DYNSYM.0, |defined, _, name| found |= !defined && FLAGGED.iter().any(|flagged| is(name, flagged)));
        found
    }

    /// The most exact of the functions that a table of symbols defines.
    fn defines(&self, kind: u32) -> Option<Allocator> {
        let (_, names) = self.table(kind)?;
        if !self.may_name(names) {
            return None;
        }
        let mut best = None;
        self.each_symbol(kind, |defined, function, name| {
            // Few names begin so: the cheapest check first.
            if !defined || !function || !matches!(name, [b'm' | b't' | b'T' | b'j', ..] | [b'_', b'r', ..]) {
                return;
            }
            // The place in the list is how exact it is.
            if let Some(place) = FUNCTIONS.iter().position(|(function, _)| is(name, function)) {
                best = Some(best.map_or(place, |best: usize| best.min(place)));
            }
        });
        Some(FUNCTIONS.get(best?)?.1)
    }

    /// Whether a table of names holds the end of one that is looked for, read in pieces, since such a table has megabytes and is wanted once; of one
    /// that cannot be read so, it may.
    fn may_name(&self, names: &SectionHeader) -> bool {
        let endings = ENDINGS.map(memmem::Finder::new);
        names.is_compressed()
            || pieces(names.size.min(SEARCHED)).any(|(start, length)| {
                let piece = names.offset.checked_add(start).and_then(|offset| self.source().read(offset, length, "names").ok());
                piece.is_none_or(|piece| endings.iter().any(|ending| ending.find(&piece).is_some()))
            })
    }

    /// A table of symbols, and that of their names.
    fn table(&self, kind: u32) -> Option<(&SectionHeader, &SectionHeader)> {
        let sections = &self.headers().sections;
        let table = sections.iter().find(|section| section.kind == kind && section.has_data())?;
        Some((table, sections.get(usize::try_from(table.link).ok()?)?))
    }

    /// Visits the symbols of a table: whether each is defined, whether it is a function, and its name with what follows that.
    fn each_symbol(&self, kind: u32, visit: impl FnMut(bool, bool, &[u8])) {
        // A table that cannot be read has none.
        _ = self.try_each_symbol(kind, visit);
    }

    fn try_each_symbol(&self, kind: u32, mut visit: impl FnMut(bool, bool, &[u8])) -> Option<()> {
        let (headers, (table, names)) = (self.headers(), self.table(kind)?);
        let symbols = section::read_within(self.source(), headers.class, table, SEARCHED).ok()?;
        let names = section::read_within(self.source(), headers.class, names, SEARCHED).ok()?;
        // `Elf32_Sym` and `Elf64_Sym`: where `st_info` and `st_shndx` stand.
        let (size, info, section) = if headers.class == Class::Elf64 { (24, 4, 6) } else { (16, 12, 14) };
        for symbol in symbols.data.chunks_exact(size) {
            let defined = symbol[section] != 0 || symbol[section + 1] != 0;
            let at = u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]]);
            if let Some(name) = names.data.get(usize::try_from(at).ok()?..) {
                visit(defined, symbol[info] & 0xf == elf::STT_FUNC.0, name);
            }
        }
        Some(())
    }

    fn says(&self) -> Option<Allocator> {
        let headers = self.headers();
        let data = section::read_within(self.source(), headers.class, headers.section(".rodata")?, SEARCHED).ok()?;
        let mut texts = data.data.split(|byte| *byte == 0);
        texts.find_map(|text| MESSAGES.iter().find(|(message, _)| text.starts_with(message)).map(|(_, allocator)| *allocator))
    }
}

/// Where the pieces of a table of this size begin, and how long they are.
fn pieces(size: u64) -> impl Iterator<Item = (u64, u64)> {
    let starts = std::iter::successors(Some(0), |start: &u64| start.checked_add(PIECE));
    starts.take_while(move |start| *start < size).map(move |start| (start, (PIECE + COMMON).min(size - start)))
}

/// Whether a name that goes on up to its 0 is this one.
fn is(rest: &[u8], name: &[u8]) -> bool {
    rest.strip_prefix(name).is_some_and(|after| after.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever in the table one of the endings lies, a piece holds it whole; and each function that is looked for has such an ending.
    #[test]
    fn no_name_is_cut() {
        let longest = ENDINGS.iter().map(|ending| ending.len() as u64).max().unwrap();
        for size in [0, 1, longest, PIECE, PIECE + 3, PIECE + COMMON, 3 * PIECE + 7] {
            for at in (0..(size + 1).saturating_sub(longest)).filter(|at| at % PIECE < 40 || at % PIECE > PIECE - 40) {
                assert!(pieces(size).any(|(start, length)| start <= at && at + longest <= start + length), "{at} of {size}");
            }
            assert!(pieces(size).all(|(start, length)| length > 0 && start + length <= size));
        }
        for (function, _) in FUNCTIONS {
            let name = [function, b"\0"].concat();
            assert!(ENDINGS.iter().any(|ending| name.ends_with(ending)), "{}", function.escape_ascii());
        }
    }
}
