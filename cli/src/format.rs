//! The formats that a flamegraph can be written in.

use std::path::Path;

use anyhow::{Result, bail};

/// A format of output files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A flamegraph that a browser shows
    Svg,
    /// Gzipped profile.proto, as `go tool pprof` reads it
    Pprof,
    /// Folded text: one stack a line, root first
    Folded,
    /// The call tree as the page reads it
    Json,
}

impl Format {
    /// The name that the collector's API has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Pprof => "pprof",
            Self::Folded => "folded",
            Self::Json => "json",
        }
    }

    /// The format to write: the one asked for, else the one that the file's name tells.
    ///
    /// # Errors
    /// When the name tells none.
    pub(crate) fn choose(asked: Option<Self>, path: &Path) -> Result<Self> {
        if let Some(format) = asked {
            return Ok(format);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let endings = [
            (".svg", Self::Svg),
            (".pb.gz", Self::Pprof),
            (".pprof", Self::Pprof),
            (".folded", Self::Folded),
            (".txt", Self::Folded),
            (".json", Self::Json),
        ];
        match endings.into_iter().find(|(ending, _)| name.ends_with(ending)) {
            Some((_, format)) => Ok(format),
            None => bail!("cannot tell the format from the name {name:?}; end it in .svg, .pb.gz, .folded or .json, or give --format"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name decides unless a format is asked for, and an unknown name says what to do.
    #[test]
    fn name_tells_the_format() {
        let choose = |asked, name: &str| Format::choose(asked, Path::new(name));
        assert_eq!(choose(None, "a/b.svg").unwrap(), Format::Svg);
        assert_eq!(choose(None, "b.pb.gz").unwrap(), Format::Pprof);
        assert_eq!(choose(Some(Format::Json), "b.svg").unwrap(), Format::Json);
        assert!(choose(None, "b.gz").unwrap_err().to_string().contains("--format"));
    }
}
