//! An object file: headers in memory, the rest on demand.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use flamekeeper_profile::{Avma, BuildId, FileOffset, Svma};

use crate::bundle::Member;
use crate::error::ObjectError;
use crate::facts::SymbolsPresent;
use crate::go::{GoTable, StackMap};
use crate::header::Headers;
use crate::section::{self, AltLink, Section};
use crate::segment::{self, Segment};
use crate::source::Source;
use crate::split_units::{self, SplitUnits};
use crate::{identity, limits};

/// An ELF file whose headers are parsed and whose sections are read on demand, by `pread`: see the crate's documentation
/// for why it is not mapped. Holds the file open.
#[derive(Debug)]
pub struct ObjectFile {
    source: Source<'static>,
    headers: Headers,
    segments: Box<[Segment]>,
    build_id: Option<BuildId>,
    identity: BuildId,
    /// Looked for when it is asked for.
    go_table: OnceLock<Option<GoTable>>,
}

impl ObjectFile {
    /// Opens the file at a path. Never blocks on a FIFO and opens regular files only.
    ///
    /// # Errors
    /// [`ObjectError`] says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, ObjectError> {
        // Looked at before it is opened, since opening a device may have effects; the flags cover what changes in between.
        if !std::fs::metadata(path)?.is_file() {
            return Err(ObjectError::NotAFile);
        }
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        Self::from_owned(file)
    }

    /// Reads an open file, through a duplicate of its descriptor; the file's position is neither used nor moved.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_file(file: &File) -> Result<Self, ObjectError> {
        Self::from_owned(file.try_clone()?)
    }

    /// Reads a member of a bundle in an open file, as [`Self::from_file`] does a whole file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_member(file: &File, member: Member) -> Result<Self, ObjectError> {
        Self::from_source(Source::File { file: file.try_clone()?, start: member.offset, len: member.len })
    }

    /// Reads an object in memory, such as the vdso or an upload.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ObjectError> {
        Self::from_source(Source::Bytes(bytes))
    }

    fn from_owned(file: File) -> Result<Self, ObjectError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ObjectError::NotAFile);
        }
        let len = metadata.len();
        Self::from_source(Source::File { file, start: 0, len })
    }

    fn from_source(source: Source<'static>) -> Result<Self, ObjectError> {
        let headers = Headers::read(&source)?;
        let segments = headers.programs.iter().filter_map(Segment::of).collect();
        let build_id = identity::from_notes(&source, &headers);
        let identity = match &build_id {
            Some(id) => id.clone(),
            None => identity::hash(&source)?,
        };
        Ok(Self { source, headers, segments, build_id, identity, go_table: OnceLock::new() })
    }

    /// The build id of the file's notes: GNU's, else Go's.
    #[must_use]
    pub const fn build_id(&self) -> Option<&BuildId> {
        self.build_id.as_ref()
    }

    /// The build id, or the hash of the file where it has none ([`flamekeeper_profile::BuildIdKind::Htlhash`]).
    #[must_use]
    pub const fn identity(&self) -> &BuildId {
        &self.identity
    }

    /// The file's length in bytes, when it was opened.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.source.len()
    }

    /// The loadable segments, in the file's order, which is by address.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The address that the file states for its first loadable segment: what a symcache's addresses are relative to.
    /// Zero but for non-PIE executables.
    #[must_use]
    pub fn load_address(&self) -> Svma {
        self.segments.first().map_or_else(Svma::default, |segment| segment.svma)
    }

    /// The address at which execution begins; none for a library that nobody executes.
    #[must_use]
    pub fn entry(&self) -> Option<Svma> {
        Some(Svma(self.headers.entry())).filter(|entry| entry.0 != 0)
    }

    /// Up to `limit` bytes that the file has for a segment, from its start.
    ///
    /// # Errors
    /// [`ObjectError::Truncated`] where the file has fewer than it states.
    pub fn read_segment(&self, segment: &Segment, limit: u64) -> Result<Vec<u8>, ObjectError> {
        let bytes = self.source.read(segment.offset.0, segment.file_size.min(limit).min(limits::SECTION), "segment")?;
        Ok(bytes.into_owned())
    }

    /// The bias of a mapping: actual minus stated address, wrapping, so that `svma = avma - bias`.
    ///
    /// `mapping_offset` is the file offset that the mapping begins at, a multiple of the page size, and `executable` its
    /// permission. None where no segment of the file lies there. Made for executable mappings: see [`crate::bias`].
    #[must_use]
    pub fn bias(&self, mapping_start: Avma, mapping_offset: FileOffset, executable: bool) -> Option<u64> {
        segment::bias(&self.segments, mapping_start, mapping_offset, executable)
    }

    /// A section's bytes, decompressed; none where there is no such section or it cannot be read. [`Self::read_section`]
    /// tells the two apart.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<Section<'_>> {
        self.read_section(name).ok().flatten()
    }

    /// A section's bytes, decompressed; none where the file has no section of that name with bytes.
    ///
    /// # Errors
    /// [`ObjectError`] where it is there but truncated, over the limit or cannot be decompressed.
    pub fn read_section(&self, name: &str) -> Result<Option<Section<'_>>, ObjectError> {
        let header = self.headers.section(name);
        header.map(|header| section::read(&self.source, self.headers.class, header)).transpose()
    }

    /// The address that the file states for a section, without reading it, whether or not it has bytes in the file.
    #[must_use]
    pub fn section_svma(&self, name: &str) -> Option<Svma> {
        let section = self.headers.sections.iter().find(|section| self.headers.name(section) == name)?;
        Some(Svma(section.address))
    }

    /// The best symbols that the file has.
    #[must_use]
    pub fn has_symbols(&self) -> SymbolsPresent {
        let symbols = self.headers.symbols();
        let go = symbols < SymbolsPresent::GoTable && self.go_table().is_some();
        if go { SymbolsPresent::GoTable } else { symbols }
    }

    /// How to unwind the code that is Go's, as the program itself would; none where there is none. Takes as long as reading
    /// the program's table, some 100 MB in the largest, and memory for a small part of it.
    #[must_use]
    pub fn go_stack_map(&self) -> Option<StackMap> {
        self.go_table()?.stack_map(&self.source)
    }

    /// Where Go's table is.
    pub(crate) fn go_table(&self) -> Option<&GoTable> {
        self.go_table.get_or_init(|| GoTable::find(&self.source, &self.headers)).as_ref()
    }

    /// Name and CRC-32 of the separate debug file, as `.gnu_debuglink` states them. A name that is no plain file name is
    /// no name.
    #[must_use]
    pub fn debug_link(&self) -> Option<(String, u32)> {
        let section = self.headers.section(".gnu_debuglink").filter(|section| section.size <= limits::NOTES)?;
        let section = section::read(&self.source, self.headers.class, section).ok()?;
        let end = section.data.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(section.data.get(..end)?).ok()?;
        let crc = section.data.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
        let plain = !matches!(name, "" | "." | "..") && !name.contains('/');
        plain.then(|| (name.to_owned(), u32::from_le_bytes(*crc)))
    }

    /// The supplementary file that its debug information refers to.
    #[must_use]
    pub fn alt_link(&self) -> Option<AltLink> {
        let section = self.headers.section(AltLink::SECTION).filter(|section| section.size <= limits::NOTES)?;
        AltLink::parse(&section::read(&self.source, self.headers.class, section).ok()?.data)
    }

    /// The units of its debug information whose other part is in another file.
    #[must_use]
    pub fn split_units(&self) -> SplitUnits {
        split_units::find(&self.source, &self.headers)
    }

    /// All bytes of the file, at most `limit`.
    ///
    /// # Errors
    /// [`ObjectError::TooLarge`] where there are more, [`ObjectError::Truncated`] where there are fewer than when it was opened.
    pub fn read_all(&self, limit: u64) -> Result<Vec<u8>, ObjectError> {
        let len = ObjectError::check_size("object", self.source.len(), limit)?;
        Ok(self.source.read(0, len, "contents")?.into_owned())
    }

    pub(crate) const fn headers(&self) -> &Headers {
        &self.headers
    }

    pub(crate) const fn source(&self) -> &Source<'static> {
        &self.source
    }
}
