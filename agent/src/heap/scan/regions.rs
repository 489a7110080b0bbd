//! What a process's writable memory is made of: a parser of `/proc/PID/maps`.

use std::ops::Range;

/// What a part of memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Variables of an object: its file, where the file is mapped, and from which byte on.
    Data { path: Box<str>, start: u64, offset: u64 },
    /// The stack of the first thread.
    MainStack,
    /// No file's: heaps, arenas, stacks of threads.
    Anonymous,
}

/// A writable mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) range: Range<u64>,
    pub(super) kind: Kind,
}

/// The writable mappings that can hold pointers of the program, by address. What is left out: the table of samples itself, devices, and
/// files that are shared with others but for shared memory.
pub(super) fn parse(maps: &str) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut object: Option<(Kind, u64)> = None;
    for line in maps.lines() {
        let Some((range, permissions, offset, path)) = fields(line) else { continue };
        let is_data = path.starts_with('/') && !permissions.ends_with('s');
        if is_data {
            object = Some((Kind::Data { path: path.trim_end_matches(" (deleted)").into(), start: range.start, offset }, range.end));
        }
        let readable = permissions.starts_with("rw");
        let shared_memory =
            path.starts_with("/dev/shm/") || path.starts_with("/dev/zero") || path.starts_with("/SYSV") || path.starts_with("/memfd:");
        let kind = match (path, &mut object) {
            (path, _) if path.starts_with("/memfd:flamekeeper-heap") || (path.starts_with("/dev/") && !shared_memory) => continue,
            ("[stack]", _) => Kind::MainStack,
            // What follows the variables of a file without a gap, and has no name, are those that begin as zero.
            ("", Some((data, end))) if *end == range.start && offset == 0 => {
                *end = range.end;
                data.clone()
            }
            ("" | "[heap]", _) => Kind::Anonymous,
            (path, _) if path.starts_with("[anon") => Kind::Anonymous,
            (_, Some((data, _))) if is_data => data.clone(),
            _ if shared_memory => Kind::Anonymous,
            _ => continue,
        };
        if readable {
            regions.push(Region { range, kind });
        }
    }
    regions
}

fn fields(line: &str) -> Option<(Range<u64>, &str, u64, &str)> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let (permissions, offset) = (fields.next()?, hex(fields.next()?)?);
    (start < end).then(|| (start..end, permissions, offset, fields.nth(2).unwrap_or_default().trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Variables, those that begin as zero too, are told from heaps, stacks and what holds no pointers.
    #[test]
    fn regions_are_told() {
        let maps = "5500-5600 r--p 00000000 08:01 7                   /bin/leaky\n\
            5600-5700 rw-p 00001000 08:01 7                   /bin/leaky\n5700-5800 rw-p 00000000 00:00 0 \n5900-5a00 rw-p 00000000 00:00 0                   [heap]\n\
            6000-6100 r-xp 00000000 08:01 9                   /lib/a b.so (deleted)\n6100-6200 rw-p 00002000 08:01 9                   /lib/a b.so (deleted)\n\
            7000-7100 rw-p 00000000 00:00 0 \n7100-7200 rw-s 00000000 00:01 5                   /memfd:flamekeeper-heap (deleted)\n\
            7200-7300 rw-s 00000000 00:05 6                   /dev/nvidia0\n7300-7400 ---p 00000000 00:00 0 \n7f00-7f80 rw-p 00000000 00:00 0                   [stack]\nbroken\n";
        let data = |path: &str, start, offset| Kind::Data { path: path.into(), start, offset };
        let found: Vec<_> = parse(maps).into_iter().map(|region| (region.range.start, region.kind)).collect();
        let expected = [
            (0x5600, data("/bin/leaky", 0x5600, 0x1000)),
            (0x5700, data("/bin/leaky", 0x5600, 0x1000)),
            (0x5900, Kind::Anonymous),
            (0x6100, data("/lib/a b.so", 0x6100, 0x2000)),
            (0x7000, Kind::Anonymous),
            (0x7f00, Kind::MainStack),
        ];
        assert_eq!(found, expected);
    }
}
