//! What was told, in a file: one line of JSON for each version, the newest last.
//!
//! A line is written and synced after the webhook took the report. The file is rewritten when it has twice as many lines as are kept.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::seen::Key;

/// Versions that are kept.
const MOST: usize = 2_000;
/// A file longer than this was not written here.
const MOST_BYTES: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Told {
    path: PathBuf,
    keys: BTreeSet<Key>,
    /// In the order of the file.
    lines: Vec<Key>,
}

impl Told {
    /// A line that cannot be read is passed over: all that it costs is a report told twice.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => drop(file.take(MOST_BYTES).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let lines: Vec<Key> = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        Ok(Self { path: path.to_owned(), keys: lines.iter().cloned().collect(), lines })
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn add(&mut self, key: &Key) -> io::Result<()> {
        self.lines.push(key.clone());
        self.keys.insert(key.clone());
        if self.lines.len() > 2 * MOST {
            self.lines.drain(..MOST);
            self.keys = self.lines.iter().cloned().collect();
            let new = self.path.with_extension("new");
            write(&mut File::create(&new)?, &self.lines)?;
            return std::fs::rename(new, &self.path);
        }
        write(&mut OpenOptions::new().create(true).append(true).open(&self.path)?, std::slice::from_ref(key))
    }
}

fn write(file: &mut File, lines: &[Key]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    file.write_all(&bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was told is known after a restart, also behind a damaged line, and the file does not grow for ever.
    #[test]
    fn outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("announced.jsonl");
        let key = |number: usize| ("api".to_owned(), number.to_string());
        Told::open(&path).unwrap().add(&key(1)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"[\"ap\n").unwrap();
        let mut again = Told::open(&path).unwrap();
        assert!(again.has(&key(1)) && !again.has(&key(2)));
        again.lines = (2..2 * MOST).map(key).collect();
        (0..3).for_each(|number| again.add(&key(10_000 + number)).unwrap());
        let last = Told::open(&path).unwrap();
        assert!(last.lines.len() <= MOST + 2 && last.has(&key(10_002)), "{}", last.lines.len());
    }
}
