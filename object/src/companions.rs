//! Companions: the files that an object's debug information goes on in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::bundle::MemberKind;
use crate::debug_file::{climbing, find_alt_file};
use crate::facts::SymbolsPresent;
use crate::file::ObjectFile;
use crate::limits;

/// The files of this host that belong to one object's debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Companions {
    /// All there are, in the order of a bundle.
    files: Vec<(MemberKind, PathBuf)>,
    missing: usize,
}

impl Companions {
    /// Looks for what an object names, below `root` (`/`, or `/proc/PID/root` for another mount namespace): the supplementary file of
    /// `dwz`, which must state the build id of the link; the package of its split units, `PATH.dwp`, else the files that each of them
    /// names. `main` is the file that has the debug information; `paths` are its path and, where that is another, the object's, both as
    /// seen inside the root.
    ///
    /// Whether a package or a file holds just the units that the object names is not looked at: who reads them goes by the id of each.
    #[must_use]
    pub fn find(main: &ObjectFile, paths: &[&Path], root: &Path) -> Self {
        let mut found = Self::default();
        if main.has_symbols() < SymbolsPresent::DebugInfo {
            return found;
        }
        if let Some(link) = main.alt_link() {
            let file = paths.iter().find_map(|path| find_alt_file(&link, path, root));
            found.take(MemberKind::Supplementary, file);
        }
        let units = main.split_units();
        if units.count == 0 {
            return found;
        }
        let below = |path: &Path| climbing(path).map(|path| root.join(path));
        let mut packages = paths.iter().flat_map(|path| packages(path)).filter_map(|path| below(&path));
        if let Some(package) = packages.find(|path| has_section(path, ".debug_cu_index")) {
            found.take(MemberKind::Package, Some(package));
            return found;
        }
        // Units may share a file, or name none that can be found.
        let named = units.paths.iter().take(limits::SPLIT_FILES).filter_map(|path| below(Path::new(path)));
        let there = found.files.len();
        found.files.extend(named.filter(|path| has_section(path, ".debug_info.dwo")).map(|path| (MemberKind::Split, path)));
        found.missing += units.paths.len().max(1) - (found.files.len() - there);
        found
    }

    fn take(&mut self, kind: MemberKind, file: Option<PathBuf>) {
        match file {
            Some(path) => self.files.push((kind, path)),
            None => self.missing += 1,
        }
    }

    /// The files, in the order that a bundle has them.
    #[must_use]
    pub fn files(&self) -> &[(MemberKind, PathBuf)] {
        &self.files
    }

    /// How many files the object names that are not there.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// The same without the files: all are missing.
    #[must_use]
    pub fn left_out(&self) -> Self {
        Self { files: Vec::new(), missing: self.missing + self.files.len() }
    }
}

/// `program.dwp` of `program`, and of its debug file `program.debug`.
fn packages(path: &Path) -> Vec<PathBuf> {
    let with_dwp = |path: &Path| {
        let mut name = OsString::from(path);
        name.push(".dwp");
        PathBuf::from(name)
    };
    let of_debug_file = path.extension().is_some_and(|extension| extension == "debug").then(|| path.with_extension("dwp"));
    [Some(with_dwp(path)), of_debug_file].into_iter().flatten().collect()
}

fn has_section(path: &Path, name: &str) -> bool {
    ObjectFile::open(path).is_ok_and(|object| object.section_svma(name).is_some())
}
