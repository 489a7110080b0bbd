//! The fields of a protobuf message, read where they lie: nothing is copied and nothing allocated.
//!
//! Reading batches into the messages of the format first took a third of the time that storing one does; what is large in a
//! batch (locations, stacks, samples) is read by this instead.

use prost::encoding::{DecodeContext, WireType, decode_varint, skip_field};

use super::DecodeError;

/// A field's value, as its wire type tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// A number of variable length.
    Number(u64),
    /// A number of 8 bytes.
    Fixed(u64),
    /// A text, a message, or numbers one after the other.
    Bytes(&'a [u8]),
    /// What no message of the format has: 4 bytes, or a group.
    Foreign,
}

const WRONG_TYPE: DecodeError = DecodeError::Rule("the body has a field of the wrong type");
const CUT: DecodeError = DecodeError::Rule("the body ends within a field");

impl<'a> Field<'a> {
    pub(super) fn number(self) -> Result<u64, DecodeError> {
        if let Self::Number(number) = self { Ok(number) } else { Err(WRONG_TYPE) }
    }

    /// A number of 32 bits with a sign, of which the format takes the low bits.
    pub(super) fn index(self) -> Result<i32, DecodeError> {
        self.number().map(truncated)
    }

    pub(super) fn fixed(self) -> Result<u64, DecodeError> {
        if let Self::Fixed(number) = self { Ok(number) } else { Err(WRONG_TYPE) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], DecodeError> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(WRONG_TYPE) }
    }

    pub(super) fn text(self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Rule("the body has a text that is not UTF-8"))
    }

    /// The numbers of a repeated field: many in one, or one in each.
    pub(super) fn numbers(self, mut visit: impl FnMut(u64)) -> Result<(), DecodeError> {
        match self {
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    visit(varint(&mut packed)?);
                }
                Ok(())
            }
            one => one.number().map(visit),
        }
    }

    /// How many numbers of 8 bytes a repeated field holds.
    pub(super) fn count_fixed(self) -> Result<usize, DecodeError> {
        match self {
            Self::Bytes(packed) if packed.len().is_multiple_of(8) => Ok(packed.len() / 8),
            one => one.fixed().map(|_| 1),
        }
    }
}

/// The low 32 bits, as protobuf reads an `int32`.
pub(super) const fn truncated(number: u64) -> i32 {
    number as u32 as i32
}

/// Walks the fields of a message in their order.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field with its number; none at the end.
    ///
    /// Inlined, so that the small messages that are many in a batch are read without a call and a result in memory for each field.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(varint(&mut self.0)?).map_err(|_| WRONG_TYPE)?;
        let number = key >> 3;
        if number == 0 {
            return Err(WRONG_TYPE);
        }
        let field = match key & 7 {
            0 => Field::Number(varint(&mut self.0)?),
            2 => {
                let len = usize::try_from(varint(&mut self.0)?).unwrap_or(usize::MAX);
                Field::Bytes(self.take(len)?)
            }
            _ => self.rare(key)?,
        };
        Ok(Some((number, field)))
    }

    /// The value of a field that is neither a number of variable length nor bytes: few are.
    #[inline(never)]
    fn rare(&mut self, key: u32) -> Result<Field<'a>, DecodeError> {
        match key & 7 {
            1 => Ok(Field::Fixed(u64::from_le_bytes(*self.take(8)?.first_chunk().ok_or(CUT)?))),
            3 => {
                skip_field(WireType::StartGroup, key >> 3, &mut self.0, DecodeContext::default())?;
                Ok(Field::Foreign)
            }
            5 => self.take(4).map(|_| Field::Foreign),
            _ => Err(WRONG_TYPE),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Reads a number of variable length. Most in a batch take one to three bytes.
#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    match **bytes {
        [low, ref rest @ ..] if low < 0x80 => {
            *bytes = rest;
            Ok(u64::from(low))
        }
        [low, high, ref rest @ ..] if high < 0x80 => {
            *bytes = rest;
            Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        [low, mid, high, ref rest @ ..] if high < 0x80 => {
            *bytes = rest;
            Ok(u64::from(low & 0x7f) | u64::from(mid & 0x7f) << 7 | u64::from(high) << 14)
        }
        _ => long_varint(bytes),
    }
}

#[cold]
fn long_varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    Ok(decode_varint(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u32, Field<'_>)>, DecodeError> {
        let mut fields = Fields::new(message);
        std::iter::from_fn(|| fields.next().transpose()).collect()
    }

    /// Each wire type is read; a cut one, a number of no field and an unknown type are errors.
    #[test]
    fn reads_each_type() {
        let message = [0x08, 0xac, 0x02, 0x11, 7, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 1, 2, 3, 4, 0x2b, 0x08, 1, 0x2c];
        let wanted = [(1, Field::Number(300)), (2, Field::Fixed(7)), (3, Field::Bytes(b"hi")), (4, Field::Foreign), (5, Field::Foreign)];
        assert_eq!(all(&message).unwrap(), wanted);
        for cut in [1, 2, 5, 13, 14, 15, 18, 20, 22, 23, 24] {
            assert!(all(&message[..cut]).is_err(), "{cut}");
        }
        for foreign in [&[0x00, 1][..], &[0x0c], &[0x0e, 1], &[0xff; 12]] {
            assert!(all(foreign).is_err(), "{foreign:?}");
        }
    }

    /// Numbers come packed or one by one, of any length, and only where numbers may be.
    #[test]
    fn numbers_of_a_repeated_field() {
        let mut found = Vec::new();
        Field::Bytes(&[1, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f]).numbers(|number| found.push(number)).unwrap();
        Field::Number(5).numbers(|number| found.push(number)).unwrap();
        assert_eq!(found, [1, 128, u64::from(u32::MAX), 5]);
        assert_eq!(truncated(found[2]), -1);
        assert!(Field::Fixed(1).numbers(|_| ()).is_err() && Field::Bytes(&[0x80]).numbers(|_| ()).is_err());
        assert_eq!(Field::Bytes(&[0; 24]).count_fixed().unwrap(), 3);
        assert!(Field::Bytes(&[0; 9]).count_fixed().is_err() && Field::Number(1).count_fixed().is_err());
    }
}
