//! The copy of a stack that a sample carries.

/// The copy: what lay from the stack pointer upwards when the sample was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackCopy<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl<'a> StackCopy<'a> {
    /// A copy whose first byte lay at `start`.
    pub(crate) const fn new(start: u64, bytes: &'a [u8]) -> Self {
        Self { start, bytes }
    }

    /// The word at an address, where the whole of it was copied.
    pub(crate) fn read(&self, address: u64) -> Result<u64, ()> {
        let at = address.checked_sub(self.start).and_then(|at| usize::try_from(at).ok()).ok_or(())?;
        let word = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).ok_or(())?;
        Ok(u64::from_ne_bytes(*word))
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
        let stack = StackCopy::new(0x1000, &bytes);
        assert_eq!(stack.read(0x1008), Ok(u64::from_ne_bytes([8, 9, 10, 11, 12, 13, 14, 15])));
        for outside in [0, 0xfff, 0x1009, 0x1010, u64::MAX] {
            assert_eq!(stack.read(outside), Err(()));
        }
        assert!(stack.is_beyond(0x1010) && stack.is_beyond(0x100c) && stack.is_beyond(u64::MAX));
        assert!(!stack.is_beyond(0x1008) && !stack.is_beyond(0x10) && !stack.is_beyond(0xfff));
        assert!(stack.reaches(0x1000) && stack.reaches(0x1010) && !stack.reaches(0xfff) && !stack.reaches(0x1011));
    }
}
