//! Marks that somebody posted: one JSON object a line in a file.
//!
//! A mark is durable when [`Marks::add`] returns: the whole file is written beside the old one, synced, and put in its place, and its
//! directory is synced. So after a crash there is the old file or the new one. The number of marks and the length of their texts are
//! capped; the oldest goes when there is one too many.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use flamekeeper_profile::Timestamp;
use serde::{Deserialize, Serialize};

/// Marks that are kept.
const MOST: usize = 2_000;
/// Bytes of a service's name, a version and a text.
const LONGEST: [usize; 3] = [256, 256, 1024];
/// A file longer than this was not written here: every mark with its escapes is shorter than 10 KiB.
const MOST_BYTES: u64 = MOST as u64 * 10 * 1024;

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Service.
    pub service: String,
    /// Version; may be empty.
    pub version: String,
    /// When, in nanoseconds since the epoch.
    #[serde(with = "nanoseconds")]
    pub at: Timestamp,
    /// What it says; may be empty.
    pub text: String,
}

mod nanoseconds {
    use flamekeeper_profile::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref)] // The signature that serde calls.
    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(at.0)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Timestamp, D::Error> {
        u64::deserialize(deserializer).map(Timestamp)
    }
}

/// Why a mark was not stored, or marks not read.
#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    /// A part of it is too long.
    #[error("the mark's {what} takes {bytes} bytes, at most {limit} are kept")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No service.
    #[error("the mark names no service")]
    NoService,
    /// The disk refused.
    #[error("the marks cannot be kept: {0}")]
    Io(#[from] io::Error),
    /// What is on disk was not written here.
    #[error("the file of marks is damaged (line {line}); restore it or move it away")]
    Damaged {
        /// The line, from 1.
        line: usize,
    },
}

/// All marks, in memory and in a file.
#[derive(Debug)]
pub struct Marks {
    /// None keeps them in memory only.
    path: Option<PathBuf>,
    list: Mutex<Vec<Mark>>,
}

impl Marks {
    /// Marks that end with the process.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self { path: None, list: Mutex::new(Vec::new()) }
    }

    /// Those of a file, which is made with the first mark.
    ///
    /// # Errors
    /// [`MarksError::Io`], [`MarksError::Damaged`].
    pub fn open(path: PathBuf) -> Result<Self, MarksError> {
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => drop(file.take(MOST_BYTES).read_to_string(&mut text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let list = parse(&text)?;
        Ok(Self { path: Some(path), list: Mutex::new(list) })
    }

    /// Keeps a mark, durably.
    ///
    /// # Errors
    /// [`MarksError`]; then nothing is kept.
    pub fn add(&self, mark: Mark) -> Result<(), MarksError> {
        if mark.service.is_empty() {
            return Err(MarksError::NoService);
        }
        for ((what, part), limit) in [("service", &mark.service), ("version", &mark.version), ("text", &mark.text)].into_iter().zip(LONGEST)
        {
            if part.len() > limit {
                return Err(MarksError::TooLong { what, bytes: part.len(), limit });
            }
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = list.clone();
        next.push(mark);
        next.sort_by_key(|mark| mark.at);
        let first = next.len().saturating_sub(MOST);
        next.drain(..first);
        self.write(&next)?;
        *list = next;
        Ok(())
    }

    /// All marks of a service, or of all (empty), by time.
    #[must_use]
    pub fn of(&self, service: &str) -> Vec<Mark> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|mark| service.is_empty() || mark.service == service).cloned().collect()
    }

    fn write(&self, marks: &[Mark]) -> Result<(), MarksError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut bytes = Vec::new();
        for mark in marks {
            serde_json::to_writer(&mut bytes, mark).map_err(io::Error::from)?;
            bytes.push(b'\n');
        }
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// Marks from a file's text.
fn parse(text: &str) -> Result<Vec<Mark>, MarksError> {
    let lines = (1..).zip(text.lines()).take(MOST);
    lines.map(|(line, text)| serde_json::from_str(text).map_err(|_| MarksError::Damaged { line })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: u64) -> Mark {
        Mark { service: "api".into(), version: "2".into(), at: Timestamp(at), text: "flag \"x\" on\n".into() }
    }

    /// Marks outlive the process, in the order of time; a mark that breaks a rule leaves nothing.
    #[test]
    fn outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("marks.jsonl");
        let marks = Marks::open(path.clone()).unwrap();
        marks.add(mark(7)).unwrap();
        marks.add(mark(3)).unwrap();
        assert!(marks.add(Mark { service: String::new(), ..mark(1) }).is_err());
        assert!(marks.add(Mark { text: "x".repeat(2000), ..mark(1) }).is_err());
        let again = Marks::open(path.clone()).unwrap();
        assert_eq!((again.of("api"), again.of("db")), (vec![mark(3), mark(7)], vec![]));
        fs::write(&path, "{\"service\":1}\n").unwrap();
        assert!(matches!(Marks::open(path), Err(MarksError::Damaged { line: 1 })));
    }

    /// The number of marks is capped, the oldest goes.
    #[test]
    fn capped() {
        let marks = Marks::in_memory();
        (0..=u64::try_from(MOST).unwrap()).for_each(|at| marks.add(mark(at)).unwrap());
        let kept = marks.of("");
        assert_eq!((kept.len(), kept[0].at), (MOST, Timestamp(1)));
    }
}
