//! The child's side.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use memmap2::Mmap;

use super::code;
use super::confine::{close_others, confine};
use super::task::Task;
use crate::convert::ConvertError;

/// Converts standard input to standard output under the limits that the arguments state, as [`super::ChildConverter`]
/// starts it. To be called first thing in a process that does nothing else.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    match convert(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("{message}");
            ExitCode::from(code)
        }
    }
}

type Failure = (u8, String);

fn convert(arguments: &[String]) -> Result<(), Failure> {
    let setup = |what: &str, error: &dyn std::fmt::Display| (code::SETUP, format!("{what}: {error}"));
    let task = Task::read(arguments).map_err(|key| setup("arguments", &format!("{key} is missing or wrong")))?;
    close_others();
    let (input, mut output) = files().map_err(|error| setup("files", &error))?;
    let size = input.metadata().map_err(|error| setup("the object", &error))?.len();
    confine(&task, size).map_err(|(what, error)| setup(what, &error))?;
    // SAFETY: the parent gives a file of its own that it does not change while this process runs. Were it truncated all the
    // same, a signal would end this process and nothing else: that is what it is for.
    let object = unsafe { Mmap::map(&input) }.map_err(|error| setup("the object", &error))?;
    let file = task.converter.convert(&object).map_err(|error| match error {
        ConvertError::NoSymbols => (code::NO_SYMBOLS, error.to_string()),
        ConvertError::Thread(_) => (code::THREAD, error.to_string()),
        // The parent puts its own words before it.
        ConvertError::Unreadable(message) => (code::UNREADABLE, message),
        other => (code::UNREADABLE, other.to_string()),
    })?;
    output.write_all(file.as_bytes()).map_err(|error| setup("the symbol file", &error))
}

/// Standard input and output as the files that they are.
fn files() -> io::Result<(File, File)> {
    let file = |descriptor: std::os::fd::BorrowedFd<'_>| descriptor.try_clone_to_owned().map(File::from);
    Ok((file(io::stdin().as_fd())?, file(io::stdout().as_fd())?))
}
