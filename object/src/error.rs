//! What can go wrong with an object file.

/// An object file that could not be read, or not as asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The file could not be opened or read.
    #[error("cannot read object file: {0}")]
    Io(#[from] std::io::Error),
    /// The path names no regular file.
    #[error("not a regular file")]
    NotAFile,
    /// The file does not begin as ELF does.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file of a kind that is not supported.
    #[error("unsupported ELF file: {0}")]
    Unsupported(&'static str),
    /// The file states something that does not hold together.
    #[error("malformed ELF file: {0}")]
    Malformed(&'static str),
    /// The file is shorter than its headers say, perhaps because it was truncated after it was opened.
    #[error("ELF file ends before its {0}")]
    Truncated(&'static str),
    /// A part of the file is larger than what is read of any file.
    #[error("{what} has {size} bytes or entries, more than the limit of {limit}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit, of [`crate::limits`].
        limit: u64,
    },
    /// A compressed section that could not be decompressed to the size that it states.
    #[error("cannot decompress section: {0}")]
    Decompress(object::read::Error),
}

impl ObjectError {
    /// `size` where it is within `limit`.
    pub(crate) const fn check_size(what: &'static str, size: u64, limit: u64) -> Result<u64, Self> {
        if size > limit { Err(Self::TooLarge { what, size, limit }) } else { Ok(size) }
    }
}
