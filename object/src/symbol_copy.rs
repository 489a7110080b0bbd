//! What is sent of an object: a copy of what names its functions, its companions included.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::bundle::{BundleError, BundleLayout, Member, MemberKind};
use crate::companions::Companions;
use crate::error::ObjectError;
use crate::file::ObjectFile;
use crate::only_debug::{OnlyDebug, lay};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The object cannot be copied.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A file that belongs to it cannot be copied.
    #[error("{path}: {error}", path = .path.display())]
    Companion {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ObjectError,
    },
    /// One is not what it was any more.
    #[error("{path} has changed meanwhile", path = .0.display())]
    Changed(PathBuf),
    /// They make no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The copy could not be written.
    #[error("cannot write the copy: {0}")]
    Write(std::io::Error),
}

/// [`OnlyDebug`] of an object, or where it has companions, a bundle ([`crate::BundleLayout`]) of that and of the same of each of them. It is
/// made as it is read, any part without those before, and is the same bytes whenever it is made of the same files.
///
/// Of the companions one at a time is open.
#[derive(Debug)]
pub struct SymbolCopy {
    object: OnlyDebug<ObjectFile>,
    layout: BundleLayout,
    head: Vec<u8>,
    /// Those of the members after the first.
    paths: Vec<PathBuf>,
    /// The member that was read last.
    open: Option<(usize, OnlyDebug<ObjectFile>)>,
}

impl SymbolCopy {
    /// Lays out the copy.
    ///
    /// # Errors
    /// [`CopyError`] says which file cannot be copied.
    pub fn of(object: ObjectFile, companions: &Companions) -> Result<Self, CopyError> {
        let object = OnlyDebug::of(object)?;
        let mut members = vec![(MemberKind::Object, object.len())];
        let mut paths = Vec::new();
        for (kind, path) in companions.files() {
            members.push((*kind, companion(path)?.len()));
            paths.push(path.clone());
        }
        let layout = if paths.is_empty() { BundleLayout::alone(object.len()) } else { BundleLayout::new(members)? };
        Ok(Self { head: layout.head(), object, layout, paths, open: None })
    }

    /// The copy's length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // It holds a header at least.
    pub fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Fills `out` with the copy's bytes from `offset`; zeros beyond its end.
    ///
    /// # Errors
    /// [`CopyError`], where a file cannot be read, or is not what it was when the copy was laid out.
    pub fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), CopyError> {
        out.fill(0);
        lay(out, offset, 0, &self.head);
        let end = offset.saturating_add(out.len() as u64);
        let first = self.layout.members().partition_point(|member| member.offset.saturating_add(member.len) <= offset);
        let mut number = first;
        while let Some(member) = self.layout.members().get(number).copied().filter(|member| member.offset < end) {
            let from = member.offset.max(offset);
            let len = member.offset.saturating_add(member.len).min(end).saturating_sub(from);
            let room = usize::try_from(from - offset).ok().zip(usize::try_from(len).ok());
            if let Some(part) = room.and_then(|(start, len)| out.get_mut(start..)?.get_mut(..len)) {
                self.read_member(number, member, from - member.offset, part)?;
            }
            number += 1;
        }
        Ok(())
    }

    fn read_member(&mut self, number: usize, member: Member, offset: u64, out: &mut [u8]) -> Result<(), CopyError> {
        let Some(path) = number.checked_sub(1).and_then(|number| self.paths.get(number)) else {
            return Ok(self.object.read_at(offset, out)?);
        };
        let failed = |error| CopyError::Companion { path: path.clone(), error };
        let copy = match self.open.take() {
            Some((open, copy)) if open == number => copy,
            _ => companion(path)?,
        };
        if copy.len() != member.len {
            return Err(CopyError::Changed(path.clone()));
        }
        copy.read_at(offset, out).map_err(failed)?;
        self.open = Some((number, copy));
        Ok(())
    }

    /// Writes the copy, and returns its length in bytes; memory used does not grow with it.
    ///
    /// # Errors
    /// As [`Self::read_at`], and [`CopyError::Write`].
    pub fn write(&mut self, out: &mut dyn Write) -> Result<u64, CopyError> {
        const CHUNK: usize = 256 << 10;
        let (mut at, len) = (0, self.len());
        let mut buffer = vec![0; CHUNK];
        while at < len {
            let part = usize::try_from(len - at).map_or(CHUNK, |left| left.min(CHUNK));
            self.read_at(at, &mut buffer[..part])?;
            out.write_all(&buffer[..part]).map_err(CopyError::Write)?;
            at += part as u64;
        }
        Ok(at)
    }
}

fn companion(path: &Path) -> Result<OnlyDebug<ObjectFile>, CopyError> {
    let failed = |error| CopyError::Companion { path: path.to_owned(), error };
    ObjectFile::open(path).and_then(OnlyDebug::of).map_err(failed)
}
