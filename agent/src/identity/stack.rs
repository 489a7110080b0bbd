//! The environment of a process in the copy of its main thread's stack.
//!
//! At an execve the kernel puts a program's arguments and environment at the top of its first stack, from low to high
//! addresses: the number of arguments, pointers to them, 0, pointers to the environment, 0, the auxiliary vector (pairs of
//! words, ended by 0), then the texts: arguments, environment, the program's path, and 8 zero bytes. Source: `fs/exec.c` and
//! `fs/binfmt_elf.c` of Linux. A copy that ends at the top of the stack holds all of that, so the environment of a small
//! program is known even when it is long dead.
//!
//! What is found is what `/proc/PID/environ` would show: the memory belongs to the process, and is hostile input.

use std::ops::Range;

/// `AT_EXECFN` of `auxvec.h`: its value is the address of the program's path.
const AT_EXECFN: u64 = 31;
/// The highest type of an entry of the auxiliary vector that is believed (`AT_MINSIGSTKSZ` is 51).
const MAX_TYPE: u64 = 255;
/// Entries of the auxiliary vector that are believed; the kernel writes some twenty.
const MAX_ENTRIES: usize = 64;
/// Zero bytes above the program's path.
const TOP: usize = 8;
const WORD: usize = 8;

/// The environment, as in `/proc/PID/environ`, in a copy of a stack that starts at `start` and reaches its top; none where
/// the copy is no such one.
pub fn environ(copy: &[u8], start: u64) -> Option<&[u8]> {
    let path = copy.len().checked_sub(TOP).filter(|end| copy[*end..].iter().all(|byte| *byte == 0))?;
    // The byte before is the zero that ends the path.
    let text = copy.get(..path.checked_sub(1)?).filter(|_| copy.get(path - 1) == Some(&0))?;
    let path = text.iter().rposition(|byte| *byte == 0)? + 1;
    let path_address = start.checked_add(u64::try_from(path).ok()?)?;
    let words = Words { bytes: copy, phase: usize::try_from(start.wrapping_neg() % 8).ok()? };
    let entry = words.find_below(path, [AT_EXECFN, path_address])?;
    let first = words.first_variable(entry, start..path_address)?;
    let from = usize::try_from(first.checked_sub(start)?).ok()?;
    copy.get(from..path)
}

/// The aligned words of a copy, by their place from its start.
struct Words<'a> {
    bytes: &'a [u8],
    /// Bytes before the first aligned word.
    phase: usize,
}

impl Words<'_> {
    fn get(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(WORD)?.checked_add(self.phase)?;
        self.bytes.get(at..)?.first_chunk::<8>().map(|word| u64::from_ne_bytes(*word))
    }

    /// The place of the highest such pair that lies below a byte.
    fn find_below(&self, byte: usize, pair: [u64; 2]) -> Option<usize> {
        let last = byte.checked_sub(self.phase)? / WORD;
        (0..last).rev().find(|index| self.get(*index) == Some(pair[0]) && self.get(index + 1) == Some(pair[1]))
    }

    /// The lowest pointer to the environment that points to `texts`, from the place of an entry of the auxiliary vector.
    fn first_variable(&self, entry: usize, texts: Range<u64>) -> Option<u64> {
        let mut at = entry;
        // Down the auxiliary vector to the zero that ends the pointers; a type of 0 stands only at the vector's end.
        for _ in 0..MAX_ENTRIES {
            let below = at.checked_sub(2)?;
            if self.get(below)? == 0 || self.get(below)? > MAX_TYPE {
                break;
            }
            at = below;
        }
        let mut at = at.checked_sub(1).filter(|end| self.get(*end) == Some(0))?;
        if at.checked_sub(1).and_then(|below| self.get(below)) == Some(0) {
            // An empty environment: nothing between here and the path.
            return Some(texts.end);
        }
        let mut first = None;
        // Down the pointers to the zero that ends those of the arguments.
        while let Some(pointer) = at.checked_sub(1).and_then(|below| self.get(below)).filter(|pointer| *pointer != 0) {
            // A program that has set a variable anew has its pointer lead elsewhere; where the kernel put the first is what counts.
            let lower = first.is_none_or(|first| pointer < first);
            first = if lower && texts.contains(&pointer) { Some(pointer) } else { first };
            at -= 1;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x7ffd_0000_1000;

    /// A stack as the kernel makes it: some frames, pointers, auxiliary vector, texts.
    fn stack(arguments: &[&str], variables: &[&str]) -> Vec<u8> {
        let texts = |list: &[&str]| list.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
        let frames = [0xdead_beef_u64, AT_EXECFN, 7, 0];
        let words = frames.len() + 1 + arguments.len() + 1 + variables.len() + 1 + 6;
        let mut place = START + (words * WORD) as u64;
        let mut pointers = |list: &[&str]| {
            let each = list.iter().map(|text| {
                let at = place;
                place += text.len() as u64 + 1;
                at
            });
            each.collect::<Vec<u64>>()
        };
        let (argv, envp) = (pointers(arguments), pointers(variables));
        let vector = [6, 4096, AT_EXECFN, place, 0, 0];
        let count = [arguments.len() as u64];
        let all = frames.iter().chain(&count).chain(&argv).chain(&[0]).chain(&envp).chain(&[0]).chain(&vector);
        let words: Vec<u8> = all.flat_map(|word| word.to_ne_bytes()).collect();
        [words, texts(arguments), texts(variables), texts(&["/bin/x"]), vec![0; TOP]].concat()
    }

    /// The environment is found apart from the arguments, which look the same, wherever the copy starts.
    #[test]
    fn finds_the_environment() {
        let bytes = stack(&["env", "OTEL_SERVICE_NAME=no"], &["A=1", "OTEL_SERVICE_NAME=api"]);
        assert_eq!(environ(&bytes, START), Some(&b"A=1\0OTEL_SERVICE_NAME=api\0"[..]));
        assert_eq!(environ(&bytes[8..], START + 8), Some(&b"A=1\0OTEL_SERVICE_NAME=api\0"[..]));
        assert_eq!(environ(&bytes[3..], START + 3), Some(&b"A=1\0OTEL_SERVICE_NAME=api\0"[..]));
        assert_eq!(environ(&stack(&["x"], &[]), START), Some(&b""[..]));
    }

    /// A copy that does not reach the top, or is none of a main thread, has no environment; nothing panics.
    #[test]
    fn other_copies() {
        let bytes = stack(&["x"], &["A=1"]);
        for length in 0..bytes.len() {
            assert_eq!(environ(&bytes[..length], START), None, "{length}");
        }
        for place in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[place] = value;
                std::hint::black_box(environ(&changed, START));
            }
        }
        assert_eq!(environ(&[0; 4096], START), None);
        assert_eq!(environ(&bytes, u64::MAX - 64), None);
    }

    /// A real program's stack, read from its memory while it sleeps, has the environment that procfs shows.
    #[test]
    fn real_stack() {
        let mut child = std::process::Command::new("sleep").arg("60").env("OTEL_SERVICE_NAME", "api").spawn().unwrap();
        let proc = format!("/proc/{}", child.id());
        let shown = loop {
            let shown = std::fs::read(format!("{proc}/environ")).unwrap();
            if std::fs::read_to_string(format!("{proc}/comm")).unwrap() == "sleep\n" && !shown.is_empty() {
                break shown;
            }
        };
        let maps = std::fs::read_to_string(format!("{proc}/maps")).unwrap();
        let range = maps.lines().find(|line| line.ends_with("[stack]")).unwrap().split(' ').next().unwrap().to_owned();
        let (from, to) = range.split_once('-').unwrap();
        let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(address(to) - address(from)).unwrap()];
        let memory = std::fs::File::open(format!("{proc}/mem")).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut bytes, address(from)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(environ(&bytes, address(from)), Some(&shown[..]));
    }
}
