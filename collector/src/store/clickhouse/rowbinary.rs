//! ClickHouse's format `RowBinary`: values one behind the other, integers little endian, texts behind their length in LEB128. What is
//! read came from the network: a reader never panics, and takes no more memory than the bytes that are there.

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are damaged")]
pub(crate) struct Damaged;

/// Rows to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
}

impl Rows {
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A length, in LEB128.
    pub(super) fn length(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// A `String`; a `LowCardinality` one looks the same.
    pub(super) fn text(&mut self, text: &str) {
        self.string(text.as_bytes());
    }

    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A `FixedString`, or columns that are encoded already.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

/// Rows that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damaged> {
        self.fixed().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damaged> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// A number in LEB128 of at most 64 bits.
    pub(super) fn length(&mut self) -> Result<u64, Damaged> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.length()?;
        self.take(usize::try_from(length).map_err(|_| Damaged)?)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.string()?).map_err(|_| Damaged)
    }

    /// The entries of a `Map(String, UInt64)`.
    pub(super) fn counts(&mut self, mut visit: impl FnMut(&'a str, u64)) -> Result<(), Damaged> {
        for _ in 0..self.length()? {
            visit(self.text()?, self.u64()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written reads back, and cut bytes are damage.
    #[test]
    fn round_trips() {
        let mut rows = Rows::default();
        for number in [0, 127, 128, 1 << 35, u64::MAX] {
            rows.length(number);
        }
        rows.u32(7);
        rows.u64(u64::MAX - 1);
        rows.text("λ");
        let bytes = rows.into_bytes();
        let mut reader = Reader::new(&bytes);
        for number in [0, 127, 128, 1 << 35, u64::MAX] {
            assert_eq!(reader.length(), Ok(number));
        }
        assert_eq!((reader.u32(), reader.u64(), reader.text()), (Ok(7), Ok(u64::MAX - 1), Ok("λ")));
        assert!(reader.is_empty());
        assert_eq!(Reader::new(&bytes[bytes.len() - 3..bytes.len() - 1]).text(), Err(Damaged));
        assert_eq!(Reader::new(&[0xff; 20]).length(), Err(Damaged));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).length(), Err(Damaged));
    }
}
