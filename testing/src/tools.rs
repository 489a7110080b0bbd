//! The tools that the tests need from the machine.

use std::path::PathBuf;

/// The path of a program.
///
/// # Panics
/// With the program's name and the package that has it, where it is missing.
#[must_use]
pub fn require(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("this test needs the program `{tool}`; `./dev test` installs it"))
}

/// The path of the first of several programs that is there.
///
/// # Panics
/// As [`require`], with all names.
#[must_use]
pub fn require_any(tools: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut all = tools.iter().flat_map(|tool| folders.iter().map(move |folder| folder.join(tool)));
    all.find(|path| path.is_file()).unwrap_or_else(|| panic!("this test needs one of {tools:?}; `./dev test` installs one"))
}
