//! Files instead of a collector.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flamekeeper_collector::files::{FileLimits, FileOptions, NamedFile, ProfileFile, compared};
use flamekeeper_collector::render::Report;

/// The arguments that name files.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Files {
    /// Profiles to compare instead of asking a collector: pprof or folded text, compressed or not; A and B, or all of A, --, all of B
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The files after, where each side has several
    #[arg(last = true, value_name = "FILE_B")]
    after: Vec<PathBuf>,
    /// A file of the side before; may be given several times
    #[arg(long = "a", value_name = "FILE", conflicts_with_all = ["files", "after"], requires = "b")]
    a: Vec<PathBuf>,
    /// A file of the side after; may be given several times
    #[arg(long = "b", value_name = "FILE", conflicts_with_all = ["files", "after"], requires = "a")]
    b: Vec<PathBuf>,
    /// What a sample weighs in folded text [default: the greatest common divisor of all values]
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
    sample_weight: Option<u64>,
}

impl Files {
    /// The files of both sides; none where none are named.
    ///
    /// # Errors
    /// Where it cannot be told which file belongs to which side.
    pub(super) fn sides(&self) -> Result<Option<[&[PathBuf]; 2]>> {
        match (&self.files[..], &self.after[..]) {
            ([], []) if self.a.is_empty() => Ok(None),
            ([], []) => Ok(Some([&self.a, &self.b])),
            ([a, b], []) => Ok(Some([std::slice::from_ref(a), std::slice::from_ref(b)])),
            (before, after) if !before.is_empty() && !after.is_empty() => Ok(Some([before, after])),
            _ => bail!("name two files, or several of each side with -- between the sides: a1 a2 -- b1 b2"),
        }
    }

    /// Reads the files and compares them.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(super) fn report(&self, sides: [&[PathBuf]; 2], options: FileOptions) -> Result<Report> {
        let read = |files: &[PathBuf]| files.iter().map(|path| named(path)).collect::<Result<Vec<_>>>();
        let [a, b] = sides;
        Ok(compared([read(a)?, read(b)?], &FileOptions { sample_weight: self.sample_weight, ..options })?)
    }
}

fn named(path: &Path) -> Result<NamedFile> {
    let limits = FileLimits::default();
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {name}"))?;
    let file = ProfileFile::parse(&bytes, limits).with_context(|| format!("cannot read {name}"))?;
    Ok(NamedFile { name, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[&str], after: &[&str]) -> Files {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        Files { files: paths(files), after: paths(after), ..Files::default() }
    }

    /// Two files, or several with a mark between; nothing that leaves a side open.
    #[test]
    fn sides() {
        assert!(files(&[], &[]).sides().unwrap().is_none());
        assert_eq!(files(&["a", "b"], &[]).sides().unwrap().unwrap().map(<[PathBuf]>::len), [1, 1]);
        assert_eq!(files(&["a", "b", "c"], &["d"]).sides().unwrap().unwrap().map(<[PathBuf]>::len), [3, 1]);
        for wrong in [files(&["a"], &[]), files(&["a", "b", "c"], &[]), files(&[], &["b"])] {
            assert!(wrong.sides().unwrap_err().to_string().contains("a1 a2 -- b1 b2"));
        }
    }
}
