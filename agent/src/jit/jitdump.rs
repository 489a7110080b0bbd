//! Jitdumps: the file `jit-PID.dump` in which a runtime tells what code it generates, with a time for each. Parser only,
//! pure: a record is read from the bytes at its start, without the code that it carries.
//!
//! Written by V8 (`--perf-prof`), the JVM with `libperf-jvmti.so`, .NET (`DOTNET_PerfMapEnabled`) and others; found by the
//! executable mapping of the file that the writer makes as a mark. Source:
//! `tools/perf/Documentation/jitdump-specification.txt` of Linux. The magic tells the byte order: the other one than this
//! machine's is refused by name, for no runtime writes it.

/// "JiTD" as a number in the writer's byte order.
const MAGIC: u32 = 0x4a69_5444;
/// Size of the file's header that is read; the header says its own.
pub const HEADER_SIZE: usize = 40;
/// The times are a processor's counter, and mean nothing beside the samples'.
const FLAG_ARCH_TIMESTAMP: u64 = 1;
/// Size of a record's own header.
const PREFIX_SIZE: usize = 16;
/// Bytes of a record that are looked at: the fixed part of a load with a long name, or as many line entries as fit.
pub const MAX_LOOKED_AT: usize = 16 << 10;
/// The largest record that there may be: a function of this much code is none.
const MAX_RECORD: u32 = 256 << 20;

const LOAD: u32 = 0;
const MOVE: u32 = 1;
const DEBUG_INFO: u32 = 2;
const CLOSE: u32 = 3;
const UNWINDING_INFO: u32 = 4;

/// Why a dump is not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// It does not begin like one.
    #[error("no jitdump")]
    NotADump,
    /// It is in the other byte order.
    #[error("a jitdump of another byte order")]
    ByteOrder,
    /// Its version is another than 1.
    #[error("a jitdump of version {0}")]
    Version(u32),
    /// A record's length cannot be.
    #[error("a record of impossible length")]
    Record,
}

/// The file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its length: where the first record is.
    pub size: u32,
    /// Process that writes, as it is numbered in its own namespace.
    pub pid: u32,
    /// Whether the records' times are those of `CLOCK_MONOTONIC`.
    pub monotonic: bool,
}

/// Reads the header from the first [`HEADER_SIZE`] bytes of a file.
///
/// # Errors
/// [`DumpError`], when it is none that can be read here.
pub fn parse_header(bytes: &[u8]) -> Result<Header, DumpError> {
    let mut at = Cursor(bytes);
    match at.u32().ok_or(DumpError::NotADump)? {
        MAGIC => {}
        other if other == MAGIC.swap_bytes() => return Err(DumpError::ByteOrder),
        _ => return Err(DumpError::NotADump),
    }
    let mut read = || {
        let (version, size, _machine, _padding) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
        let (pid, _time, flags) = (at.u32()?, at.u64()?, at.u64()?);
        Some((version, Header { size, pid, monotonic: flags & FLAG_ARCH_TIMESTAMP == 0 }))
    };
    match read().ok_or(DumpError::NotADump)? {
        (1, header) if header.size as usize >= HEADER_SIZE && header.size < 1 << 20 => Ok(header),
        (1, _) => Err(DumpError::Record),
        (version, _) => Err(DumpError::Version(version)),
    }
}

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Code was put somewhere.
    Load {
        /// First address.
        start: u64,
        /// Length; the end does not overflow.
        size: u64,
        /// Name; not necessarily UTF-8.
        name: &'a [u8],
    },
    /// Code was moved.
    Move {
        /// Where it was.
        from: u64,
        /// Where it is.
        to: u64,
        /// Length; both ends do not overflow.
        size: u64,
    },
    /// The lines of the code that the next load puts at `start`.
    Lines {
        /// First address of the code.
        start: u64,
        /// The entries, as far as they were looked at.
        entries: Lines<'a>,
    },
    /// The writer has ended.
    Close,
    /// Unwinding information, an unknown record, or one that breaks its own format: of no use here.
    Other,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Length of the whole record: where the next one is.
    pub size: u32,
    /// When it was written, on the clock that the header names.
    pub time: u64,
    /// What it tells.
    pub event: Event<'a>,
}

/// The record at the start of `bytes`: at least [`MAX_LOOKED_AT`] of them, or all that there are up to the end of the
/// file, which has `rest` bytes left. None: it is still being written.
///
/// # Errors
/// [`DumpError::Record`] where its length cannot be; nothing behind it can be found then.
pub fn parse_record(bytes: &[u8], rest: u64) -> Result<Option<Record<'_>>, DumpError> {
    let mut at = Cursor(bytes);
    let (Some(kind), Some(size), Some(time)) = (at.u32(), at.u32(), at.u64()) else { return Ok(None) };
    if (size as usize) < PREFIX_SIZE || size > MAX_RECORD {
        return Err(DumpError::Record);
    }
    if u64::from(size) > rest {
        return Ok(None);
    }
    let body = &bytes[PREFIX_SIZE.min(bytes.len())..bytes.len().min(size as usize)];
    let event = match kind {
        LOAD => load(body),
        MOVE => moved(body),
        DEBUG_INFO => debug_info(body),
        CLOSE => Some(Event::Close),
        UNWINDING_INFO => Some(Event::Other),
        _ => None,
    };
    Ok(Some(Record { size, time, event: event.unwrap_or(Event::Other) }))
}

fn load(body: &[u8]) -> Option<Event<'_>> {
    let mut at = Cursor(body);
    let (_pid, _tid, _vma, start, size, _index) = (at.u32()?, at.u32()?, at.u64()?, at.u64()?, at.u64()?, at.u64()?);
    let name = at.text()?;
    (size > 0 && start.checked_add(size).is_some() && !name.is_empty()).then_some(Event::Load { start, size, name })
}

fn moved(body: &[u8]) -> Option<Event<'_>> {
    let mut at = Cursor(body);
    let (_pid, _tid, _vma, from, to, size) = (at.u32()?, at.u32()?, at.u64()?, at.u64()?, at.u64()?, at.u64()?);
    let fits = size > 0 && from.checked_add(size).is_some() && to.checked_add(size).is_some();
    fits.then_some(Event::Move { from, to, size })
}

fn debug_info(body: &[u8]) -> Option<Event<'_>> {
    let mut at = Cursor(body);
    let (start, count) = (at.u64()?, at.u64()?);
    Some(Event::Lines { start, entries: Lines { rest: at.0, count, file: b"" } })
}

/// One entry of a code's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEntry<'a> {
    /// First address that is of this line.
    pub address: u64,
    /// Line, from 1.
    pub line: u32,
    /// Source file; not necessarily UTF-8.
    pub file: &'a [u8],
}

/// The lines of a code, in the order of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines<'a> {
    rest: &'a [u8],
    count: u64,
    file: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = LineEntry<'a>;

    fn next(&mut self) -> Option<LineEntry<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut at = Cursor(self.rest);
        let (address, line, _column) = (at.u64()?, at.u32()?, at.u32()?);
        let file = at.text()?;
        self.rest = at.0;
        // A name of the one byte 0xff stands for the name before.
        if file != b"\xff" {
            self.file = file;
        }
        Some(LineEntry { address, line, file: self.file })
    }
}

/// Reads numbers of this machine's byte order from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*value))
    }

    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*value))
    }

    /// A text up to its NUL; where that is not among the bytes looked at, what there is of it.
    fn text(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        Some(text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header as V8 writes it.
    pub(crate) fn header(pid: u32, flags: u64) -> Vec<u8> {
        let words = [MAGIC, 1, 40, 62, 0, pid].iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        [&words[..], &7_u64.to_ne_bytes(), &flags.to_ne_bytes()].concat()
    }

    fn record(kind: u32, time: u64, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(16 + body.len()).unwrap();
        [&kind.to_ne_bytes()[..], &size.to_ne_bytes(), &time.to_ne_bytes(), body].concat()
    }

    /// A load of so much code.
    pub(crate) fn load_record(time: u64, start: u64, size: usize, name: &str) -> Vec<u8> {
        let mut body = [1_u32, 1].iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        body.extend([start, start, size as u64, 1].iter().flat_map(|word| word.to_ne_bytes()));
        body.extend(name.as_bytes().iter().chain([&0]));
        body.extend(std::iter::repeat_n(0x90, size));
        record(LOAD, time, &body)
    }

    /// A move.
    pub(crate) fn move_record(time: u64, from: u64, to: u64, size: u64) -> Vec<u8> {
        let mut body = [1_u32, 1].iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        body.extend([to, from, to, size, 1].iter().flat_map(|word| word.to_ne_bytes()));
        record(MOVE, time, &body)
    }

    /// Lines of a code.
    pub(crate) fn lines_record(time: u64, start: u64, lines: &[(u64, u32, &[u8])]) -> Vec<u8> {
        let mut body = [start, lines.len() as u64].iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        for (address, line, file) in lines {
            body.extend(address.to_ne_bytes().iter().chain(&line.to_ne_bytes()).chain(&0_u32.to_ne_bytes()).chain(*file).chain([&0]));
        }
        record(DEBUG_INFO, time, &body)
    }

    /// Header and records of each kind, one after the other.
    #[test]
    fn reads_records() {
        assert_eq!(parse_header(&header(9, 0)), Ok(Header { size: 40, pid: 9, monotonic: true }));
        assert!(!parse_header(&header(9, 1)).unwrap().monotonic);
        let lines = lines_record(2, 0x1000, &[(0x1000, 7, b"a.js"), (0x1008, 8, b"\xff")]);
        let all = [lines, load_record(3, 0x1000, 20, "f"), move_record(4, 0x1000, 0x2000, 20), record(CLOSE, 5, &[]), record(9, 6, &[1])];
        let events: Vec<_> = all.iter().map(|bytes| parse_record(bytes, bytes.len() as u64).unwrap().unwrap()).collect();
        assert_eq!(events.iter().map(|event| event.time).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        let Event::Lines { start: 0x1000, entries } = events[0].event else { panic!("{:?}", events[0]) };
        let entries: Vec<_> = entries.map(|entry| (entry.address, entry.line, entry.file)).collect();
        assert_eq!(entries, [(0x1000, 7, &b"a.js"[..]), (0x1008, 8, b"a.js")]);
        assert_eq!(events[1].event, Event::Load { start: 0x1000, size: 20, name: b"f" });
        assert_eq!(events[2].event, Event::Move { from: 0x1000, to: 0x2000, size: 20 });
        assert_eq!((events[3].event, events[4].event), (Event::Close, Event::Other));
    }

    /// What is not whole waits; what cannot be is an error; nothing panics, wherever it is cut or changed.
    #[test]
    fn hostile_records_are_refused() {
        let good = load_record(3, 0x1000, 20, "f");
        assert_eq!(parse_record(&good, good.len() as u64 - 1), Ok(None));
        assert_eq!(parse_record(&[0; 16], 1000), Err(DumpError::Record));
        assert_eq!(parse_header(&header(1, 0).iter().rev().copied().collect::<Vec<_>>()), Err(DumpError::NotADump));
        let swapped: Vec<u8> = MAGIC.swap_bytes().to_ne_bytes().into_iter().chain([0; 36]).collect();
        assert_eq!(parse_header(&swapped), Err(DumpError::ByteOrder));
        for all in [good, lines_record(2, 0x1000, &[(0x1000, 7, b"a.js")]), move_record(4, 1, 2, 20), header(1, 0)] {
            for cut in 0..=all.len() {
                _ = parse_header(&all[..cut]);
                _ = parse_record(&all[..cut], u64::MAX);
                for value in [0, 0x7f, 0xff] {
                    let mut changed = all.clone();
                    changed[cut.min(all.len() - 1)] = value;
                    if let Ok(Some(Record { event: Event::Lines { entries, .. }, .. })) = parse_record(&changed, u64::MAX) {
                        assert!(entries.count() < 100);
                    }
                }
            }
        }
    }
}
