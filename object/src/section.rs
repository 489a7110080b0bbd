//! Sections and their decompression.

use std::borrow::Cow;

use flamekeeper_profile::{BuildId, BuildIdKind, FileOffset, Svma};
use object::elf;
use object::read::{CompressedData, CompressionFormat};

use crate::error::ObjectError;
use crate::header::{Class, SectionHeader};
use crate::limits;
use crate::source::Source;

/// A section's bytes.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// The address that the file states for it; 0 where it is not loaded.
    pub svma: Svma,
    /// Where its bytes, perhaps compressed, stand in the file.
    pub offset: FileOffset,
    /// The bytes, decompressed.
    pub data: Cow<'a, [u8]>,
}

/// Reads a section and decompresses it where its flag says so.
pub(crate) fn read<'a>(source: &'a Source<'_>, class: Class, header: &SectionHeader) -> Result<Section<'a>, ObjectError> {
    read_within(source, class, header, limits::SECTION)
}

/// As [`read`], with another limit on its bytes, compressed and decompressed.
pub(crate) fn read_within<'a>(
    source: &'a Source<'_>,
    class: Class,
    header: &SectionHeader,
    limit: u64,
) -> Result<Section<'a>, ObjectError> {
    let size = ObjectError::check_size("section", header.size, limit)?;
    let data = source.read(header.offset, size, "section")?;
    let data = if header.is_compressed() { Cow::Owned(decompress(class, &data, limit)?) } else { data };
    Ok(Section { svma: Svma(header.address), offset: FileOffset(header.offset), data })
}

/// Reads a section that is compressed in GNU's older way: `ZLIB`, the size as big-endian number of 64 bits, a zlib stream.
pub(crate) fn read_gnu_compressed<'a>(source: &'a Source<'_>, header: &SectionHeader, limit: u64) -> Result<Cow<'a, [u8]>, ObjectError> {
    let size = ObjectError::check_size("section", header.size, limit)?;
    let data = source.read(header.offset, size, "section")?;
    let head = data.first_chunk::<12>().filter(|head| head.starts_with(b"ZLIB")).ok_or(ObjectError::Malformed("compression header"))?;
    let size = head.last_chunk().map_or(0, |size| u64::from_be_bytes(*size));
    expand(CompressionFormat::Zlib, &data[12..], size, limit).map(Cow::Owned)
}

/// Where the supplementary file of an object's debug information is, which `dwz` moved into it what several objects have in
/// common (`.gnu_debugaltlink`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltLink {
    /// Its path: absolute, or relative to the directory of the object's debug file.
    pub path: String,
    /// Its build id.
    pub build_id: BuildId,
}

impl AltLink {
    pub(crate) const SECTION: &str = ".gnu_debugaltlink";

    /// A path, a zero byte, and a build id up to the section's end.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let path = std::str::from_utf8(bytes.get(..end)?).ok().filter(|path| !path.is_empty())?;
        let build_id = BuildId::new(BuildIdKind::Gnu, bytes.get(end + 1..)?).ok()?;
        Some(Self { path: path.to_owned(), build_id })
    }
}

/// Decompresses what has a compression header: [`expand`] is the one place that decompresses, where the stated size is checked against the limits before memory is taken.
fn decompress(class: Class, data: &[u8], limit: u64) -> Result<Vec<u8>, ObjectError> {
    let (kind, size, len) = compression_header(class, data).ok_or(ObjectError::Malformed("compression header"))?;
    let format = match kind {
        elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
        elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
        _ => return Err(ObjectError::Unsupported("unknown compression")),
    };
    let data = data.get(len..).ok_or(ObjectError::Malformed("compression header"))?;
    expand(format, data, size, limit)
}

fn expand(format: CompressionFormat, data: &[u8], size: u64, limit: u64) -> Result<Vec<u8>, ObjectError> {
    let limit = limit.min((data.len() as u64).saturating_mul(limits::COMPRESSION_RATIO));
    ObjectError::check_size("decompressed section", size, limit)?;
    let decompressed = CompressedData { format, data, uncompressed_size: size }.decompress();
    Ok(decompressed.map_err(ObjectError::Decompress)?.into_owned())
}

/// Kind, decompressed size, and length of the header (`Elf32_Chdr`, `Elf64_Chdr`).
fn compression_header(class: Class, data: &[u8]) -> Option<(elf::CompressionType, u64, usize)> {
    let kind = elf::CompressionType(u32::from_le_bytes(*data.first_chunk()?));
    match class {
        Class::Elf32 => Some((kind, u64::from(u32::from_le_bytes(*data.get(4..)?.first_chunk()?)), 12)),
        Class::Elf64 => Some((kind, u64::from_le_bytes(*data.get(8..)?.first_chunk()?), 24)),
    }
}
