//! Why a configuration is refused, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use flamekeeper_wire::units::Place;

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
