//! Reading one process's file of names, a piece at a time.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, PoisonError};

use crate::jit::book::{Book, Draft, Memory, NewCode};
use crate::jit::jitdump::{self, Event, Header};
use crate::jit::names::{Marker, Slot};
use crate::jit::perf_map;
use crate::jit::source::{Owner, SourceError};

/// Bytes read at once.
const PIECE: usize = 256 << 10;
/// Bytes that one process's names may take.
const MAX_BOOK: usize = 16 << 20;
/// Names that are bound into a page at once, in bytes.
const MAX_DRAFT: usize = 1 << 20;
/// Bytes before the place up to which a file was read, by which it is known again.
const TAIL: usize = 64;
/// V8 counts the lines' addresses from the start of an ELF file that `perf inject` would make: 64 bytes too far
/// (`src/diagnostics/perf-jit.cc`, `kElfHeaderSize`).
const V8_LINE_BIAS: u64 = 0x40;

/// Bytes that may be read in a while, by all readers together.
#[derive(Debug)]
pub(super) struct Allowance(pub(super) u64);

impl Allowance {
    fn take(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes as u64);
    }
}

/// How far a file was read, and what stands before that place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    file: (u64, u64),
    read: u64,
    tail: Vec<u8>,
}

impl Position {
    fn start(metadata: &Metadata) -> Self {
        Self { file: (metadata.dev(), metadata.ino()), read: 0, tail: Vec::new() }
    }

    /// Whether the file is still the same up to here: neither another, nor cut, nor written anew.
    fn holds(&self, file: &File, metadata: &Metadata) -> bool {
        let mut now = [0; TAIL];
        let Some(now) = now.get_mut(..self.tail.len()) else { return false };
        self.file == (metadata.dev(), metadata.ino())
            && metadata.len() >= self.read
            && file.read_exact_at(now, self.read.saturating_sub(self.tail.len() as u64)).is_ok()
            && now == &*self.tail
    }

    /// Goes on over bytes that were read.
    fn advance(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }
}

/// What a look at a file came to.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Whether something new was read.
    pub(super) changed: bool,
    /// Whether there is more.
    pub(super) behind: bool,
    /// Whether there was no memory for more.
    pub(super) full: bool,
}

/// The file of one process, and what was read of it.
#[derive(Debug, Default)]
pub(super) struct Reader {
    position: Option<Position>,
    dump: Option<Dump>,
    pub(super) book: Book,
}

#[derive(Debug)]
struct Dump {
    /// The file, and up to which time its records count. Kept open because a program writes what it has in its buffers (V8: up
    /// to 2 MiB) when it ends, and then is not there any more to say where the file is.
    open: Option<(File, u64)>,
    /// The file's first bytes: what else would be another file.
    head: [u8; jitdump::HEADER_SIZE],
    header: Header,
    read: u64,
    /// The record with the lines of the code that comes next.
    lines: Vec<u8>,
    broken: bool,
}

impl Reader {
    /// Reads on, as far as the allowances go.
    pub(super) fn look(&mut self, slot: &Slot, allowance: &mut Allowance, memory: &Arc<Memory>) -> Result<Look, SourceError> {
        match self.look_at_source(slot, &mut Limits { allowance: &mut *allowance, memory }) {
            // It has ended: a zombie has neither mappings nor a root any more.
            Err(SourceError::Gone | SourceError::Open(_)) if self.holds_file() => self.look_at_rest(&mut Limits { allowance, memory }),
            looked => looked,
        }
    }

    fn look_at_source(&mut self, slot: &Slot, limits: &mut Limits<'_>) -> Result<Look, SourceError> {
        let owner = Owner::of(slot)?;
        let marker = slot.marker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match marker {
            Some(marker) => self.look_at_dump(slot, &owner, &marker, limits),
            None => self.look_at_map(slot, &owner, limits),
        }
    }

    fn look_at_map(&mut self, slot: &Slot, owner: &Owner, limits: &mut Limits<'_>) -> Result<Look, SourceError> {
        let (file, metadata) = owner.perf_map(slot.born)?;
        let mut look = Look::default();
        let mut position = match self.position.take() {
            Some(position) if position.holds(&file, &metadata) => position,
            position => {
                look.changed = position.is_some();
                self.book = Book::default();
                // The program before may have written into the same file, and this one adds to it.
                let before = slot.before.clone().filter(|before| position.is_none() && before.holds(&file, &metadata));
                before.unwrap_or_else(|| Position::start(&metadata))
            }
        };
        let mut piece = vec![0; PIECE];
        let mut draft = Draft::default();
        loop {
            if limits.exhausted(&self.book, &draft, &mut look) {
                break;
            }
            let length = read_at(&file, &mut piece, position.read)?;
            limits.allowance.take(length);
            let (lines, done) = perf_map::lines(&piece[..length]);
            lines.for_each(|line| draft.add(NewCode { start: line.start.0, size: line.size, since: 0, name: line.name }));
            position.advance(&piece[..done]);
            if done == 0 || length < PIECE {
                break;
            }
            self.bind_large(&mut draft, &mut look, limits);
        }
        self.bind(draft, &mut look, limits);
        *slot.position.lock().unwrap_or_else(PoisonError::into_inner) = Some(position.clone());
        self.position = Some(position);
        Ok(look)
    }

    fn look_at_dump(&mut self, slot: &Slot, owner: &Owner, marker: &Marker, limits: &mut Limits<'_>) -> Result<Look, SourceError> {
        let (file, metadata) = owner.jitdump(marker)?;
        let mut head = [0; jitdump::HEADER_SIZE];
        if read_at(&file, &mut head, 0)? < head.len() {
            return Ok(Look::default());
        }
        let mut look = Look::default();
        let same = |dump: &Dump| dump.head == head && metadata.len() >= dump.read;
        let mut dump = match self.dump.take().filter(same) {
            Some(dump) => dump,
            None => {
                look.changed = true;
                (self.book, self.position) = (Book::default(), None);
                Dump::begin(head)
            }
        };
        // A copy of the process that writes has its mark too, but not what it writes from then on.
        let until = if dump.header.pid == owner.inner_pid() { u64::MAX } else { slot.born };
        self.read_dump(&mut dump, (&file, until), &mut look, limits)?;
        dump.open = Some((file, until));
        self.dump = Some(dump);
        Ok(look)
    }

    /// Whether a file is kept open.
    pub(super) fn holds_file(&self) -> bool {
        self.dump.as_ref().is_some_and(|dump| dump.open.is_some())
    }

    /// Keeps it open no longer; as long as its process lives it can be opened again.
    pub(super) fn let_go(&mut self) {
        self.dump.iter_mut().for_each(|dump| dump.open = None);
    }

    /// Reads what has come into a dump since its process was last there.
    fn look_at_rest(&mut self, limits: &mut Limits<'_>) -> Result<Look, SourceError> {
        let mut look = Look::default();
        let (mut dump, (file, until)) =
            self.dump.take().and_then(|mut dump| dump.open.take().map(|open| (dump, open))).ok_or(SourceError::Gone)?;
        self.read_dump(&mut dump, (&file, until), &mut look, limits)?;
        dump.open = Some((file, until));
        self.dump = Some(dump);
        Ok(look)
    }

    fn read_dump(
        &mut self,
        dump: &mut Dump,
        (file, until): (&File, u64),
        look: &mut Look,
        limits: &mut Limits<'_>,
    ) -> Result<(), SourceError> {
        let file_length = file.metadata()?.len();
        let mut draft = Draft::default();
        let mut piece = vec![0; PIECE];
        while !dump.broken {
            if limits.exhausted(&self.book, &draft, look) {
                break;
            }
            let length = read_at(file, &mut piece, dump.read)?;
            limits.allowance.take(length);
            let advanced = dump.read_piece(&piece[..length], file_length, until, &mut Pen { draft: &mut draft, book: &self.book });
            if !advanced {
                break;
            }
            self.bind_large(&mut draft, look, limits);
        }
        self.bind(draft, look, limits);
        Ok(())
    }

    fn bind_large(&mut self, draft: &mut Draft, look: &mut Look, limits: &Limits<'_>) {
        if draft.bytes() > MAX_DRAFT {
            self.bind(std::mem::take(draft), look, limits);
        }
    }

    fn bind(&mut self, draft: Draft, look: &mut Look, limits: &Limits<'_>) {
        if !draft.is_empty() {
            look.changed = true;
            self.book.bind(draft, limits.memory);
        }
    }
}

/// What bounds a look.
struct Limits<'a> {
    allowance: &'a mut Allowance,
    memory: &'a Arc<Memory>,
}

impl Limits<'_> {
    /// Whether nothing more may be read now.
    fn exhausted(&self, book: &Book, draft: &Draft, look: &mut Look) -> bool {
        // While pages are merged, both the old ones and the new one are there.
        look.full = book.bytes() + draft.bytes() > MAX_BOOK || self.memory.is_short_of(draft.bytes() + MAX_DRAFT);
        look.behind = self.allowance.0 == 0;
        look.full || look.behind
    }
}

/// Where a dump's records are written down.
struct Pen<'a> {
    draft: &'a mut Draft,
    book: &'a Book,
}

impl Dump {
    fn begin(head: [u8; jitdump::HEADER_SIZE]) -> Self {
        let (header, broken) = match jitdump::parse_header(&head) {
            Ok(header) => (header, false),
            Err(error) => {
                tracing::debug!(%error, "a jitdump is not read");
                (Header { size: 0, pid: 0, monotonic: false }, true)
            }
        };
        Self { open: None, head, header, read: header.size.into(), lines: Vec::new(), broken }
    }

    /// Takes up the records of a piece that starts where was read up to. Returns whether to go on.
    fn read_piece(&mut self, piece: &[u8], length: u64, until: u64, pen: &mut Pen<'_>) -> bool {
        let start = self.read;
        loop {
            let at = usize::try_from(self.read - start).unwrap_or(usize::MAX);
            let rest = length.saturating_sub(self.read);
            let Some(bytes) = piece.get(at..).filter(|bytes| bytes.len() >= jitdump::MAX_LOOKED_AT || bytes.len() as u64 >= rest) else {
                return self.read > start;
            };
            match jitdump::parse_record(&bytes[..bytes.len().min(jitdump::MAX_LOOKED_AT)], rest) {
                Ok(Some(record)) => {
                    self.read += u64::from(record.size);
                    let time = if self.header.monotonic { record.time } else { 0 };
                    if time > until {
                        continue;
                    }
                    if matches!(record.event, Event::Lines { .. }) {
                        self.lines.clear();
                        self.lines.extend_from_slice(&bytes[..bytes.len().min(record.size as usize).min(jitdump::MAX_LOOKED_AT)]);
                    } else {
                        self.apply(record.event, time, pen);
                    }
                }
                Ok(None) => return false,
                Err(error) => {
                    tracing::debug!(%error, at = self.read, "a jitdump is read no further");
                    self.broken = true;
                    return false;
                }
            }
        }
    }

    fn apply(&mut self, event: Event<'_>, since: u64, pen: &mut Pen<'_>) {
        match event {
            Event::Load { start, size, name } => {
                pen.draft.add(NewCode { start, size, since, name });
                self.add_lines(start, size, name, pen);
                self.lines.clear();
            }
            Event::Move { from, to, size } => {
                // The name of what is there now, in this draft or before it.
                let name = pen.draft.name_at(from).or_else(|| pen.book.find(from, since).map(|found| found.name)).map(str::to_owned);
                if let Some(name) = name {
                    pen.draft.add(NewCode { start: to, size, since, name: name.as_bytes() });
                }
            }
            Event::Lines { .. } | Event::Close | Event::Other => {}
        }
    }

    /// Gives the code that was added last its lines, if all of them can be: node 20 writes freed memory for file names.
    fn add_lines(&self, start: u64, size: u64, name: &[u8], pen: &mut Pen<'_>) {
        let Ok(Some(jitdump::Record { event: Event::Lines { start: of, entries }, .. })) = jitdump::parse_record(&self.lines, u64::MAX)
        else {
            return;
        };
        let bias =
            if [&b"JS:"[..], b"Script:", b"Eval:", b"Function:"].iter().any(|prefix| name.starts_with(prefix)) { V8_LINE_BIAS } else { 0 };
        let offset = |address: u64| address.checked_sub(start)?.checked_sub(bias).filter(|offset| *offset <= size);
        let sound = |file: &[u8]| std::str::from_utf8(file).is_ok_and(|file| !file.is_empty() && !file.contains(char::is_control));
        let entries = entries.map(|entry| {
            let offset = u32::try_from(offset(entry.address)?).ok()?;
            (entry.line > 0 && sound(entry.file)).then_some((offset, entry.line, entry.file))
        });
        let Some(mut entries) = entries.collect::<Option<Vec<_>>>().filter(|_| of == start) else { return };
        entries.sort_by_key(|entry| entry.0);
        entries.iter().for_each(|(offset, line, file)| pen.draft.add_line(*offset, *line, file));
    }
}

/// Reads a dump that is whole in memory, first its half, then all of it.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn read_dump(bytes: &[u8], book: &mut Book, memory: &Arc<Memory>) {
    let Some(head) = bytes.first_chunk() else { return };
    let mut dump = Dump::begin(*head);
    for length in [bytes.len() / 2, bytes.len()] {
        let mut draft = Draft::default();
        loop {
            let at = usize::try_from(dump.read).unwrap_or(usize::MAX);
            let Some(piece) = bytes.get(at..length).filter(|_| !dump.broken) else { break };
            let piece = &piece[..piece.len().min(PIECE)];
            if !dump.read_piece(piece, length as u64, u64::MAX, &mut Pen { draft: &mut draft, book }) {
                break;
            }
        }
        if !draft.is_empty() {
            book.bind(draft, memory);
        }
    }
}

/// As much as there is, up to the buffer's length.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> Result<usize, SourceError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at.saturating_add(filled as u64))? {
            0 => break,
            more => filled += more,
        }
    }
    Ok(filled)
}
