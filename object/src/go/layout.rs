//! The header of the table, and where things stand in it, for all versions.

use crate::limits;

/// The form of a table, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Go12,
    Go116,
    Go118,
    Go120,
}

/// What the header says. Offsets are from the start of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) version: Version,
    /// Bytes of the smallest instruction, in which programs count.
    pub(crate) quantum: u32,
    /// Bytes of a pointer: 4 or 8.
    pub(crate) pointer: u64,
    pub(crate) functions: u64,
    /// As the header states it; zero where it does not.
    pub(crate) text_start: u64,
    pub(crate) names: u64,
    /// File numbers by compilation unit, from Go 1.16 on.
    pub(crate) units: u64,
    pub(crate) files: u64,
    /// Programs of values by address.
    pub(crate) programs: u64,
    /// Address and record of each function, in order of address.
    pub(crate) index: u64,
}

/// Bytes that hold the header of any version.
pub(crate) const HEADER: usize = 8 + 8 * 8;
/// Bytes that hold the fixed part of any function's record.
pub(crate) const RECORD: usize = 8 + 8 * 4 + 4;

/// The fixed part of a function's record (`_func`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Offset of the name.
    pub(crate) name: u64,
    /// The programs of stack depth, file and line; zero where there is none.
    pub(crate) stack: u64,
    pub(crate) file: u64,
    pub(crate) line: u64,
    /// Where the files of its compilation unit begin.
    pub(crate) unit: u64,
    /// The line of its declaration, from Go 1.20 on; 0 where it is not stated.
    pub(crate) start_line: u32,
    /// What is special about it: see [`Record::ROOT`].
    pub(crate) flags: u8,
    /// How many more programs follow the record.
    pub(crate) programs: u32,
    /// How many references to data follow those.
    pub(crate) data: u8,
    /// Bytes of this part.
    pub(crate) len: u64,
}

impl Record {
    /// Nothing calls it: the first function of a stack (`TOPFRAME`, from Go 1.17 on).
    pub(crate) const ROOT: u8 = 1;
    /// It sets the stack pointer to what no table says (`SPWRITE`, from Go 1.17 on).
    pub(crate) const SETS_STACK: u8 = 2;
}

/// Little-endian numbers at an offset.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word_at(bytes: &[u8], at: usize, pointer: u64) -> Option<u64> {
    if pointer == 4 { u32_at(bytes, at).map(u64::from) } else { u64_at(bytes, at) }
}

impl Layout {
    /// Reads the header; none where it is not one. `len` is the most that the table can have.
    pub(crate) fn parse(bytes: &[u8], len: u64) -> Option<Self> {
        let version = match u32_at(bytes, 0)? {
            0xffff_fffb => Version::Go12,
            0xffff_fffa => Version::Go116,
            0xffff_fff0 => Version::Go118,
            0xffff_fff1 => Version::Go120,
            _ => return None,
        };
        let [0, 0, quantum @ (1 | 2 | 4), pointer @ (4 | 8)] = *bytes.get(4..)?.first_chunk::<4>()? else { return None };
        let pointer = u64::from(pointer);
        let word = |index: u64| word_at(bytes, usize::try_from(8 + index * pointer).ok()?, pointer);
        let old = version == Version::Go12;
        // From Go 1.18 on the start of the text stands before the offsets.
        let first = if version >= Version::Go118 { 3 } else { 2 };
        let offset = |index: u64| if old { Some(0) } else { word(first + index) };
        let layout = Self {
            version,
            quantum: u32::from(quantum),
            pointer,
            functions: word(0)?,
            text_start: if version >= Version::Go118 { word(2)? } else { 0 },
            names: offset(0)?,
            units: offset(1)?,
            files: offset(2)?,
            programs: offset(3)?,
            index: if old { 8 + pointer } else { offset(4)? },
        };
        layout.holds_together(len).then_some(layout)
    }

    fn holds_together(&self, len: u64) -> bool {
        let parts = [self.names, self.units, self.files, self.programs, self.index];
        let in_order = self.version == Version::Go12 || (self.names >= 8 && parts.is_sorted());
        let end = self.index.checked_add(self.index_len());
        (1..=limits::GO_FUNCTIONS).contains(&self.functions) && in_order && end.is_some_and(|end| end <= len)
    }

    /// Bytes of one entry of the index: an address and the offset of a record.
    pub(crate) const fn entry_len(&self) -> u64 {
        if self.is_relative() { 8 } else { 2 * self.pointer }
    }

    /// Bytes of the index, which ends with the address behind the last function.
    pub(crate) const fn index_len(&self) -> u64 {
        // The count is capped before this is used for anything but the check of it.
        self.functions.saturating_mul(self.entry_len()).saturating_add(self.entry_len() / 2)
    }

    /// Whether the index states offsets from the start of the text, and not addresses.
    pub(crate) const fn is_relative(&self) -> bool {
        matches!(self.version, Version::Go118 | Version::Go120)
    }

    /// What offsets of records are relative to.
    pub(crate) const fn records(&self) -> u64 {
        if matches!(self.version, Version::Go12) { 0 } else { self.index }
    }

    /// Address (or offset from the start of the text) and offset of the record of an entry of the index. The last one has no
    /// record.
    pub(crate) fn entry(&self, bytes: &[u8]) -> Option<(u64, u64)> {
        let half = self.entry_len() / 2;
        let second = usize::try_from(half).ok()?;
        Some((word_at(bytes, 0, half)?, word_at(bytes, second, half).unwrap_or(0)))
    }

    /// Reads the fixed part of a record.
    pub(crate) fn record(&self, bytes: &[u8]) -> Option<Record> {
        let entry = if self.is_relative() { 4 } else { self.pointer };
        let at = |index: u64| usize::try_from(entry + index * 4).ok();
        let field = |index: u64| u32_at(bytes, at(index)?);
        let extra = match self.version {
            Version::Go12 => 7,
            Version::Go116 | Version::Go118 => 8,
            Version::Go120 => 9,
        };
        let [_, flags, _, data] = *bytes.get(at(extra)?..)?.first_chunk::<4>()?;
        Some(Record {
            name: u64::from(field(0)?),
            stack: u64::from(field(3)?),
            file: u64::from(field(4)?),
            line: u64::from(field(5)?),
            programs: field(6)?,
            unit: if self.version == Version::Go12 { 0 } else { u64::from(field(7)?) },
            start_line: if self.version == Version::Go120 { field(8)? } else { 0 },
            // Before Go 1.12 this is the count of the data, whose second byte is zero.
            flags,
            data,
            len: entry + extra * 4 + 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(magic: u32, words: &[u64]) -> Vec<u8> {
        let mut bytes = magic.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 1, 8]);
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        bytes
    }

    /// The words of each version's header are where its documentation says.
    #[test]
    fn headers_of_all_versions() {
        let layout = Layout::parse(&header(0xffff_fff1, &[3, 2, 0x40_1000, 0x48, 0x50, 0x60, 0x70, 0x80]), 0x1000).unwrap();
        assert_eq!((layout.functions, layout.text_start, layout.names, layout.index), (3, 0x40_1000, 0x48, 0x80));
        assert!(layout.is_relative() && layout.index_len() == 28 && layout.records() == 0x80);
        let layout = Layout::parse(&header(0xffff_fffa, &[3, 2, 0x48, 0x50, 0x60, 0x70, 0x80]), 0x1000).unwrap();
        assert_eq!((layout.text_start, layout.names, layout.programs, layout.index_len()), (0, 0x48, 0x70, 56));
        let layout = Layout::parse(&header(0xffff_fffb, &[3]), 0x1000).unwrap();
        assert_eq!((layout.index, layout.records(), layout.version), (16, 0, Version::Go12));
    }

    /// Too many functions for the table, offsets out of order, and other bytes are no table.
    #[test]
    fn what_is_no_table() {
        let words = [3, 2, 0x40_1000, 0x48, 0x50, 0x60, 0x70, 0x80];
        let broken = |index: usize, value: u64| {
            let mut words = words;
            words[index] = value;
            Layout::parse(&header(0xffff_fff1, &words), 0x1000)
        };
        assert!(broken(0, 3).is_some());
        for (index, value) in [(0, 0), (0, 1 << 20), (0, u64::MAX), (7, u64::MAX), (7, 0x60), (3, 0)] {
            assert_eq!(broken(index, value), None, "word {index} = {value:#x}");
        }
        assert_eq!(Layout::parse(&header(0xffff_fff2, &words), 0x1000), None);
        assert_eq!(Layout::parse(&[0xf1, 0xff, 0xff, 0xff, 0, 0, 3, 8], 0x1000), None);
    }
}
