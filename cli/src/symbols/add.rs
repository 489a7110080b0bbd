//! `flamekeeper symbols add`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flamekeeper_object::{Companions, MemberKind, ObjectFile, SymbolCopy, SymbolsPresent};
use flamekeeper_profile::BuildId;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::size;
use crate::api::{Collector, Request, understood};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  flamekeeper symbols add target/release/api
  flamekeeper symbols add *.debug --json
  flamekeeper symbols add api.debug --build-id htlhash:0123456789abcdef0123456789abcdef

Only what names functions is sent: neither code nor data. Files that its debug information goes on in are sent with it: FILE.dwp, else the .dwo
files that its units name, and the supplementary file of dwz. A file without a build id is known by a hash of the file itself, so where a
stripped copy of it runs, --build-id must name that copy's (the collector's answers and `flamekeeper symbols list` show it).";

/// Arguments of `flamekeeper symbols add`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// ELF files: programs, libraries, or separate debug files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    collector: Collector,
    /// Build id to store the file under, for one that states none
    #[arg(long, value_name = "BUILD_ID")]
    build_id: Option<BuildId>,
    /// Print one line of JSON for each file
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize, Serialize)]
struct Answer {
    build_id: String,
    result: String,
    source: String,
    replaced: Option<String>,
    bytes: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.build_id.is_some() && arguments.files.len() > 1 {
        bail!("--build-id names one file; give one");
    }
    let mut failed = 0;
    for file in &arguments.files {
        match add(arguments, file) {
            Ok(body) if arguments.json => output::print(format!("{}\n", String::from_utf8_lossy(&body).trim_end()).as_bytes())?,
            Ok(body) => output::print(line(file, &understood(&body)?).as_bytes())?,
            Err(error) if arguments.files.len() == 1 => return Err(error),
            Err(error) => {
                eprintln!("flamekeeper: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 { bail!("{failed} of {} files were not added", arguments.files.len()) } else { Ok(()) }
}

fn add(arguments: &Arguments, path: &Path) -> Result<Vec<u8>> {
    let object = ObjectFile::open(path).with_context(|| format!("cannot use {}", path.display()))?;
    if object.has_symbols() == SymbolsPresent::None {
        bail!("{} has no symbols: it was stripped, so add the file that it was stripped from, or its debug file", path.display());
    }
    let id = arguments.build_id.as_ref().unwrap_or_else(|| object.identity()).to_string();
    let companions = companions(&object, path);
    if companions.missing() > 0 {
        eprintln!("flamekeeper: {}", lacks(path, &companions));
    }
    let copy = copy(object, &companions).with_context(|| format!("cannot copy the symbols of {}", path.display()))?;
    let body = bytes::Bytes::from_owner(copy);
    arguments
        .collector
        .send(Request::Post(body), "/api/v1/symbols", &[("build_id", &id)])
        .with_context(|| format!("{} was not added", path.display()))
}

/// The files that its debug information goes on in, found from where it really is.
fn companions(object: &ObjectFile, path: &Path) -> Companions {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // A package may lie beside the name that the file was given by.
    let given = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Companions::find(object, &[&real, &given], Path::new("/"))
}

fn lacks(path: &Path, companions: &Companions) -> String {
    let split = companions.files().iter().any(|(kind, _)| *kind == MemberKind::Split);
    let (count, some) = (companions.missing(), if split { "some of them were found" } else { "none was found" });
    format!(
        "{}: {count} files that its debug information goes on in are missing ({some}), so inlined functions, or names, will be too: \
         put PROGRAM.dwp beside it, or the .dwo files and the file that .gnu_debugaltlink names where it says",
        path.display()
    )
}

/// What names functions, in a file without a name: it may be larger than the memory that there is.
fn copy(object: ObjectFile, companions: &Companions) -> Result<Mmap> {
    let mut file = unnamed_file()?;
    SymbolCopy::of(object, companions)?.write(&mut file)?;
    // SAFETY: the file has no name and this process alone has it open, so nobody changes it while it is mapped.
    Ok(unsafe { Mmap::map(&file)? })
}

fn unnamed_file() -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let directory = std::env::temp_dir();
    let file = File::options().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(&directory);
    file.with_context(|| format!("cannot make a file in {}; TMPDIR names another directory", directory.display()))
}

fn line(file: &Path, answer: &Answer) -> String {
    let Answer { build_id, result, source, replaced, bytes } = answer;
    let (file, bytes) = (file.display(), size::bytes(*bytes));
    match (result.as_str(), replaced) {
        ("stored", Some(replaced)) => format!("{file}: stored {build_id}, {source} in the place of {replaced}, {bytes}\n"),
        ("stored", None) => format!("{file}: stored {build_id}, {source}, {bytes}\n"),
        _ => format!("{file}: {build_id} was there already, {source}, {bytes}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What became of a file is told in one line.
    #[test]
    fn lines() {
        let line = |result: &str, replaced: Option<&str>| {
            let replaced = replaced.map(str::to_owned);
            let answer = Answer { build_id: "gnu:ab".into(), result: result.into(), source: "debug_info".into(), replaced, bytes: 4096 };
            line(Path::new("a"), &answer)
        };
        assert_eq!(line("stored", None), "a: stored gnu:ab, debug_info, 4.0 KiB\n");
        assert_eq!(line("stored", Some("symbol_table")), "a: stored gnu:ab, debug_info in the place of symbol_table, 4.0 KiB\n");
        assert_eq!(line("already_there", None), "a: gnu:ab was there already, debug_info, 4.0 KiB\n");
    }
}
