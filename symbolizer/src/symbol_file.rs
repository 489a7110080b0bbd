//! Symbol files: what an object is converted into, and lookups in them.
//!
//! A symbol file is a header of 64 bytes, little endian, and a symcache (`symbolic-symcache`, version 9) behind it:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `FKSYM` and the version as three digits, now `002` |
//! | 8 | 8 | load address: a symcache's addresses are relative to it |
//! | 16 | 8 | bytes of the symcache, all that follows the header |
//! | 24 | 1 | source: 1 dynamic symbols, 2 symbol table, 3 debug information, 4 Go's table, 5 a part of the debug information |
//! | 25 | 39 | zero |
//!
//! The name of a function may have a zero byte and, in digits, the line that the function begins at behind it.
//!
//! Version history: 001 the first; 002 has the lines that functions begin at.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::{Svma, UnnamedReason};
use memmap2::Mmap;
use symbolic_symcache::{SourceLocation, SymCache};

use crate::interner::Interner;
use crate::symbolized::{SymbolFrame, Symbolized};

const MAGIC: &[u8; 8] = b"FKSYM002";
pub(crate) const HEADER: usize = 64;
/// A symcache must begin at a multiple of it.
const ALIGN: usize = 8;
/// Longest chain of inlined functions that is followed: compilers stop far below, a damaged file could go round for ever.
const MAX_DEPTH: usize = 512;

/// Bytes that are no symbol file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSymbolFile {
    /// It does not begin with the magic of this version.
    #[error("not a symbol file of version {}", String::from_utf8_lossy(&MAGIC[5..]))]
    Magic,
    /// It does not have the length that its header states.
    #[error("symbol file is truncated")]
    Truncated,
    /// Its symcache cannot be read.
    #[error("symbol file is damaged: {0}")]
    Damaged(String),
}

/// A symbol file, mapped or in memory, open for lookups. Lookups only read and may run on any number of threads.
#[derive(Debug)]
pub struct SymbolFile {
    bytes: Bytes,
    load_address: Svma,
    source: SymbolsPresent,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// The file begins at the offset, so that it is aligned.
    Owned(Vec<u8>, usize),
}

impl Bytes {
    fn file(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes, start) => bytes.get(*start..).unwrap_or(&[]),
        }
    }
}

/// The header of a symbol file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) load_address: Svma,
    pub(crate) symcache_len: u64,
    pub(crate) source: SymbolsPresent,
}

impl Header {
    pub(crate) fn write(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.load_address.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.symcache_len.to_le_bytes());
        bytes[24] = match self.source {
            SymbolsPresent::None => 0,
            SymbolsPresent::DynamicOnly => 1,
            SymbolsPresent::SymbolTable => 2,
            SymbolsPresent::DebugInfo => 3,
            SymbolsPresent::GoTable => 4,
            SymbolsPresent::PartialDebugInfo => 5,
        };
        bytes
    }

    /// Reads the header of a file that is `len` bytes long.
    pub(crate) fn read(bytes: &[u8], len: u64) -> Result<Self, BadSymbolFile> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(BadSymbolFile::Truncated)?;
        if !header.starts_with(MAGIC) {
            return Err(BadSymbolFile::Magic);
        }
        let word = |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let source = match header[24] {
            1 => SymbolsPresent::DynamicOnly,
            2 => SymbolsPresent::SymbolTable,
            3 => SymbolsPresent::DebugInfo,
            4 => SymbolsPresent::GoTable,
            5 => SymbolsPresent::PartialDebugInfo,
            _ => SymbolsPresent::None,
        };
        let header = Self { load_address: Svma(word(8)), symcache_len: word(16), source };
        let whole = header.symcache_len.checked_add(HEADER as u64) == Some(len);
        if whole { Ok(header) } else { Err(BadSymbolFile::Truncated) }
    }
}

impl SymbolFile {
    /// Takes over a symbol file in memory.
    ///
    /// # Errors
    /// [`BadSymbolFile`] says what is wrong with it.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, BadSymbolFile> {
        if bytes.as_ptr().align_offset(ALIGN) == 0 {
            return Self::checked(Bytes::Owned(bytes, 0));
        }
        let mut aligned: Vec<u8> = Vec::with_capacity(bytes.len() + ALIGN);
        // The capacity holds all, so the start does not move.
        let start = aligned.as_ptr().align_offset(ALIGN).min(ALIGN);
        aligned.resize(start, 0);
        aligned.extend_from_slice(&bytes);
        Self::checked(Bytes::Owned(aligned, start))
    }

    /// Maps a symbol file, which nobody may truncate or change while it is mapped: [`crate::SymbolStore`] only ever replaces
    /// its files by renaming others over them.
    pub(crate) fn map(file: &File) -> std::io::Result<Result<Self, BadSymbolFile>> {
        // SAFETY: the file is in the store's directory, which is the store's alone. It is written under another name,
        // renamed when complete, and never written again, so the mapped bytes do not change while they are borrowed.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self::checked(Bytes::Mapped(map)))
    }

    fn checked(bytes: Bytes) -> Result<Self, BadSymbolFile> {
        let file = bytes.file();
        let header = Header::read(file, file.len() as u64)?;
        let symcache = file.get(HEADER..).ok_or(BadSymbolFile::Truncated)?;
        SymCache::parse(symcache).map_err(|error| BadSymbolFile::Damaged(error.to_string()))?;
        Ok(Self { load_address: header.load_address, source: header.source, bytes })
    }

    /// The file as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.file()
    }

    /// What its names come from, the best of them.
    #[must_use]
    pub const fn source(&self) -> SymbolsPresent {
        self.source
    }

    /// Names an address that the object states. A return address must point into its call instruction.
    #[must_use]
    pub fn symbolize(&self, address: Svma) -> Symbolized {
        self.symbolize_into(address, &mut Interner::default())
    }

    /// The same, with frames that `interner` has met before, which is this file's alone.
    pub(crate) fn symbolize_into(&self, address: Svma, interner: &mut Interner) -> Symbolized {
        let Some(symcache) = self.symcache() else { return Symbolized::Unknown(UnnamedReason::BadSymbols) };
        let Some(relative) = address.0.checked_sub(self.load_address.0) else { return Symbolized::Unknown(UnnamedReason::NotCovered) };
        // A file damaged on disk can have counts that do not agree, at which the reader's arithmetic panics in debug builds. It
        // does so between two frames, when the interner is whole.
        let found: Result<Vec<_>, _> = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut locations = symcache.lookup(relative).take(MAX_DEPTH);
            let (mut frames, mut next) = (Vec::new(), locations.next());
            while let Some(location) = next {
                next = locations.next();
                frames.push(self.frame(&location, next.is_some(), interner));
            }
            frames
        }));
        match found {
            Err(_) => Symbolized::Unknown(UnnamedReason::BadSymbols),
            Ok(frames) if frames.is_empty() => Symbolized::Unknown(UnnamedReason::NotCovered),
            Ok(frames) => Symbolized::Frames(frames.into()),
        }
    }

    fn frame(&self, location: &SourceLocation<'_, '_>, inlined: bool, interner: &mut Interner) -> Arc<SymbolFrame> {
        let file = location.file().map_or_else(String::new, |file| file.full_path());
        let function = location.function();
        let bytes = self.bytes.file();
        // The reader has names of its own as well, for what is damaged.
        let at = function.name().as_ptr().addr().checked_sub(bytes.as_ptr().addr()).filter(|at| *at < bytes.len());
        interner.frame(function.name(), at, &file, location.line(), inlined)
    }

    /// Whether it names any function.
    pub(crate) fn names_any(&self) -> bool {
        self.symcache().is_some_and(|symcache| symcache.functions().next().is_some())
    }

    /// Parsing is a check of seven lengths, so it is done anew rather than kept beside what it borrows.
    fn symcache(&self) -> Option<SymCache<'_>> {
        SymCache::parse(self.bytes.file().get(HEADER..)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header keeps what it was given, at the documented places.
    #[test]
    fn header_round_trips() {
        let header = Header { load_address: Svma(0x40_0000), symcache_len: 5, source: SymbolsPresent::SymbolTable };
        let bytes = header.write();
        assert_eq!(Header::read(&bytes, HEADER as u64 + 5), Ok(header));
        assert_eq!((bytes[8..12].to_vec(), bytes[16], bytes[24]), (vec![0, 0, 0x40, 0], 5, 2));
    }

    /// Other files, other versions and truncated files are refused by name.
    #[test]
    fn what_is_no_symbol_file() {
        let header = Header { load_address: Svma(0), symcache_len: 8, source: SymbolsPresent::DebugInfo };
        let mut bytes = header.write().to_vec();
        assert_eq!(SymbolFile::from_bytes(bytes.clone()).unwrap_err(), BadSymbolFile::Truncated);
        bytes.extend_from_slice(&[0; 8]);
        assert!(matches!(SymbolFile::from_bytes(bytes.clone()).unwrap_err(), BadSymbolFile::Damaged(_)));
        bytes[7] = b'9';
        assert_eq!(SymbolFile::from_bytes(bytes).unwrap_err(), BadSymbolFile::Magic);
        assert_eq!(SymbolFile::from_bytes(Vec::new()).unwrap_err(), BadSymbolFile::Truncated);
    }
}
