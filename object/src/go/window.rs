//! Reading a large table piece by piece.

/// A window on bytes that are read on demand, so that walking a table of a hundred megabytes takes the memory of a window.
pub(crate) struct Window<'a> {
    read: &'a mut dyn FnMut(u64, &mut [u8]) -> bool,
    /// Bytes that may be read.
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

/// How much is read at once.
const CHUNK: usize = 128 << 10;

impl<'a> Window<'a> {
    /// A window on `len` bytes. `read` fills a buffer from an offset, or says that it cannot.
    pub(crate) fn new(read: &'a mut dyn FnMut(u64, &mut [u8]) -> bool, len: u64) -> Self {
        Self { read, len, start: 0, bytes: Vec::new() }
    }

    /// Bytes from an offset on: `want` of them (at most a chunk), fewer only where all ends.
    pub(crate) fn get(&mut self, at: u64, want: usize) -> Option<&[u8]> {
        let left = usize::try_from(self.len.checked_sub(at)?).unwrap_or(usize::MAX);
        let want = want.min(left).min(CHUNK);
        let held = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        if held.is_none_or(|skip| skip + want > self.bytes.len()) {
            self.bytes.resize(left.min(CHUNK), 0);
            self.start = at;
            if !(self.read)(at, &mut self.bytes) {
                self.bytes.clear();
                return None;
            }
        }
        let skip = usize::try_from(at - self.start).ok()?;
        self.bytes.get(skip..skip + want)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any offset reads what is there, in any order, and nothing past the end.
    #[test]
    fn reads_like_a_slice() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let mut reads = 0;
        let mut read = |at: u64, buffer: &mut [u8]| {
            reads += 1;
            let at = usize::try_from(at).unwrap();
            bytes.get(at..at + buffer.len()).map(|part| buffer.copy_from_slice(part)).is_some()
        };
        let mut window = Window::new(&mut read, bytes.len() as u64);
        for at in (0..299_000).step_by(500).chain([5, 299_990, 0, 131_000]) {
            let part = window.get(at as u64, 48).unwrap();
            assert_eq!(part, &bytes[at..(at + 48).min(bytes.len())]);
        }
        assert_eq!(window.get(300_000, 4), Some(&[][..]));
        assert_eq!(window.get(300_001, 4), None);
        assert!(reads < 10, "{reads}");
    }
}
