//! Rows: the values of one series in one window, or of one bucket of a derived tier.
//!
//! ```text
//! key    table u8 | service u32 | type u32 | start, ns u64 | series u32 | batch ordinal u64      all big endian
//! value  sum of values | count of ends { code of end | sum }* | count of hosts { host, as difference to the one before }* |
//!        count of stacks { stack, as difference to the one before | value }*                        all LEB128
//! ```
//! A stack's end that is `root` is not listed among the ends. Stacks and hosts ascend. A row of one series lists no hosts: its
//! labels name its host. In derived tiers the ordinal is 0, and a row of many series has as its series the labels that all of
//! them share: service and version.

use flamekeeper_profile::{StackEnd, StopReason, Timestamp};

use super::codec::{Damaged, Reader, put};

const KEY_LEN: usize = 29;

/// What the entries of a keyspace that begin with this byte are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Rows: in the raw tier per series, in the others per service and version.
    Rows = 1,
    /// Rows per series of a derived tier.
    Series = 2,
    /// Ledgers.
    Ledgers = 3,
}

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowKey {
    pub(super) table: Table,
    pub(super) service: u32,
    pub(super) sample_type: u32,
    pub(super) from: Timestamp,
    pub(super) series: u32,
    pub(super) ordinal: u64,
}

impl RowKey {
    pub(super) fn encode(self) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        key[..9].copy_from_slice(&Self::prefix(self.table, self.service, self.sample_type));
        key[9..17].copy_from_slice(&self.from.0.to_be_bytes());
        key[17..21].copy_from_slice(&self.series.to_be_bytes());
        key[21..].copy_from_slice(&self.ordinal.to_be_bytes());
        key
    }

    pub(super) fn decode(key: &[u8]) -> Result<Self, Damaged> {
        let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| Damaged)?;
        let table = [Table::Rows, Table::Series].into_iter().find(|table| *table as u8 == key[0]).ok_or(Damaged)?;
        let word = |at: usize| u32::from_be_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        Ok(Self { table, service: word(1), sample_type: word(5), from: Timestamp(long(9)), series: word(17), ordinal: long(21) })
    }

    /// What all keys of a service and type begin with; the start follows.
    pub(super) fn prefix(table: Table, service: u32, sample_type: u32) -> [u8; 9] {
        let mut prefix = [table as u8; 9];
        prefix[1..5].copy_from_slice(&service.to_be_bytes());
        prefix[5..].copy_from_slice(&sample_type.to_be_bytes());
        prefix
    }
}

/// The part of a row before its stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowHeader {
    pub(super) total: u64,
    /// Sums of values whose stack does not reach a root.
    pub(super) ends: Vec<(StackEnd, u64)>,
    /// Numbers of the hosts of a row of many series, ascending.
    pub(super) hosts: Vec<u32>,
}

impl RowHeader {
    /// Counts a value of a stack with this end.
    pub(super) fn count(&mut self, end: StackEnd, value: u64) {
        self.total = self.total.saturating_add(value);
        self.count_end(end, value);
    }

    /// Adds the sums of another row.
    pub(super) fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        other.ends.iter().for_each(|(end, sum)| self.count_end(*end, *sum));
    }

    fn count_end(&mut self, end: StackEnd, value: u64) {
        if end == StackEnd::Root {
            return;
        }
        match self.ends.iter_mut().find(|(other, _)| *other == end) {
            Some((_, sum)) => *sum = sum.saturating_add(value),
            None => self.ends.push((end, value)),
        }
    }
}

/// Writes a row. `stacks` must ascend.
pub(super) fn encode(header: &RowHeader, stacks: &[(u32, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + stacks.len() * 3);
    put(&mut out, header.total);
    put(&mut out, header.ends.len() as u64);
    for (end, sum) in &header.ends {
        put(&mut out, u64::from(end_code(*end)));
        put(&mut out, *sum);
    }
    put(&mut out, header.hosts.len() as u64);
    let mut last = 0;
    for host in &header.hosts {
        put(&mut out, u64::from(host - last));
        last = *host;
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
    let mut header = RowHeader { total: reader.number()?, ..RowHeader::default() };
    for _ in 0..reader.number()? {
        header.ends.push((end_of(reader.small()?), reader.number()?));
    }
    let mut host = 0_u32;
    for _ in 0..reader.number()? {
        host = host.checked_add(reader.small()?).ok_or(Damaged)?;
        header.hosts.push(host);
    }
    Ok(header)
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
        let key = RowKey { table: Table::Rows, service: 1, sample_type: 2, from: Timestamp(3 << 40), series: 4, ordinal: 5 << 33 };
        assert_eq!(RowKey::decode(&key.encode()), Ok(key));
        assert!(RowKey { series: 9, ..key }.encode() < RowKey { from: Timestamp(key.from.0 + 1), series: 0, ..key }.encode());
        let header = RowHeader {
            total: 7,
            ends: vec![(StackEnd::Truncated(StopReason::BadFrame), 3), (StackEnd::Unstated, 1)],
            hosts: vec![3, 200],
        };
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
