//! The record that the program in the kernel (`program`) writes: a thread's interpreter frames at a sampled moment, leaf first. Pure.
//!
//! Layout, in the machine's byte order: magic and number of frames (32 bits each), how the chain ends and the address of the
//! thread's state (64 bits each), then for each frame the code object, the instruction, the owner, the fingerprint and its
//! own address (64 bits each).

use crate::python::offsets::OwnerRule;
use crate::python::program::{COMPLETE, CUT, FRAME_SIZE, HEAD_SIZE, MAGIC, MAX_FRAMES};

/// How a chain ends on the side of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// It is whole.
    Complete,
    /// It is longer than a record.
    Cut,
    /// Memory on the way could not be read: nothing of the chain is to be believed.
    Fault,
}

/// A frame of the interpreter, as it was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Address of the code object.
    pub code: u64,
    /// Address of the instruction: the current one, or the one before the next.
    pub instruction: u64,
    /// Two bytes for [`OwnerRule`].
    pub owner: u16,
    /// What the code object's names mixed to; 0 where they could not be read.
    pub fingerprint: u64,
    /// Where the frame is.
    pub address: u64,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Python code.
    Python,
    /// Python code that C code called: the last of its call of `_PyEval_EvalFrameDefault`.
    PythonEntry,
    /// No code, but the mark of such a call.
    Entry,
}

impl RawFrame {
    fn from_bytes(bytes: &[u8; FRAME_SIZE]) -> Self {
        let word = |at: usize| bytes.as_chunks::<8>().0.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
        // Two bytes were copied into it.
        let owner = u16::try_from(word(2)).unwrap_or(u16::MAX);
        Self { code: word(0), instruction: word(1), owner, fingerprint: word(3), address: word(4) }
    }

    /// What the frame is.
    #[must_use]
    pub const fn role(&self, rule: OwnerRule) -> Role {
        let [low, _] = self.owner.to_le_bytes();
        match rule {
            OwnerRule::EntryFlag if low != 0 => Role::PythonEntry,
            OwnerRule::From(first) if low >= first => Role::Entry,
            OwnerRule::EntryFlag | OwnerRule::From(_) => Role::Python,
        }
    }
}

/// A chain of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Address of the thread's `PyThreadState`.
    pub state: u64,
    /// How it ends.
    pub end: ChainEnd,
    frames: &'a [[u8; FRAME_SIZE]],
}

impl<'a> Chain<'a> {
    /// Reads a record; none for what is no such record.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_SIZE>()?;
        let [[m0, m1, m2, m3, c0, c1, c2, c3], end, state] = head.as_chunks::<8>().0 else { return None };
        if u32::from_ne_bytes([*m0, *m1, *m2, *m3]) != MAGIC {
            return None;
        }
        let count = usize::try_from(u32::from_ne_bytes([*c0, *c1, *c2, *c3])).ok().filter(|count| *count <= MAX_FRAMES)?;
        let end = match i32::try_from(u64::from_ne_bytes(*end)).ok()? {
            COMPLETE => ChainEnd::Complete,
            CUT => ChainEnd::Cut,
            _ => ChainEnd::Fault,
        };
        let frames = rest.as_chunks::<FRAME_SIZE>().0.get(..count)?;
        Some(Self { state: u64::from_ne_bytes(*state), end, frames })
    }

    /// The frames, leaf first.
    pub fn frames(&self) -> impl Iterator<Item = RawFrame> + 'a {
        self.frames.iter().map(RawFrame::from_bytes)
    }

    /// The frames of these numbers, as far as there are.
    pub fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = RawFrame> + 'a {
        self.frames.get(range).unwrap_or_default().iter().map(RawFrame::from_bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record as the kernel's side writes it.
    pub(crate) fn record(end: i32, frames: &[[u64; 5]]) -> Vec<u8> {
        let count = u64::try_from(frames.len()).unwrap();
        let words = [u64::from(MAGIC) | count << 32, u64::try_from(end).unwrap(), 0x7000];
        words.iter().chain(frames.iter().flatten()).flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// What is written is read; roles follow the version's rule.
    #[test]
    fn reads_a_chain() {
        let bytes = record(COMPLETE, &[[0x100, 0x1c0, 0, 9, 0x10], [0x200, 0x2c0, 0x0103, 8, 0x20]]);
        let chain = Chain::parse(&bytes).unwrap();
        let frames: Vec<RawFrame> = chain.frames().collect();
        assert_eq!((chain.state, chain.end, frames.len()), (0x7000, ChainEnd::Complete, 2));
        assert_eq!(frames[0], RawFrame { code: 0x100, instruction: 0x1c0, owner: 0, fingerprint: 9, address: 0x10 });
        assert_eq!(frames[1].role(OwnerRule::From(3)), Role::Entry);
        assert_eq!(frames[1].role(OwnerRule::From(4)), Role::Python);
        assert_eq!(frames[1].role(OwnerRule::EntryFlag), Role::PythonEntry);
        assert_eq!(frames[0].role(OwnerRule::EntryFlag), Role::Python);
    }

    /// Any cut of a record, and any count in it, is refused or read within bounds.
    #[test]
    fn hostile_records_are_bounded() {
        let bytes = record(CUT, &[[1, 2, 3, 4, 5]; 3]);
        for length in 0..bytes.len() {
            assert!(Chain::parse(&bytes[..length]).is_none());
        }
        let mut wrong = bytes.clone();
        for count in 0..=u8::MAX {
            wrong[4..8].copy_from_slice(&[count; 4]);
            assert!(Chain::parse(&wrong).is_none_or(|chain| chain.frames().count() <= 3));
        }
    }
}
