//! ELF facts that both sides need: build ids, address translation, sections, and finding debug files.
//!
//! An [`ObjectFile`] holds parsed headers and an open file; sections are read when asked for, by `pread`, into memory.
//! Nothing is mapped: the files belong to other processes, whose owners may truncate them at any time, and touching a
//! mapped page past the new end is SIGBUS. A read that comes up short is an error instead, and the agent lives.
//!
//! All bytes are foreign: every count and size has a cap (see [`limits`]), arithmetic is checked, and decompression goes
//! through one capped place.

#![forbid(unsafe_code)]

mod allocator;
mod bundle;
mod bytes;
mod companions;
mod crc32;
mod data_symbols;
mod debug_file;
mod dynamic;
mod error;
mod facts;
mod file;
pub mod go;
mod header;
mod identity;
pub mod limits;
mod only_debug;
mod section;
mod segment;
mod source;
mod split_units;
mod symbol_copy;

pub use allocator::Allocator;
pub use bundle::{BundleError, BundleLayout, Member, MemberKind, write_bundle};
pub use bytes::ObjectBytes;
pub use companions::Companions;
pub use data_symbols::DataSymbols;
pub use debug_file::{find_alt_file, find_debug_file};
pub use error::ObjectError;
pub use facts::{ObjectFacts, SymbolsPresent};
pub use file::ObjectFile;
pub use only_debug::{OnlyDebug, only_debug, write_only_debug};
pub use section::{AltLink, Section};
pub use segment::{Segment, bias};
pub use split_units::SplitUnits;
pub use symbol_copy::{CopyError, SymbolCopy};
