//! The copy of a stack that a sample carries, and which of its words a step has read.

use std::cell::Cell;

/// Words of a step that are noted. Most steps read one or two.
const MAX_READS: usize = 8;

/// What was read, in order: the words that a step rests on.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    words: [Cell<(u64, u64)>; MAX_READS],
    count: Cell<usize>,
    /// Whether the step rests on something else too: on a word that was not there, or on more words than are noted.
    other: Cell<bool>,
}

impl Reads {
    /// A new step begins.
    pub(crate) fn clear(&self) {
        self.count.set(0);
        self.other.set(false);
    }

    /// Addresses and words; none where they are not all that the step rests on.
    pub(crate) fn all(&self) -> Option<impl Iterator<Item = (u64, u64)>> {
        (!self.other.get()).then(|| self.words.iter().take(self.count.get()).map(Cell::get))
    }

    fn note(&self, address: u64, word: Option<u64>) {
        let count = self.count.get();
        match (self.words.get(count), word) {
            (Some(place), Some(word)) => {
                place.set((address, word));
                self.count.set(count + 1);
            }
            _ => self.other.set(true),
        }
    }
}

/// The copy: what lay from the stack pointer upwards when the sample was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackCopy<'a> {
    start: u64,
    bytes: &'a [u8],
    reads: &'a Reads,
}

impl<'a> StackCopy<'a> {
    /// A copy whose first byte lay at `start`; what is read of it is noted.
    pub(crate) const fn new(start: u64, bytes: &'a [u8], reads: &'a Reads) -> Self {
        Self { start, bytes, reads }
    }

    /// The word at an address, where the whole of it was copied.
    pub(crate) fn read(&self, address: u64) -> Result<u64, ()> {
        let word = self.word(address);
        self.reads.note(address, word);
        word.ok_or(())
    }

    /// The same, without a note.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let word = self.bytes.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*word))
    }

    /// Whether an address lies in the copy, or right at its end.
    pub(crate) const fn reaches(&self, address: u64) -> bool {
        address >= self.start && address - self.start <= self.bytes.len() as u64
    }

    /// Whether the word at an address lies above what was copied, wholly or in part.
    pub(crate) const fn is_beyond(&self, address: u64) -> bool {
        address >= self.start && (address - self.start).saturating_add(8) > self.bytes.len() as u64
    }

    /// Its bytes.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words inside the copy are read, those that end outside are not, wherever the address is.
    #[test]
    fn stack_copy_has_edges() {
        let bytes: Vec<u8> = (0..16).collect();
        let reads = Reads::default();
        let stack = StackCopy::new(0x1000, &bytes, &reads);
        assert_eq!(stack.read(0x1008), Ok(u64::from_ne_bytes([8, 9, 10, 11, 12, 13, 14, 15])));
        for outside in [0, 0xfff, 0x1009, 0x1010, u64::MAX] {
            assert_eq!(stack.read(outside), Err(()));
        }
        assert!(stack.is_beyond(0x1010) && stack.is_beyond(0x100c) && stack.is_beyond(u64::MAX));
        assert!(!stack.is_beyond(0x1008) && !stack.is_beyond(0x10) && !stack.is_beyond(0xfff));
        assert!(stack.reaches(0x1000) && stack.reaches(0x1010) && !stack.reaches(0xfff) && !stack.reaches(0x1011));
    }

    /// What a step has read is told in order, unless it is not all that the step rests on.
    #[test]
    fn reads_are_noted() {
        let bytes = [7; 128];
        let reads = Reads::default();
        let stack = StackCopy::new(0x1000, &bytes, &reads);
        let word = u64::from_ne_bytes([7; 8]);
        assert_eq!((stack.read(0x1010), stack.read(0x1000), stack.word(0x1008)), (Ok(word), Ok(word), Some(word)));
        assert_eq!(reads.all().unwrap().collect::<Vec<_>>(), [(0x1010, word), (0x1000, word)]);
        assert_eq!(stack.read(0x2000), Err(()));
        assert!(reads.all().is_none());
        reads.clear();
        assert_eq!(reads.all().unwrap().count(), 0);
        for _ in 0..=MAX_READS {
            _ = stack.read(0x1000);
        }
        assert!(reads.all().is_none());
    }
}
