//! An object and its companions in one run of bytes: what is sent of an object whose debug information lies in several files.
//!
//! A bundle is little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `FKOBJ` and the version as three digits, now `001` |
//! | 8 | 4 | how many members there are, 1 to [`limits::BUNDLE_MEMBERS`] |
//! | 12 | 4 | zero |
//! | 16 | 16 each | the members: kind (1 byte, [`MemberKind`]), 7 bytes of zero, length (8 bytes) |
//!
//! Their bytes follow in this order, each from the next multiple of 64 on, with zeros between. Nothing follows the last.
//!
//! The first member is the object, and no other is one; there is at most one package and one supplementary file, and no member is
//! empty. Each is an ELF file by itself. Bytes that do not begin as a bundle does are an object alone, so that a plain ELF file can
//! stand wherever a bundle can.
//!
//! Version history: 001 the first.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::limits;
use crate::source::Source;

const MAGIC: &[u8; 8] = b"FKOBJ001";
/// What the magic of every version begins with.
const FAMILY: usize = 5;
const HEADER: usize = 16;
const ENTRY: usize = 16;
/// Members begin at multiples of it.
const ALIGN: u64 = 64;

/// What a member of a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberKind {
    /// 1: the object, a copy of it without code, or its separate debug file.
    Object,
    /// 2: the file with all its split units (`.dwp`).
    Package,
    /// 3: the supplementary file that `.gnu_debugaltlink` names.
    Supplementary,
    /// 4: a file with split units (`.dwo`).
    Split,
}

impl MemberKind {
    const fn code(self) -> u8 {
        match self {
            Self::Object => 1,
            Self::Package => 2,
            Self::Supplementary => 3,
            Self::Split => 4,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Object,
            2 => Self::Package,
            3 => Self::Supplementary,
            4 => Self::Split,
            _ => return None,
        })
    }
}

/// A member and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub kind: MemberKind,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many there are, at least one; that of a plain file alone is the file's length.
    pub len: u64,
}

impl Member {
    /// Its bytes, of those that the bundle was read from; none where they are not all there.
    #[must_use]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let end = self.offset.checked_add(self.len).and_then(|end| usize::try_from(end).ok());
        end.and_then(|end| bytes.get(start..end)).unwrap_or(&[])
    }
}

/// Bytes that are no bundle, though they begin as one.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// They could not be read.
    #[error("cannot read the bundle: {0}")]
    Io(#[from] io::Error),
    /// They are of another version.
    #[error("a bundle of another version than {}; use programs of one version", String::from_utf8_lossy(&MAGIC[FAMILY..]))]
    Version,
    /// They do not hold together.
    #[error("malformed bundle: {0}")]
    Malformed(&'static str),
}

/// Which members there are, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleLayout {
    members: Vec<Member>,
    /// Whether nothing stands before the first.
    plain: bool,
}

impl BundleLayout {
    /// Lays out a bundle.
    ///
    /// # Errors
    /// [`BundleError::Malformed`] where these members make none.
    pub fn new(members: impl IntoIterator<Item = (MemberKind, u64)>) -> Result<Self, BundleError> {
        let mut members: Vec<_> = members.into_iter().map(|(kind, len)| Member { kind, offset: 0, len }).collect();
        check(&members)?;
        let mut end = (HEADER + members.len() * ENTRY) as u64;
        for member in &mut members {
            member.offset = end.checked_next_multiple_of(ALIGN).ok_or(BundleError::Malformed("lengths"))?;
            end = member.offset.checked_add(member.len).ok_or(BundleError::Malformed("lengths"))?;
        }
        Ok(Self { members, plain: false })
    }

    /// An object alone, of this length.
    #[must_use]
    pub fn alone(len: u64) -> Self {
        Self { members: vec![Member { kind: MemberKind::Object, offset: 0, len }], plain: true }
    }

    /// Reads what is in memory: a bundle, or an object alone.
    ///
    /// # Errors
    /// [`BundleError`] where it begins as a bundle and is none.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        Self::read(&Source::Borrowed(bytes))
    }

    /// Reads what is in a file, through its descriptor; its position is neither used nor moved.
    ///
    /// # Errors
    /// As [`Self::of_bytes`], and where it cannot be read.
    pub fn of_file(file: &File) -> Result<Self, BundleError> {
        let len = file.metadata()?.len();
        Self::read(&Source::File { file: file.try_clone()?, start: 0, len })
    }

    fn read(source: &Source<'_>) -> Result<Self, BundleError> {
        let truncated = |_| BundleError::Malformed("it ends before its members");
        let head = source.read(0, source.len().min(HEADER as u64), "bundle").map_err(truncated)?;
        if !head.starts_with(&MAGIC[..FAMILY]) {
            return Ok(Self::alone(source.len()));
        }
        if !head.starts_with(MAGIC) {
            return Err(BundleError::Version);
        }
        let word =
            |bytes: &[u8], at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word));
        let count = usize::try_from(word(&head, 8)).ok().filter(|count| (1..=limits::BUNDLE_MEMBERS).contains(count));
        let count = count.ok_or(BundleError::Malformed("number of members"))?;
        if head.len() < HEADER || word(&head, 12) != 0 {
            return Err(BundleError::Malformed("header"));
        }
        let table = source.read(HEADER as u64, (count * ENTRY) as u64, "bundle").map_err(truncated)?;
        let entry = |entry: &[u8]| {
            let (kind, len) = entry.split_first_chunk::<8>()?;
            let kind = MemberKind::of(kind[0]).filter(|_| kind[1..].iter().all(|byte| *byte == 0))?;
            Some((kind, u64::from_le_bytes(*len.first_chunk()?)))
        };
        let members: Option<Vec<_>> = table.chunks_exact(ENTRY).map(entry).collect();
        let layout = Self::new(members.ok_or(BundleError::Malformed("kind of a member"))?)?;
        if layout.len() == source.len() { Ok(layout) } else { Err(BundleError::Malformed("it has another length than its members")) }
    }

    /// The members: the object first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Member {
        // There is one: checked when the layout was made.
        self.members.first().copied().unwrap_or(Member { kind: MemberKind::Object, offset: 0, len: 0 })
    }

    /// Whether it is more than an object alone.
    #[must_use]
    pub fn has_companions(&self) -> bool {
        self.members.len() > 1
    }

    /// Bytes of all of it.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // It has a member at least.
    pub fn len(&self) -> u64 {
        self.members.last().map_or(0, |last| last.offset.saturating_add(last.len))
    }

    /// What stands before the first member; nothing for an object alone.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        if self.plain {
            return Vec::new();
        }
        let mut head = MAGIC.to_vec();
        // Their number is capped.
        head.extend_from_slice(&u32::try_from(self.members.len()).unwrap_or(0).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        for member in &self.members {
            head.extend_from_slice(&[member.kind.code(), 0, 0, 0, 0, 0, 0, 0]);
            head.extend_from_slice(&member.len.to_le_bytes());
        }
        head
    }
}

fn check(members: &[Member]) -> Result<(), BundleError> {
    let count = |kind| members.iter().filter(|member| member.kind == kind).count();
    match () {
        () if members.is_empty() || members.len() > limits::BUNDLE_MEMBERS => Err(BundleError::Malformed("number of members")),
        () if members[0].kind != MemberKind::Object || count(MemberKind::Object) > 1 => {
            Err(BundleError::Malformed("the first member, and no other, must be the object"))
        }
        () if count(MemberKind::Package) > 1 || count(MemberKind::Supplementary) > 1 => {
            Err(BundleError::Malformed("two members of a kind of which there is one"))
        }
        () if members.iter().any(|member| member.len == 0) => Err(BundleError::Malformed("an empty member")),
        () => Ok(()),
    }
}

/// Writes whole files as a bundle into an empty file; memory used does not grow with them.
///
/// # Errors
/// [`BundleError::Malformed`] where they make none, [`BundleError::Io`] where reading or writing failed.
pub fn write_bundle(members: &[(MemberKind, &File)], out: &mut File) -> Result<BundleLayout, BundleError> {
    let lengths = members.iter().map(|(kind, file)| Ok((*kind, file.metadata()?.len()))).collect::<Result<Vec<_>, BundleError>>()?;
    let layout = BundleLayout::new(lengths)?;
    out.write_all(&layout.head())?;
    for (member, (_, file)) in layout.members().iter().zip(members) {
        copy(file, out, *member)?;
    }
    Ok(layout)
}

fn copy(from: &File, to: &File, member: Member) -> io::Result<()> {
    const CHUNK: u64 = 256 << 10;
    let mut buffer = vec![0; CHUNK as usize];
    let mut done = 0;
    while done < member.len {
        let chunk = &mut buffer[..(member.len - done).min(CHUNK) as usize];
        from.read_exact_at(chunk, done)?;
        to.write_all_at(chunk, member.offset + done)?;
        done += chunk.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(members: &[(MemberKind, &[u8])]) -> Vec<u8> {
        let layout = BundleLayout::new(members.iter().map(|(kind, bytes)| (*kind, bytes.len() as u64))).unwrap();
        let mut bytes = layout.head();
        for (member, (_, content)) in layout.members().iter().zip(members) {
            bytes.resize(usize::try_from(member.offset).unwrap(), 0);
            bytes.extend_from_slice(content);
        }
        assert_eq!(bytes.len() as u64, layout.len());
        bytes
    }

    /// The bytes of version 001, which every later version has to read or to refuse by name.
    #[test]
    fn golden() {
        let bytes = bundle(&[(MemberKind::Object, b"object"), (MemberKind::Package, b"dwp"), (MemberKind::Split, b"x")]);
        let mut expected = b"FKOBJ001\x03\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x04\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        assert_eq!(expected.len(), 64);
        expected.extend_from_slice(b"object");
        expected.resize(128, 0);
        expected.extend_from_slice(b"dwp");
        expected.resize(192, 0);
        expected.push(b'x');
        assert_eq!(bytes, expected);
        let layout = BundleLayout::of_bytes(&bytes).unwrap();
        let members: Vec<_> = layout.members().iter().map(|member| (member.kind, member.of(&bytes))).collect();
        assert_eq!(members, [(MemberKind::Object, &b"object"[..]), (MemberKind::Package, b"dwp"), (MemberKind::Split, b"x")]);
        assert!(layout.has_companions());
    }

    /// What does not begin as a bundle is an object alone, however short.
    #[test]
    fn plain() {
        for bytes in [&b""[..], b"FKO", b"\x7fELF and so on, more than a header is long"] {
            let layout = BundleLayout::of_bytes(bytes).unwrap();
            assert_eq!((layout.object().of(bytes), layout.members().len(), layout.head()), (bytes, 1, Vec::new()));
            assert!(!layout.has_companions());
        }
    }

    /// What begins as one and is none is refused by name.
    #[test]
    fn refused() {
        let good = bundle(&[(MemberKind::Object, b"object"), (MemberKind::Supplementary, b"alt")]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            BundleLayout::of_bytes(&bytes).unwrap_err().to_string()
        };
        assert!(with(7, b'2').contains("another version than 001"));
        assert!(with(8, 0).contains("number of members") && with(11, 1).contains("number of members"));
        assert!(with(12, 1).contains("header"));
        assert!(with(16, 9).contains("kind") && with(17, 1).contains("kind"));
        assert!(with(16, 2).contains("the object") && with(32, 1).contains("the object"));
        assert!(with(24, 0).contains("empty"));
        assert!(with(31, 0xff).contains("length"));
        for len in 5..good.len() {
            assert!(BundleLayout::of_bytes(&good[..len]).is_err(), "{len}");
        }
        assert!(BundleLayout::of_bytes(&[&good[..], b"x"].concat()).is_err());
        let twice = [(MemberKind::Object, 1), (MemberKind::Package, 1), (MemberKind::Package, 1)];
        assert!(BundleLayout::new(twice).unwrap_err().to_string().contains("two members"));
        assert!(BundleLayout::new([(MemberKind::Object, u64::MAX - 10)]).is_err());
        assert!(BundleLayout::new([]).is_err());
    }
}
