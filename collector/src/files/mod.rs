//! Profiles in files: pprof and folded text, compressed with gzip or not, of whatever program wrote them.
//!
//! [`ProfileFile::parse`] reads one, bounded by [`FileLimits`]; [`compared`] makes the two sides of a diff of many. A file has no hosts and
//! no times of its own, so what several files of a side differ by is all that tells how much runs spread.
//!
//! How many samples stand behind a value is what intervals rest on, and is taken from a file only where the file says it: the column
//! `samples` of a pprof, or its period. Folded text does not say it: see [`FileOptions::sample_weight`].

mod folded;
mod pprof;
mod sides;

use flamekeeper_wire::gzip::{self, GunzipError};

use crate::store::MergedProfile;

pub use sides::{CompareError, FileOptions, NamedFile, compared};

/// What a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes, decompressed.
    pub bytes: usize,
    /// Stacks, and entries of each table of a pprof.
    pub entries: usize,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { bytes: 256 << 20, entries: 2_000_000 }
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no gzip, a damaged one, or too large.
    #[error("{0}")]
    Gzip(#[from] GunzipError),
    /// It is too large.
    #[error("it has more than {limit} {what}; the limit protects this program")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It holds nothing.
    #[error("it is empty")]
    Empty,
    /// It is no profile.
    #[error("it is neither pprof (profile.proto) nor folded text (a stack, a space and a number on each line)")]
    Foreign,
    /// A line of folded text is wrong.
    #[error("line {line} is no folded text: a stack, a space and a whole number")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// A pprof refers to what it does not hold, or is damaged otherwise.
    #[error("the pprof is damaged: {0}")]
    Damaged(&'static str),
    /// The type is not there.
    #[error("it has no values of the type {wanted:?}; there are {}", known.join(", "))]
    NoType {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A value is below zero.
    #[error("it holds values below zero: it is a difference of profiles already")]
    Negative,
}

/// A profile as it was read.
#[derive(Debug)]
pub struct ProfileFile {
    content: Content,
}

#[derive(Debug)]
enum Content {
    Pprof(Box<pprof::Pprof>),
    Folded(Box<folded::Folded>),
}

/// One type of a profile.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    profile_type: String,
    merged: MergedProfile,
    /// How long it was sampled; 0 where the file does not say it.
    seconds: f64,
}

impl ProfileFile {
    /// Reads a file's bytes. What it is, is told by what it holds, not by its name.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn parse(bytes: &[u8], limits: FileLimits) -> Result<Self, FileError> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Self::plain(&gzip::decompress(bytes, limits.bytes)?, limits);
        }
        if bytes.len() > limits.bytes {
            return Err(FileError::TooLarge { what: "bytes", limit: limits.bytes });
        }
        Self::plain(bytes, limits)
    }

    fn plain(bytes: &[u8], limits: FileLimits) -> Result<Self, FileError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(FileError::Empty);
        }
        let content = match std::str::from_utf8(bytes).ok().filter(|text| folded::is_folded(text)) {
            Some(text) => Content::Folded(Box::new(folded::Folded::parse(text, limits)?)),
            None => Content::Pprof(Box::new(pprof::Pprof::parse(bytes, limits)?)),
        };
        Ok(Self { content })
    }

    /// The greatest number that all values of folded text are a multiple of; 0 for another file.
    pub(crate) fn divisor(&self) -> u64 {
        match &self.content {
            Content::Folded(folded) => folded.divisor(),
            Content::Pprof(_) => 0,
        }
    }

    /// The sum of folded text's values, and how many distinct stacks have them.
    pub(crate) fn folded_sum(&self) -> (u64, u64) {
        match &self.content {
            Content::Folded(folded) => folded.sum(),
            Content::Pprof(_) => (0, 0),
        }
    }

    /// The values of a type, by default the file's own choice. `weight` is what a sample of folded text weighs.
    pub(crate) fn select(&self, wanted: Option<&str>, weight: u64) -> Result<Selected, FileError> {
        match &self.content {
            Content::Folded(folded) => Ok(folded.select(wanted, weight)),
            Content::Pprof(pprof) => pprof.select(wanted),
        }
    }
}
