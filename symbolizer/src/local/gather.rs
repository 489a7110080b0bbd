//! The files of this host that hold the symbols of one object.

use std::path::{Path, PathBuf};

use flamekeeper_object::{Companions, MemberKind, ObjectError, ObjectFile, only_debug};

use crate::convert::Sources;

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
        let mut read = |path: &Path| {
            let bytes = ObjectFile::open(path).and_then(|file| file.read_all(left)).ok()?;
            left = left.saturating_sub(bytes.len() as u64);
            Some(bytes)
        };
        let companions = Companions::find(main, &[&path, &found.own_path], &found.root);
        for (kind, path) in companions.files() {
            let Some(bytes) = read(path) else { continue };
            match kind {
                MemberKind::Package => files.package = Some(bytes),
                MemberKind::Supplementary => files.supplementary = Some(bytes),
                MemberKind::Object | MemberKind::Split => files.split.push(bytes),
            }
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
