//! The best symbols that this host has for an object.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flamekeeper_object::{Companions, CopyError, ObjectError, ObjectFile, OnlyDebug, SymbolCopy, SymbolsPresent, find_debug_file};
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
    companions: Arc<Companions>,
}

impl Best {
    /// Looks at the object, and for a debug file where it has no debug information.
    pub(super) fn of(object: &ObjectSeen, limit: u64) -> Result<Self, BestError> {
        let own = ObjectFile::from_file(&object.file)?;
        if let Some(path) = debug_file(object, &own) {
            // One that cannot be sent leaves what the object has.
            // Where it is found may be a link to where it, and what belongs to it, lies.
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            match Self::in_file(ObjectFile::open(&path)?, &[&real, &path, Path::new(&object.path)], limit) {
                Ok(best) => return Ok(Self { debug_file: Some(path), ..best }),
                Err(error) => tracing::debug!(%error, path = %path.display(), "a debug file is not uploaded"),
            }
        }
        Self::in_file(own, &[Path::new(&object.path)], limit)
    }

    /// What is in a file, whose path is the first, and in its companions.
    fn in_file(object: ObjectFile, paths: &[&Path], limit: u64) -> Result<Self, BestError> {
        let source = source(&object).ok_or(BestError::NoSymbols)?;
        let alone = OnlyDebug::of(&object)?.len();
        if alone > limit {
            return Err(BestError::TooLarge { bytes: alone, limit });
        }
        let companions = Companions::find(&object, paths, Path::new("/"));
        let (companions, bytes) = match SymbolCopy::of(object, &companions) {
            Ok(copy) if copy.len() <= limit => (companions, copy.len()),
            Ok(copy) => {
                tracing::info!(path = %paths[0].display(), bytes = copy.len(), limit, "the symbols of an object are sent without its companions, which would take more than symbols.max_object_bytes");
                (companions.left_out(), alone)
            }
            Err(error) => {
                tracing::debug!(%error, path = %paths[0].display(), "symbols are sent without the companions of the object");
                (companions.left_out(), alone)
            }
        };
        let source = if companions.missing() > 0 { SymbolSource::PartialDebugInfo } else { source };
        Ok(Self { source, bytes, debug_file: None, companions: Arc::new(companions) })
    }

    /// What is sent. Its length is not [`Self::bytes`] where a file has changed since.
    pub(super) fn open(&self, object: &ObjectSeen) -> Result<SymbolCopy, CopyError> {
        let file = self.debug_file.as_ref().map_or_else(|| ObjectFile::from_file(&object.file), |path| ObjectFile::open(path))?;
        SymbolCopy::of(file, &self.companions)
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
        // Headers do not tell it: what is missing is looked for.
        SymbolsPresent::PartialDebugInfo => SymbolSource::PartialDebugInfo,
        SymbolsPresent::GoTable => SymbolSource::GoTable,
        SymbolsPresent::DebugInfo => SymbolSource::DebugInfo,
    })
}
