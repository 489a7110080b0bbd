//! The spool: batches on disk until the collector has acknowledged them.
//!
//! # Invariants
//!
//! 1. A batch that [`Spool::push`] has taken is on disk, whole, and stays there until it is accepted (or known as a
//!    duplicate), refused for good, or pushed out by the size cap. A crash at any point loses no such batch.
//! 2. A sequence number is never given to two different batches of one agent id, also after a crash: numbers are
//!    reserved on disk before they are used, and after a restart the next one follows all that were reserved. Numbers
//!    may be skipped. The agent id lives beside the numbers and is made anew where they are missing or where the
//!    directory has come to another machine.
//! 3. Samples are counted once. What leaves the spool other than by acceptance goes, with its whole ledger and a
//!    reason, into the *owed* ledger, which is on disk before the batch's file is gone; the owed ledger is added to the
//!    next batch, and the note of which batch carries it is on disk before that batch is.
//! 4. The batches never hold more than the cap (the state and what is set aside are small and bounded). The oldest batch
//!    goes first, but one that may have reached the collector already goes last: dropping it could count its samples
//!    both as stored and as lost.
//! 5. One process has a spool at a time (`flock(2)` on `lock`).
//!
//! # Files
//!
//! `lock`; `state.json` (see `state`); `SEQUENCE-TAKEN.batch` (see `file`), with the count of its samples in the name, so
//! that it is known even when the content is not readable; `*.corrupt`, batches that could not be read back, kept for
//! a person to look at (the newest few). Files are written under a temporary name, synced, renamed, and the directory
//! is synced.
//!
//! # What is not covered
//!
//! Where the disk refuses even the small state file, owed losses are kept in memory alone until it can be written. A
//! batch that was sent and whose answer was lost is sent again; the collector knows it by its identity.

mod directory;
mod file;
mod index;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flamekeeper_profile::{Batch, Ledger, LossReason};
use flamekeeper_wire::{AgentId, BatchId, gzip};

use directory::Directory;
use index::{Entry, Index};
use state::State;

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenSpoolError {
    /// Another process has it.
    #[error("the spool {} is in use by another agent; stop that one, or set another spool directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("the spool {} cannot be used: {error}; check that the directory can be written by this user", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why a batch was not taken. Its samples are counted.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The disk refused it.
    #[error("the batch could not be written to the spool: {0}")]
    Unwritable(#[source] io::Error),
    /// It alone is larger than the cap.
    #[error("the batch of {bytes} bytes does not fit into the spool's cap of {cap} bytes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The spool's cap.
        cap: u64,
    },
}

/// A batch read back from the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its identity.
    pub id: BatchId,
    /// OTLP, gzip.
    pub body: Vec<u8>,
}

/// What a spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStats {
    /// Batches.
    pub batches: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Losses that no batch carries yet.
    pub owed: Ledger,
}

/// The spool of an agent. See the module's invariants.
#[derive(Debug)]
pub struct Spool {
    inner: Mutex<Inner>,
    /// Losses counted while another thread holds `inner` through a slow write.
    unwritten: Mutex<Ledger>,
    changed: tokio::sync::Notify,
}

#[derive(Debug)]
struct Inner {
    directory: Directory,
    state: State,
    /// Whether `state` differs from what is on disk.
    dirty: bool,
    index: Index,
    cap: u64,
    /// The next number; always below `state.reserved` when used.
    next: u64,
    /// The batch that may have reached the collector.
    in_doubt: Option<u64>,
}

impl Spool {
    /// Opens the spool in a directory, which is made where absent, and counts what a crash has left.
    ///
    /// `machine` is the machine's own id (empty where unknown); a spool of another machine gets a new agent id.
    ///
    /// # Errors
    /// [`OpenSpoolError`]: in use, or the directory cannot be used.
    pub fn open(dir: &Path, cap: u64, machine: &str) -> Result<Self, OpenSpoolError> {
        Self::open_in(Directory::open(dir)?, cap, machine).map_err(|error| OpenSpoolError::Directory { dir: dir.into(), error })
    }

    fn open_in(directory: Directory, cap: u64, machine: &str) -> io::Result<Self> {
        let state = State::load(&directory, machine)?;
        let found = index::scan(&directory)?;
        let mut inner = Inner { directory, state, dirty: true, index: found.index, cap, next: 0, in_doubt: None };
        inner.settle(&found.unreadable)?;
        inner.next = inner.state.reserved.max(inner.index.newest().map_or(0, |newest| newest.saturating_add(1)));
        inner.in_doubt = inner.index.oldest();
        inner.reserve();
        inner.save()?;
        Ok(Self { inner: Mutex::new(inner), unwritten: Mutex::default(), changed: tokio::sync::Notify::new() })
    }

    /// The inner state. A panic while it is held leaves the disk as after a crash, which every step allows for.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent's identity.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.lock().state.agent.clone()
    }

    /// Takes a batch: adds the losses owed, writes it, and returns its identity once it is durable.
    ///
    /// # Errors
    /// [`PushError`]; the batch's samples are then counted as lost, and a later batch says so.
    pub fn push(&self, batch: Batch) -> Result<BatchId, PushError> {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        let mut inner = self.lock();
        inner.owe_ledger(&unwritten);
        let pushed = inner.push(batch);
        drop(inner);
        self.changed.notify_one();
        pushed
    }

    /// Counts the samples of a batch that could not be handed over, without waiting for the disk.
    pub fn count_unwritten(&self, ledger: &Ledger) {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.add(&all_lost(ledger, LossReason::SpoolUnwritable));
    }

    /// Reads the oldest batch; what cannot be read is set aside and counted on the way.
    pub fn oldest(&self) -> Option<Stored> {
        self.lock().oldest()
    }

    /// Removes a batch that the collector has.
    ///
    /// # Errors
    /// When the file cannot be removed; it is then sent again, which the collector knows as a duplicate.
    pub fn accepted(&self, id: &BatchId) -> io::Result<()> {
        self.lock().accepted(id.sequence)
    }

    /// Removes a batch that the collector refuses for good, and counts its samples.
    ///
    /// # Errors
    /// When the disk refuses; the batch then stays.
    pub fn refused(&self, id: &BatchId) -> io::Result<()> {
        self.lock().lose(&[id.sequence], LossReason::Refused)
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let inner = self.lock();
        SpoolStats { batches: inner.index.len(), bytes: inner.index.bytes(), owed: inner.state.owed }
    }

    /// Waits until a batch was pushed since the last call returned.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes down losses that are in memory alone. Called at a clean end.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&self) -> io::Result<()> {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        let mut inner = self.lock();
        inner.owe_ledger(&unwritten);
        if inner.dirty { inner.save() } else { Ok(()) }
    }
}

/// A ledger whose kept samples are lost as well, and so have no caveats any more.
fn all_lost(ledger: &Ledger, reason: LossReason) -> Ledger {
    let mut lost = Ledger::new();
    lost.take(ledger.taken);
    ledger.losses().for_each(|(reason, count)| lost.lose(reason, count));
    lost.lose(reason, ledger.taken.saturating_sub(ledger.lost_total()));
    lost
}

impl Inner {
    fn save(&mut self) -> io::Result<()> {
        self.state.save(&self.directory)?;
        self.dirty = false;
        Ok(())
    }

    fn owe_ledger(&mut self, ledger: &Ledger) {
        if !ledger.is_empty() {
            self.state.owed.add(ledger);
            self.dirty = true;
        }
    }

    /// Reserves numbers where none is left; on disk at the next save.
    fn reserve(&mut self) {
        if self.next >= self.state.reserved {
            self.state.reserved = self.next.saturating_add(state::RESERVE);
            self.dirty = true;
        }
    }

    /// Finishes at opening what a crash has interrupted.
    fn settle(&mut self, unreadable: &[index::Unreadable]) -> io::Result<()> {
        if let Some((carrier, ledger)) = self.state.carried.take()
            && !self.index.holds(carrier)
        {
            // The batch that was to carry these was never written. (One that was written and accepted has had its
            // note removed before its file.)
            self.state.owed.add(&ledger);
        }
        for sequence in std::mem::take(&mut self.state.leaving) {
            if let Some(entry) = self.index.remove(sequence) {
                self.directory.remove(&entry.name())?;
            }
        }
        for bad in unreadable {
            let mut ledger = Ledger::new();
            ledger.take(bad.taken);
            self.state.owed.add(&all_lost(&ledger, LossReason::SpoolCorrupt));
            tracing::error!(file = bad.name, samples = bad.taken, "a batch in the spool is damaged and was set aside");
        }
        // The count comes before the rename: a crash between the two counts twice what is damaged, never not at all.
        self.save()?;
        unreadable.iter().try_for_each(|bad| self.directory.set_aside(&bad.name))?;
        self.directory.sync()
    }

    fn push(&mut self, mut batch: Batch) -> Result<BatchId, PushError> {
        self.reserve();
        let sequence = self.next;
        let own = batch.ledger;
        batch.ledger.add(&self.state.owed);
        let body = gzip::compress(&flamekeeper_wire::encode(&batch));
        let id = BatchId { agent: self.state.agent.clone(), sequence };
        let content = file::content(&id, &batch.ledger, &body);
        let entry = Entry { sequence, bytes: content.len() as u64, ledger: batch.ledger };
        if entry.bytes > self.cap {
            self.owe_ledger(&all_lost(&own, LossReason::SpoolFull));
            self.save_or_keep();
            return Err(PushError::TooLarge { bytes: entry.bytes, cap: self.cap });
        }
        match self.make_room(&entry).and_then(|()| self.write(&entry, &content)) {
            Ok(()) => Ok(id),
            Err(error) => {
                self.owe_ledger(&all_lost(&own, LossReason::SpoolUnwritable));
                self.save_or_keep();
                Err(PushError::Unwritable(error))
            }
        }
    }

    /// Notes what the new batch carries and which batches leave for it, durably, and removes those.
    fn make_room(&mut self, new: &Entry) -> io::Result<()> {
        let victims = self.index.victims(new.bytes, self.cap, self.in_doubt);
        let owed = self.state.owed;
        if victims.is_empty() && owed.is_empty() && !self.dirty {
            return Ok(());
        }
        let before = self.state.clone();
        // What an earlier batch carries is settled: that batch is on disk, or its losses are owed again.
        self.state.carried = (!owed.is_empty()).then_some((new.sequence, owed));
        self.state.owed = self.loss_of(&victims, LossReason::SpoolFull);
        self.state.leaving.clone_from(&victims);
        if let Err(error) = self.save() {
            self.state = before;
            self.dirty = true;
            return Err(error);
        }
        if !victims.is_empty() {
            tracing::error!(batches = victims.len(), "the spool is full, the oldest batches were dropped and counted");
        }
        self.forget(&victims)
    }

    fn loss_of(&self, sequences: &[u64], reason: LossReason) -> Ledger {
        let mut sum = Ledger::new();
        sequences.iter().filter_map(|sequence| self.index.get(*sequence)).for_each(|entry| sum.add(&all_lost(&entry.ledger, reason)));
        sum
    }

    /// Removes files whose leaving is on disk. The note stays until the next save: until then a file that a crash
    /// brings back is removed again at opening.
    fn forget(&mut self, sequences: &[u64]) -> io::Result<()> {
        for sequence in sequences {
            if let Some(entry) = self.index.remove(*sequence) {
                self.directory.remove(&entry.name())?;
            }
        }
        if sequences.is_empty() {
            return Ok(());
        }
        self.directory.sync()?;
        self.state.leaving.clear();
        Ok(())
    }

    fn write(&mut self, entry: &Entry, content: &[u8]) -> io::Result<()> {
        // From here the number is used up, whatever becomes of the file.
        self.next = self.next.saturating_add(1);
        if let Err(error) = self.directory.write(&entry.name(), content) {
            if let Some((_, ledger)) = self.state.carried.take_if(|(carrier, _)| *carrier == entry.sequence) {
                self.owe_ledger(&ledger);
            }
            return Err(error);
        }
        self.index.insert(*entry);
        Ok(())
    }

    /// Saves what is owed; where the disk refuses, memory keeps it for the next attempt.
    fn save_or_keep(&mut self) {
        if let Err(error) = self.save() {
            tracing::debug!(%error, "losses are kept in memory until the spool's state can be written");
        }
    }

    fn oldest(&mut self) -> Option<Stored> {
        loop {
            let sequence = self.index.oldest()?;
            let entry = self.index.get(sequence)?;
            match self.directory.read(&entry.name(), self.cap).and_then(|content| file::parse(content, sequence)) {
                Ok(stored) => {
                    self.in_doubt = Some(sequence);
                    return Some(stored);
                }
                Err(error) => {
                    tracing::error!(%error, batch = sequence, "a batch in the spool is damaged and was set aside");
                    if let Err(error) = self.lose(&[sequence], LossReason::SpoolCorrupt) {
                        tracing::debug!(%error, "the damaged batch could not be set aside");
                        return None;
                    }
                }
            }
        }
    }

    fn accepted(&mut self, sequence: u64) -> io::Result<()> {
        let carries = self.state.carried.take_if(|(carrier, _)| *carrier == sequence);
        // What the batch carried has arrived: the note of it goes before the file, or a crash between the two would
        // owe it again. Where the disk has no room even for that, removing the file makes some.
        let noted = if carries.is_some() { self.save() } else { Ok(()) };
        let Some(entry) = self.index.remove(sequence) else { return noted };
        if self.in_doubt == Some(sequence) {
            self.in_doubt = None;
        }
        if let Err(error) = self.directory.remove(&entry.name()) {
            self.index.insert(entry);
            return Err(error);
        }
        if noted.is_err() { self.save() } else { Ok(()) }
    }

    /// Drops batches for a reason. The count is on disk before the files go.
    fn lose(&mut self, sequences: &[u64], reason: LossReason) -> io::Result<()> {
        let before = self.state.clone();
        let loss = self.loss_of(sequences, reason);
        self.state.owed.add(&loss);
        self.state.leaving.extend_from_slice(sequences);
        // Its own ledger holds what it carried.
        self.state.carried.take_if(|(carrier, _)| sequences.contains(carrier));
        if let Err(error) = self.save() {
            self.state = before;
            self.dirty = true;
            return Err(error);
        }
        if self.in_doubt.is_some_and(|doubt| sequences.contains(&doubt)) {
            self.in_doubt = None;
        }
        if reason == LossReason::SpoolCorrupt {
            for entry in sequences.iter().filter_map(|sequence| self.index.remove(*sequence)) {
                self.directory.set_aside(&entry.name())?;
            }
            return self.directory.sync();
        }
        self.forget(sequences)
    }
}

#[cfg(test)]
pub(crate) mod tests;
