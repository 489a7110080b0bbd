//! Finding separate debug files, as gdb does: by build id, then by `.gnu_debuglink`.
//!
//! GDB manual, "Debugging Information in Separate Files".

use std::path::{Component, Path, PathBuf};

use flamekeeper_profile::{BuildId, BuildIdKind};

use crate::crc32::Crc32;
use crate::error::ObjectError;
use crate::facts::SymbolsPresent;
use crate::file::ObjectFile;
use crate::limits;
use crate::section::AltLink;

const DEBUG_DIRECTORY: &str = "usr/lib/debug";

/// The separate debug file of an object, below `root` (`/`, or `/proc/PID/root` for another mount namespace).
///
/// `object_path` is the object's path as seen inside `root`. A file found by build id must state the same build id, one
/// found by `.gnu_debuglink` must have its checksum; and it must hold symbols.
#[must_use]
pub fn find_debug_file(id: &BuildId, object_path: &Path, root: &Path) -> Option<PathBuf> {
    by_build_id(id, root).or_else(|| by_debug_link(id, object_path, root))
}

/// The supplementary file of an object's debug information (`dwz`), below `root`. `debug_path` is the path, as seen inside `root`, of the
/// file that has the link, or of the object. It is looked for where the link says, below `/usr/lib/debug/.dwz`, and by its build id, which it must
/// state.
#[must_use]
pub fn find_alt_file(link: &AltLink, debug_path: &Path, root: &Path) -> Option<PathBuf> {
    let linked = Path::new(&link.path);
    let linked = if linked.is_absolute() { linked.to_owned() } else { debug_path.parent()?.join(linked) };
    let named = climbing(&linked).map(|path| root.join(path));
    // Below the directory of debug files too, as gdb looks: the link may have been made for another directory.
    let below = link.path.rsplit_once("/.dwz/").map_or(link.path.rsplit('/').next(), |(_, below)| Some(below));
    let common = below.and_then(|below| climbing(Path::new(below))).map(|path| root.join(DEBUG_DIRECTORY).join(".dwz").join(path));
    let hex = link.build_id.hex();
    let by_id = hex
        .split_at_checked(2)
        .map(|(directory, rest)| root.join(DEBUG_DIRECTORY).join(".build-id").join(directory).join(format!("{rest}.debug")));
    let is_it = |path: &PathBuf| ObjectFile::open(path).is_ok_and(|object| object.build_id() == Some(&link.build_id));
    [named, common, by_id].into_iter().flatten().find(is_it)
}

/// A path below the root, with its `..` resolved by name; none where it climbs out.
pub(crate) fn climbing(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => inside.pop().then_some(())?,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(inside)
}

fn by_build_id(id: &BuildId, root: &Path) -> Option<PathBuf> {
    let hex = (id.kind() == BuildIdKind::Gnu).then(|| id.hex())?;
    let (directory, rest) = hex.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    let path = root.join(DEBUG_DIRECTORY).join(".build-id").join(directory).join(format!("{rest}.debug"));
    let object = ObjectFile::open(&path).ok()?;
    (object.build_id() == Some(id) && object.has_symbols() > SymbolsPresent::DynamicOnly).then_some(path)
}

fn by_debug_link(id: &BuildId, object_path: &Path, root: &Path) -> Option<PathBuf> {
    let inside = inside(object_path);
    let object_path = root.join(&inside);
    let object = ObjectFile::open(&object_path).ok().filter(|object| object.identity() == id)?;
    let (name, crc) = object.debug_link()?;
    let directory = object_path.parent()?;
    let global = root.join(DEBUG_DIRECTORY).join(inside.parent()?);
    let candidates = [directory.join(&name), directory.join(".debug").join(&name), global.join(&name)];
    candidates.into_iter().find(|path| *path != object_path && is_debug_file(path, crc))
}

/// The path below the root: its ordinary components only, so that it cannot climb out.
fn inside(path: &Path) -> PathBuf {
    path.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

fn is_debug_file(path: &Path, crc: u32) -> bool {
    ObjectFile::open(path)
        .ok()
        .filter(|object| object.has_symbols() > SymbolsPresent::DynamicOnly)
        .is_some_and(|object| checksum(&object).is_ok_and(|found| found == crc))
}

fn checksum(object: &ObjectFile) -> Result<u32, ObjectError> {
    const CHUNK: u64 = 256 << 10;
    let len = ObjectError::check_size("debug file", object.file_len(), limits::DEBUG_FILE)?;
    let mut crc = Crc32::new();
    let mut offset = 0;
    while offset < len {
        let chunk = CHUNK.min(len - offset);
        crc.update(&object.source().read(offset, chunk, "contents")?);
        offset += chunk;
    }
    Ok(crc.finish())
}
