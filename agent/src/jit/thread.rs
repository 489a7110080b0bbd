//! The thread that reads names, started when the first process is sampled in generated code.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::budget::measure::CpuMeter;
use crate::engine::EngineStats;
use crate::jit::book::{Book, Memory};
use crate::jit::names::Slot;
use crate::jit::reader::{Allowance, Reader};
use crate::jit::source::SourceError;
use crate::jvm;
use crate::jvm::attacher::Attacher;
use crate::perf::clock;

/// Memory that the names of all processes may take together, in bytes.
const MEMORY: usize = 32 << 20;
/// The greatest process id that there can be (`include/linux/threads.h`).
const PID_MAX_LIMIT: u32 = 4_194_304;
/// Files that are kept open for what is written into them last.
const MAX_HELD: usize = 64;
/// Processes that wait to be taken up.
const WAITING: usize = 1024;
/// Bytes that may be read at once after a pause, and in each second. A map of a large program has some megabytes.
const BURST: u64 = 32 << 20;
const BYTES_PER_SECOND: u64 = 2 << 20;
/// How long to wait before looking at a file again, in nanoseconds.
const LOOK_EVERY: u64 = 250_000_000;
/// How long to wait where there was none: doubled from the first to the second.
const ABSENT_FIRST: u64 = 500_000_000;
const ABSENT_LAST: u64 = 5_000_000_000;
/// How long after the last sample in generated code to look on: the name may be written after the code has run.
const LINGER: u64 = 2_000_000_000;
/// How often a Java virtual machine's records are looked for: over half a minute in all.
const MAX_DISCOVERIES: u32 = 7;
/// Books that nobody has asked for in so long go first when memory is short, in nanoseconds.
const IDLE: u64 = 60_000_000_000;

/// The sampling thread's way to the thread.
#[derive(Debug)]
pub(crate) struct Service {
    sender: Option<SyncSender<Arc<Slot>>>,
    stats: Arc<EngineStats>,
    /// Whether the thread may be started at all.
    enabled: bool,
    /// Whether Java virtual machines may be asked for their maps.
    attach: bool,
}

impl Service {
    /// Not started yet. `attach`: whether Java virtual machines may be asked for their maps.
    pub(crate) const fn new(stats: Arc<EngineStats>, attach: bool) -> Self {
        Self { sender: None, stats, enabled: true, attach }
    }

    /// One that never reads anything.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Self { sender: None, stats: Arc::default(), enabled: false, attach: false }
    }

    /// Asks for the names of a process, which are read as long as the slot is held, or wakes the thread for one that has
    /// been asked for. Returns whether the request was taken.
    pub(crate) fn ask(&mut self, slot: &Arc<Slot>) -> bool {
        if slot.pid > PID_MAX_LIMIT {
            // Nobody's number: there is nothing to read.
            return true;
        }
        if self.sender.is_none() && self.enabled {
            let (sender, receiver) = sync_channel(WAITING);
            let shelf = Shelf::new(Arc::clone(&self.stats), self.attach);
            match std::thread::Builder::new().name("fk-jit".into()).spawn(move || shelf.run(&receiver)) {
                Ok(_) => self.sender = Some(sender),
                Err(error) => {
                    self.enabled = false;
                    tracing::error!(%error, "generated code stays without names: no thread to read them");
                }
            }
        }
        self.sender.as_ref().is_some_and(|sender| sender.try_send(Arc::clone(slot)).is_ok())
    }
}

/// A process whose names are read.
struct Entry {
    slot: Weak<Slot>,
    reader: Reader,
    next_look: u64,
    looked: u64,
    absent: u64,
    published: bool,
    told: bool,
    /// How often a Java virtual machine's records were looked for, and when next.
    discoveries: u32,
    next_discovery: u64,
}

/// All processes whose names are read.
struct Shelf {
    entries: Vec<Entry>,
    memory: Arc<Memory>,
    allowance: Allowance,
    filled: u64,
    stats: Arc<EngineStats>,
    attacher: Option<Attacher>,
}

impl Shelf {
    fn new(stats: Arc<EngineStats>, attach: bool) -> Self {
        Self {
            entries: Vec::new(),
            memory: Arc::new(Memory::new(stats.name_bytes.unwrap_or(MEMORY))),
            allowance: Allowance(BURST),
            filled: clock::monotonic(),
            attacher: attach.then(|| Attacher::new(Arc::clone(&stats))),
            stats,
        }
    }

    /// Until the sampling thread has ended.
    fn run(mut self, requests: &Receiver<Arc<Slot>>) {
        self.stats.meter.iter().for_each(CpuMeter::enter);
        loop {
            let next = if self.entries.is_empty() {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(Duration::from_nanos(LOOK_EVERY))
            };
            match next {
                Ok(slot) => [slot].into_iter().chain(requests.try_iter()).for_each(|slot| self.take_up(&slot)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.round(clock::monotonic());
        }
    }

    fn take_up(&mut self, slot: &Arc<Slot>) {
        if !self.entries.iter().any(|entry| std::ptr::eq(entry.slot.as_ptr(), Arc::as_ptr(slot))) {
            self.entries.push(Entry::new(slot));
        }
    }

    fn round(&mut self, now: u64) {
        self.allowance.0 = BURST.min(self.allowance.0 + now.saturating_sub(self.filled).saturating_mul(BYTES_PER_SECOND) / 1_000_000_000);
        self.filled = now;
        self.entries.retain(|entry| entry.slot.strong_count() > 0);
        let mut full = false;
        for entry in &mut self.entries {
            let Some(slot) = entry.slot.upgrade() else { continue };
            entry.discover(&slot, now, &self.stats);
            if slot.take_dumped() {
                entry.next_look = 0;
            }
            if let Some(attacher) = &mut self.attacher {
                attacher.ask(&slot, now);
            }
            if entry.is_due(&slot, now) {
                full |= entry.look(&slot, now, &mut self.allowance, &self.memory, &self.stats);
            }
        }
        let held = self.entries.iter_mut().filter(|entry| entry.reader.holds_file());
        held.skip(MAX_HELD).for_each(|entry| entry.reader.let_go());
        // Whoever was behind this time comes first the next.
        if !self.entries.is_empty() {
            self.entries.rotate_left(1);
        }
        if full {
            self.make_room(now);
        }
        self.stats.code_names_bytes.set(self.memory.used() as u64);
    }

    /// Lets go of names that nobody asks for; they are read again when somebody does.
    fn make_room(&mut self, now: u64) {
        for entry in &mut self.entries {
            let Some(slot) = entry.slot.upgrade() else { continue };
            if now.saturating_sub(slot.wanted()) > IDLE {
                entry.reader = Reader::default();
                slot.publish(Book::default(), true);
            } else {
                entry.reader.book.compact(&self.memory);
            }
        }
    }
}

impl Entry {
    fn new(slot: &Arc<Slot>) -> Self {
        let slot = Arc::downgrade(slot);
        Self {
            slot,
            reader: Reader::default(),
            next_look: 0,
            looked: 0,
            absent: ABSENT_FIRST,
            published: false,
            told: false,
            discoveries: 0,
            next_discovery: 0,
        }
    }

    /// Looks for the records of a Java virtual machine, a few times: it may not be ready yet.
    fn discover(&mut self, slot: &Slot, now: u64, stats: &EngineStats) {
        if self.discoveries >= MAX_DISCOVERIES || now < self.next_discovery || !slot.is_undiscovered() {
            return;
        }
        self.discoveries += 1;
        self.next_discovery = now.saturating_add(LOOK_EVERY << self.discoveries);
        match jvm::discover(slot.pid) {
            Some(layout) => slot.discovered(layout),
            None if self.discoveries == MAX_DISCOVERIES => {
                stats.java_unreadable.add(1);
                tracing::debug!(pid = slot.pid, "the records of a Java virtual machine cannot be read");
            }
            None => {}
        }
    }

    fn is_due(&self, slot: &Slot, now: u64) -> bool {
        slot.awaits_last_look() || now >= self.next_look && (!self.published || slot.wanted().saturating_add(LINGER) >= self.looked)
    }

    /// Looks at the file, and publishes what is new. Returns whether there was no memory for more.
    fn look(&mut self, slot: &Slot, now: u64, allowance: &mut Allowance, memory: &Arc<Memory>, stats: &EngineStats) -> bool {
        self.looked = now;
        let last = slot.awaits_last_look();
        match self.reader.look(slot, allowance, memory) {
            Ok(look) => {
                self.absent = ABSENT_FIRST;
                self.next_look = now + if look.full { ABSENT_LAST } else { LOOK_EVERY / 2 };
                if look.changed || !self.published {
                    slot.publish(self.reader.book.clone(), true);
                    self.published = true;
                }
                stats.code_names_refused.add(u64::from(look.full));
                if last && (look.full || !look.behind) {
                    slot.last_looked();
                }
                look.full
            }
            Err(error) => {
                self.refuse(slot, now, &error, stats);
                slot.last_looked();
                false
            }
        }
    }

    fn refuse(&mut self, slot: &Slot, now: u64, error: &SourceError, stats: &EngineStats) {
        self.next_look = now.saturating_add(self.absent);
        self.absent = (self.absent * 2).min(ABSENT_LAST);
        if !self.published {
            slot.publish(Book::default(), false);
            self.published = true;
        }
        if !self.told && !matches!(error, SourceError::Open(_) | SourceError::Gone) {
            self.told = true;
            stats.code_files_refused.add(1);
            tracing::debug!(pid = slot.pid, %error, "the file that names generated code is not read");
        }
    }
}
