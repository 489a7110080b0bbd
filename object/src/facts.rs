//! What an object in memory says of itself.

use flamekeeper_profile::{BuildId, Svma};
use object::elf;

use crate::error::ObjectError;
use crate::go::GoTable;
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
    /// A full symbol table (`.symtab`), or the part of it that `.gnu_debugdata` has.
    SymbolTable,
    /// Debug information, a part of which is in files that are not at hand: split units, or what `dwz` moved elsewhere. What a conversion
    /// finds out; headers alone do not tell.
    PartialDebugInfo,
    /// Go's own table (`.gopclntab`): files, lines and inlined functions of all that is written in Go.
    GoTable,
    /// Debug information (`.debug_info`): files, lines and inlined functions too.
    DebugInfo,
}

impl SymbolsPresent {
    /// The name: in the API, and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DynamicOnly => "dynamic_symbols",
            Self::SymbolTable => "symbol_table",
            Self::PartialDebugInfo => "partial_debug_info",
            Self::GoTable => "go_table",
            Self::DebugInfo => "debug_info",
        }
    }
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
        Ok(Self { build_id: identity::from_notes(&source, &headers), symbols: symbols(&source, &headers), load_address })
    }
}

/// The best symbols of an object.
pub(crate) fn symbols(source: &Source<'_>, headers: &Headers) -> SymbolsPresent {
    let symbols = headers.symbols();
    let go = symbols < SymbolsPresent::GoTable && GoTable::find(source, headers).is_some();
    if go { SymbolsPresent::GoTable } else { symbols }
}
