//! The spool's directory: the few file operations that its durability rests on.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::OpenSpoolError;

/// Damaged batches kept for a person to look at.
const KEPT_ASIDE: usize = 8;
const ASIDE: &str = ".corrupt";
const TEMPORARY: &str = "incoming.tmp";

/// A locked directory. Every name is a plain file name of the spool's own making.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Held for its lock, which ends with it.
    _lock: File,
    #[cfg(test)]
    pub(super) faults: super::tests::Faults,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, OpenSpoolError> {
        let unusable = |error| OpenSpoolError::Directory { dir: path.into(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenSpoolError::InUse { dir: path.into() }),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        Ok(Self {
            path: path.into(),
            _lock: lock,
            #[cfg(test)]
            faults: super::tests::Faults::default(),
        })
    }

    /// Names of the files.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    /// Size of a file in bytes.
    pub(super) fn size(&self, name: &str) -> io::Result<u64> {
        fs::metadata(self.path.join(name)).map(|data| data.len())
    }

    /// The first `limit` bytes of a file.
    pub(super) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        // Room for all of it and for seeing its end, so that it is read at once.
        let room = file.metadata()?.len().min(limit).saturating_add(1);
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file so that after a crash it is there whole or not at all; durable on return. After an error no file
    /// of that name is left, unless the disk refuses to remove it, or one of that name was there before.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(TEMPORARY);
        let written = self.write_temporary(&temporary, content).and_then(|()| self.rename(&temporary, &self.path.join(name)));
        if let Err(error) = written {
            // Best effort: the next write truncates it, and opening removes it.
            _ = self.remove(TEMPORARY);
            return Err(error);
        }
        self.sync()
    }

    fn write_temporary(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        #[cfg(test)]
        self.faults.torn(&mut file, content)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        fs::rename(from, to)
    }

    /// Removes a file; one that is not there is removed already.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets a damaged file aside, and removes the oldest of those where there are many.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<()> {
        self.rename(&self.path.join(name), &self.path.join(format!("{name}{ASIDE}")))?;
        let mut aside: Vec<_> =
            self.names()?.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(ASIDE)).collect();
        aside.sort_unstable();
        let surplus = aside.len().saturating_sub(KEPT_ASIDE);
        aside.iter().take(surplus).try_for_each(|name| self.remove(name))
    }

    /// Makes renames and removals durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        File::open(&self.path)?.sync_all()
    }
}
