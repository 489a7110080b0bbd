//! Why a configuration is refused, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A place in a file: line and column from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        // The offset comes from the parser; one inside a character counts as its start.
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where values come from, for messages.
pub(super) enum Source<'a> {
    File(&'a Path),
    Flags,
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Flags => f.write_str("flags and environment"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the configuration file {} could not be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{place}: this is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// A key that does not exist.
    #[error("{}:{place}: unknown key {key:?}{}", path.display(), suggestion.as_ref().map_or_else(|| format!("; expected one of {known}"), |key| format!("; did you mean {key:?}?")))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// The key, with its table.
        key: String,
        /// The nearest key that exists.
        suggestion: Option<String>,
        /// The keys of that table.
        known: String,
    },
    /// A value that breaks the rule of its key.
    #[error("{}:{place}: the key {key:?} {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// The key, with its table.
        key: String,
        /// What was expected, and what was found.
        message: String,
    },
    /// Values that each are right do not fit together.
    #[error("{origin}: {message}")]
    Conflict {
        /// Where the values come from.
        origin: String,
        /// What does not fit, and what to do.
        message: String,
    },
}
