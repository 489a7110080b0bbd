//! Variable-length integers (LEB128, as in protobuf), and the bounded reader of everything that the store wrote.

/// Bytes that are not what the format says. The caller knows which entry they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Appends an unsigned integer: seven bits a byte, lowest first.
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // Seven bits and the mark of a continuation: the rest is cut off on purpose.
        #[allow(clippy::cast_possible_truncation)]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)]
    out.push(value as u8);
}

/// Appends a difference: small ones are short, whatever their sign. Differences wrap, so every pair of values has one.
pub(super) fn put_delta(out: &mut Vec<u8>, from: u64, to: u64) {
    let delta = to.wrapping_sub(from).cast_signed();
    put(out, ((delta << 1) ^ (delta >> 63)).cast_unsigned());
}

/// Appends a byte string with its length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of a byte string; never beyond its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A number that fits 32 bits.
    pub(super) fn id(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    /// How many elements follow. Each takes at least one byte, so a greater count is a lie that must not be allocated for.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len()).ok_or(Malformed)
    }

    pub(super) fn delta(&mut self, from: u64) -> Result<u64, Malformed> {
        let zigzag = self.number()?;
        Ok(from.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses what is left over.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and differences read back, at the edges of each length too.
    #[test]
    fn round_trips() {
        let edges = [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        for a in edges {
            for b in edges {
                let mut bytes = Vec::new();
                put(&mut bytes, a);
                put_delta(&mut bytes, a, b);
                let mut reader = Reader(&bytes);
                assert_eq!((reader.number(), reader.delta(a), reader.end()), (Ok(a), Ok(b), Ok(())));
            }
        }
        let mut small = Vec::new();
        put_delta(&mut small, 1000, 937);
        assert_eq!(small.len(), 1);
    }

    /// What is too long, cut off, or claims more than there is, is refused.
    #[test]
    fn refuses_what_it_never_wrote() {
        assert_eq!(Reader(&[0xff; 10]).number(), Err(Malformed));
        assert_eq!(Reader(&[0x80]).number(), Err(Malformed));
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xff, 0x7f]).count(), Err(Malformed));
        assert_eq!(Reader(&[2, b'a']).bytes(), Err(Malformed));
        assert_eq!(Reader(&[1, 0xff]).text(), Err(Malformed));
    }
}
