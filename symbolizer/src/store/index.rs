//! What the store has, in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::{BuildId, BuildIdKind};

use super::KINDS;
use crate::symbol_file::{HEADER, Header};

/// Version of what can be converted: objects that an older version could not convert are welcome again.
pub(super) const VERSION: &str = concat!("flamekeeper-symbolizer ", env!("CARGO_PKG_VERSION"));

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its symbols are stored.
    Stored { source: SymbolsPresent, bytes: u64 },
    /// Its symbols cannot be converted.
    Bad,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<BuildId, Known>,
    objects: usize,
    bytes: u64,
}

/// All objects that the store knows of.
#[derive(Debug)]
pub(super) struct Index(RwLock<State>);

impl Index {
    /// Reads the names and headers of all files. Files that are no whole symbol files of this version, and markers of other
    /// versions, are left aside: a new upload replaces them.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let mut state = State::default();
        for kind in KINDS {
            for entry in fs::read_dir(directory.join(kind.as_str()))? {
                let path = entry?.path();
                if let Some((id, known)) = read_entry(kind, &path) {
                    state.insert(id, known);
                }
            }
        }
        Ok(Self(RwLock::new(state)))
    }

    pub(super) fn get(&self, id: &BuildId) -> Option<Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).known.get(id).copied()
    }

    pub(super) fn insert(&self, id: &BuildId, known: Known) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), known);
    }

    pub(super) fn objects(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).objects
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

impl State {
    /// A symbol file has the say over a marker, whichever is met first.
    fn insert(&mut self, id: BuildId, known: Known) {
        let old = self.known.get(&id).copied();
        if known == Known::Bad && old.is_some() {
            return;
        }
        if let Known::Stored { bytes, .. } = known {
            self.objects += 1;
            self.bytes += bytes;
        }
        if let Some(Known::Stored { bytes, .. }) = old {
            self.objects -= 1;
            self.bytes -= bytes;
        }
        self.known.insert(id, known);
    }
}

fn read_entry(kind: BuildIdKind, path: &Path) -> Option<(BuildId, Known)> {
    let id = BuildId::from_hex(kind, path.file_stem()?.to_str()?).ok()?;
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    let mut head = Vec::with_capacity(HEADER);
    file.take(HEADER as u64).read_to_end(&mut head).ok()?;
    match path.extension()?.to_str()? {
        "sym" => {
            let header = Header::read(&head, len).ok()?;
            Some((id, Known::Stored { source: header.source, bytes: len }))
        }
        "bad" => (head.split(|byte| *byte == b'\n').next() == Some(VERSION.as_bytes())).then_some((id, Known::Bad)),
        _ => None,
    }
}
