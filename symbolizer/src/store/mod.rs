//! Symbols of many objects, on disk, by build id.
//!
//! Invariants:
//! - `DIR/KIND/HEX.sym` is the symbol file of the build id `KIND:HEX`; it is whole, and never changes but by being replaced.
//!   It is written as `DIR/tmp/N`, flushed to disk and renamed.
//! - A better source (debug information, then symbol table, then dynamic symbols) replaces a worse one, never the reverse.
//! - `DIR/KIND/HEX.bad` says that the object stated this build id and that this version could not convert it. It stands
//!   only where no symbol file does.
//! - The directory is the store's alone: symbol files are mapped.

mod index;
mod open_files;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use flamekeeper_object::{ObjectError, ObjectFacts, SymbolsPresent};
use flamekeeper_profile::{BuildId, BuildIdKind, Svma, UnnamedReason};

use self::index::{Index, Known};
use self::open_files::OpenFiles;
use crate::convert::{ConvertError, Converter};
use crate::symbolized::{Symbolize, Symbolized};

/// Bounds of a [`SymbolStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolLimits {
    /// Most bytes of an object that is added, decompressed.
    pub object_bytes: u64,
    /// Most bytes of one section of it, decompressed.
    pub section_bytes: u64,
    /// Most bytes of all symbol files together.
    pub store_bytes: u64,
    /// Most symbol files that are mapped at a time.
    pub open_files: usize,
}

impl Default for SymbolLimits {
    fn default() -> Self {
        Self { object_bytes: 1 << 30, section_bytes: 1 << 30, store_bytes: 20 << 30, open_files: 512 }
    }
}

/// A store that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} for symbols: {error}")]
pub struct OpenStoreError {
    path: String,
    error: std::io::Error,
}

/// What became of an object that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Its symbols are stored now.
    Stored,
    /// Symbols as good or better were there already.
    AlreadyThere,
}

/// An object that could not be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is no ELF file.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It states another build id.
    #[error("the object's build id is {found}, not {expected}")]
    OtherBuildId {
        /// The one that it was sent as.
        expected: BuildId,
        /// The one that it states.
        found: BuildId,
    },
    /// Its symbols cannot be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The store has no room for it.
    #[error("the symbol store is full: {used} of {limit} bytes; raise its limit or remove files")]
    Full {
        /// Bytes of all symbol files.
        used: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Its symbol file could not be written.
    #[error("cannot write symbols: {0}")]
    Write(#[from] std::io::Error),
}

impl AddError {
    /// Whether adding the same object again cannot succeed: the fault is the object's, not the store's.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self, Self::Full { .. } | Self::Write(_) | Self::Convert(ConvertError::Thread(_)))
    }
}

/// Symbols of many objects by build id, in one directory: see the module's documentation for what stands there. All
/// methods may be called from any thread.
#[derive(Debug)]
pub struct SymbolStore {
    directory: PathBuf,
    limits: SymbolLimits,
    index: Index,
    open: OpenFiles,
    /// Held while a symbol file is put in place, so that of two sources the better one stays.
    placing: Mutex<()>,
    temporary: AtomicU64,
}

impl SymbolStore {
    /// Opens the store of a directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the directory cannot be made, read or written.
    pub fn open(directory: &Path, limits: SymbolLimits) -> Result<Self, OpenStoreError> {
        let failed = |error| OpenStoreError { path: directory.display().to_string(), error };
        let temporary = directory.join("tmp");
        for part in KINDS.map(|kind| directory.join(kind.as_str())).iter().chain([&temporary]) {
            fs::create_dir_all(part).map_err(failed)?;
        }
        // Left by a store that was killed while it wrote.
        for entry in fs::read_dir(&temporary).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        let index = Index::read(directory).map_err(failed)?;
        let open = OpenFiles::new(limits.open_files);
        let directory = directory.to_owned();
        Ok(Self { directory, limits, index, open, placing: Mutex::new(()), temporary: AtomicU64::new(0) })
    }

    /// Those of the build ids for which an object is welcome: nothing is known of them yet.
    #[must_use]
    pub fn missing(&self, ids: &[BuildId]) -> Vec<BuildId> {
        ids.iter().filter(|id| self.index.get(id).is_none()).cloned().collect()
    }

    /// How many objects have symbols.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.index.objects()
    }

    /// Bytes of all symbol files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.index.bytes()
    }

    /// Converts an object's symbols and stores them. Takes as long as the conversion, some seconds for the largest objects.
    ///
    /// # Errors
    /// [`AddError`]; of an object that cannot be converted the store remembers that it cannot.
    pub fn add(&self, id: &BuildId, elf: &[u8]) -> Result<Added, AddError> {
        let facts = ObjectFacts::of(elf)?;
        check_identity(id, &facts)?;
        if !self.welcome(id, facts.symbols) {
            return Ok(Added::AlreadyThere);
        }
        self.check_room(0)?;
        let converter = Converter { object_bytes: self.limits.object_bytes, section_bytes: self.limits.section_bytes };
        let file = match converter.convert(elf) {
            Ok(file) => file,
            Err(error) => {
                // An object without symbols says nothing about another host's, which may have a debug file.
                if !matches!(error, ConvertError::Thread(_) | ConvertError::NoSymbols) {
                    self.remember_bad(id, &error)?;
                }
                return Err(error.into());
            }
        };
        self.check_room(file.as_bytes().len() as u64)?;
        self.place(id, facts.symbols, file.as_bytes())
    }

    /// Names an address of an object.
    #[must_use]
    pub fn symbolize(&self, id: &BuildId, address: Svma) -> Symbolized {
        let Some(file) = self.open.get(id) else {
            return match self.index.get(id) {
                None => Symbolized::Unknown(UnnamedReason::NoSymbols),
                Some(Known::Bad) => Symbolized::Unknown(UnnamedReason::BadSymbols),
                Some(Known::Stored { .. }) => self.open_and_symbolize(id, address),
            };
        };
        file.symbolize(address)
    }

    fn open_and_symbolize(&self, id: &BuildId, address: Svma) -> Symbolized {
        // Not while a better file takes the old one's place, whose mapping would then stay.
        let guard = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.open.open(id, &self.path(id, "sym"));
        drop(guard);
        file.map_or(Symbolized::Unknown(UnnamedReason::BadSymbols), |file| file.symbolize(address))
    }

    fn welcome(&self, id: &BuildId, symbols: SymbolsPresent) -> bool {
        match self.index.get(id) {
            Some(Known::Stored { source, .. }) => source < symbols,
            Some(Known::Bad) | None => true,
        }
    }

    fn check_room(&self, more: u64) -> Result<(), AddError> {
        let (used, limit) = (self.bytes(), self.limits.store_bytes);
        if used.saturating_add(more) > limit { Err(AddError::Full { used, limit }) } else { Ok(()) }
    }

    fn place(&self, id: &BuildId, source: SymbolsPresent, file: &[u8]) -> Result<Added, AddError> {
        let temporary = self.write_temporary(file)?;
        let guard = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added one meanwhile.
        if !self.welcome(id, source) {
            drop(guard);
            fs::remove_file(temporary)?;
            return Ok(Added::AlreadyThere);
        }
        fs::rename(temporary, self.path(id, "sym"))?;
        self.index.insert(id, Known::Stored { source, bytes: file.len() as u64 });
        self.open.forget(id);
        remove_if_there(&self.path(id, "bad"))?;
        Ok(Added::Stored)
    }

    /// Remembers on disk, for this version, that an object cannot be converted.
    fn remember_bad(&self, id: &BuildId, error: &ConvertError) -> Result<(), std::io::Error> {
        let _guard = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.index.get(id).is_some() {
            return Ok(());
        }
        let temporary = self.write_temporary(format!("{}\n{error}\n", index::VERSION).as_bytes())?;
        fs::rename(temporary, self.path(id, "bad"))?;
        self.index.insert(id, Known::Bad);
        Ok(())
    }

    fn write_temporary(&self, bytes: &[u8]) -> Result<PathBuf, std::io::Error> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join("tmp").join(number.to_string());
        let mut file = File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(path)
    }

    fn path(&self, id: &BuildId, extension: &str) -> PathBuf {
        self.directory.join(id.kind().as_str()).join(format!("{}.{extension}", id.hex()))
    }
}

impl Symbolize for SymbolStore {
    fn symbolize(&self, id: Option<&BuildId>, _: &str, address: Svma) -> Symbolized {
        match id {
            Some(id) => self.symbolize(id, address),
            None => Symbolized::Unknown(UnnamedReason::NoBuildId),
        }
    }
}

const KINDS: [BuildIdKind; 3] = [BuildIdKind::Gnu, BuildIdKind::Go, BuildIdKind::Htlhash];

/// An object must state the build id that it was sent as. One known by its hash has none to state: what was sent is a part
/// of the hashed file, so nothing can be checked.
fn check_identity(id: &BuildId, facts: &ObjectFacts) -> Result<(), AddError> {
    match &facts.build_id {
        Some(found) if found != id => Err(AddError::OtherBuildId { expected: id.clone(), found: found.clone() }),
        _ => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> Result<(), std::io::Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
