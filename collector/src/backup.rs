//! Backups: a copy of the data directory of a collector that does not run, with a list of its files and their sums.
//!
//! 1. The store's lock is held while files are copied, so nothing changes under the copy, and a running collector is told of rather than copied.
//! 2. A backup, and a restored directory, has its name only once it is whole and on the disk: until then it is called `NAME.partial`.
//! 3. Restoring checks each file against the list, and refuses a directory that holds anything.
//!
//! Taken are profiles, symbols, and every file that lies in the data directory itself: the marks of deploys (`marks.jsonl`). Not taken are the
//! locks, uploads that are under way with the identity by which agents know what they have offered (`uploads`: to a restored collector they offer
//! all again), and the memory of what debuginfod servers do not have (`debuginfod`: they are asked again).

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The list of a backup's files, in the backup.
const LIST: &str = "flamekeeper-backup.json";
/// The largest list that is read: some 100,000 files.
const MAX_LIST: u64 = 64 << 20;
/// Directories that are copied with all that is in them: profiles and symbols.
const PARTS: [&str; 2] = ["profiles", "symbols"];
/// The engine's lock file.
const LOCK: &str = "lock";

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A collector runs on the directory.
    #[error("a collector has {} open; stop it first", .0.display())]
    Running(PathBuf),
    /// There is no store.
    #[error("{} holds no profiles", .0.display())]
    NoStore(PathBuf),
    /// The target is there and holds something.
    #[error("{} holds something already; name a directory that is empty or not there", .0.display())]
    NotEmpty(PathBuf),
    /// It is no backup, or not whole.
    #[error("{} is no whole backup: {why}", path.display())]
    NoBackup {
        /// The directory.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file is not what was backed up.
    #[error("{} is damaged: it is not the file that was backed up", .0.display())]
    Damaged(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    /// Of the program that made it.
    version: String,
    /// All directories, those above their parts: the engine has some that are empty.
    folders: Vec<PathBuf>,
    files: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    path: PathBuf,
    bytes: u64,
    /// SHA-256 in hexadecimal.
    sum: String,
}

/// Copies the data directory of a collector that does not run.
///
/// # Errors
/// [`BackupError`]; then there is at most a directory called `NAME.partial`.
pub fn backup(data_dir: &Path, to: &Path) -> Result<Copied, BackupError> {
    let _lock = lock(data_dir)?;
    let partial = begin(to)?;
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for part in PARTS {
        find(data_dir, Path::new(part), &mut files, &mut folders)?;
    }
    for entry in fs::read_dir(data_dir).map_err(at(data_dir))? {
        let entry = entry.map_err(at(data_dir))?;
        if entry.file_type().map_err(at(data_dir))?.is_file() {
            files.push(entry.file_name().into());
        }
    }
    let mut list = List { version: env!("CARGO_PKG_VERSION").into(), folders, files: Vec::new() };
    for path in files {
        let (bytes, sum) = copy(&data_dir.join(&path), &partial.join(&path))?;
        list.files.push(Listed { path, bytes, sum });
    }
    let copied = Copied { files: list.files.len(), bytes: list.files.iter().map(|file| file.bytes).sum() };
    let path = partial.join(LIST);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(&serde_json::to_vec_pretty(&list)?)?;
        file.sync_all()
    };
    write().map_err(at(&path))?;
    finish(&partial, to)?;
    Ok(copied)
}

/// Makes a data directory out of a backup.
///
/// # Errors
/// [`BackupError`]; then the data directory is as it was.
pub fn restore(from: &Path, data_dir: &Path) -> Result<Copied, BackupError> {
    let no_backup = |why: &dyn ToString| BackupError::NoBackup { path: from.into(), why: why.to_string() };
    let mut text = Vec::new();
    let read = File::open(from.join(LIST)).and_then(|file| file.take(MAX_LIST).read_to_end(&mut text));
    read.map_err(|error| no_backup(&error))?;
    let list: List = serde_json::from_slice(&text).map_err(|error| no_backup(&error))?;
    let inside = |path: &Path| path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let mut paths = list.files.iter().map(|file| &file.path).chain(&list.folders);
    if let Some(strange) = paths.find(|path| !inside(path)) {
        return Err(no_backup(&format!("it names {}", strange.display())));
    }
    let partial = begin(data_dir)?;
    for folder in list.folders.iter().map(|folder| partial.join(folder)) {
        fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    let mut copied = Copied::default();
    for file in &list.files {
        let (bytes, sum) = copy(&from.join(&file.path), &partial.join(&file.path))?;
        if (bytes, &sum) != (file.bytes, &file.sum) {
            return Err(BackupError::Damaged(from.join(&file.path)));
        }
        copied.files += 1;
        copied.bytes += bytes;
    }
    // The engine opens its lock file, and makes none in a store that is there.
    let path = partial.join(PARTS[0]).join(LOCK);
    File::create(&path).map_err(at(&path))?;
    finish(&partial, data_dir)?;
    Ok(copied)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError + '_ {
    move |error| BackupError::Io { path: path.into(), error }
}

/// The store's lock, as the engine takes it, until the file is dropped.
fn lock(data_dir: &Path) -> Result<File, BackupError> {
    let path = data_dir.join(PARTS[0]).join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::NoStore(data_dir.into())),
        Err(error) => return Err(at(&path)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(BackupError::Running(data_dir.into())),
        Err(fs::TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

/// An empty directory beside the target, which must be empty or not there.
fn begin(target: &Path) -> Result<PathBuf, BackupError> {
    match fs::read_dir(target) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(BackupError::NotEmpty(target.into()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(target)(error)),
    }
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&partial)(error)),
        _ => {}
    }
    fs::create_dir_all(&partial).map_err(at(&partial))?;
    Ok(partial)
}

/// Gives the directory its name.
fn finish(partial: &Path, target: &Path) -> Result<(), BackupError> {
    // Renaming onto an empty directory replaces it: rename(2).
    fs::rename(partial, target).map_err(at(target))?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(at(parent))
}

/// The regular files and the directories below a directory, by their path from `root`.
fn find(root: &Path, folder: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let path = root.join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(&path))?,
    };
    folders.push(folder.into());
    for entry in entries {
        let entry = entry.map_err(at(&path))?;
        let kind = entry.file_type().map_err(at(&path))?;
        let place = folder.join(entry.file_name());
        if kind.is_dir() {
            find(root, &place, files, folders)?;
        } else if kind.is_file() && entry.file_name() != LOCK {
            files.push(place);
        }
    }
    Ok(())
}

/// Copies a file to the disk; gives its bytes and their sum.
fn copy(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = File::create(to).map_err(at(to))?;
    let (mut sum, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = source.read(&mut block).map_err(at(from))?;
        if read == 0 {
            break;
        }
        sum.update(&block[..read]);
        target.write_all(&block[..read]).map_err(at(to))?;
        bytes += read as u64;
    }
    target.sync_all().map_err(at(to))?;
    let sum = sum.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    Ok((bytes, sum))
}
