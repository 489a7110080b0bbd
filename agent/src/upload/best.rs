//! The best symbols that this host has for an object.

use std::path::{Path, PathBuf};

use flamekeeper_object::{ObjectError, ObjectFile, OnlyDebug, SymbolsPresent, find_debug_file};
use flamekeeper_wire::symbols::SymbolSource;

use crate::engine::ObjectSeen;

/// Why there is nothing to upload.
#[derive(Debug, thiserror::Error)]
pub(super) enum BestError {
    /// Neither the object nor a debug file beside it has symbols.
    #[error("it has no symbols, and there is no debug file for it on this host")]
    NoSymbols,
    /// Larger than the configuration allows.
    #[error("its symbols take {bytes} bytes, more than symbols.max_object_bytes allows ({limit})")]
    TooLarge {
        /// What they take.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The object cannot be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// What an object's symbols are, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Best {
    pub(super) source: SymbolSource,
    /// Bytes of what is sent, before it is compressed.
    pub(super) bytes: u64,
    /// Where they are not in the object itself.
    debug_file: Option<PathBuf>,
}

impl Best {
    /// Looks at the object, and for a debug file where it has no debug information.
    pub(super) fn of(object: &ObjectSeen, limit: u64) -> Result<Self, BestError> {
        let own = ObjectFile::from_file(&object.file)?;
        if let Some(path) = debug_file(object, &own) {
            // One that cannot be sent leaves what the object has.
            match Self::in_file(&ObjectFile::open(&path)?, limit) {
                Ok(best) => return Ok(Self { debug_file: Some(path), ..best }),
                Err(error) => tracing::debug!(%error, path = %path.display(), "a debug file is not uploaded"),
            }
        }
        Self::in_file(&own, limit)
    }

    fn in_file(object: &ObjectFile, limit: u64) -> Result<Self, BestError> {
        let source = source(object).ok_or(BestError::NoSymbols)?;
        let bytes = OnlyDebug::of(object)?.len();
        if bytes > limit { Err(BestError::TooLarge { bytes, limit }) } else { Ok(Self { source, bytes, debug_file: None }) }
    }

    /// The file that has the symbols.
    pub(super) fn open(&self, object: &ObjectSeen) -> Result<ObjectFile, ObjectError> {
        self.debug_file.as_ref().map_or_else(|| ObjectFile::from_file(&object.file), |path| ObjectFile::open(path))
    }
}

fn debug_file(object: &ObjectSeen, own: &ObjectFile) -> Option<PathBuf> {
    if own.has_symbols() >= SymbolsPresent::DebugInfo {
        return None;
    }
    find_debug_file(&object.build_id, Path::new(&object.path), Path::new("/"))
}

/// None where it names no function.
fn source(object: &ObjectFile) -> Option<SymbolSource> {
    Some(match object.has_symbols() {
        SymbolsPresent::None => return None,
        SymbolsPresent::DynamicOnly if object.section_svma(".gnu_debugdata").is_none() && !object.exports_functions() => return None,
        SymbolsPresent::DynamicOnly => SymbolSource::DynamicSymbols,
        SymbolsPresent::SymbolTable => SymbolSource::SymbolTable,
        SymbolsPresent::GoTable => SymbolSource::GoTable,
        SymbolsPresent::DebugInfo => SymbolSource::DebugInfo,
    })
}
