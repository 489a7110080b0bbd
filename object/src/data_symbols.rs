//! Names of an object's variables.

use flamekeeper_profile::Svma;
use object::elf;

use crate::file::ObjectFile;
use crate::header::Class;
use crate::section;

/// Bytes of a table of symbols, or of its names, that are read.
const READ: u64 = 64 << 20;
/// Variables that are kept.
const MOST: usize = 1 << 20;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 256;

/// The variables of an object, by address.
#[derive(Clone, Debug, Default)]
pub struct DataSymbols {
    /// Address, size and name, sorted.
    symbols: Vec<(u64, u64, Box<str>)>,
}

impl DataSymbols {
    /// Those of the symbol table, else of dynamic linking; none where the object has neither. Names are as the linker knows them.
    #[must_use]
    pub fn of(object: &ObjectFile) -> Self {
        let found =
            [elf::SHT_SYMTAB.0, elf::SHT_DYNSYM.0].into_iter().find_map(|kind| read(object, kind).filter(|found| !found.is_empty()));
        let mut symbols = found.unwrap_or_default();
        symbols.sort_unstable();
        Self { symbols }
    }

    /// The variable that holds an address, and how far into it that is.
    #[must_use]
    pub fn find(&self, address: Svma) -> Option<(&str, u64)> {
        let after = self.symbols.partition_point(|(start, ..)| *start <= address.0);
        // Some may lie inside others: the nearest that holds it.
        let near = self.symbols.get(after.saturating_sub(8)..after)?;
        let (start, _, name) = near.iter().rev().find(|(start, size, _)| address.0 - start < *size)?;
        Some((name, address.0 - start))
    }
}

fn read(object: &ObjectFile, kind: u32) -> Option<Vec<(u64, u64, Box<str>)>> {
    let headers = object.headers();
    let table = headers.sections.iter().find(|section| section.kind == kind && section.has_data())?;
    let names = headers.sections.get(usize::try_from(table.link).ok()?)?;
    let symbols = section::read_within(object.source(), headers.class, table, READ).ok()?;
    let names = section::read_within(object.source(), headers.class, names, READ).ok()?;
    if headers.class != Class::Elf64 {
        return None;
    }
    // `Elf64_Sym`: name, info, other, section, value, size.
    let of = |symbol: &[u8; 24]| {
        let word = |at: usize| symbol.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |word| u64::from_le_bytes(*word));
        let (value, size, defined) = (word(8), word(16), symbol[6] != 0 || symbol[7] != 0);
        if symbol[4] & 0xf != elf::STT_OBJECT.0 || !defined || size == 0 {
            return None;
        }
        let at = usize::try_from(u32::from_le_bytes([symbol[0], symbol[1], symbol[2], symbol[3]])).ok()?;
        let name = names.data.get(at..)?.split(|byte| *byte == 0).next()?;
        let name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name));
        (!name.is_empty()).then(|| (value, size, name.into()))
    };
    Some(symbols.data.as_chunks::<24>().0.iter().filter_map(of).take(MOST).collect())
}
