//! What an object in memory says of itself.

use flamekeeper_profile::{BuildId, Svma};
use object::elf;

use crate::error::ObjectError;
use crate::header::Headers;
use crate::identity;
use crate::source::Source;

/// Which symbols an object has, the best of them. Ordered: more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SymbolsPresent {
    /// None that this crate knows of.
    None,
    /// Only the symbols that other objects link to (`.dynsym`).
    DynamicOnly,
    /// A full symbol table (`.symtab`).
    SymbolTable,
    /// Debug information (`.debug_info`): files, lines and inlined functions too.
    DebugInfo,
}

/// What an object states in its headers and notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The build id of its notes.
    pub build_id: Option<BuildId>,
    /// The best symbols that it has.
    pub symbols: SymbolsPresent,
    /// The address that it states for its first loadable segment.
    pub load_address: Svma,
}

impl ObjectFacts {
    /// Reads the facts of an object in memory, without taking it over.
    ///
    /// # Errors
    /// [`ObjectError`] where it is no ELF file or its headers do not hold together.
    pub fn of(bytes: &[u8]) -> Result<Self, ObjectError> {
        let source = Source::Borrowed(bytes);
        let headers = Headers::read(&source)?;
        let load = headers.programs.iter().find(|program| program.kind == elf::PT_LOAD.0);
        let load_address = Svma(load.map_or(0, |program| program.address));
        Ok(Self { build_id: identity::from_notes(&source, &headers), symbols: headers.symbols(), load_address })
    }
}
