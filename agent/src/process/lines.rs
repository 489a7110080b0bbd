//! `/proc/PID/maps`, line by line (proc_pid_maps(5)).
//!
//! All processes of a host are read at the start, and every new one that is sampled, and most of their lines are of no interest: so
//! nothing is allocated for a line.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;

/// Bytes of a line that are understood: four for each byte of the longest path (`\012` for what would end the line), and what is
/// before it.
const LONGEST_LINE: usize = 4 * 4096 + 256;
/// Bytes of all lines of a process that are read.
const MOST: u64 = 16 << 20;
/// Bytes that are asked for at once where the first lines may do: the kernel makes no more lines than fit.
pub(crate) const FEW: usize = 512;
/// The same, where all of them are likely to be wanted.
pub(crate) const MANY: usize = LONGEST_LINE;

/// A mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its first address.
    pub(crate) start: u64,
    /// The address behind it.
    pub(crate) end: u64,
    permissions: [u8; 4],
    /// Where in the file it begins, in bytes.
    pub(crate) offset: u64,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    /// 0: no file.
    pub(crate) inode: u64,
    /// Path of the file, or a name in brackets, or nothing.
    pub(crate) path: &'a [u8],
}

impl<'a> Line<'a> {
    /// Understands a line; none where it is none of a mapping.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut rest = line;
        let (start, end) = split_at(word(&mut rest), b'-')?;
        let permissions = word(&mut rest).first_chunk().copied()?;
        let offset = hex(word(&mut rest))?;
        let (major, minor) = split_at(word(&mut rest), b':')?;
        let inode = std::str::from_utf8(word(&mut rest)).ok()?.parse().ok()?;
        let device = (u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?);
        Some(Self { start: hex(start)?, end: hex(end)?, permissions, offset, device, inode, path: rest.trim_ascii_start() })
    }

    /// Whether it is code.
    pub(crate) fn is_executable(&self) -> bool {
        self.permissions[2] == b'x'
    }

    /// Whether what is written to it goes to the file.
    pub(crate) fn is_shared(&self) -> bool {
        self.permissions[3] == b's'
    }

    /// Whether it may be written to.
    pub(crate) fn is_writable(&self) -> bool {
        self.permissions[1] == b'w'
    }
}

/// Calls `take` with each mapping of a process, in order of addresses.
///
/// # Errors
/// Where they cannot be read, or not to the end; `take` was called with those before.
pub(crate) fn each(pid: u32, take: impl FnMut(Line<'_>)) -> io::Result<()> {
    each_of(open(pid)?, take)
}

/// The same, of what such a file holds.
pub(super) fn each_of(maps: impl Read, mut take: impl FnMut(Line<'_>)) -> io::Result<()> {
    until(maps, MANY, |line| {
        take(line);
        ControlFlow::Continue(())
    })
}

/// What the kernel says of a process's mappings.
///
/// # Errors
/// Where that may not be read, or the process is gone.
pub(crate) fn open(pid: u32) -> io::Result<io::Take<File>> {
    Ok(File::open(format!("/proc/{pid}/maps"))?.take(MOST))
}

/// As [`each_of`], until `take` breaks off. No more than `at_once` bytes are read beyond that.
///
/// # Errors
/// As those of [`each`].
pub(crate) fn until(mut maps: impl Read, at_once: usize, mut take: impl FnMut(Line<'_>) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST_LINE];
    let mut held = 0;
    loop {
        let room = buffer.len().min(held + at_once);
        let read = match maps.read(&mut buffer[held..room]) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let filled = held + read;
        let (mut start, mut seen) = (0, held);
        while let Some(end) = buffer[seen..filled].iter().position(|byte| *byte == b'\n').map(|at| seen + at) {
            if let Some(line) = Line::parse(&buffer[start..end])
                && take(line).is_break()
            {
                return Ok(());
            }
            (start, seen) = (end + 1, end + 1);
        }
        buffer.copy_within(start..filled, 0);
        held = filled - start;
        if held == buffer.len() {
            // No line of the kernel is as long; the rest of it will not be understood either.
            held = 0;
        }
    }
}

/// Takes the next word off.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let text = rest.trim_ascii_start();
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after;
    word
}

fn split_at(word: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == separator)?;
    Some((&word[..at], &word[at + 1..]))
}

/// A number of small digits, as the kernel writes them.
fn hex(digits: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files, names in brackets, spaces in paths, memory without a name, and what is no line.
    #[test]
    fn lines() {
        let line = Line::parse(b"7f1c2a000000-7f1c2a021000 r-xp 00028000 fe:10 1311 /usr/lib/a b.so (deleted)").unwrap();
        assert_eq!((line.start, line.end, line.offset), (0x7f1c_2a00_0000, 0x7f1c_2a02_1000, 0x28000));
        assert_eq!((line.device, line.inode, line.path), ((0xfe, 0x10), 1311, &b"/usr/lib/a b.so (deleted)"[..]));
        assert!(line.is_executable() && !line.is_writable());
        let stack = Line::parse(b"7ffd5c9a9000-7ffd5c9ca000 rw-p 00000000 00:00 0                          [stack]").unwrap();
        assert!(stack.path == b"[stack]" && stack.is_writable() && !stack.is_executable());
        assert_eq!(Line::parse(b"00400000-00401000 rwxp 00000000 00:00 0 ").unwrap().path, b"");
        let high = Line::parse(b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]").unwrap();
        assert_eq!((high.start, high.end), (0xffff_ffff_ff60_0000, 0xffff_ffff_ff60_1000));
        for other in [
            &b""[..],
            b"-",
            b"1-2",
            b"1-2 r",
            b"1-2 rw-p 0",
            b"1-2 rw-p 0 0 0",
            b"1-2 rw-p 0 0:0",
            b"1-2 rw-p 0 0:0 x",
            b"1 rw-p 0 0:0 0",
            b"1-1ffffffffffffffff rw-p 0 0:0 0",
            b"1-2 rw-p 0 1ffffffff:0 0",
            b"1-2 rw-p \xff 0:0 0",
        ] {
            assert_eq!(Line::parse(other), None, "{other:?}");
        }
    }

    /// Lines come whole however the reads cut them, and one that is too long harms no other but itself.
    #[test]
    fn any_cut() {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let size = self.1.min(self.0.len()).min(buffer.len());
                let (now, later) = self.0.split_at(size);
                buffer[..size].copy_from_slice(now);
                self.0 = later;
                Ok(size)
            }
        }
        let mut text = b"1-2 r-xp 0 0:0 0 /a\n".to_vec();
        text.extend([&b"2-3 r-xp 0 0:0 0 /"[..], &vec![b'x'; 3 * LONGEST_LINE], b"\n3-4 rw-p 0 0:0 0 /b\n4-5 rw"].concat());
        for size in [1, 7, 20, 4096, usize::MAX] {
            let mut found = Vec::new();
            each_of(Pieces(&text, size), |line| found.push((line.start, line.path.to_vec()))).unwrap();
            assert_eq!(found, [(1, b"/a".to_vec()), (3, b"/b".to_vec())], "{size}");
        }
    }

    /// What is broken off has read little more than it needed.
    #[test]
    fn breaks_off() {
        let line = b"1-2 r-xp 0 0:0 0 /a\n";
        let mut text = &line.repeat(1000)[..];
        let mut lines = 0;
        let third = |line: Line<'_>| {
            lines += 1;
            if line.path == b"/a" && lines == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        until(&mut text, FEW, third).unwrap();
        assert_eq!((lines, text.len()), (3, 1000 * line.len() - FEW));
    }

    /// Of this process the same as the package procfs says.
    #[test]
    fn agrees_with_procfs() {
        // Some of this process's mappings may come and go meanwhile: those of a child that waits do not.
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let mut found = Vec::new();
        each(child.id(), |line| found.push((line.start, line.end, line.offset, line.inode, line.is_executable()))).unwrap();
        let maps = procfs::process::Process::new(child.id().cast_signed()).unwrap().maps().unwrap();
        let executable = |map: &procfs::process::MemoryMap| map.perms.contains(procfs::process::MMPermissions::EXECUTE);
        let expected: Vec<_> = maps.iter().map(|map| (map.address.0, map.address.1, map.offset, map.inode, executable(map))).collect();
        assert!(child.kill().is_ok() && child.wait().is_ok());
        assert!(found == expected && found.len() > 10, "{found:x?}\n{expected:x?}");
    }
}
