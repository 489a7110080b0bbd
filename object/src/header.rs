//! The ELF file header, program headers and section headers, for both classes, little endian.
//!
//! Layouts: elf(5), System V ABI chapter 4. Constants come from the `object` crate.

use object::elf;

use crate::error::ObjectError;
use crate::facts::SymbolsPresent;
use crate::limits;
use crate::source::Source;

/// The section with a compressed object that holds the symbols of functions which `.dynsym` does not name: GDB manual,
/// "Debugging information in a special section".
const MINI_DEBUG_INFO: &str = ".gnu_debugdata";

/// The width of a file's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// 32-bit.
    Elf32,
    /// 64-bit.
    Elf64,
}

impl Class {
    pub(crate) const fn pick<T: Copy>(self, in_32: T, in_64: T) -> T {
        match self {
            Self::Elf32 => in_32,
            Self::Elf64 => in_64,
        }
    }
    pub(crate) const fn file_header_size(self) -> usize {
        self.pick(52, 64)
    }
    pub(crate) const fn program_header_size(self) -> usize {
        self.pick(32, 56)
    }
    pub(crate) const fn section_header_size(self) -> usize {
        self.pick(40, 64)
    }
}

/// A program header, widened to 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramHeader {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) physical: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
    pub(crate) align: u64,
}

/// A section header, widened to 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SectionHeader {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) align: u64,
    pub(crate) entry_size: u64,
}

/// All headers of a file.
#[derive(Debug)]
pub(crate) struct Headers {
    pub(crate) class: Class,
    /// The file header as it stands in the file.
    pub(crate) raw: Box<[u8]>,
    pub(crate) programs: Box<[ProgramHeader]>,
    pub(crate) sections: Box<[SectionHeader]>,
    /// Index of the section with the section names.
    pub(crate) names_index: u32,
    names: Box<[u8]>,
}

/// Reads numbers at byte offsets; what lies past the end reads as zero, which callers exclude by checking sizes first.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8], Class);

impl Fields<'_> {
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }
    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }
    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }
    /// A field as wide as the class's addresses.
    fn word(self, at_32: usize, at_64: usize) -> u64 {
        match self.1 {
            Class::Elf32 => u64::from(self.u32(at_32)),
            Class::Elf64 => u64::from_le_bytes(self.bytes(at_64)),
        }
    }
}

impl Headers {
    /// Reads and checks the headers. Section headers that do not hold together are treated as absent, since the segments
    /// alone still serve address translation; program headers that do not are an error.
    pub(crate) fn read(source: &Source<'_>) -> Result<Self, ObjectError> {
        let ident = source.read(0, 16, "file header").map_err(|error| match error {
            ObjectError::Truncated(_) => ObjectError::NotElf,
            other => other,
        })?;
        let class = class_of(&ident)?;
        let raw = source.read(0, class.file_header_size() as u64, "file header")?;
        let header = Fields(&raw, class);
        let sections_at = header.word(32, 40);
        let first = first_section(source, class, sections_at);
        let programs = read_programs(source, header, first.as_ref())?;
        let (sections, names_index) = read_sections(source, header, first.as_ref()).unwrap_or_default();
        let names = read_names(source, &sections, names_index).unwrap_or_default();
        let raw = raw.into_owned().into_boxed_slice();
        Ok(Self { class, raw, programs, sections, names_index, names })
    }

    /// The address at which execution begins (`e_entry`); 0 where the file is not executed.
    pub(crate) fn entry(&self) -> u64 {
        Fields(&self.raw, self.class).word(24, 24)
    }

    /// The name of a section; empty where it has none that is text.
    pub(crate) fn name(&self, section: &SectionHeader) -> &str {
        let rest = usize::try_from(section.name).ok().and_then(|start| self.names.get(start..));
        let name = rest.and_then(|rest| rest.split(|byte| *byte == 0).next());
        name.and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("")
    }

    /// The first section of a name that holds bytes in the file.
    pub(crate) fn section(&self, name: &str) -> Option<&SectionHeader> {
        self.sections.iter().find(|section| section.has_data() && self.name(section) == name)
    }
}

impl Headers {
    /// The best symbols that the file has.
    pub(crate) fn symbols(&self) -> SymbolsPresent {
        let of_kind = |kind: u32| self.sections.iter().any(|section| section.kind == kind && section.size > 0);
        if self.section(".debug_info").or_else(|| self.section(".zdebug_info")).is_some() {
            SymbolsPresent::DebugInfo
        } else if of_kind(elf::SHT_SYMTAB.0) || self.section(MINI_DEBUG_INFO).is_some() {
            SymbolsPresent::SymbolTable
        } else if of_kind(elf::SHT_DYNSYM.0) {
            SymbolsPresent::DynamicOnly
        } else {
            SymbolsPresent::None
        }
    }
}

impl SectionHeader {
    /// Whether the section's bytes are in the file.
    pub(crate) const fn has_data(&self) -> bool {
        self.kind != elf::SHT_NOBITS.0 && self.kind != elf::SHT_NULL.0 && self.size > 0
    }

    /// Whether the section's bytes begin with a compression header.
    pub(crate) fn is_compressed(&self) -> bool {
        self.flags & elf::SHF_COMPRESSED.0 != 0
    }
}

fn class_of(ident: &[u8]) -> Result<Class, ObjectError> {
    if !ident.starts_with(&elf::ELFMAG) {
        return Err(ObjectError::NotElf);
    }
    if ident.get(5) != Some(&1) {
        return Err(ObjectError::Unsupported("not little endian"));
    }
    match ident.get(4) {
        Some(1) => Ok(Class::Elf32),
        Some(2) => Ok(Class::Elf64),
        _ => Err(ObjectError::Malformed("unknown class")),
    }
}

/// Section 0, which holds the counts that do not fit the file header.
fn first_section(source: &Source<'_>, class: Class, at: u64) -> Option<SectionHeader> {
    let size = class.section_header_size();
    let bytes = (at != 0).then(|| source.read(at, size as u64, "section headers").ok()).flatten()?;
    Some(section_header(Fields(&bytes, class)))
}

fn read_programs(source: &Source<'_>, header: Fields<'_>, first: Option<&SectionHeader>) -> Result<Box<[ProgramHeader]>, ObjectError> {
    let class = header.1;
    let at = header.word(28, 32);
    let entry = usize::from(header.u16(class.pick(42, 54)));
    let mut count = u64::from(header.u16(class.pick(44, 56)));
    if count == 0xffff {
        count = first.map_or(0, |section| u64::from(section.info));
    }
    if count == 0 || at == 0 {
        return Ok(Box::default());
    }
    if entry != class.program_header_size() {
        return Err(ObjectError::Malformed("size of program headers"));
    }
    ObjectError::check_size("program header table", count, limits::PROGRAM_HEADERS)?;
    let bytes = source.read(at, count * entry as u64, "program headers")?;
    Ok(bytes.chunks_exact(entry).map(|entry| program_header(Fields(entry, class))).collect())
}

type Sections = (Box<[SectionHeader]>, u32);

fn read_sections(source: &Source<'_>, header: Fields<'_>, first: Option<&SectionHeader>) -> Option<Sections> {
    let class = header.1;
    let first = first?;
    let entry = usize::from(header.u16(class.pick(46, 58)));
    let count = match header.u16(class.pick(48, 60)) {
        0 => first.size,
        count => u64::from(count),
    };
    let names_index = match header.u16(class.pick(50, 62)) {
        0xffff => first.link,
        index => u32::from(index),
    };
    if entry != class.section_header_size() || count > limits::SECTION_HEADERS {
        return None;
    }
    let bytes = source.read(header.word(32, 40), count * entry as u64, "section headers").ok()?;
    Some((bytes.chunks_exact(entry).map(|entry| section_header(Fields(entry, class))).collect(), names_index))
}

fn read_names(source: &Source<'_>, sections: &[SectionHeader], index: u32) -> Option<Box<[u8]>> {
    let section = sections.get(usize::try_from(index).ok()?).filter(|section| section.has_data())?;
    let size = ObjectError::check_size("section names", section.size, limits::SECTION_NAMES).ok()?;
    Some(source.read(section.offset, size, "section names").ok()?.into_owned().into_boxed_slice())
}

fn program_header(fields: Fields<'_>) -> ProgramHeader {
    ProgramHeader {
        kind: fields.u32(0),
        flags: fields.u32(fields.1.pick(24, 4)),
        offset: fields.word(4, 8),
        address: fields.word(8, 16),
        physical: fields.word(12, 24),
        file_size: fields.word(16, 32),
        memory_size: fields.word(20, 40),
        align: fields.word(28, 48),
    }
}

fn section_header(fields: Fields<'_>) -> SectionHeader {
    SectionHeader {
        name: fields.u32(0),
        kind: fields.u32(4),
        flags: fields.word(8, 8),
        address: fields.word(12, 16),
        offset: fields.word(16, 24),
        size: fields.word(20, 32),
        link: fields.u32(fields.1.pick(24, 40)),
        info: fields.u32(fields.1.pick(28, 44)),
        align: fields.word(32, 48),
        entry_size: fields.word(36, 56),
    }
}
