//! Code without unwind information, in programs that carry their C library with them and whose library has none: musl's.
//!
//! Such a program's `main` is called by code that says nothing of its frames and keeps no frame pointer, so no stack of it
//! would reach a root. What can be relied on there is what the code itself shows:
//! - the return address of the entry point's first call, and of the call in musl's `__clone` that runs a new thread (which
//!   goes on to end it), are roots: nothing lies below them;
//! - musl's `__restore_rt` is where the handler of a signal returns to;
//! - a word on the stack that follows a direct call to a function shortly before the frame's own address, or to one that
//!   jumps to such a function, is its return address. [`Sites::caller`] looks for the first word that follows a call at all,
//!   and takes it only if it is one of these: another may be what an earlier call left.
//!
//! The code is kept for objects that have an entry point which their unwind information does not cover; others have none of
//! these needs. Source: musl's `src/thread/x86_64/clone.s`, `src/signal/x86_64/restore.s`, `arch/x86_64/crt_arch.h`.

use std::sync::Arc;

use flamekeeper_object::{ObjectFile, Segment};
use flamekeeper_profile::Svma;

use crate::unwind::verdict::Verdict;

/// Code that is kept of one object, in bytes. musl itself has 600 KB.
const MAX_CODE: u64 = 4 << 20;
/// Bytes of the entry point that its first call is looked for in.
const ENTRY: usize = 64;
/// Bytes from a function's first to the address in it: functions of a C library are short.
const MAX_FUNCTION: u64 = 4096;
/// Bytes of a function that only hands on, in which its jump is looked for.
const TAIL: usize = 48;
/// Words of the stack that a return address is looked for in.
const MAX_WORDS: u64 = 128;
/// `call *%r9; mov %eax,%edi; xor %eax,%eax; mov $60,%al; syscall`: a thread is run, and ended.
const RUN_THREAD: &[u8] = &[0x41, 0xff, 0xd1, 0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05];
const RUN_THREAD_CALL: usize = 3;
/// `mov $15,%rax; syscall`: `rt_sigreturn`.
const SIGNAL_RETURN: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05];

/// The code of an object without unwind information, and the places in it that are known for what they are.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    start: u64,
    code: Arc<[u8]>,
    /// Return addresses below which nothing lies.
    roots: Vec<u64>,
    signal_returns: Vec<u64>,
}

impl Sites {
    /// Reads the code of an object that needs it, unless it has more than `max_bytes`: `covered` tells whether unwind
    /// information covers an address.
    pub(crate) fn read(object: &ObjectFile, max_bytes: usize, covered: impl FnOnce(Svma) -> bool) -> Self {
        if !cfg!(target_arch = "x86_64") {
            return Self::default();
        }
        let Some(entry) = object.entry() else { return Self::default() };
        let holds = |segment: &&Segment| segment.executable && entry.0.wrapping_sub(segment.svma.0) < segment.file_size;
        let Some(segment) = object.segments().iter().find(holds).filter(|segment| segment.file_size <= MAX_CODE.min(max_bytes as u64))
        else {
            return Self::default();
        };
        if covered(entry) {
            return Self::default();
        }
        object.read_segment(segment, MAX_CODE).map(|code| Self::of(segment.svma.0, &code, entry.0)).unwrap_or_default()
    }

    /// The sites of code that lies at `start`, entered at `entry`.
    pub(crate) fn of(start: u64, code: &[u8], entry: u64) -> Self {
        let mut sites = Self { start, code: code.into(), ..Self::default() };
        sites.roots.extend(sites.first_call(entry));
        let run_thread = find(code, RUN_THREAD).map(|at| start.wrapping_add((at + RUN_THREAD_CALL) as u64));
        sites.roots.extend(run_thread);
        sites.signal_returns = find(code, SIGNAL_RETURN).map(|at| start.wrapping_add(at as u64)).collect();
        sites
    }

    /// Bytes of memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.code.len()
    }

    /// What is known of an address that no unwind information covers; of a return address, it is the one of the call.
    pub(crate) fn verdict(&self, address: Svma) -> Verdict {
        if self.roots.contains(&address.0.wrapping_add(1)) {
            return Verdict::Outermost;
        }
        // A handler's return address is the first byte of the signal's return.
        let returns = |start: &u64| address.0.wrapping_add(1).wrapping_sub(*start) <= SIGNAL_RETURN.len() as u64;
        if self.signal_returns.iter().any(returns) { Verdict::SignalReturn } else { Verdict::Uncovered }
    }

    /// Where the return address of a frame lies that no unwind information covers: the first word from `sp` on that follows a
    /// call which can have led to `address`. `to_file` makes a process's address one of the object.
    pub(crate) fn caller(&self, address: Svma, sp: u64, read: impl Fn(u64) -> Result<u64, ()>, bias: u64) -> Option<(u64, u64)> {
        if self.code.is_empty() {
            return None;
        }
        for word in 0..MAX_WORDS {
            let at = sp.checked_add(word * 8)?;
            let value = read(at).ok()?;
            let stated = value.wrapping_sub(bias);
            if self.roots.contains(&stated) || self.calls(stated, address.0) {
                return Some((value, at.checked_add(8)?));
            }
            if self.follows_call(stated) {
                return None;
            }
        }
        None
    }

    /// Whether an instruction that may be a call ends right before an address.
    fn follows_call(&self, after: u64) -> bool {
        let Some(end) = after.checked_sub(self.start).and_then(|end| usize::try_from(end).ok()) else { return false };
        // An indirect call is `ff` with 2 in the middle of its second byte, and is 2 to 7 bytes long.
        let indirect = (2..=7).filter_map(|length| self.code.get(end.checked_sub(length)?..end)?.first_chunk::<2>());
        self.direct_call(after).is_some() || indirect.into_iter().any(|[first, second]| *first == 0xff && second >> 3 & 7 == 2)
    }

    /// Whether a direct call right before `after` leads to a function that `address` may lie in, at once or by a jump.
    fn calls(&self, after: u64, address: u64) -> bool {
        let Some(target) = self.direct_call(after) else { return false };
        let inside = |start: u64| address.checked_sub(start).is_some_and(|into| into < MAX_FUNCTION);
        inside(target) || self.jumps_from(target).any(inside)
    }

    /// Where jumps lead that stand in the first bytes of a function.
    fn jumps_from(&self, start: u64) -> impl Iterator<Item = u64> {
        let at = start.checked_sub(self.start).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let code = self.code.get(at..self.code.len().min(at.saturating_add(TAIL))).unwrap_or_default();
        code.windows(5).enumerate().filter_map(move |(place, bytes)| {
            let [0xe9, offset @ ..] = bytes.first_chunk::<5>()? else { return None };
            Some(start.wrapping_add(place as u64 + 5).wrapping_add_signed(i64::from(i32::from_le_bytes(*offset))))
        })
    }

    /// Where the direct call leads that ends right before an address.
    fn direct_call(&self, after: u64) -> Option<u64> {
        let end = usize::try_from(after.checked_sub(self.start)?).ok()?;
        let call = self.code.get(end.checked_sub(5)?..end)?.first_chunk::<5>()?;
        let [0xe8, offset @ ..] = call else { return None };
        Some(after.wrapping_add_signed(i64::from(i32::from_le_bytes(*offset))))
    }

    /// The return address of the first direct call of the entry point, to code of this object.
    fn first_call(&self, entry: u64) -> Option<u64> {
        let at = usize::try_from(entry.checked_sub(self.start)?).ok()?;
        let code = self.code.get(at..self.code.len().min(at.checked_add(ENTRY)?))?;
        let ends = (5..=code.len()).map(|end| entry + end as u64);
        let inside = |target: u64| target.checked_sub(self.start).is_some_and(|at| at < self.code.len() as u64);
        ends.into_iter().find(|end| self.direct_call(*end).is_some_and(inside))
    }
}

fn find<'a>(code: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    code.windows(pattern.len()).enumerate().filter(move |(_, bytes)| *bytes == pattern).map(|(at, _)| at).take(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x40_1000;

    /// An entry point that calls a function at 0x20, that function, which calls another at 0x40, a thread's start and a signal's return.
    fn program() -> Sites {
        let mut code = vec![0x90; 0x100];
        let call = |code: &mut Vec<u8>, at: usize, to: i32| {
            code[at] = 0xe8;
            code[at + 1..at + 5].copy_from_slice(&(to - (at as i32 + 5)).to_le_bytes());
        };
        call(&mut code, 0x8, 0x20);
        call(&mut code, 0x28, 0x40);
        code[0x80..0x80 + RUN_THREAD.len()].copy_from_slice(RUN_THREAD);
        code[0xa0..0xa0 + SIGNAL_RETURN.len()].copy_from_slice(SIGNAL_RETURN);
        Sites::of(START, &code, START)
    }

    /// The places that are known, and their neighbours that are not.
    #[test]
    fn known_places() {
        let sites = program();
        let verdict = |at: u64| sites.verdict(Svma(START + at));
        assert_eq!([0xc, 0x82].map(verdict), [Verdict::Outermost; 2]);
        assert_eq!([0x9f, 0xa0, 0xa8].map(verdict), [Verdict::SignalReturn; 3]);
        assert_eq!([0xb, 0xd, 0x2c, 0x81, 0x83, 0x9e, 0xa9].map(verdict), [Verdict::Uncovered; 7]);
        assert_eq!(Sites::default().verdict(Svma(START)), Verdict::Uncovered);
    }

    /// The caller is the first word behind a call to the function, not a word that looks like code, and not another's.
    #[test]
    fn caller_is_behind_a_call() {
        let sites = program();
        let bias = 0x7000_0000;
        let stack = [5, bias + START + 0x50, bias + START + 0xd, 7, bias + START + 0x2d, bias + START + 0xd];
        let read = |at: u64| stack.get((at / 8) as usize).copied().ok_or(());
        // The root at word 2 is found first; after it the call of the second function, which is none of the first.
        assert_eq!(sites.caller(Svma(START + 0x48), 0, read, bias), Some((bias + START + 0xd, 24)));
        assert_eq!(sites.caller(Svma(START + 0x48), 24, read, bias), Some((bias + START + 0x2d, 40)));
        assert_eq!(sites.caller(Svma(START + 0x28), 24, read, bias), None);
        assert_eq!(sites.caller(Svma(START + 0x28), 40, read, bias), Some((bias + START + 0xd, 48)));
        assert_eq!(sites.caller(Svma(START + 0x48), 48, read, bias), None);
    }

    /// No address and no code make it fail.
    #[test]
    fn edges_are_no_sites() {
        let sites = program();
        for at in [0, 1, START, u64::MAX] {
            assert_eq!(sites.direct_call(at), None);
            assert_eq!(sites.caller(Svma(at), u64::MAX - 3, |_| Ok(at), at), None);
            assert!(Sites::of(at, &[0xe8, 1], u64::MAX).roots.is_empty());
        }
    }
}
