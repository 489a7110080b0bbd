//! The store's directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use flamekeeper_object::Member;
use flamekeeper_profile::{BuildId, BuildIdKind, Timestamp};

pub(super) const KINDS: [BuildIdKind; 3] = [BuildIdKind::Gnu, BuildIdKind::Go, BuildIdKind::Htlhash];

/// Where the files of the store lie.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    next: AtomicU64,
}

/// A file that is being written. It is removed when it is dropped, unless it was put in place.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    /// Open for reading and writing.
    pub(super) file: File,
}

impl Files {
    /// Makes what is missing, and removes what was left by a store that was killed while it wrote.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let temporary = directory.join("tmp");
        for part in KINDS.map(|kind| directory.join(kind.as_str())).iter().chain([&temporary]) {
            fs::create_dir_all(part)?;
        }
        for entry in fs::read_dir(&temporary)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self { directory: directory.to_owned(), next: AtomicU64::new(0) })
    }

    pub(super) fn path(&self, id: &BuildId, extension: &str) -> PathBuf {
        self.directory.join(id.kind().as_str()).join(format!("{}.{extension}", id.hex()))
    }

    pub(super) fn temporary(&self) -> io::Result<Temporary> {
        let path = self.directory.join("tmp").join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Temporary { path, file })
    }

    /// A temporary file that holds these bytes.
    pub(super) fn written(&self, bytes: &[u8]) -> io::Result<Temporary> {
        let mut temporary = self.temporary()?;
        temporary.file.write_all(bytes)?;
        Ok(temporary)
    }

    /// A temporary file that holds a member of a bundle.
    pub(super) fn part(&self, bundle: &File, member: Member) -> io::Result<Temporary> {
        let mut temporary = self.temporary()?;
        let (mut buffer, mut done) = (vec![0; 256 << 10], 0);
        while done < member.len {
            let chunk = usize::try_from(member.len - done).map_or(buffer.len(), |left| left.min(buffer.len()));
            bundle.read_exact_at(&mut buffer[..chunk], member.offset + done)?;
            temporary.file.write_all(&buffer[..chunk])?;
            done += chunk as u64;
        }
        Ok(temporary)
    }

    pub(super) fn remove(&self, id: &BuildId, extension: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id, extension)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Notes on disk when a symbol file was last used: as its time of modification, since its content never changes.
    pub(super) fn note_use(&self, id: &BuildId, used: Timestamp) -> io::Result<()> {
        // Not `File::options().write(true)`: a file is never opened for writing again once it is in place.
        note(&File::open(self.path(id, "sym"))?, used)
    }
}

fn note(file: &File, used: Timestamp) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(used.0))
}

impl Temporary {
    /// Renames it to its place, once all of it is on disk, as used at `now`.
    pub(super) fn put(self, path: &Path, now: Timestamp) -> io::Result<()> {
        note(&self.file, now)?;
        self.file.sync_all()?;
        fs::rename(&self.path, path)
        // What `drop` then removes is not there any more.
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays behind is removed when the store is opened the next time.
        _ = fs::remove_file(&self.path);
    }
}

/// When a symbol file was last used, as [`Files::note_use`] noted it; when it was written, where it never was.
pub(super) fn noted_use(file: &File) -> Timestamp {
    let since =
        file.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    Timestamp(since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
}
