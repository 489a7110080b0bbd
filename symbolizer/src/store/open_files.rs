//! Symbol files that are mapped: the latest used, up to a number.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::index::Generation;
use crate::symbol_file::SymbolFile;

/// Mapped symbol files, by generation, so that one that was replaced is not found any more. A lookup takes a read lock for as
/// long as it takes to find the file, not while it searches it.
#[derive(Debug)]
pub(super) struct OpenFiles {
    files: RwLock<HashMap<Generation, Slot>>,
    most: usize,
    clock: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    file: Arc<SymbolFile>,
    used: AtomicU64,
}

impl OpenFiles {
    pub(super) fn new(most: usize) -> Self {
        Self { files: RwLock::default(), most: most.max(1), clock: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, generation: Generation) -> Option<Arc<SymbolFile>> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let slot = files.get(&generation)?;
        slot.used.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(Arc::clone(&slot.file))
    }

    /// Maps a file and keeps it, in place of the one whose last use lies furthest back where there are too many. None where
    /// it cannot be opened or is damaged.
    pub(super) fn open(&self, generation: Generation, path: &Path) -> Option<Arc<SymbolFile>> {
        let file = Arc::new(SymbolFile::map(&File::open(path).ok()?).ok()?.ok()?);
        // Time moves on by opening: between two openings nothing is closed, so the order of uses does not matter.
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= self.most && !files.contains_key(&generation) {
            let oldest = files.iter().min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed)).map(|(generation, _)| *generation);
            oldest.and_then(|oldest| files.remove(&oldest));
        }
        files.insert(generation, Slot { file: Arc::clone(&file), used: AtomicU64::new(now) });
        Some(file)
    }

    /// Closes a file that was replaced. Whoever looks something up in it still has it to the end.
    pub(super) fn forget(&self, generation: Generation) {
        self.files.write().unwrap_or_else(PoisonError::into_inner).remove(&generation);
    }
}
