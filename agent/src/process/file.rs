//! Files that processes map, each known once however many processes map it.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use flamekeeper_profile::{BuildId, BuildIdKind};

use crate::record::MappedFile;

/// Files to remember before those that no process maps any more are forgotten.
const SWEEP_AT: usize = 4096;

/// What a file takes beside its path, in bytes.
const FILE_BYTES: usize = 160;

/// What tells one file from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileKey {
    /// The GNU build id that the kernel read from it.
    BuildId(Box<[u8]>),
    /// Device and inode. The device is that of the file system's superblock, which `stat(2)` may not show (btrfs, overlayfs).
    Inode {
        /// Major and minor device number.
        device: (u32, u32),
        /// Inode.
        inode: u64,
    },
}

impl FileKey {
    /// The key of a record's file.
    pub(crate) fn of(file: MappedFile<'_>) -> Self {
        match file {
            MappedFile::BuildId(id) => Self::BuildId(id.into()),
            MappedFile::Inode { major, minor, inode } => Self::Inode { device: (major, minor), inode },
        }
    }

    /// The identity that the object of this file has, wherever it lies; none where only the file can tell.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        match self {
            Self::BuildId(id) => BuildId::new(BuildIdKind::Gnu, id).ok(),
            Self::Inode { .. } => None,
        }
    }
}

/// A mapped file.
#[derive(Debug)]
pub(crate) struct File {
    /// A number of its own, never used again.
    pub(crate) serial: u64,
    /// What tells it from others.
    pub(crate) key: FileKey,
    /// Its path in the mount namespace of the process that was first seen mapping it, without `(deleted)`.
    pub(crate) path: Box<str>,
    /// The parent of the process that was last seen mapping it: it sees the same path as a rule, and still lives when a
    /// brief child of it is dead. 0 for none.
    witness: AtomicU32,
}

impl File {
    /// Another process that is likely to see the file at its path.
    pub(crate) fn witness(&self) -> Option<u32> {
        Some(self.witness.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Notes another process that is likely to see the file at its path.
    pub(crate) fn witnessed_by(&self, pid: u32) {
        self.witness.store(pid, Ordering::Relaxed);
    }

    /// Whether it is memory rather than a file on disk: what a runtime that maps its generated code twice (the JVM, .NET)
    /// fills. It may as well hold a program that was started from memory, so it is looked at as an object first.
    pub(crate) fn may_be_generated(&self) -> bool {
        ["/memfd:", "/dev/zero", "/SYSV", "/dev/shm/"].iter().any(|prefix| self.path.starts_with(prefix))
    }
}

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

/// Hashes and compares by key and path.
#[derive(Clone, Debug)]
struct Interned(Arc<File>);

impl PartialEq for Interned {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key && self.0.path == other.0.path
    }
}
impl Eq for Interned {}
impl Hash for Interned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
        self.0.path.hash(state);
    }
}

/// All mapped files.
#[derive(Debug, Default)]
pub(crate) struct Files {
    known: HashSet<Interned>,
}

impl Files {
    /// The file of this key and path.
    pub(crate) fn intern(&mut self, key: FileKey, path: &str) -> Arc<File> {
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let file = Interned(Arc::new(File {
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            key,
            path: path.into(),
            witness: AtomicU32::new(0),
        }));
        if let Some(known) = self.known.get(&file) {
            return Arc::clone(&known.0);
        }
        self.known.insert(file.clone());
        file.0
    }

    /// Forgets files that no process maps, once there are many.
    pub(crate) fn sweep(&mut self) {
        if self.known.len() > SWEEP_AT {
            self.forget_unmapped();
        }
    }

    /// Forgets files that no process maps.
    pub(crate) fn forget_unmapped(&mut self) {
        self.known.retain(|file| Arc::strong_count(&file.0) > 1);
    }

    /// Bytes that they take, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.known.iter().map(|file| FILE_BYTES + file.0.path.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One file for one key and path, another for another, and the mark of a deleted file is no part of its path.
    #[test]
    fn files_are_known_once() {
        let mut files = Files::default();
        let key = FileKey::Inode { device: (8, 1), inode: 5 };
        let first = files.intern(key.clone(), "/bin/x");
        assert_eq!(files.intern(key.clone(), "/bin/x (deleted)").serial, first.serial);
        assert_ne!(files.intern(FileKey::BuildId([1].into()), "/bin/x").serial, first.serial);
    }
}
