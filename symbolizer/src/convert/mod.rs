//! Objects to symbol files.
//!
//! Functions come from debug information (`dwarf`), else from Go's own table (`go`); what these do not cover is named by symbol tables, that of
//! MiniDebugInfo included (`mini`). All of it becomes one symcache.

mod code;
pub(crate) mod demangle;
mod dwarf;
mod functions;
mod go;
mod lines;
mod mini;
mod names;
mod sections;
mod units;

use std::panic::AssertUnwindSafe;

use flamekeeper_object::go::GoBytes;
use flamekeeper_object::{BundleError, BundleLayout, MemberKind, ObjectError, ObjectFacts, SymbolsPresent};
use symbolic_debuginfo::ParseObjectOptions;
use symbolic_debuginfo::elf::ElfObject;
use symbolic_symcache::SymCacheConverter;

use self::code::{Code, Symbols};
use self::demangle::Demangler;
use self::dwarf::{Files, Found};
use crate::child::ChildError;
use crate::symbol_file::{HEADER, Header, SymbolFile};

pub(crate) use self::demangle::split_line;
#[cfg(feature = "fuzz")]
pub(crate) use self::mini::decompress;

/// Stack of the thread that converts. Names are demangled, and inlined functions nested, by recursion; a deep one must not
/// overflow the stack, which would end the process. Only what is used takes memory.
const STACK: usize = 256 << 20;

/// An object that could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is no ELF file that can be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It begins as a bundle of files and is none.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It is larger than the limit.
    #[error("the object is {size} bytes long, more than the limit of {limit}")]
    TooLarge {
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has neither debug information nor a symbol table, nor that of Go.
    #[error("the object has no symbols: send one with .debug_info, .symtab or .dynsym")]
    NoSymbols,
    /// Its debug information or symbol table cannot be read.
    #[error("the object's symbols cannot be read: {0}")]
    Unreadable(String),
    /// No thread could be started to convert it.
    #[error("cannot start a thread to convert the object: {0}")]
    Thread(std::io::Error),
    /// The process that converted it did not end it.
    #[error(transparent)]
    Child(#[from] ChildError),
}

impl ConvertError {
    /// Whether the same object would fail again: the fault is its own, not that of the host or the moment.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Object(_) | Self::Bundle(_) | Self::TooLarge { .. } | Self::NoSymbols | Self::Unreadable(_) => true,
            Self::Thread(_) => false,
            Self::Child(error) => error.is_final(),
        }
    }
}

/// The files that hold the symbols of one object. All but the first are optional, and one that is damaged counts as absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The file with the debug information or the symbol table: the object, a copy without code, or its separate debug file.
    pub object: &'a [u8],
    /// The object itself, where the first file is its debug file: it may have symbols that the debug file has not.
    pub stripped: Option<&'a [u8]>,
    /// The supplementary file that `.gnu_debugaltlink` names. It must state the build id of the link.
    pub supplementary: Option<&'a [u8]>,
    /// The file with all split units (`.dwp`).
    pub package: Option<&'a [u8]>,
    /// Files with split units (`.dwo`), in any order.
    pub split: &'a [&'a [u8]],
}

impl<'a> Sources<'a> {
    /// An object alone.
    #[must_use]
    pub fn of(object: &'a [u8]) -> Self {
        Self { object, ..Self::default() }
    }

    fn all(&self) -> impl Iterator<Item = &'a [u8]> {
        let others = [Some(self.object), self.stripped, self.supplementary, self.package];
        others.into_iter().flatten().chain(self.split.iter().copied())
    }
}

/// Turns an ELF object into a symbol file: functions, inlined functions, files and lines where the object has debug
/// information (DWARF 2 to 5) or Go's own table, names from its symbol tables for all that these do not cover.
///
/// Conversion runs on a thread of its own with a large stack, and a panic in it is an error. Its memory and time are bounded by
/// the limits on the input only; where the input is foreign, [`crate::child::ChildConverter`] runs it in a process with limits.
#[derive(Clone, Copy, Debug)]
pub struct Converter {
    /// Most bytes of an object, and of all files that belong to it together.
    pub object_bytes: u64,
    /// Most bytes of one decompressed section.
    pub section_bytes: u64,
}

impl Default for Converter {
    fn default() -> Self {
        Self { object_bytes: 1 << 30, section_bytes: 1 << 30 }
    }
}

impl Converter {
    /// The symbol file of an object: an ELF file, or a bundle of one and its companions ([`BundleLayout`]).
    ///
    /// # Errors
    /// [`ConvertError`] says why the object has none.
    pub fn convert(&self, bytes: &[u8]) -> Result<SymbolFile, ConvertError> {
        Self::of_members(bytes, |sources| self.convert_all(sources))
    }

    /// The same on this thread, which panics in it reach.
    ///
    /// # Errors
    /// [`ConvertError`] says why the object has none.
    #[cfg(feature = "fuzz")]
    pub(crate) fn convert_here(&self, bytes: &[u8]) -> Result<SymbolFile, ConvertError> {
        Self::of_members(bytes, |sources| self.checked(sources, |facts| self.symbol_file(sources, facts)))
    }

    fn of_members(
        bytes: &[u8],
        convert: impl FnOnce(&Sources<'_>) -> Result<SymbolFile, ConvertError>,
    ) -> Result<SymbolFile, ConvertError> {
        let layout = BundleLayout::of_bytes(bytes)?;
        let of = |kind| layout.members().iter().filter(move |member| member.kind == kind).map(|member| member.of(bytes));
        let split: Vec<_> = of(MemberKind::Split).collect();
        let (package, supplementary) = (of(MemberKind::Package).next(), of(MemberKind::Supplementary).next());
        convert(&Sources { object: layout.object().of(bytes), stripped: None, supplementary, package, split: &split })
    }

    /// The symbol file of an object out of several files.
    ///
    /// # Errors
    /// [`ConvertError`] says why the object has none.
    pub fn convert_all(&self, sources: &Sources<'_>) -> Result<SymbolFile, ConvertError> {
        self.checked(sources, |facts| self.apart(sources, facts))
    }

    fn checked(
        &self,
        sources: &Sources<'_>,
        convert: impl FnOnce(&ObjectFacts) -> Result<Vec<u8>, ConvertError>,
    ) -> Result<SymbolFile, ConvertError> {
        let size = sources.all().fold(0_u64, |sum, file| sum.saturating_add(file.len() as u64));
        if size > self.object_bytes {
            return Err(ConvertError::TooLarge { size, limit: self.object_bytes });
        }
        let facts = ObjectFacts::of(sources.object)?;
        if facts.symbols == SymbolsPresent::None && sources.stripped.is_none() {
            return Err(ConvertError::NoSymbols);
        }
        let file = convert(&facts)?;
        let file = SymbolFile::from_bytes(file).map_err(|error| ConvertError::Unreadable(error.to_string()))?;
        if file.names_any() { Ok(file) } else { Err(ConvertError::NoSymbols) }
    }

    /// Converts on a thread with enough stack.
    fn apart(&self, sources: &Sources<'_>, facts: &ObjectFacts) -> Result<Vec<u8>, ConvertError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("convert".to_owned()).stack_size(STACK);
            // What the closure borrows is only read, and what it makes is dropped by a panic.
            let work = AssertUnwindSafe(|| self.symbol_file(sources, facts));
            let thread = thread.spawn_scoped(scope, move || std::panic::catch_unwind(work)).map_err(ConvertError::Thread)?;
            let panicked = || ConvertError::Unreadable("reading it failed unexpectedly".to_owned());
            thread.join().map_err(|_| panicked())?.map_err(|_| panicked())?
        })
    }

    fn symbol_file(&self, sources: &Sources<'_>, facts: &ObjectFacts) -> Result<Vec<u8>, ConvertError> {
        let files = Files::of(sources)?;
        let mut converter = SymCacheConverter::new();
        converter.add_transformer(Demangler::default());
        let mini: Vec<_> = sources.stripped.into_iter().chain([sources.object]).filter_map(mini::object).collect();
        let tables = [sources.object].into_iter().chain(sources.stripped).chain(mini.iter().map(Vec::as_slice));
        let tables: Vec<_> = tables.map(|elf| self.elf(elf)).collect::<Result<_, _>>()?;
        let symbols = Symbols::new(tables.iter().flat_map(ElfObject::symbols));
        let debug = files.debug_info(self.section_bytes)?;
        let mut code = Code::new(facts.load_address, files.object.code(), &symbols, debug.most_ranges());
        let found = debug.functions(&mut code, &mut |function| converter.process_symbolic_function(function));
        let mut source = source(facts, &found, sources, &mini);
        let go = [sources.object].into_iter().chain(sources.stripped).filter(|_| found.functions == 0).find_map(GoBytes::of);
        // Before the symbols: what these know better stays, and C functions are theirs.
        if let Some(functions) = go.as_ref().and_then(GoBytes::functions)
            && go::add(functions, facts.load_address, &mut converter) > 0
        {
            source = SymbolsPresent::GoTable;
        }
        let claims = code.claims();
        for symbol in symbols.iter().filter(|symbol| !claims.contain(code.address_of(symbol))) {
            converter.process_symbolic_symbol(symbol);
        }
        let mut file = vec![0; HEADER];
        converter.serialize(&mut file).map_err(|error| ConvertError::Unreadable(error.to_string()))?;
        let header = Header { load_address: facts.load_address, symcache_len: (file.len() - HEADER) as u64, source };
        file[..HEADER].copy_from_slice(&header.write());
        Ok(file)
    }

    /// Reads an object's symbol tables.
    fn elf<'a>(&self, elf: &'a [u8]) -> Result<ElfObject<'a>, ConvertError> {
        let mut options = ParseObjectOptions::default();
        options.max_decompressed_section_size = usize::try_from(self.section_bytes).ok();
        ElfObject::parse_with_opts(elf, options).map_err(|error| ConvertError::Unreadable(error.to_string()))
    }
}

/// What the names come from, but for Go's. Of an object whose units are split, with the parts not at hand, they are those of its symbol table,
/// with lines.
fn source(facts: &ObjectFacts, found: &Found, sources: &Sources<'_>, mini: &[Vec<u8>]) -> SymbolsPresent {
    if found.functions > 0 {
        return if found.missing == 0 { SymbolsPresent::DebugInfo } else { SymbolsPresent::PartialDebugInfo };
    }
    let stripped = sources.stripped.and_then(|elf| ObjectFacts::of(elf).ok()).map_or(SymbolsPresent::None, |facts| facts.symbols);
    let table = if mini.is_empty() { SymbolsPresent::DynamicOnly } else { SymbolsPresent::SymbolTable };
    // What has debug information has, but for rare exceptions, a symbol table.
    facts.symbols.max(stripped).min(SymbolsPresent::SymbolTable).max(table)
}
