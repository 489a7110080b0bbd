//! The systemd drop-in that has a unit started with the library.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

/// The drop-in's name below `UNIT.d/`.
const NAME: &str = "60-flamekeeper-heap.conf";
/// Where units and their drop-ins lie, below the root.
const FOLDERS: [&str; 4] = ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// The name of a service unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit(String);

impl Unit {
    /// Reads a name, with or without its suffix (`systemd.unit(5)`: letters, digits and `:-_.\@`).
    pub(super) fn parse(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        ensure!(!name.is_empty() && !name.starts_with('.') && name.len() < 256 && name.chars().all(fits), "{name:?} is no name of a unit");
        match name.rsplit_once('.') {
            Some((_, "service")) => Ok(Self(name.to_owned())),
            Some((_, kind @ ("socket" | "timer" | "target" | "mount" | "slice" | "scope" | "path" | "device" | "swap"))) => {
                bail!("{name} is a {kind}; name the service whose memory is meant")
            }
            _ => Ok(Self(format!("{name}.service"))),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn folder(unit: &Unit, root: &Path) -> PathBuf {
    root.join(FOLDERS[0]).join(format!("{unit}.d"))
}

/// Writes the drop-in, and answers its path.
pub(super) fn enable(unit: &Unit, root: &Path, library: &Path, interval: u64) -> Result<PathBuf> {
    ensure!(library.is_absolute(), "the library's path must be absolute, and {} is not", library.display());
    let text = library.to_str().filter(|text| !text.contains(['"', '\\', '%', '\n', ' ', ':']));
    let Some(text) = text else { bail!("{} cannot stand in LD_PRELOAD: no space, colon, quote, backslash or per cent", library.display()) };
    let there = root.join(library.strip_prefix("/").unwrap_or(library));
    ensure!(there.is_file(), "{} is not there: install flamekeeper-heap, or say --library", there.display());
    if let Some(other) = sets_preload(unit, root)? {
        bail!("{} sets LD_PRELOAD already; name {text} there, before any other allocator", other.display());
    }
    let folder = folder(unit, root);
    let file = folder.join(NAME);
    let content = format!(
        "# Written by `flamekeeper heap enable`, removed by `flamekeeper heap disable`.\n[Service]\nEnvironment=\"LD_PRELOAD={text}\"\n\
         Environment=\"FLAMEKEEPER_HEAP_INTERVAL={interval}\"\n"
    );
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Removes the drop-in, and its folder if nothing else is in it. None where there was none.
pub(super) fn disable(unit: &Unit, root: &Path) -> Result<Option<PathBuf>> {
    let folder = folder(unit, root);
    let file = folder.join(NAME);
    match fs::remove_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot remove {}", file.display())),
    }
    // It stays where others have drop-ins in it.
    _ = fs::remove_dir(&folder);
    Ok(Some(file))
}

/// The unit's file, or drop-in of somebody else, that sets LD_PRELOAD.
fn sets_preload(unit: &Unit, root: &Path) -> Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        files.push(folder.join(&unit.0));
        let entries = fs::read_dir(folder.join(format!("{unit}.d"))).into_iter().flatten().flatten();
        files.extend(
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf") && !path.ends_with(NAME)),
        );
    }
    for file in files {
        match fs::read_to_string(&file) {
            Ok(text) if text.lines().any(|line| !line.trim_start().starts_with(['#', ';']) && line.contains("LD_PRELOAD=")) => {
                return Ok(Some(file));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names get their suffix; what is no service, or no name, is refused.
    #[test]
    fn names_of_units() {
        assert_eq!(Unit::parse("api").unwrap().0, "api.service");
        assert_eq!(Unit::parse("api@1.service").unwrap().0, "api@1.service");
        assert_eq!(Unit::parse("a.b").unwrap().0, "a.b.service");
        for wrong in ["", "../x", "a b", ".service", "api.socket", "a\n"] {
            assert!(Unit::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
