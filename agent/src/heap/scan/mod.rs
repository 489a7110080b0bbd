//! Proof on suspects: what points to the sampled blocks of a running process.
//!
//! All writable memory of the process is read from outside, without stopping it, and every aligned word in it that points to or into a
//! sampled block is counted, by where it lies: a variable of an object, the stack of a thread, another sampled block, or other memory
//! (of the heap mostly). A block that nothing points to is lost; so are blocks that only lost blocks point to (`blocks`).
//!
//! **What this cannot know.** Words that look like pointers hold too, as in every conservative collector, and so do pointers that a
//! freed block still has in it. Pointers that are kept in another form (xored, compressed, tagged in their upper bits), or in a register only,
//! are not seen. The process goes on: what moves a pointer from memory that is yet to be read to memory that was read hides it; so blocks that were
//! made in the last seconds or freed meanwhile are left out. Which unsampled block a pointer lies in is not known: "other memory" may
//! itself be lost.

mod blocks;
mod regions;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use flamekeeper_heap::layout::{ENTRIES, ENTRIES_OFFSET, ENTRY_SIZE};
use flamekeeper_object::{DataSymbols, ObjectFile};
use flamekeeper_profile::{Avma, FileOffset, Svma};

use self::blocks::{Block, Pointers};
use self::regions::{Kind, Region};
use crate::heap::find::SharedMemory;
use crate::heap::sum::Estimate;
use crate::heap::table::{self, Live};
use crate::jvm::memory::{Memory as _, Remote};
use crate::perf::clock;

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 20;
/// Bytes of `/proc/PID/maps` that are read.
const MAX_MAPS: usize = 64 << 20;
/// How old a block is at least, in nanoseconds.
const YOUNGEST: u64 = 2_000_000_000;
/// The red zone of the System V ABI: what lies below it on a stack is dead.
const RED_ZONE: u64 = 128;

/// Where a pointer to a block lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A variable, by its symbol, and the file of its object.
    Variable(Box<str>, Box<str>),
    /// Variables without a symbol, by the file of their object.
    Data(Box<str>),
    /// The stack of a thread, by the thread's name.
    Stack(Box<str>),
    /// Another sampled block, by its number.
    Block(u64),
    /// Memory of no file that is in no sampled block: of the heap mostly.
    Memory,
}

/// A sampled block, and what holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScannedBlock {
    /// The sample's number.
    pub number: u64,
    /// The block's size in bytes.
    pub size: u64,
    /// The bytes that it stands for.
    pub bytes: f64,
    /// Pointers to it, by where they lie; none: it is lost.
    pub held: BTreeMap<Holder, u64>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Blocks that lived from before the beginning to the end.
    pub blocks: Vec<ScannedBlock>,
    /// Blocks that were too young, or were freed meanwhile.
    pub left_out: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes that could not be read.
    pub unreadable: u64,
    /// How long it took.
    pub time: Duration,
}

/// Why a process cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It has no table that can be opened.
    #[error("it does not sample its heap (`flamekeeper heap status PID` says why), or may not be looked at: run this as root")]
    NoTable,
    /// What it has is no table.
    #[error("its table cannot be used: {0}")]
    Table(String),
    /// Its memory may not be read.
    #[error("its memory may not be read: run this as root, or with CAP_SYS_PTRACE ({0})")]
    Denied(io::Error),
    /// It is gone, or procfs does not tell of it.
    #[error("it cannot be looked at: {0}")]
    Gone(#[from] io::Error),
}

/// Scans a process, taking `share` (0 to 1) of one CPU's time at most.
///
/// # Errors
/// [`ScanError`].
pub fn scan(pid: u32, share: f64) -> Result<Scan, ScanError> {
    let begun = Instant::now();
    let file = SharedMemory::find().table(pid).ok_or(ScanError::NoTable)?;
    let all = live(&file)?;
    let now = clock::monotonic();
    let old = all.iter().filter(|live| now.saturating_sub(live.time) >= YOUNGEST);
    let mut pointers = Pointers::new(old.map(|live| Block { address: live.address, size: live.size, number: live.number }).collect());
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(maps, MAX_MAPS as u64), &mut text)?;
    let mut reader = Reader::new(pid, share);
    reader.probe()?;
    let threads = threads(pid);
    for region in regions::parse(&text) {
        reader.region(&region, &threads, &mut pointers);
    }
    let after: HashMap<u64, Live> = live(&file)?.into_iter().map(|live| (live.number, live)).collect();
    let found = pointers.blocks().iter().zip(pointers.held());
    let blocks: Vec<_> = found
        .filter_map(|(block, held)| {
            let live = after.get(&block.number)?;
            Some(ScannedBlock { number: block.number, size: block.size, bytes: Estimate::of(live.size, live.shift).bytes, held })
        })
        .collect();
    let Reader { bytes, unreadable, .. } = reader;
    Ok(Scan { left_out: all.len() - blocks.len().min(all.len()), blocks, bytes, unreadable, time: begun.elapsed() })
}

fn live(file: &File) -> Result<Vec<Live>, ScanError> {
    let mut head = [0; flamekeeper_heap::layout::at::END];
    file.read_exact_at(&mut head, 0)?;
    table::header(&head).map_err(|error| ScanError::Table(error.to_string()))?;
    let mut bytes = vec![0; ENTRIES * ENTRY_SIZE];
    file.read_exact_at(&mut bytes, ENTRIES_OFFSET as u64)?;
    let mut found = Vec::new();
    table::live(&bytes, |live| found.push(live));
    Ok(found)
}

/// A thread that waits: its name and its stack pointer.
type Thread = (Box<str>, u64);

/// The threads, by where their stacks are in use: of one that runs just now that is not known, so it is asked again.
fn threads(pid: u32) -> Vec<Thread> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        for _ in 0..20 {
            let said = std::fs::read_to_string(path.join("syscall")).unwrap_or_default();
            // The last two words are the stack pointer and the instruction pointer: proc(5).
            let sp = said.split_ascii_whitespace().rev().nth(1).and_then(|word| word.strip_prefix("0x"));
            if let Some(sp) = sp.and_then(|sp| u64::from_str_radix(sp, 16).ok()) {
                found.push((name.trim_end().into(), sp));
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    found
}

/// The variables of an object, and by how much they lie elsewhere than the file says.
type Object = (DataSymbols, u64);

/// Reads the process's memory at its pace.
struct Reader {
    pid: u32,
    memory: Remote,
    pages: Option<File>,
    page: u64,
    share: f64,
    /// Variables of objects, and where the objects lie.
    objects: HashMap<(Box<str>, u64), Option<Object>>,
    buffer: Vec<u8>,
    bytes: u64,
    unreadable: u64,
}

impl Reader {
    fn new(pid: u32, share: f64) -> Self {
        // SAFETY: no pointers.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(4096);
        Self {
            pid,
            memory: Remote(pid),
            pages: File::open(format!("/proc/{pid}/pagemap")).ok(),
            page,
            share: share.clamp(0.01, 1.0),
            objects: HashMap::new(),
            buffer: Vec::new(),
            bytes: 0,
            unreadable: 0,
        }
    }

    /// Whether reading is allowed at all.
    fn probe(&self) -> Result<(), ScanError> {
        let Ok(pid) = libc::pid_t::try_from(self.pid) else { return Err(ScanError::NoTable) };
        // SAFETY: empty vectors: nothing is read, and the kernel still looks at the rights.
        let read = unsafe { libc::process_vm_readv(pid, std::ptr::null(), 0, std::ptr::null(), 0, 0) };
        let error = io::Error::last_os_error();
        if read < 0 && error.kind() == io::ErrorKind::PermissionDenied { Err(ScanError::Denied(error)) } else { Ok(()) }
    }

    fn region(&mut self, region: &Region, threads: &[Thread], pointers: &mut Pointers) {
        let of_thread = threads.iter().find(|(_, sp)| region.range.contains(sp));
        let from = match (&region.kind, of_thread) {
            (Kind::Data { .. }, _) | (_, None) => region.range.start,
            (_, Some((_, sp))) => (sp.saturating_sub(RED_ZONE) & !7).max(region.range.start),
        };
        let stack = of_thread.map(|(name, _)| name.clone());
        if let Kind::Data { path, start, offset } = &region.kind {
            self.open(path, *start, *offset);
        }
        let mut at = from;
        while at < region.range.end {
            let begun = Instant::now();
            let end = region.range.end.min(at.saturating_add(CHUNK));
            for part in self.present(at..end) {
                self.part(&part, region, stack.as_deref(), pointers);
            }
            at = end;
            std::thread::sleep(begun.elapsed().mul_f64(1.0 / self.share - 1.0));
        }
    }

    fn part(&mut self, part: &Range<u64>, region: &Region, stack: Option<&str>, pointers: &mut Pointers) {
        let Ok(length) = usize::try_from(part.end - part.start) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length, 0);
        if self.memory.read(part.start, &mut buffer) {
            self.bytes += length as u64;
            pointers.look(part.start, &buffer, |place| self.holder(place, region, stack));
        } else {
            self.unreadable += length as u64;
        }
        self.buffer = buffer;
    }

    fn holder(&self, place: u64, region: &Region, stack: Option<&str>) -> Holder {
        match (&region.kind, stack) {
            (Kind::Data { path, start, .. }, _) => {
                let object = self.objects.get(&(path.clone(), *start)).and_then(Option::as_ref);
                let found = object.and_then(|(symbols, bias)| symbols.find(Svma(place.wrapping_sub(*bias))));
                found.map_or_else(|| Holder::Data(path.clone()), |(name, _)| Holder::Variable(name.into(), path.clone()))
            }
            (_, Some(thread)) => Holder::Stack(thread.into()),
            (Kind::MainStack, None) => Holder::Stack("main thread".into()),
            (Kind::Anonymous, None) => Holder::Memory,
        }
    }

    fn open(&mut self, path: &str, start: u64, offset: u64) {
        let pid = self.pid;
        self.objects.entry((path.into(), start)).or_insert_with(|| {
            let object = ObjectFile::open(format!("/proc/{pid}/root{path}").as_ref()).ok()?;
            let bias = object.bias(Avma(start), FileOffset(offset), false)?;
            Some((DataSymbols::of(&object), bias))
        });
    }

    /// The parts of a range that were ever touched, by `/proc/PID/pagemap`: all of it where that cannot be read.
    fn present(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (first, end) = (range.start / self.page, range.end.div_ceil(self.page));
        let mut entries = vec![0; usize::try_from((end - first) * 8).unwrap_or(0)];
        let read = self.pages.as_ref().is_some_and(|pages| pages.read_exact_at(&mut entries, first * 8).is_ok());
        if !read {
            return vec![range];
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        for (page, entry) in (first..end).zip(entries.as_chunks::<8>().0) {
            // Bit 63: in memory; bit 62: swapped out.
            if u64::from_ne_bytes(*entry) >> 62 == 0 {
                continue;
            }
            let part = (page * self.page).max(range.start)..((page + 1) * self.page).min(range.end);
            match parts.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => parts.push(part),
            }
        }
        parts
    }
}
