//! Sections and their decompression.

use std::borrow::Cow;

use flamekeeper_profile::{FileOffset, Svma};
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
    let size = ObjectError::check_size("section", header.size, limits::SECTION)?;
    let data = source.read(header.offset, size, "section")?;
    let data = if header.is_compressed() { Cow::Owned(decompress(class, &data)?) } else { data };
    Ok(Section { svma: Svma(header.address), offset: FileOffset(header.offset), data })
}

/// The one place that decompresses: the stated size is checked against the limits before memory is taken.
fn decompress(class: Class, data: &[u8]) -> Result<Vec<u8>, ObjectError> {
    let (kind, size, len) = compression_header(class, data).ok_or(ObjectError::Malformed("compression header"))?;
    let format = match kind {
        elf::ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
        elf::ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
        _ => return Err(ObjectError::Unsupported("unknown compression")),
    };
    let data = data.get(len..).ok_or(ObjectError::Malformed("compression header"))?;
    let limit = limits::SECTION.min((data.len() as u64).saturating_mul(limits::COMPRESSION_RATIO));
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
