//! Rows: the values of one series in one window.
//!
//! ```text
//! key    service u32 | type u32 | window start, ns u64 | series u32 | batch ordinal u64      all big endian
//! value  window length, ns | sum of values | count of ends { code of end | sum }* | count of stacks { stack, as difference to the
//!        one before | value }*                                                               all LEB128
//! ```
//! A stack's end that is `root` is not listed among the ends. Stacks ascend.

use flamekeeper_profile::{StackEnd, StopReason, Timestamp};

use super::codec::{Damaged, Reader, put};

const KEY_LEN: usize = 28;

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowKey {
    pub(super) service: u32,
    pub(super) sample_type: u32,
    pub(super) from: Timestamp,
    pub(super) series: u32,
    pub(super) ordinal: u64,
}

impl RowKey {
    pub(super) fn encode(self) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        key[..4].copy_from_slice(&self.service.to_be_bytes());
        key[4..8].copy_from_slice(&self.sample_type.to_be_bytes());
        key[8..16].copy_from_slice(&self.from.0.to_be_bytes());
        key[16..20].copy_from_slice(&self.series.to_be_bytes());
        key[20..].copy_from_slice(&self.ordinal.to_be_bytes());
        key
    }

    pub(super) fn decode(key: &[u8]) -> Result<Self, Damaged> {
        let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| Damaged)?;
        let word = |at: usize| u32::from_be_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        Ok(Self { service: word(0), sample_type: word(4), from: Timestamp(long(8)), series: word(16), ordinal: long(20) })
    }

    /// The first possible key of a window start, for ranges.
    pub(super) fn first(service: u32, sample_type: u32, from: Timestamp) -> [u8; KEY_LEN] {
        Self { service, sample_type, from, series: 0, ordinal: 0 }.encode()
    }
}

/// The part of a row before its stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowHeader {
    pub(super) length: u64,
    pub(super) total: u64,
    /// Sums of values whose stack does not reach a root.
    pub(super) ends: Vec<(StackEnd, u64)>,
}

/// Writes a row. `stacks` must ascend.
pub(super) fn encode(header: &RowHeader, stacks: &[(u32, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + stacks.len() * 3);
    put(&mut out, header.length);
    put(&mut out, header.total);
    put(&mut out, header.ends.len() as u64);
    for (end, sum) in &header.ends {
        put(&mut out, u64::from(end_code(*end)));
        put(&mut out, *sum);
    }
    put(&mut out, stacks.len() as u64);
    let mut last = 0;
    for (stack, value) in stacks {
        put(&mut out, u64::from(stack - last));
        put(&mut out, *value);
        last = *stack;
    }
    out
}

/// Reads the header of a row; the reader then stands before the stacks.
pub(super) fn decode_header(reader: &mut Reader<'_>) -> Result<RowHeader, Damaged> {
    let (length, total) = (reader.number()?, reader.number()?);
    let count = reader.number()?;
    let mut ends = Vec::new();
    for _ in 0..count {
        ends.push((end_of(reader.small()?), reader.number()?));
    }
    Ok(RowHeader { length, total, ends })
}

/// Hands out the stacks of a row, whose header has been read.
pub(super) fn decode_stacks(reader: &mut Reader<'_>, mut visit: impl FnMut(u32, u64)) -> Result<(), Damaged> {
    let count = reader.number()?;
    let mut stack = 0_u32;
    for _ in 0..count {
        stack = stack.checked_add(reader.small()?).ok_or(Damaged)?;
        visit(stack, reader.number()?);
    }
    if reader.is_empty() { Ok(()) } else { Err(Damaged) }
}

const UNSTATED: u8 = 255;
const ROOT: u8 = 254;

/// A code that never changes: the place of a reason among all reasons, which only grow at the end.
pub(super) fn end_code(end: StackEnd) -> u8 {
    match end {
        StackEnd::Root => ROOT,
        StackEnd::Unstated => UNSTATED,
        StackEnd::Truncated(reason) => {
            let place = StopReason::ALL.into_iter().position(|other| other == reason);
            place.and_then(|place| u8::try_from(place).ok()).unwrap_or(UNSTATED)
        }
    }
}

pub(super) fn end_of(code: u8) -> StackEnd {
    if code == ROOT {
        return StackEnd::Root;
    }
    StopReason::ALL.get(usize::from(code)).map_or(StackEnd::Unstated, |reason| StackEnd::Truncated(*reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and rows read back, keys sort by service, type and time, and damage is told.
    #[test]
    fn round_trips() {
        let key = RowKey { service: 1, sample_type: 2, from: Timestamp(3 << 40), series: 4, ordinal: 5 << 33 };
        assert_eq!(RowKey::decode(&key.encode()), Ok(key));
        assert!(RowKey { series: 9, ..key }.encode() < RowKey { from: Timestamp(key.from.0 + 1), series: 0, ..key }.encode());
        let header =
            RowHeader { length: 10, total: 7, ends: vec![(StackEnd::Truncated(StopReason::BadFrame), 3), (StackEnd::Unstated, 1)] };
        let stacks = [(0, 1), (5, 2), (4_000_000_000, 4)];
        let bytes = encode(&header, &stacks);
        let mut reader = Reader::new(&bytes);
        assert_eq!(decode_header(&mut reader).unwrap(), header);
        let mut seen = Vec::new();
        decode_stacks(&mut reader, |stack, value| seen.push((stack, value))).unwrap();
        assert_eq!(seen, stacks);
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            assert!(decode_header(&mut reader).and_then(|_| decode_stacks(&mut reader, |_, _| {})).is_err());
        }
    }

    /// Every end has a code of its own.
    #[test]
    fn ends_have_codes() {
        for end in StopReason::ALL.map(StackEnd::Truncated).into_iter().chain([StackEnd::Root, StackEnd::Unstated]) {
            assert_eq!(end_of(end_code(end)), end);
        }
    }
}
