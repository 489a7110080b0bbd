//! What is uploaded of an object: headers, symbols and debug information, compressed as it is read.

use std::io::{self, Write};
use std::path::Path;

use flamekeeper_object::{ObjectError, ObjectFile, SymbolsPresent, find_debug_file, write_only_debug};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::engine::ObjectSeen;
use crate::stop::StopFlag;

/// Why there is nothing to upload.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// Neither the object nor a debug file beside it has symbols.
    #[error("it has no symbols, and there is no debug file for it on this host")]
    NoSymbols,
    /// Larger than the configuration allows.
    #[error("its symbols are larger than {limit} bytes; raise symbols.max_object_bytes to upload them")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The object cannot be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The compressor failed.
    #[error("it cannot be compressed: {0}")]
    Compress(#[source] io::Error),
    /// The agent ends.
    #[error("the agent is ending")]
    Stopping,
}

/// The best symbols that this host has for an object, as a gzipped ELF file of at most `limit` bytes uncompressed.
pub(super) fn symbols(object: &ObjectSeen, limit: u64, stop: &StopFlag) -> Result<Vec<u8>, CopyError> {
    let own = ObjectFile::from_file(&object.file)?;
    if own.has_symbols() < SymbolsPresent::DebugInfo
        && let Some(path) = find_debug_file(&object.build_id, Path::new(&object.path), Path::new("/"))
    {
        return compress(&ObjectFile::open(&path)?, limit, stop);
    }
    if own.has_symbols() == SymbolsPresent::None {
        return Err(CopyError::NoSymbols);
    }
    compress(&own, limit, stop)
}

fn compress(object: &ObjectFile, limit: u64, stop: &StopFlag) -> Result<Vec<u8>, CopyError> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut out = Capped { out: encoder, left: limit, over: false, stop };
    let written = write_only_debug(object, &mut out);
    if out.stop.is_raised() {
        return Err(CopyError::Stopping);
    }
    if out.over {
        return Err(CopyError::TooLarge { limit });
    }
    written?;
    out.out.finish().map_err(CopyError::Compress)
}

/// A writer that ends at its limit, or with the agent.
struct Capped<'a, W> {
    out: W,
    left: u64,
    over: bool,
    stop: &'a StopFlag,
}

impl<W: Write> Write for Capped<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        self.over = length > self.left;
        if self.over || self.stop.is_raised() {
            return Err(io::Error::other("the copy was given up"));
        }
        self.left -= length;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
