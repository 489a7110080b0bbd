//! The files of this host that hold the symbols of one object.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use flamekeeper_object::{ObjectError, ObjectFile, find_alt_file, only_debug};

use crate::convert::{Sources, split_files};

/// Most files with split units that are opened. The largest programs have some ten thousand.
const MAX_SPLIT: usize = 50_000;

/// An object and its separate debug file, below a root.
#[derive(Debug)]
pub(super) struct Found {
    root: PathBuf,
    /// The object.
    own: Option<ObjectFile>,
    /// Its path as seen inside the root.
    own_path: PathBuf,
    /// The debug file, and its path.
    debug: Option<(ObjectFile, PathBuf)>,
}

impl Found {
    /// None where there is neither.
    pub(super) fn new(root: &Path, own_path: &Path, own: Option<ObjectFile>, debug: Option<(ObjectFile, PathBuf)>) -> Option<Self> {
        let any = own.is_some() || debug.is_some();
        any.then(|| Self { root: root.to_owned(), own, own_path: own_path.to_owned(), debug })
    }

    /// An object that is in no file.
    pub(super) fn alone(object: ObjectFile) -> Self {
        Self { root: PathBuf::new(), own: Some(object), own_path: PathBuf::new(), debug: None }
    }

    /// The file that has the debug information, and its path inside the root.
    fn main(&self) -> Option<(&ObjectFile, PathBuf)> {
        match &self.debug {
            Some((object, path)) => Some((object, Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(path)))),
            None => self.own.as_ref().map(|own| (own, self.own_path.clone())),
        }
    }
}

/// The bytes of the files.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    object: Vec<u8>,
    stripped: Option<Vec<u8>>,
    supplementary: Option<Vec<u8>>,
    package: Option<Vec<u8>>,
    split: Vec<Vec<u8>>,
}

impl Gathered {
    /// Reads what belongs together, at most `limit` bytes beside the object; what does not fit or is not there is left out.
    pub(super) fn of(found: Found, limit: u64) -> Result<Self, ObjectError> {
        let Some((main, path)) = found.main() else { return Ok(Self::default()) };
        let mut files = Self { object: only_debug(main)?, ..Self::default() };
        let mut left = limit;
        let mut read = |path: PathBuf| {
            let bytes = ObjectFile::open(&path).and_then(|file| file.read_all(left)).ok()?;
            left = left.saturating_sub(bytes.len() as u64);
            Some(bytes)
        };
        files.supplementary = main.alt_link().and_then(|link| find_alt_file(&link, &path, &found.root)).and_then(&mut read);
        let names = split_files(&files.object, limit);
        if !names.is_empty() {
            files.package = [&path, &found.own_path].into_iter().find_map(|path| read(inside(&found.root, &with_dwp(path))));
        }
        if files.package.is_none() {
            let paths = names.iter().take(MAX_SPLIT).map(|name| inside(&found.root, Path::new(name)));
            files.split = paths.filter_map(&mut read).collect();
        }
        let stripped = found.debug.as_ref().and(found.own.as_ref());
        files.stripped = stripped.and_then(|own| only_debug(own).ok());
        Ok(files)
    }

    /// The files with split units, as [`Self::sources`] wants them.
    pub(super) fn split(&self) -> Vec<&[u8]> {
        self.split.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn sources<'a>(&'a self, split: &'a [&'a [u8]]) -> Sources<'a> {
        Sources {
            object: &self.object,
            stripped: self.stripped.as_deref(),
            supplementary: self.supplementary.as_deref(),
            package: self.package.as_deref(),
            split,
        }
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// `program.dwp` of `program`.
fn with_dwp(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".dwp");
    PathBuf::from(name)
}
