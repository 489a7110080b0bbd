//! Where an object's bytes come from: an open file, read by `pread`, or memory.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::ObjectError;

/// Bytes of an object.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// A file, or a part of one.
    File {
        /// The file.
        file: File,
        /// Where the part begins.
        start: u64,
        /// Its length; of a whole file, when it was opened.
        len: u64,
    },
    /// Memory of our own: the vdso.
    Bytes(Vec<u8>),
    /// Memory of the caller's: an upload.
    Borrowed(&'a [u8]),
}

impl Source<'_> {
    /// The length in bytes; of a file, when it was opened.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Borrowed(bytes) => bytes.len() as u64,
        }
    }

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// [`ObjectError::Truncated`] naming `what` where there are fewer; no memory is taken before the length is known to fit.
    pub(crate) fn read(&self, offset: u64, len: u64, what: &'static str) -> Result<Cow<'_, [u8]>, ObjectError> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len()).ok_or(ObjectError::Truncated(what))?;
        match self {
            Self::Bytes(bytes) => part(bytes, offset, end, what),
            Self::Borrowed(bytes) => part(bytes, offset, end, what),
            Self::File { file, start, .. } => {
                let offset = start.checked_add(offset).ok_or(ObjectError::Truncated(what))?;
                let len = usize::try_from(len).map_err(|_| ObjectError::Truncated(what))?;
                let mut buffer = Vec::new();
                buffer.try_reserve_exact(len).map_err(|_| std::io::Error::from(std::io::ErrorKind::OutOfMemory))?;
                buffer.resize(len, 0);
                file.read_exact_at(&mut buffer, offset).map_err(|error| short(error, what))?;
                Ok(Cow::Owned(buffer))
            }
        }
    }
}

fn part<'a>(bytes: &'a [u8], start: u64, end: u64, what: &'static str) -> Result<Cow<'a, [u8]>, ObjectError> {
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let bytes = range.and_then(|(start, end)| bytes.get(start..end));
    bytes.map(Cow::Borrowed).ok_or(ObjectError::Truncated(what))
}

fn short(error: std::io::Error, what: &'static str) -> ObjectError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ObjectError::Truncated(what),
        _ => ObjectError::Io(error),
    }
}
