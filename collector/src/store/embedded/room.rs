//! Whether there is room for more: on the disk, and under the limit in bytes.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::StoreError;

/// Room for what is stored.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    /// Bytes that must be free on the file system.
    min_free: u64,
    /// Above the limit in bytes, and nothing was left that could be deleted.
    over: AtomicBool,
    /// Batches that were refused since the start.
    refused: AtomicU64,
}

impl Room {
    pub(super) fn new(folder: &Path, min_free: u64) -> Self {
        Self { folder: folder.to_owned(), min_free, over: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    /// Bytes that a process without privileges may still write to the file system (statvfs(3)). Where it cannot be told,
    /// writing will.
    fn free(&self) -> u64 {
        rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |status| status.f_bavail.saturating_mul(status.f_frsize))
    }

    /// Whether less is free than must be.
    pub(super) fn is_short(&self) -> bool {
        self.free() < self.min_free
    }

    /// Says whether the store is above its limit and can delete nothing.
    pub(super) fn set_over(&self, over: bool) {
        self.over.store(over, Ordering::Relaxed);
    }

    /// # Errors
    /// [`StoreError::Full`], which is counted.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let what = if self.over.load(Ordering::Relaxed) {
            "it holds as many bytes as it may, all of them new"
        } else if self.is_short() {
            "too little is free on its disk"
        } else {
            return Ok(());
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Full { what })
    }

    /// Whether a batch would be refused now.
    pub(super) fn is_full(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.is_short()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
