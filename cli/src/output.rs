//! Where results go: a file, or standard output for `-`.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Writes the whole of a result. A reader that closed the pipe early has what it wanted: that is no error.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        return print(content);
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Prints a result.
pub(crate) fn print(content: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(content).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
