//! Objects to symbol files.

use std::panic::AssertUnwindSafe;

use flamekeeper_object::{ObjectError, ObjectFacts, SymbolsPresent};
use symbolic_debuginfo::ParseObjectOptions;
use symbolic_debuginfo::elf::ElfObject;
use symbolic_symcache::SymCacheConverter;

use crate::demangle::Demangler;
use crate::symbol_file::{HEADER, Header, SymbolFile};

/// Stack of the thread that converts. Debug information is a tree that is walked by recursion; a deep one must not
/// overflow the stack, which would end the process. Only what is used takes memory.
const STACK: usize = 256 << 20;

/// An object that could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is no ELF file that can be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It is larger than the limit.
    #[error("the object is {size} bytes long, more than the limit of {limit}")]
    TooLarge {
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has neither debug information nor a symbol table.
    #[error("the object has no symbols: send one with .debug_info, .symtab or .dynsym")]
    NoSymbols,
    /// Its debug information or symbol table cannot be read.
    #[error("the object's symbols cannot be read: {0}")]
    Unreadable(String),
    /// No thread could be started to convert it.
    #[error("cannot start a thread to convert the object: {0}")]
    Thread(std::io::Error),
}

/// Turns an ELF object into a symbol file: functions, inlined functions, files and lines where the object has debug
/// information (DWARF 2 to 5), names from its symbol tables for all that the debug information does not cover.
///
/// Conversion runs on a thread of its own with a large stack, and a panic in it is an error. Its memory is bounded by the
/// limits on the input only; a child process with a limit of its own can take this type's place without a change elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Converter {
    /// Most bytes of an object.
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
    /// The object's symbol file.
    ///
    /// # Errors
    /// [`ConvertError`] says why the object has none.
    pub fn convert(&self, elf: &[u8]) -> Result<SymbolFile, ConvertError> {
        let size = elf.len() as u64;
        if size > self.object_bytes {
            return Err(ConvertError::TooLarge { size, limit: self.object_bytes });
        }
        let facts = ObjectFacts::of(elf)?;
        if facts.symbols == SymbolsPresent::None {
            return Err(ConvertError::NoSymbols);
        }
        let file = self.apart(elf, &facts)?;
        let file = SymbolFile::from_bytes(file).map_err(|error| ConvertError::Unreadable(error.to_string()))?;
        if file.names_any() { Ok(file) } else { Err(ConvertError::NoSymbols) }
    }

    /// Converts on a thread with enough stack.
    fn apart(&self, elf: &[u8], facts: &ObjectFacts) -> Result<Vec<u8>, ConvertError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("convert".to_owned()).stack_size(STACK);
            // What the closure borrows is only read, and what it makes is dropped by a panic.
            let work = AssertUnwindSafe(|| self.symbol_file(elf, facts));
            let thread = thread.spawn_scoped(scope, move || std::panic::catch_unwind(work)).map_err(ConvertError::Thread)?;
            let panicked = || ConvertError::Unreadable("reading it failed unexpectedly".to_owned());
            thread.join().map_err(|_| panicked())?.map_err(|_| panicked())?
        })
    }

    fn symbol_file(&self, elf: &[u8], facts: &ObjectFacts) -> Result<Vec<u8>, ConvertError> {
        let unreadable = |error: &dyn std::error::Error| ConvertError::Unreadable(error.to_string());
        let mut options = ParseObjectOptions::default();
        options.max_decompressed_section_size = usize::try_from(self.section_bytes).ok();
        let object = ElfObject::parse_with_opts(elf, options).map_err(|error| unreadable(&error))?;
        let mut converter = SymCacheConverter::new();
        converter.add_transformer(Demangler::default());
        converter.process_object(&object).map_err(|error| unreadable(&error))?;
        let mut file = vec![0; HEADER];
        converter.serialize(&mut file).map_err(|error| unreadable(&error))?;
        let header = Header { load_address: facts.load_address, symcache_len: (file.len() - HEADER) as u64, source: facts.symbols };
        file[..HEADER].copy_from_slice(&header.write());
        Ok(file)
    }
}
