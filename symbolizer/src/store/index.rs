//! What the store has, in memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::{BuildId, BuildIdKind, Timestamp};
use foldhash::fast::RandomState;

use super::cache::{Answers, Bound};
use super::files::{self, KINDS};
use super::marker::{self, Marker};
use crate::child::ChildLimits;
use crate::symbol_file::{HEADER, Header};

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its symbols are stored. `bytes` is what they take on disk.
    Stored { source: SymbolsPresent, bytes: u64 },
    /// Its symbols cannot be converted.
    Bad,
}

/// Names one state of one object: no two objects, and no two symbol files that one of them has had, share it. What is kept under
/// its generation is never met again once the file was replaced.
pub(super) type Generation = u64;

#[derive(Debug)]
struct Entry {
    known: Known,
    generation: Generation,
    /// What was looked up in this state of it.
    answers: Arc<Answers>,
    /// Looked at since [`Index::settle`] was called last.
    touched: AtomicBool,
    /// Last use, in nanoseconds since the epoch.
    used: AtomicU64,
    /// The same as it is noted on disk.
    noted: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Build ids are what senders choose; the hash has a seed that they do not know.
    known: HashMap<BuildId, Entry, RandomState>,
    generation: Generation,
    totals: Totals,
}

/// Sums over all objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) objects: usize,
    pub(super) bytes: u64,
    pub(super) bad: usize,
}

/// One object as a list tells it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) id: BuildId,
    pub(super) known: Known,
    pub(super) used: Timestamp,
}

/// All objects that the store knows of.
#[derive(Debug)]
pub(super) struct Index(RwLock<State>);

/// How much newer a use must be than the one noted on disk before it is noted again.
const NOTE_AFTER: u64 = 3600 * Timestamp::SECOND;

impl Index {
    /// Reads the names and headers of all files. Files that are no whole symbol files of this version, and markers that
    /// do not hold any more, are left aside: a new upload replaces them.
    pub(super) fn read(directory: &Path, limits: Option<&ChildLimits>) -> io::Result<Self> {
        let mut state = State::default();
        for kind in KINDS {
            for entry in fs::read_dir(directory.join(kind.as_str()))? {
                let path = entry?.path();
                if let Some((id, known, used)) = read_entry(kind, &path, limits) {
                    // A symbol file has the say over a marker, whichever is met first.
                    if known != Known::Bad || state.get(&id).is_none() {
                        state.insert(id, known, used);
                    }
                }
            }
        }
        Ok(Self(RwLock::new(state)))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &BuildId) -> Option<Known> {
        self.state().get(id)
    }

    /// The same for a lookup of names, which is a use. `look` must be quick.
    pub(super) fn touch<T>(&self, id: &BuildId, look: impl FnOnce(Known, Generation, &Arc<Answers>) -> T) -> Option<T> {
        let state = self.state();
        let entry = state.known.get(id)?;
        // Mostly it is set already, and a line of memory that nobody writes is shared by all threads.
        if !entry.touched.load(Ordering::Relaxed) {
            entry.touched.store(true, Ordering::Relaxed);
        }
        Some(look(entry.known, entry.generation, &entry.answers))
    }

    /// Gives up the answers of objects that were asked for least lately, until the others take three quarters of what they may.
    pub(super) fn give_up(&self, bound: &Bound) {
        let state = self.state();
        let mut kept: Vec<_> = state.known.values().map(|entry| (entry.answers.use_and_bytes(), &entry.answers)).collect();
        kept.retain(|((_, bytes), _)| *bytes > 0);
        kept.sort_unstable_by_key(|((used, _), _)| *used);
        let mut left: usize = kept.iter().map(|((_, bytes), _)| bytes).sum();
        for ((_, bytes), answers) in kept {
            if left <= bound.most_bytes / 4 * 3 {
                break;
            }
            answers.clear();
            left -= bytes;
        }
        bound.settle(left);
    }

    /// Takes note of an object, used now. The generation of what was known before, which is over.
    pub(super) fn insert(&self, id: &BuildId, known: Known, now: Timestamp) -> Option<Generation> {
        self.state_mut().insert(id.clone(), known, now)
    }

    pub(super) fn remove(&self, id: &BuildId) -> Option<(Known, Generation)> {
        self.state_mut().remove(id)
    }

    pub(super) fn totals(&self) -> Totals {
        self.state().totals
    }

    /// The newest use that is known.
    pub(super) fn newest_use(&self) -> Timestamp {
        Timestamp(self.state().known.values().map(|entry| entry.used.load(Ordering::Relaxed)).max().unwrap_or(0))
    }

    /// Turns the lookups since the last call into uses at `now`. Those whose use is to be noted on disk.
    pub(super) fn settle(&self, now: Timestamp) -> Vec<BuildId> {
        let state = self.state();
        let due = state.known.iter().filter(|(_, entry)| {
            if entry.touched.swap(false, Ordering::Relaxed) {
                entry.used.store(now.0, Ordering::Relaxed);
            }
            let is_due = now.0.saturating_sub(entry.noted.load(Ordering::Relaxed)) >= NOTE_AFTER
                && entry.used.load(Ordering::Relaxed) == now.0
                && matches!(entry.known, Known::Stored { .. });
            if is_due {
                entry.noted.store(now.0, Ordering::Relaxed);
            }
            is_due
        });
        due.map(|(id, _)| id.clone()).collect()
    }

    /// The stored objects whose last use lies furthest back, until they free `bytes`; without `except`.
    pub(super) fn least_used(&self, bytes: u64, except: &BuildId) -> Vec<Listed> {
        let mut all = self.list();
        all.retain(|listed| matches!(listed.known, Known::Stored { .. }) && listed.id != *except);
        all.sort_unstable_by(|a, b| (a.used, &a.id).cmp(&(b.used, &b.id)));
        let mut freed = 0_u64;
        all.into_iter()
            .take_while(|listed| {
                let wanted = freed < bytes;
                if let Known::Stored { bytes, .. } = listed.known {
                    freed = freed.saturating_add(bytes);
                }
                wanted
            })
            .collect()
    }

    /// All objects, in no order.
    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |(id, entry): (&BuildId, &Entry)| Listed {
            id: id.clone(),
            known: entry.known,
            used: Timestamp(entry.used.load(Ordering::Relaxed)),
        };
        self.state().known.iter().map(listed).collect()
    }
}

impl State {
    fn get(&self, id: &BuildId) -> Option<Known> {
        self.known.get(id).map(|entry| entry.known)
    }

    fn insert(&mut self, id: BuildId, known: Known, used: Timestamp) -> Option<Generation> {
        self.generation += 1;
        self.totals.add(known);
        let (touched, used, noted) = (AtomicBool::new(false), AtomicU64::new(used.0), AtomicU64::new(used.0));
        let entry = Entry { known, generation: self.generation, answers: Arc::default(), touched, used, noted };
        let old = self.known.insert(id, entry)?;
        self.totals.subtract(old.known);
        Some(old.generation)
    }

    fn remove(&mut self, id: &BuildId) -> Option<(Known, Generation)> {
        let old = self.known.remove(id)?;
        self.totals.subtract(old.known);
        Some((old.known, old.generation))
    }
}

impl Totals {
    const fn add(&mut self, known: Known) {
        match known {
            Known::Stored { bytes, .. } => {
                self.objects += 1;
                self.bytes += bytes;
            }
            Known::Bad => self.bad += 1,
        }
    }

    const fn subtract(&mut self, known: Known) {
        match known {
            Known::Stored { bytes, .. } => {
                self.objects -= 1;
                self.bytes -= bytes;
            }
            Known::Bad => self.bad -= 1,
        }
    }
}

fn read_entry(kind: BuildIdKind, path: &Path, limits: Option<&ChildLimits>) -> Option<(BuildId, Known, Timestamp)> {
    let id = BuildId::from_hex(kind, path.file_stem()?.to_str()?).ok()?;
    let mut file = File::open(path).ok()?;
    let used = files::noted_use(&file);
    match path.extension()?.to_str()? {
        "sym" => {
            let len = file.metadata().ok()?.len();
            let mut head = Vec::with_capacity(HEADER);
            (&mut file).take(HEADER as u64).read_to_end(&mut head).ok()?;
            let header = Header::read(&head, len).ok()?;
            Some((id, Known::Stored { source: header.source, bytes: on_disk(len) }, used))
        }
        "bad" => {
            let mut text = String::new();
            file.take(marker::MAX).read_to_string(&mut text).ok()?;
            Marker::read(&text)?.holds(limits).then_some((id, Known::Bad, used))
        }
        _ => None,
    }
}

/// What a file of this length takes on disk: whole blocks of 4 KiB, so that many small ones are not for free.
pub(super) const fn on_disk(len: u64) -> u64 {
    match len.checked_next_multiple_of(4096) {
        Some(bytes) => bytes,
        None => len,
    }
}
