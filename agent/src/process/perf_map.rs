//! Perf maps: the file `/tmp/perf-PID.map` in which a runtime names the code that it generates.
//!
//! One line each: `START SIZE NAME`, both numbers hexadecimal (bare from node's `--perf-basic-prof`, with `0x` from the JVM
//! and CPython). The file grows while the program runs, and code may be thrown away and its place used again: of entries
//! that cover an address, the last one written holds. Source: `tools/perf/Documentation/jit-interface.txt` of Linux.
//!
//! The file is written by the program and so hostile: it is opened inside the process's own root without following links
//! out of it, must be a regular file of the process's user that is younger than the process, and is read up to
//! [`MAX_BYTES`], in pieces.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;

use flamekeeper_profile::Avma;
use procfs::process::Process as ProcEntry;

/// Bytes of a map that are read in all.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// Bytes read at once: the rest waits for the next look.
const MAX_READ: u64 = 8 << 20;
/// Names kept for one process, in bytes.
const MAX_TEXT: usize = 16 << 20;
/// Entries kept for one process.
const MAX_ENTRIES: usize = 1 << 18;
/// Bytes of a name that are kept.
const MAX_NAME: usize = 512;
/// Entries to look back over for one that covers an address.
const LOOK_BACK: usize = 16;
/// How long to wait before looking at a map again, in nanoseconds.
const LOOK_EVERY: u64 = 1_000_000_000;
/// How long to wait where there was none.
const LOOK_EVERY_ABSENT: u64 = 5_000_000_000;

/// One line of a perf map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// First address.
    pub(crate) start: Avma,
    /// Length in bytes.
    pub(crate) size: u64,
    /// Name; not necessarily UTF-8.
    pub(crate) name: &'a [u8],
}

/// Reads one line; none where it is not one.
#[must_use]
pub(crate) fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let start = parse_hex(parts.next()?)?;
    let size = parse_hex(parts.next()?)?;
    let name = parts.next()?.trim_ascii();
    (!name.is_empty() && size > 0 && start.checked_add(size).is_some()).then_some(Line { start: Avma(start), size, name })
}

fn parse_hex(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

/// What a process's perf map says, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct PerfMap {
    names: Names,
    /// How far the file was read.
    read: u64,
    /// When to look next, in the records' time.
    next_look: u64,
    /// How often something new was read.
    version: u32,
}

#[derive(Debug, Default)]
struct Names {
    /// Sorted by start, then by order in the file.
    entries: Vec<Entry>,
    text: String,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    size: u32,
    order: u32,
    name: u32,
    length: u16,
}

impl PerfMap {
    /// Reads what the process has written since the last look, if it is time to look.
    pub(crate) fn refresh(&mut self, pid: u32, now: u64) {
        if now < self.next_look {
            return;
        }
        let found = self.read_more(pid).is_ok();
        self.next_look = now.saturating_add(if found { LOOK_EVERY } else { LOOK_EVERY_ABSENT });
    }

    /// The name of the code at an address.
    pub(crate) fn name(&self, address: Avma) -> Option<&str> {
        self.names.find(address.0)
    }

    /// Changes when names may have.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    fn read_more(&mut self, pid: u32) -> io::Result<()> {
        let mut file = open(pid)?;
        let size = file.metadata()?.len();
        if size < self.read {
            *self = Self { next_look: self.next_look, version: self.version.wrapping_add(1), ..Self::default() };
        }
        if size == self.read || self.read >= MAX_BYTES {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(MAX_READ.min(MAX_BYTES - self.read)).read_to_end(&mut bytes)?;
        // A line that is still being written is read whole the next time.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        self.names.add(&bytes[..whole]);
        self.version = self.version.wrapping_add(1);
        Ok(())
    }
}

impl Names {
    fn add(&mut self, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n').filter_map(parse_line) {
            if self.entries.len() >= MAX_ENTRIES || self.text.len() >= MAX_TEXT {
                break;
            }
            let name = self.text.len();
            push_clean(&mut self.text, line.name);
            let length = self.text.len() - name;
            let entry = Entry {
                start: line.start.0,
                size: u32::try_from(line.size).unwrap_or(u32::MAX),
                order: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
                name: u32::try_from(name).unwrap_or_default(),
                length: u16::try_from(length).unwrap_or_default(),
            };
            self.entries.push(entry);
        }
        self.entries.sort_unstable_by_key(|entry| (entry.start, entry.order));
    }

    fn find(&self, address: u64) -> Option<&str> {
        let end = self.entries.partition_point(|entry| entry.start <= address);
        let candidates = self.entries.get(end.saturating_sub(LOOK_BACK)..end)?;
        let covering = candidates.iter().filter(|entry| address - entry.start < u64::from(entry.size));
        let entry = covering.max_by_key(|entry| entry.order)?;
        self.text.get(entry.name as usize..entry.name as usize + usize::from(entry.length))
    }
}

/// Appends a name as text without control characters, cut to [`MAX_NAME`].
fn push_clean(text: &mut String, name: &[u8]) {
    let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
    text.extend(name.chars().map(|character| if character.is_control() { '?' } else { character }));
}

/// Opens the map of a process, from inside its root.
fn open(pid: u32) -> io::Result<File> {
    let refuse = |why| io::Error::new(io::ErrorKind::PermissionDenied, why);
    let process = ProcEntry::new(i32::try_from(pid).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let inner = process.status().ok().and_then(|status| status.nspid).and_then(|ids| ids.last().copied());
    let name = format!("tmp/perf-{}.map\0", inner.unwrap_or_else(|| process.pid()));
    let root = File::open(format!("/proc/{pid}/root"))?;
    let file = open_in_root(&root, name.as_bytes())?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refuse("perf map is no regular file"));
    }
    let owner = process.uid().map_err(io::Error::other)?;
    if metadata.uid() != owner && metadata.uid() != 0 {
        return Err(refuse("perf map belongs to another user"));
    }
    if started(&process).is_some_and(|started| metadata.mtime().saturating_add(1) < started) {
        return Err(refuse("perf map is older than the process"));
    }
    Ok(file)
}

/// When the process started, in seconds since the epoch.
fn started(process: &ProcEntry) -> Option<i64> {
    let ticks = process.stat().ok()?.starttime / procfs::ticks_per_second();
    i64::try_from(procfs::boot_time_secs().ok()?.checked_add(ticks)?).ok()
}

/// `openat2(2)` that cannot leave `root`, follow a link at the end, or hang on a pipe. `name` ends with a NUL.
fn open_in_root(root: &File, name: &[u8]) -> io::Result<File> {
    debug_assert_eq!(name.last(), Some(&0));
    // SAFETY: open_how is a plain struct of integers, for which all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the name is NUL-terminated (all callers, asserted above), `how` and its size belong together, and both
    // outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), name.as_ptr(), &raw const how, size_of_val(&how)) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Bare and prefixed numbers, names with spaces; what is no line is none.
    #[test]
    fn reads_lines() {
        let line = parse_line(b"3ef414c0 398 RegExp:[{(]").unwrap();
        assert_eq!((line.start, line.size, line.name), (Avma(0x3ef4_14c0), 0x398, &b"RegExp:[{(]"[..]));
        assert_eq!(parse_line(b"0x00007f0a 0x10 int java.lang.X.f()").unwrap().name, b"int java.lang.X.f()");
        for bad in [&b""[..], b"12", b"12 34", b"zz 10 x", b"10 0 x", b"ffffffffffffffff 10 x", b"11111111111111111 1 x", b"1 1  "] {
            assert_eq!(parse_line(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    /// The last entry written over an address holds, wherever it starts.
    #[test]
    fn last_entry_wins() {
        let mut names = Names::default();
        names.add(b"1000 100 old\n1000 100 new\n2000 1000 big\n2100 10 small\nbroken\n");
        assert_eq!(names.find(0x1050), Some("new"));
        assert_eq!(names.find(0x2105), Some("small"));
        assert_eq!(names.find(0x2500), Some("big"));
        assert_eq!((names.find(0xfff), names.find(0x1100)), (None, None));
        names.add(b"1080 10 newest\n");
        assert_eq!((names.find(0x1085), names.find(0x1050)), (Some("newest"), Some("new")));
    }

    /// Names are text without control characters and of bounded length; numbers at the edge do not panic.
    #[test]
    fn hostile_names_are_tamed() {
        let mut names = Names::default();
        let mut line = b"ffffffffffff0000 ffff ".to_vec();
        line.extend(std::iter::repeat_n(0xff_u8, 5000));
        line.extend(b"\x1b[2J\n10 1 a\x07b\n");
        names.add(&line);
        assert!(names.find(0xffff_ffff_ffff_0001).is_some_and(|name| name.chars().count() == MAX_NAME));
        assert_eq!(names.find(0x10), Some("a?b"));
    }

    /// The map of this very process is found, grows, and a half-written line waits; a link in its place is refused.
    #[test]
    fn reads_what_was_appended() {
        let pid = std::process::id();
        let path = format!("/tmp/perf-{pid}.map");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"1000 10 one\n2000 10 tw").unwrap();
        let mut map = PerfMap::default();
        map.refresh(pid, 1);
        assert_eq!((map.name(Avma(0x1001)), map.name(Avma(0x2001))), (Some("one"), None));
        file.write_all(b"o\n").unwrap();
        map.refresh(pid, 2);
        assert_eq!(map.name(Avma(0x2001)), None, "looked again too early");
        map.refresh(pid, 1 + LOOK_EVERY);
        assert_eq!(map.name(Avma(0x2001)), Some("two"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/maps", &path).unwrap();
        let refused = open(pid).is_err();
        std::fs::remove_file(&path).unwrap();
        assert!(refused);
    }
}
