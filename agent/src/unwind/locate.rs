//! Opening the file behind a mapping: the very one that the process maps, not another that has taken its path since.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flamekeeper_object::ObjectFile;

use crate::process::file::{self, FileKey};
use crate::process::maps::Mapping;

/// An opened object, and the file that it was read from.
#[derive(Debug)]
pub(crate) struct Located {
    /// The object.
    pub(crate) object: ObjectFile,
    /// Its file, for whoever wants to read its symbols.
    pub(crate) file: File,
}

/// Opens the object of a file that a process maps. Tried in this order:
/// 1. `/proc/PID/map_files/RANGE`: always the right file, deleted ones included; needs `CAP_CHECKPOINT_RESTORE`.
/// 2. `/proc/PID/exe`, which is the program itself though its file be deleted or replaced;
/// 3. the path inside the process's root, for containers;
/// 4. the path inside the root of the process's parent, for those in containers that have ended;
/// 5. the path as it is, for other processes that have ended.
///
/// What 2 to 5 find must have the build id, or the inode, of the mapping.
pub(crate) fn open(pid: u32, mapping: &Mapping, file: &file::File) -> Option<Located> {
    let located = File::open(map_file(pid, mapping)).ok().and_then(load).filter(|located| build_id_agrees(located, &file.key));
    let relative = file.path.strip_prefix('/').unwrap_or(&file.path);
    let program = || open_checked(&PathBuf::from(format!("/proc/{pid}/exe")), &file.key);
    let in_root = |pid: u32| open_checked(&PathBuf::from(format!("/proc/{pid}/root")).join(relative), &file.key);
    let beside = || file.witness().filter(|witness| *witness != pid).and_then(in_root);
    let found = located.or_else(program).or_else(|| in_root(pid)).or_else(beside);
    found.or_else(|| open_checked(Path::new(&*file.path), &file.key))
}

fn map_file(pid: u32, mapping: &Mapping) -> String {
    format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start.0, mapping.end.0)
}

/// What changes when a file is written anew, or its inode is given to another: its size and time of modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, i64, i64);

impl Stamp {
    /// Of an open file.
    pub(crate) fn of(file: &File) -> Option<Self> {
        file.metadata().ok().map(|metadata| Self::new(&metadata))
    }

    /// Of the file that a mapping maps now; none where that may not be seen.
    pub(crate) fn now(pid: u32, mapping: &Mapping) -> Option<Self> {
        std::fs::metadata(map_file(pid, mapping)).ok().map(|metadata| Self::new(&metadata))
    }

    fn new(metadata: &std::fs::Metadata) -> Self {
        Self(metadata.size(), metadata.mtime(), metadata.mtime_nsec())
    }
}

fn load(file: File) -> Option<Located> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let object = ObjectFile::from_file(&file).ok()?;
    Some(Located { object, file })
}

fn open_checked(path: &Path, key: &FileKey) -> Option<Located> {
    // Of a special file (a pipe, a device) not even the opening is safe.
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    // The mapping's device is the superblock's, which stat does not show on btrfs and overlayfs: the inode has to do.
    let inode_agrees = match key {
        FileKey::Inode { inode, .. } => metadata.ino() == *inode,
        FileKey::BuildId(_) => true,
    };
    if !inode_agrees {
        return None;
    }
    load(File::open(path).ok()?).filter(|located| build_id_agrees(located, key))
}

fn build_id_agrees(located: &Located, key: &FileKey) -> bool {
    match key {
        FileKey::Inode { .. } => true,
        // The kernel pads ids that are shorter than 20 bytes with zeroes up to its size field, so they compare whole.
        FileKey::BuildId(_) => key.build_id().is_some_and(|expected| located.object.build_id() == Some(&expected)),
    }
}
