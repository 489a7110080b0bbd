//! An object in memory, and its sections.

use std::borrow::Cow;
use std::ops::Range;

use flamekeeper_profile::BuildId;
use object::elf;

use crate::error::ObjectError;
use crate::header::Headers;
use crate::section::{self, AltLink};
use crate::source::Source;
use crate::{identity, limits};

/// An object in memory of the caller's, such as an upload or a debug file: headers are parsed, sections are read on demand.
#[derive(Debug)]
pub struct ObjectBytes<'a> {
    source: Source<'a>,
    headers: Headers,
}

impl<'a> ObjectBytes<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`ObjectError`] where it is no ELF file or its headers do not hold together.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let source = Source::Borrowed(bytes);
        let headers = Headers::read(&source)?;
        Ok(Self { source, headers })
    }

    /// A section's bytes, decompressed: in the way of the ELF specification (zlib, zstd), and in GNU's older way, where
    /// `.debug_info` is named `.zdebug_info`. None where there is no such section with bytes. It has at most `limit` bytes,
    /// and at most [`limits::SECTION`].
    ///
    /// # Errors
    /// [`ObjectError`] where it is there but truncated, over the limit or cannot be decompressed.
    pub fn section(&self, name: &str, limit: u64) -> Result<Option<Cow<'_, [u8]>>, ObjectError> {
        let limit = limit.min(limits::SECTION);
        if let Some(header) = self.headers.section(name) {
            return Ok(Some(section::read_within(&self.source, self.headers.class, header, limit)?.data));
        }
        let Some(name) = name.strip_prefix(".debug_") else { return Ok(None) };
        let Some(header) = self.headers.section(&format!(".zdebug_{name}")) else { return Ok(None) };
        Ok(Some(section::read_gnu_compressed(&self.source, header, limit)?))
    }

    /// The addresses that the file states for its executable segments, in the file's order.
    #[must_use]
    pub fn code(&self) -> Vec<Range<u64>> {
        let loaded = self.headers.programs.iter().filter(|program| program.kind == elf::PT_LOAD.0 && program.flags & elf::PF_X.0 != 0);
        loaded.map(|program| program.address..program.address.saturating_add(program.memory_size)).collect()
    }

    /// The build id of its notes.
    #[must_use]
    pub fn build_id(&self) -> Option<BuildId> {
        identity::from_notes(&self.source, &self.headers)
    }

    /// The supplementary file that its debug information refers to.
    #[must_use]
    pub fn alt_link(&self) -> Option<AltLink> {
        AltLink::parse(&self.section(AltLink::SECTION, limits::NOTES).ok().flatten()?)
    }
}
