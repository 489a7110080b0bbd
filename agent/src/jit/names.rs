//! The sampling thread's side: what is known of one process's generated code, and how more is asked for.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use flamekeeper_profile::Avma;

use crate::jit::book::{Book, Found};
use crate::jit::reader::Position;
use crate::jit::thread::Service;
use crate::jvm::is_machine;
use crate::jvm::layout::Layout;
use crate::process::maps::{Backing, Maps};

/// How often the mappings are looked through for the mark of a jitdump, in nanoseconds.
const MARKER_EVERY: u64 = 1_000_000_000;
/// Forks of forks whose code is named by the books of those before them.
const MAX_INHERITED: usize = 8;

/// The mapping by which a writer marks its jitdump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// First address.
    pub(crate) start: u64,
    /// End.
    pub(crate) end: u64,
    /// Path, as the process sees it.
    pub(crate) path: Box<str>,
}

/// Whether a path is that of a jitdump: `.../jit-PID.dump`.
fn is_jitdump(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let digits = name.strip_prefix("jit-").and_then(|name| name.strip_suffix(".dump"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where the thread that reads puts what it found for one generation of a process. Dropped with the process.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The process.
    pub(crate) pid: u32,
    /// When its program began, in the records' time; 0: before the agent.
    pub(crate) born: u64,
    /// How far the map of this process's program before was read: its lines may stand in the same file.
    pub(crate) before: Option<Position>,
    /// The mark of its jitdump, once seen.
    pub(crate) marker: Mutex<Option<Marker>>,
    /// How far its perf map was read.
    pub(crate) position: Mutex<Option<Position>>,
    /// When its generated code was last sampled, in the records' time.
    wanted: AtomicU64,
    asked: AtomicBool,
    /// How often something was published; 0 until the first look.
    version: AtomicU64,
    /// Whether there is a file of names at all.
    has_source: AtomicBool,
    book: Mutex<Book>,
    /// Whether it is a Java virtual machine.
    machine: AtomicBool,
    /// Where that keeps its records, once they were read.
    hotspot: OnceLock<Arc<Layout>>,
    /// When a frame without a name was last sampled, in the records' time.
    unnamed: AtomicU64,
    /// When it may be asked for its perf map; the greatest number while it is being asked.
    attach_after: AtomicU64,
    attach_failures: AtomicU32,
    /// Whether it has written its map since the last look.
    dumped: AtomicBool,
    /// Whether it has ended and its file is to be looked at once more: what was in the program's buffers is in it now.
    last_look: AtomicBool,
}

impl Slot {
    fn new(pid: u32, born: u64, before: Option<Position>) -> Arc<Self> {
        Arc::new(Self {
            pid,
            born,
            before,
            marker: Mutex::default(),
            position: Mutex::default(),
            wanted: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            version: AtomicU64::new(0),
            has_source: AtomicBool::new(false),
            book: Mutex::default(),
            machine: AtomicBool::new(false),
            hotspot: OnceLock::new(),
            unnamed: AtomicU64::new(0),
            attach_after: AtomicU64::new(1),
            attach_failures: AtomicU32::new(0),
            dumped: AtomicBool::new(false),
            last_look: AtomicBool::new(false),
        })
    }

    /// Hands a book over.
    pub(crate) fn publish(&self, book: Book, has_source: bool) {
        *self.book.lock().unwrap_or_else(PoisonError::into_inner) = book;
        self.has_source.store(has_source, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// When its generated code was last sampled.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether it is a Java virtual machine whose records nobody has found.
    pub(crate) fn is_undiscovered(&self) -> bool {
        self.machine.load(Ordering::Relaxed) && self.hotspot.get().is_none()
    }

    /// Says where its records are.
    pub(crate) fn discovered(&self, layout: Layout) {
        self.hotspot.get_or_init(|| Arc::new(layout));
    }

    /// Whether to attach to it now: a machine that was sampled without a name since it may be asked again. Who is told so
    /// ends it by [`Self::end_attach`].
    pub(crate) fn begin_attach(&self, now: u64) -> bool {
        let after = self.attach_after.load(Ordering::Relaxed);
        let due = self.machine.load(Ordering::Relaxed) && now >= after && self.unnamed.load(Ordering::Relaxed) >= after;
        due && self.attach_after.compare_exchange(after, u64::MAX, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Says when it may be asked again.
    pub(crate) fn end_attach(&self, after: u64) {
        self.attach_after.store(after, Ordering::Relaxed);
    }

    /// It has written its map.
    pub(crate) fn attach_succeeded(&self) {
        self.attach_failures.store(0, Ordering::Relaxed);
        self.dumped.store(true, Ordering::Relaxed);
    }

    /// It has not. Answers how often in a row before this.
    pub(crate) fn attach_failed(&self) -> u32 {
        self.attach_failures.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether its map is new, said once.
    pub(crate) fn take_dumped(&self) -> bool {
        self.dumped.swap(false, Ordering::Relaxed)
    }

    /// Whether the last look at its file is still to be taken.
    pub(crate) fn awaits_last_look(&self) -> bool {
        self.last_look.load(Ordering::Acquire)
    }

    /// The last look has been taken.
    pub(crate) fn last_looked(&self) {
        self.last_look.store(false, Ordering::Release);
    }

    fn book(&self) -> Book {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// What a forked process knows from the one that it is a copy of.
#[derive(Clone, Debug)]
enum Inherited {
    /// All that was known of it at the fork.
    Known(Book),
    /// Nothing was: the first that is read of it.
    Waiting(Arc<Slot>),
}

/// Names of one process's generated code.
#[derive(Debug, Default)]
pub(crate) struct Names {
    slot: Option<Arc<Slot>>,
    book: Book,
    seen: u64,
    inherited: Vec<Inherited>,
    before: Option<Position>,
    version: u32,
    next_marker: u64,
}

impl Names {
    /// Asks for names because the process was sampled in generated code, and takes up what has come.
    pub(crate) fn refresh(&mut self, service: &mut Service, pid: u32, born: u64, maps: &Maps, now: u64) {
        let before = &mut self.before;
        let slot = self.slot.get_or_insert_with(|| Slot::new(pid, born, before.take()));
        slot.wanted.store(now, Ordering::Relaxed);
        if now >= self.next_marker {
            self.next_marker = now.saturating_add(MARKER_EVERY);
            mark(slot, maps);
        }
        ask(service, slot);
        let version = slot.version();
        if version != self.seen {
            self.seen = version;
            self.book = slot.book();
            self.version = self.version.wrapping_add(1);
        }
        for inherited in &mut self.inherited {
            if let Inherited::Waiting(slot) = inherited {
                slot.wanted.fetch_max(now, Ordering::Relaxed);
                ask(service, slot);
                if slot.version() > 0 {
                    *inherited = Inherited::Known(slot.book());
                    self.version = self.version.wrapping_add(1);
                }
            }
        }
    }

    /// What is at an address that was sampled at a time.
    pub(crate) fn find(&self, address: Avma, at: u64) -> Option<Found<'_>> {
        let inherited = self.inherited.iter().filter_map(|inherited| match inherited {
            Inherited::Known(book) => book.find(address.0, at),
            Inherited::Waiting(_) => None,
        });
        self.book.find(address.0, at).into_iter().chain(inherited).next()
    }

    /// Changes when names may have.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// A frame has no name.
    pub(crate) fn missing(&self, now: u64) {
        if let Some(slot) = &self.slot {
            slot.unnamed.store(now, Ordering::Relaxed);
        }
    }

    /// The process has ended: has its file looked at once more, soon.
    pub(crate) fn ended(&mut self, service: &mut Service) {
        if let Some(slot) = &self.slot {
            slot.last_look.store(true, Ordering::Release);
            if !service.ask(slot) {
                // Nobody reads, or the thread is far behind: then it looks when it comes round.
                slot.last_looked();
            }
        }
    }

    /// Waits until the last look has been taken, or until a moment.
    pub(crate) fn await_last_look(&self, until: Instant) {
        const STEP: Duration = Duration::from_millis(1);
        while self.slot.as_ref().is_some_and(|slot| slot.awaits_last_look()) && Instant::now() < until {
            std::thread::sleep(STEP);
        }
    }

    /// Where the Java virtual machine of the process keeps its records.
    pub(crate) fn hotspot(&self) -> Option<&Arc<Layout>> {
        self.slot.as_ref()?.hotspot.get()
    }

    /// Whether a name that is not known may yet be read.
    pub(crate) fn may_come(&self) -> bool {
        let waits = |slot: &Arc<Slot>| {
            // While a machine writes its map for the first time, there is none yet.
            let asked = slot.attach_after.load(Ordering::Relaxed) == u64::MAX;
            slot.version() == 0 || slot.has_source.load(Ordering::Relaxed) || asked || slot.is_undiscovered()
        };
        self.slot.as_ref().is_some_and(waits) || self.inherited.iter().any(|inherited| matches!(inherited, Inherited::Waiting(_)))
    }

    /// The names that a forked copy begins with: the code is the same, the copy has no file of its own yet.
    pub(crate) fn forked(&mut self, pid: u32, born: u64, maps: &Maps) -> Self {
        let generated = |mapping: &crate::process::maps::Mapping| matches!(mapping.backing, Backing::Anonymous);
        if self.slot.is_none() && maps.iter().any(generated) {
            let slot = Slot::new(pid, born, self.before.take());
            mark(&slot, maps);
            self.slot = Some(slot);
        }
        let own = self.slot.iter().map(|slot| match slot.version() {
            0 => Inherited::Waiting(Arc::clone(slot)),
            _ => Inherited::Known(slot.book()),
        });
        let inherited = own.chain(self.inherited.iter().cloned()).take(MAX_INHERITED).collect();
        Self { inherited, ..Self::default() }
    }

    /// Where its names are put.
    #[cfg(test)]
    pub(crate) fn slot(&self) -> Option<Arc<Slot>> {
        self.slot.clone()
    }

    /// Has this slot for its own.
    #[cfg(test)]
    pub(crate) fn take_slot(&mut self, slot: &Arc<Slot>) {
        self.slot = Some(Arc::clone(slot));
    }

    /// The names of the program that comes after: none, but what this one has read of the file is not the next one's.
    pub(crate) fn succeeded(&self) -> Self {
        let read = self.slot.as_ref().and_then(|slot| slot.position.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Self { before: read.or_else(|| self.before.clone()), ..Self::default() }
    }
}

fn mark(slot: &Slot, maps: &Maps) {
    let marker = maps.iter().find_map(|mapping| match &mapping.backing {
        Backing::File(file) if is_jitdump(&file.path) => {
            Some(Marker { start: mapping.start.0, end: mapping.end.0, path: file.path.clone() })
        }
        _ => None,
    });
    if maps.iter().any(|mapping| matches!(&mapping.backing, Backing::File(file) if is_machine(&file.path))) {
        slot.machine.store(true, Ordering::Relaxed);
    }
    if marker.is_some() {
        *slot.marker.lock().unwrap_or_else(PoisonError::into_inner) = marker;
    }
}

fn ask(service: &mut Service, slot: &Arc<Slot>) {
    if !slot.asked.load(Ordering::Relaxed) && service.ask(slot) {
        slot.asked.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::book::{Draft, Memory, NewCode};

    fn book(name: &str) -> Book {
        let mut draft = Draft::default();
        draft.add(NewCode { start: 0x1000, size: 0x100, since: 0, name: name.as_bytes() });
        let mut book = Book::default();
        book.bind(draft, &Arc::new(Memory::new(usize::MAX)));
        book
    }

    fn name(names: &Names) -> Option<&str> {
        names.find(Avma(0x1010), 5).map(|found| found.name)
    }

    /// A fork has its parent's names as of the fork, whatever the parent reads afterwards; its own hold over them.
    #[test]
    fn forks_inherit() {
        let (mut service, maps) = (Service::idle(), Maps::default());
        let mut parent = Names::default();
        parent.refresh(&mut service, 5_000_001, 1, &maps, 1);
        parent.slot.as_ref().unwrap().publish(book("parent"), true);
        let mut child = parent.forked(5_000_001, 1, &maps);
        parent.slot.as_ref().unwrap().publish(book("later"), true);
        child.refresh(&mut service, 5_000_002, 2, &maps, 2);
        parent.refresh(&mut service, 5_000_001, 1, &maps, 2);
        assert_eq!((name(&child), name(&parent)), (Some("parent"), Some("later")));
        child.slot.as_ref().unwrap().publish(book("child"), true);
        child.refresh(&mut service, 5_000_002, 2, &maps, 3);
        let mut grandchild = child.forked(5_000_002, 2, &maps);
        grandchild.refresh(&mut service, 5_000_003, 3, &maps, 4);
        assert_eq!((name(&child), name(&grandchild)), (Some("child"), Some("child")));
        assert_eq!(name(&child.succeeded()), None, "another program has no name of this one");
    }

    /// Where nothing was read of the parent before the fork, the first that is read is what the child knows.
    #[test]
    fn forks_wait_for_their_parent() {
        let (mut service, maps) = (Service::idle(), Maps::default());
        let mut parent = Names::default();
        parent.refresh(&mut service, 5_000_001, 1, &maps, 1);
        let mut child = parent.forked(5_000_001, 1, &maps);
        child.refresh(&mut service, 5_000_002, 2, &maps, 2);
        assert!(name(&child).is_none() && child.may_come());
        parent.slot.as_ref().unwrap().publish(book("parent"), true);
        child.refresh(&mut service, 5_000_002, 2, &maps, 3);
        assert_eq!(name(&child), Some("parent"));
    }

    /// Only what is named like a jitdump is one.
    #[test]
    fn jitdumps_are_known_by_name() {
        let good = ["/tmp/jit-1.dump", "/root/.debug/jit/java-jit/jit-12.dump"];
        assert!(good.into_iter().all(is_jitdump));
        assert!(!["/tmp/jit-.dump", "/tmp/jit-1.dump.so", "/tmp/xjit-1.dump", "jit-a.dump"].into_iter().any(is_jitdump));
    }
}
