//! Mutations for the replay in `cargo test`: a fixed sequence for a fixed seed, without feedback.

/// Values at which parsers break: ends of ranges, sizes of fields, counts that overflow when multiplied.
const EDGES: [u64; 12] = [0, 1, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Makes variants of an input.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// Changes `bytes` in one to four places; `other` is an input to take pieces from. Never longer than `limit` bytes.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8], limit: usize) {
        for _ in 0..=self.below(4) {
            match self.below(7) {
                0 => self.flip(bytes),
                1 => self.edge(bytes),
                2 => self.nudge(bytes),
                3 => bytes.truncate(self.below(bytes.len() + 1)),
                4 => self.remove(bytes),
                5 => self.repeat(bytes),
                _ => self.splice(bytes, other),
            }
        }
        bytes.truncate(limit);
    }

    /// A number below `bound` (0 where that is 0). xorshift64*: Marsaglia 2003, Vigna 2016.
    pub fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default().checked_rem(bound).unwrap_or_default()
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << self.below(8);
        }
    }

    /// Writes an edge value over 1, 2, 4 or 8 bytes, aligned as fields are.
    fn edge(&mut self, bytes: &mut [u8]) {
        let width = 1 << self.below(4);
        let at = self.below(bytes.len()) / width * width;
        let value = EDGES[self.below(EDGES.len())].to_le_bytes();
        if let Some(field) = bytes.get_mut(at..at + width) {
            field.copy_from_slice(&value[..width]);
        }
    }

    fn nudge(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        let by = u8::try_from(self.below(33)).unwrap_or_default();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = byte.wrapping_add(by).wrapping_sub(16);
        }
    }

    fn remove(&mut self, bytes: &mut Vec<u8>) {
        let range = self.range(bytes.len());
        bytes.drain(range);
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let piece = bytes[self.range(bytes.len())].to_vec();
        let at = self.below(bytes.len() + 1);
        bytes.splice(at..at, piece);
    }

    fn splice(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let piece = &other[self.range(other.len())];
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(2) * piece.len()).min(bytes.len());
        bytes.splice(at..end, piece.iter().copied());
    }

    /// A range of at most 64 bytes.
    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        start..start + self.below((len - start).min(64) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal seeds give equal variants, which stay within the limit; even nothing can be mutated.
    #[test]
    fn is_repeatable_and_bounded() {
        let variants = |seed| {
            let mut mutator = Mutator::new(seed);
            let all = (0..500).map(|_| {
                let mut bytes = b"0123456789abcdef".to_vec();
                mutator.mutate(&mut bytes, b"other", 40);
                bytes
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(variants(7), variants(7));
        assert_ne!(variants(7), variants(9));
        assert!(variants(7).iter().all(|bytes| bytes.len() <= 40));
        Mutator::new(3).mutate(&mut Vec::new(), &[], 8);
    }
}
