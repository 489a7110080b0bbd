//! Symbols of many objects, on disk, by build id.
//!
//! Invariants:
//! - `DIR/KIND/HEX.sym` is the symbol file of the build id `KIND:HEX`; it is whole, and its content never changes but by being
//!   replaced. It is written as `DIR/tmp/N`, flushed to disk and renamed.
//! - A better source (debug information, then Go's table, debug information that lacks companions, symbol table, dynamic symbols) replaces a
//!   worse one, never the reverse.
//! - `DIR/KIND/HEX.bad` says that the object stated this build id and that this version could not convert it, and why (see
//!   `marker`). It stands only where no symbol file does.
//! - All symbol files together take no more than the quota: one that comes takes the place of those whose last use lies furthest
//!   back. When a file was last used stands on disk as its time of modification, to the hour.
//! - The directory is the store's alone: symbol files are mapped.
//!
//! Objects are converted one at a time, in child processes where [`Conversion::Child`] is chosen.

mod add;
mod cache;
mod error;
mod files;
mod index;
mod manage;
mod marker;
mod offer;
mod open_files;
mod room;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flamekeeper_object::SymbolsPresent;
use flamekeeper_profile::{BuildId, Svma, Timestamp, UnnamedReason};

use self::cache::{Answers, Bound};
pub use self::error::{AddError, Added, Addition, FailureReason, OpenStoreError};
use self::files::Files;
use self::index::{Generation, Index, Known};
use self::manage::Counters;
pub use self::manage::{StoredObject, StoredState, SymbolStatus};
pub use self::offer::Held;
use self::open_files::OpenFiles;
use self::room::Clock;
use crate::child::{ChildConverter, ChildLimits};
use crate::symbol_file::SymbolFile;
use crate::symbolized::{Symbolize, Symbolized};

/// Bounds of a [`SymbolStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolLimits {
    /// Most bytes of an object that is added, decompressed.
    pub object_bytes: u64,
    /// Most bytes of one section of it, decompressed.
    pub section_bytes: u64,
    /// Most bytes of all symbol files together, on disk.
    pub store_bytes: u64,
    /// Most symbol files that are mapped at a time.
    pub open_files: usize,
    /// Most bytes of memory for answers that are kept.
    pub cache_bytes: usize,
}

impl Default for SymbolLimits {
    fn default() -> Self {
        Self { object_bytes: 1 << 30, section_bytes: 1 << 30, store_bytes: 20 << 30, open_files: 512, cache_bytes: 64 << 20 }
    }
}

/// Where objects are converted.
#[derive(Clone, Debug, Default)]
pub enum Conversion {
    /// In this process, bounded by the limits on the object alone. For objects that one trusts, and for tests.
    #[default]
    InProcess,
    /// In a child process with limits.
    Child(ChildConverter),
}

impl Conversion {
    const fn limits(&self) -> Option<&ChildLimits> {
        match self {
            Self::InProcess => None,
            Self::Child(child) => Some(&child.limits),
        }
    }
}

/// How a [`SymbolStore`] works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Its bounds.
    pub limits: SymbolLimits,
    /// Where objects are converted.
    pub conversion: Conversion,
    /// The wall clock, by which uses are noted. Uses keep their order where it stands still or jumps back.
    pub clock: fn() -> Timestamp,
}

impl Default for StoreOptions {
    /// Without a clock: uses have an order and no time.
    fn default() -> Self {
        Self { limits: SymbolLimits::default(), conversion: Conversion::default(), clock: || Timestamp(0) }
    }
}

/// Symbols of many objects by build id, in one directory: see the module's documentation for what stands there. All
/// methods may be called from any thread.
#[derive(Debug)]
pub struct SymbolStore {
    files: Files,
    limits: SymbolLimits,
    conversion: Conversion,
    clock: Clock,
    index: Index,
    open: OpenFiles,
    answers: Bound,
    counters: Counters,
    /// Held while an object is converted: it may take much of the memory of this host.
    converting: Mutex<()>,
    /// Held while a symbol file is put in place or taken away, so that of two sources the better one stays.
    placing: Mutex<()>,
    /// Objects whose conversion failed for a reason that may pass, and when.
    postponed: Mutex<HashMap<BuildId, Instant>>,
}

impl SymbolStore {
    /// Opens the store of a directory, which is made where it is missing; objects are converted in this process.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the directory cannot be made, read or written.
    pub fn open(directory: &Path, limits: SymbolLimits) -> Result<Self, OpenStoreError> {
        Self::open_with(directory, StoreOptions { limits, ..StoreOptions::default() })
    }

    /// Opens the store of a directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`OpenStoreError`] where the directory cannot be made, read or written.
    pub fn open_with(directory: &Path, options: StoreOptions) -> Result<Self, OpenStoreError> {
        let StoreOptions { limits, conversion, clock } = options;
        let failed = |error| OpenStoreError { path: directory.display().to_string(), error };
        let files = Files::open(directory).map_err(failed)?;
        let index = Index::read(directory, conversion.limits()).map_err(failed)?;
        Ok(Self {
            clock: Clock::new(clock, index.newest_use()),
            files,
            limits,
            conversion,
            index,
            open: OpenFiles::new(limits.open_files),
            answers: Bound::new(limits.cache_bytes),
            counters: Counters::default(),
            converting: Mutex::new(()),
            placing: Mutex::new(()),
            postponed: Mutex::default(),
        })
    }

    /// Those of the build ids for which an object is welcome: nothing is known of them yet.
    #[must_use]
    pub fn missing(&self, ids: &[BuildId]) -> Vec<BuildId> {
        ids.iter().filter(|id| self.index.get(id).is_none() && !self.is_postponed(id)).cloned().collect()
    }

    /// How many objects have symbols.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.index.totals().objects
    }

    /// Bytes of all symbol files, as they take place on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.index.totals().bytes
    }

    /// What the names of an object come from; none where it has none.
    #[must_use]
    pub fn source(&self, id: &BuildId) -> Option<SymbolsPresent> {
        match self.index.get(id)? {
            Known::Stored { source, .. } => Some(source),
            Known::Bad => None,
        }
    }

    /// Names an address of an object.
    #[must_use]
    pub fn symbolize(&self, id: &BuildId, address: Svma) -> Symbolized {
        let kept = self.index.touch(id, |known, generation, answers| match known {
            Known::Bad => Ok(Symbolized::Unknown(UnnamedReason::BadSymbols)),
            Known::Stored { .. } => answers.get(address, &self.answers).ok_or_else(|| (generation, Arc::clone(answers))),
        });
        match kept {
            None => Symbolized::Unknown(UnnamedReason::NoSymbols),
            Some(Ok(found)) => found,
            Some(Err((generation, answers))) => {
                let mut found = Symbolized::Unknown(UnnamedReason::NotCovered);
                match self.look_up(id, generation, &answers, &[address], |_, answer| found = answer) {
                    Ok(()) => found,
                    Err(reason) => Symbolized::Unknown(reason),
                }
            }
        }
    }

    /// Names many addresses of one object, in their order.
    #[must_use]
    pub fn symbolize_all(&self, id: &BuildId, addresses: &[Svma]) -> Vec<Symbolized> {
        let all = |reason| vec![Symbolized::Unknown(reason); addresses.len()];
        let stored = self.index.touch(id, |known, generation, answers| match known {
            Known::Bad => None,
            Known::Stored { .. } => Some((generation, Arc::clone(answers))),
        });
        let (generation, answers) = match stored {
            None => return all(UnnamedReason::NoSymbols),
            Some(None) => return all(UnnamedReason::BadSymbols),
            Some(Some(stored)) => stored,
        };
        let (mut found, missing) = answers.get_all(addresses, &self.answers);
        if missing.is_empty() {
            return found;
        }
        let wanted: Vec<Svma> = missing.iter().map(|place| addresses[*place]).collect();
        let looked_up = self.look_up(id, generation, &answers, &wanted, |number, answer| found[missing[number]] = answer);
        match looked_up {
            Ok(()) => found,
            Err(reason) => all(reason),
        }
    }

    /// Looks up what is not kept, and tells each answer with the number of its address.
    fn look_up(
        &self,
        id: &BuildId,
        generation: Generation,
        answers: &Answers,
        addresses: &[Svma],
        tell: impl FnMut(usize, Symbolized),
    ) -> Result<(), UnnamedReason> {
        let Some(file) = self.open_file(id, generation) else {
            // It may have been removed a moment ago. Not kept: it may be for want of descriptors.
            let removed = self.index.get(id).is_none();
            return Err(if removed { UnnamedReason::NoSymbols } else { UnnamedReason::BadSymbols });
        };
        answers.add(&file, addresses, &self.answers, tell);
        if self.answers.is_exceeded() {
            self.index.give_up(&self.answers);
        }
        Ok(())
    }

    fn open_file(&self, id: &BuildId, generation: Generation) -> Option<Arc<SymbolFile>> {
        self.open.get(generation).or_else(|| {
            // Not while another file takes this one's place, which would then be kept under the wrong generation.
            let _guard = self.placing();
            self.open.open(generation, &self.files.path(id, "sym"))
        })
    }

    fn placing(&self) -> MutexGuard<'_, ()> {
        self.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Symbolize for SymbolStore {
    fn symbolize(&self, id: Option<&BuildId>, _: &str, address: Svma) -> Symbolized {
        match id {
            Some(id) => self.symbolize(id, address),
            None => Symbolized::Unknown(UnnamedReason::NoBuildId),
        }
    }

    fn symbolize_all(&self, id: Option<&BuildId>, _: &str, addresses: &[Svma]) -> Vec<Symbolized> {
        match id {
            Some(id) => self.symbolize_all(id, addresses),
            None => vec![Symbolized::Unknown(UnnamedReason::NoBuildId); addresses.len()],
        }
    }
}
