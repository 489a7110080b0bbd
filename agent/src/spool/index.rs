//! Which batches the spool holds, oldest first.

use std::collections::BTreeMap;
use std::io;

use flamekeeper_profile::Ledger;

use super::directory::Directory;
use super::file;

const SUFFIX: &str = ".batch";

/// A batch on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its number.
    pub(super) sequence: u64,
    /// Bytes of its file.
    pub(super) bytes: u64,
    /// Its ledger, with the losses that it carries for others.
    pub(super) ledger: Ledger,
}

impl Entry {
    /// Its file's name. Twenty digits hold every number, so that names sort as numbers do.
    pub(super) fn name(&self) -> String {
        format!("{:020}-{}{SUFFIX}", self.sequence, self.ledger.taken)
    }
}

/// Number and samples taken in a file's name; none for what the spool has not named.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (sequence, taken) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number(sequence)?, number(taken)?))
}

/// The batches, by number.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<u64, Entry>,
    bytes: u64,
}

impl Index {
    pub(super) fn insert(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        if let Some(old) = self.entries.insert(entry.sequence, entry) {
            self.bytes -= old.bytes;
        }
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    pub(super) fn holds(&self, sequence: u64) -> bool {
        self.entries.contains_key(&sequence)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.keys().next().copied()
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.entries.keys().next_back().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all files.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The oldest batches whose leaving makes room for `needed` bytes under the cap, without the one to `spare`; that
    /// one too where the others do not suffice.
    pub(super) fn victims(&self, needed: u64, cap: u64, spare: Option<u64>) -> Vec<u64> {
        let spared = spare.and_then(|sequence| self.entries.get(&sequence));
        let others = self.entries.values().filter(|entry| Some(entry.sequence) != spare);
        let mut left = self.bytes;
        let mut victims = Vec::new();
        for entry in others.chain(spared) {
            if left.saturating_add(needed) <= cap {
                break;
            }
            left -= entry.bytes;
            victims.push(entry.sequence);
        }
        victims
    }
}

/// A file with a batch's name that holds none.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Its name.
    pub(super) name: String,
    /// Samples taken, from the name.
    pub(super) taken: u64,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) index: Index,
    pub(super) unreadable: Vec<Unreadable>,
}

/// Reads the head of every batch, and removes what an interrupted write has left.
pub(super) fn scan(directory: &Directory) -> io::Result<Found> {
    let mut found = Found::default();
    for name in directory.names()? {
        let Ok(name) = name.into_string() else { continue }; // Not of our naming.
        if name.ends_with(".tmp") {
            directory.remove(&name)?;
        }
        let Some((sequence, taken)) = parse_name(&name) else { continue }; // Not a batch.
        let size = directory.size(&name)?;
        let head = directory.read(&name, file::HEAD_BYTES).and_then(|head| file::parse_head(&head, size));
        let entry = head.map(|ledger| Entry { sequence, bytes: size, ledger });
        match entry {
            Ok(entry) if entry.name() == name => found.index.insert(entry),
            _ => found.unreadable.push(Unreadable { name, taken }),
        }
    }
    Ok(found)
}
