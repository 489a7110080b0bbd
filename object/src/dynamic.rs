//! Whether the symbols of dynamic linking name any function of the object's own.

use object::elf;

use crate::file::ObjectFile;
use crate::header::Class;
use crate::section;

impl ObjectFile {
    /// Whether `.dynsym` names a function that the object itself has: that of most executables lists only what they take
    /// from others, which names nothing in them.
    #[must_use]
    pub fn exports_functions(&self) -> bool {
        let headers = self.headers();
        let Some(table) = headers.sections.iter().find(|section| section.kind == elf::SHT_DYNSYM.0 && section.has_data()) else {
            return false;
        };
        let Ok(table) = section::read(self.source(), headers.class, table) else { return false };
        let executable =
            |index: u16| headers.sections.get(usize::from(index)).is_some_and(|section| section.flags & elf::SHF_EXECINSTR.0 != 0);
        // `Elf32_Sym` and `Elf64_Sym`: where `st_info` and `st_shndx` stand.
        let (size, info, section) = if headers.class == Class::Elf64 { (24, 4, 6) } else { (16, 12, 14) };
        table.data.chunks_exact(size).any(|symbol| {
            let defined = u16::from_le_bytes([symbol[section], symbol[section + 1]]);
            symbol[info] & 0xf == elf::STT_FUNC.0 && defined != 0 && executable(defined)
        })
    }
}
