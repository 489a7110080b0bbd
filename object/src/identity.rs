//! Build ids: notes, and the hash for files without one.

use flamekeeper_profile::{BuildId, BuildIdKind};
use object::elf;
use sha2::{Digest, Sha256};

use crate::error::ObjectError;
use crate::header::Headers;
use crate::limits;
use crate::source::Source;

/// Bytes hashed at each end of a file without a build id.
const HASHED: u64 = 4096;
/// Type of Go's note (`cmd/internal/buildid`: ELF_NOTE_GOBUILDID_TAG).
const GO_BUILD_ID_TAG: u32 = 4;

/// The build id of the notes: GNU's where there is one, else Go's.
pub(crate) fn from_notes(source: &Source<'_>, headers: &Headers) -> Option<BuildId> {
    let mut go = None;
    for bytes in note_ranges(headers).filter_map(|(offset, size)| read_notes(source, offset, size)) {
        for note in Notes(&bytes) {
            match (note.name, note.kind) {
                (b"GNU\0", kind) if kind == elf::NT_GNU_BUILD_ID.0 => {
                    if let Ok(id) = BuildId::new(BuildIdKind::Gnu, note.desc) {
                        return Some(id);
                    }
                }
                (b"Go\0\0", GO_BUILD_ID_TAG) => go = go.or_else(|| BuildId::new(BuildIdKind::Go, note.desc).ok()),
                _ => {}
            }
        }
    }
    go
}

/// Whether a Go build id is among the notes.
pub(crate) fn has_go_note(source: &Source<'_>, headers: &Headers) -> bool {
    note_ranges(headers).filter_map(|(offset, size)| read_notes(source, offset, size)).any(|bytes| {
        let mut notes = Notes(&bytes);
        notes.any(|note| (note.name, note.kind) == (b"Go\0\0", GO_BUILD_ID_TAG))
    })
}

/// Segments first: they are what a stripped file still has.
fn note_ranges(headers: &Headers) -> impl Iterator<Item = (u64, u64)> {
    let segments = headers.programs.iter().filter(|program| program.kind == elf::PT_NOTE.0);
    let sections = headers.sections.iter().filter(|section| section.kind == elf::SHT_NOTE.0);
    segments.map(|program| (program.offset, program.file_size)).chain(sections.map(|section| (section.offset, section.size))).take(256)
}

fn read_notes(source: &Source<'_>, offset: u64, size: u64) -> Option<Vec<u8>> {
    let size = ObjectError::check_size("notes", size, limits::NOTES).ok()?;
    Some(source.read(offset, size, "notes").ok()?.into_owned())
}

struct Note<'a> {
    kind: u32,
    name: &'a [u8],
    desc: &'a [u8],
}

/// Notes of a segment or section, 4-byte aligned (8-byte aligned ones are `.note.gnu.property`, which stand apart and whose
/// reading as 4-byte aligned ends at the first that does not fit).
struct Notes<'a>(&'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let (header, rest) = self.0.split_first_chunk::<12>()?;
        let word = |at: usize| header.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let (name_len, desc_len) = (usize::try_from(word(0)?).ok()?, usize::try_from(word(4)?).ok()?);
        let name = rest.get(..name_len)?;
        let rest = rest.get(name_len.checked_next_multiple_of(4)?..)?;
        let desc = rest.get(..desc_len)?;
        self.0 = desc_len.checked_next_multiple_of(4).and_then(|len| rest.get(len..)).unwrap_or(&[]);
        Some(Note { kind: word(8)?, name, desc })
    }
}

/// The identity of a file without a build id, as [`BuildIdKind::Htlhash`] defines it.
pub(crate) fn hash(source: &Source<'_>) -> Result<BuildId, ObjectError> {
    let len = source.len();
    let part = len.min(HASHED);
    let mut sha = Sha256::new();
    sha.update(source.read(0, part, "head")?);
    sha.update(source.read(len - part, part, "tail")?);
    sha.update(len.to_be_bytes());
    BuildId::new(BuildIdKind::Htlhash, &sha.finalize()[..16]).map_err(|_| ObjectError::Malformed("hash"))
}
