//! Perf maps: the file `/tmp/perf-PID.map` in which a runtime names the code that it generates. Parser only, pure.
//!
//! One line each: `START SIZE NAME`, both numbers hexadecimal (bare from node's `--perf-basic-prof`, with `0x` from the JVM
//! and CPython). The file grows while the program runs, and code may be thrown away and its place used again: of entries
//! that cover an address, the last one written holds. Source: `tools/perf/Documentation/jit-interface.txt` of Linux.

use flamekeeper_profile::Avma;

/// The longest line: what is longer is no line.
pub(super) const MAX_LINE: usize = 8192;

/// One line of a perf map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// First address.
    pub start: Avma,
    /// Length in bytes; the end does not overflow.
    pub size: u64,
    /// Name; not necessarily UTF-8.
    pub name: &'a [u8],
}

/// Reads one line; none where it is not one.
#[must_use]
pub fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let start = parse_hex(parts.next()?)?;
    let size = parse_hex(parts.next()?)?;
    let name = parts.next()?.trim_ascii();
    (!name.is_empty() && size > 0 && start.checked_add(size).is_some()).then_some(Line { start: Avma(start), size, name })
}

/// The lines of a piece of a perf map that are whole, and how many bytes of the piece are done with. A line that is still
/// being written is not; one that is longer than any line is skipped as far as it goes.
pub fn lines(piece: &[u8]) -> (impl Iterator<Item = Line<'_>>, usize) {
    let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let done = if piece.len() - whole > MAX_LINE { piece.len() } else { whole };
    let lines = piece.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| line.len() <= MAX_LINE);
    (lines.filter_map(parse_line), done)
}

fn parse_hex(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| Some(value << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
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

    /// A half-written line waits, an endless one is passed over, garbage between lines costs only itself.
    #[test]
    fn pieces_end_at_lines() {
        let (found, done) = lines(b"10 1 a\nwhat?\n20 1 b\n30 1 c");
        assert_eq!((found.map(|line| line.start.0).collect::<Vec<_>>(), done), (vec![0x10, 0x20], 20));
        let zeroes = vec![0; MAX_LINE + 1];
        assert_eq!((lines(&zeroes).0.count(), lines(&zeroes).1), (0, zeroes.len()));
        assert_eq!((lines(&zeroes[..MAX_LINE]).1, lines(b"").1), (0, 0));
    }
}
