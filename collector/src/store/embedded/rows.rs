//! Rows: stack and value, of all series of one service in one batch, in one entry.

use flamekeeper_profile::{Id, StackEnd, StackId, Tables};

use super::catalog::SeriesId;
use super::format::{end_code, end_of_code};
use super::varint::{self, Malformed, Reader};

/// What an entry says of one series, before its rows: enough for every question that is not about stacks.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    pub(super) series: SeriesId,
    /// Sum of the values.
    pub(super) total: u64,
    /// Sums of the values by how the stacks end, but for those that reach the root.
    pub(super) ends: Vec<(StackEnd, u64)>,
    rows: &'a [u8],
}

/// Appends a section. `values` are sorted here; a stack that is there twice is summed.
pub(super) fn put_section(out: &mut Vec<u8>, previous: u64, series: SeriesId, values: &mut Vec<(StackId, u64)>, tables: &Tables) {
    values.sort_unstable_by_key(|(stack, _)| *stack);
    values.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
    let mut ends: Vec<(StackEnd, u64)> = Vec::new();
    let mut rows = Vec::with_capacity(values.len() * 3);
    let (mut total, mut last) = (0_u64, 0);
    for (stack, value) in values.iter() {
        let id = stack.index() as u64;
        varint::put(&mut rows, id - last);
        varint::put(&mut rows, *value);
        last = id;
        total = total.saturating_add(*value);
        let end = tables.stack(*stack).map_or(StackEnd::Unstated, |stack| stack.end);
        if end != StackEnd::Root {
            add_end(&mut ends, end, *value);
        }
    }
    varint::put_delta(out, previous, series.index() as u64);
    varint::put(out, total);
    varint::put(out, ends.len() as u64);
    for (end, value) in ends {
        out.push(end_code(end));
        varint::put(out, value);
    }
    varint::put_bytes(out, &rows);
}

fn add_end(ends: &mut Vec<(StackEnd, u64)>, end: StackEnd, value: u64) {
    match ends.iter_mut().find(|(known, _)| *known == end) {
        Some((_, sum)) => *sum = sum.saturating_add(value),
        None => ends.push((end, value)),
    }
}

/// Reads the sections of an entry.
#[derive(Debug)]
pub(super) struct Sections<'a> {
    reader: Reader<'a>,
    previous: u64,
}

impl<'a> Sections<'a> {
    pub(super) const fn new(entry: &'a [u8]) -> Self {
        Self { reader: Reader(entry), previous: 0 }
    }

    /// The next section; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Section<'a>>, Malformed> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        self.previous = self.reader.delta(self.previous)?;
        let series = Id::new(u32::try_from(self.previous).map_err(|_| Malformed)?);
        let total = self.reader.number()?;
        let count = self.reader.count()?;
        let mut ends = Vec::with_capacity(count);
        for _ in 0..count {
            ends.push((end_of_code(self.reader.byte()?).ok_or(Malformed)?, self.reader.number()?));
        }
        Ok(Some(Section { series, total, ends, rows: self.reader.bytes()? }))
    }
}

impl Section<'_> {
    /// Calls `each` with the place of a stack in the dictionary and its value, by place.
    pub(super) fn rows(&self, mut each: impl FnMut(usize, u64) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let mut reader = Reader(self.rows);
        let mut place: u64 = 0;
        while !reader.is_empty() {
            place = place.checked_add(reader.number()?).ok_or(Malformed)?;
            each(usize::try_from(place).map_err(|_| Malformed)?, reader.number()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::StopReason;

    use super::*;

    /// Sections read back with their sums; damage is refused.
    #[test]
    fn sections_round_trip() {
        let mut tables = Tables::new();
        let whole = tables.intern_stack(&[], StackEnd::Root);
        let cut = tables.intern_stack(&[], StackEnd::Truncated(StopReason::NoMapping));
        let mut entry = Vec::new();
        put_section(&mut entry, 0, Id::new(9), &mut vec![(cut, 5), (whole, 3), (cut, 1)], &tables);
        put_section(&mut entry, 9, Id::new(4), &mut vec![(whole, u64::MAX)], &tables);
        let mut sections = Sections::new(&entry);
        let first = sections.next().unwrap().unwrap();
        assert_eq!((first.series.index(), first.total), (9, 9));
        assert_eq!(first.ends, [(StackEnd::Truncated(StopReason::NoMapping), 6)]);
        let mut rows = Vec::new();
        first.rows(|stack, value| { rows.push((stack, value)); Ok(()) }).unwrap();
        assert_eq!(rows, [(0, 3), (1, 6)]);
        let second = sections.next().unwrap().unwrap();
        assert_eq!((second.series.index(), second.total, second.ends.len()), (4, u64::MAX, 0));
        assert!(sections.next().unwrap().is_none());
        assert!(Sections::new(&entry[..3]).next().is_err());
    }
}
