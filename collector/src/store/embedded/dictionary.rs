//! The dictionary of one service in one partition: its stacks, and what they are made of.
//!
//! It grows by segments, one entry a batch that brought something new. A segment continues where the one before it ended:
//! element `n` of each table is the `n`-th that any segment holds.

use flamekeeper_profile::{BuildId, FrameKind, Id, Line, Location, LocationId, Svma, Tables};

use super::format::{build_id_code, build_id_of_code, end_code, end_of_code};
use super::varint::{self, Malformed, Reader};

/// A service's stacks. Elements are never removed: a partition is dropped as a whole.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    pub(super) tables: Tables,
    written: Written,
}

/// How much of each table stands in segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    strings: usize,
    objects: usize,
    locations: usize,
    stacks: usize,
}

impl Dictionary {
    fn lengths(&self) -> Written {
        Written {
            strings: self.tables.strings().len(),
            objects: self.tables.objects().len(),
            locations: self.tables.locations().len(),
            stacks: self.tables.stacks().len(),
        }
    }

    /// A segment with everything that no segment holds yet; `None` where there is nothing.
    pub(super) fn next_segment(&mut self) -> Option<Vec<u8>> {
        let now = self.lengths();
        if now == self.written {
            return None;
        }
        let mut out = Vec::new();
        self.put_strings(&mut out);
        self.put_objects(&mut out);
        self.put_locations(&mut out);
        self.put_stacks(&mut out);
        self.written = now;
        Some(out)
    }

    fn put_strings(&self, out: &mut Vec<u8>) {
        let strings = self.tables.strings();
        varint::put(out, (strings.len() - self.written.strings) as u64);
        for (_, text) in strings.iter().skip(self.written.strings) {
            varint::put_bytes(out, text.as_bytes());
        }
    }

    fn put_objects(&self, out: &mut Vec<u8>) {
        let objects = self.tables.objects();
        varint::put(out, (objects.len() - self.written.objects) as u64);
        for (_, object) in objects.iter().skip(self.written.objects) {
            match &object.build_id {
                None => out.push(0),
                Some(id) => {
                    out.push(build_id_code(id.kind()));
                    varint::put_bytes(out, id.bytes());
                }
            }
            varint::put(out, object.path.index() as u64);
        }
    }

    fn put_locations(&self, out: &mut Vec<u8>) {
        let locations = self.tables.locations();
        varint::put(out, (locations.len() - self.written.locations) as u64);
        let mut previous = 0;
        for (_, location) in locations.iter().skip(self.written.locations) {
            out.push(location.kind.code());
            varint::put(out, location.object.map_or(0, |id| id.index() as u64 + 1));
            varint::put_delta(out, previous, location.address.0);
            previous = location.address.0;
            varint::put(out, location.lines.len() as u64);
            for line in &location.lines {
                varint::put(out, line.function.index() as u64);
                varint::put(out, line.file.index() as u64);
                varint::put(out, line.line.into());
            }
        }
    }

    fn put_stacks(&self, out: &mut Vec<u8>) {
        let stacks = self.tables.stacks();
        varint::put(out, (stacks.len() - self.written.stacks) as u64);
        for (_, stack) in stacks.iter().skip(self.written.stacks) {
            out.push(end_code(stack.end));
            varint::put(out, stack.locations.len() as u64);
            let mut previous = 0;
            for location in &stack.locations {
                let id = location.index() as u64;
                varint::put_delta(out, previous, id);
                previous = id;
            }
        }
    }

    /// Adds a segment that was read back. Segments must come in the order in which they were written.
    pub(super) fn read_segment(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader(bytes);
        for _ in 0..reader.count()? {
            let (text, before) = (reader.text()?, self.tables.strings().len());
            self.tables.intern_string(text);
            grew(before, self.tables.strings().len())?;
        }
        for _ in 0..reader.count()? {
            self.read_object(&mut reader)?;
        }
        let mut address = 0;
        for _ in 0..reader.count()? {
            self.read_location(&mut reader, &mut address)?;
        }
        let mut buffer = Vec::new();
        for _ in 0..reader.count()? {
            self.read_stack(&mut reader, &mut buffer)?;
        }
        self.written = self.lengths();
        reader.end()
    }

    fn read_object(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let build_id = match reader.byte()? {
            0 => None,
            code => {
                let kind = build_id_of_code(code).ok_or(Malformed)?;
                Some(BuildId::new(kind, reader.bytes()?).map_err(|_| Malformed)?)
            }
        };
        let path = self.tables.strings().get(Id::new(reader.id()?)).ok_or(Malformed)?.clone();
        let before = self.tables.objects().len();
        self.tables.intern_object(build_id, &path);
        grew(before, self.tables.objects().len())
    }

    fn read_location(&mut self, reader: &mut Reader<'_>, address: &mut u64) -> Result<(), Malformed> {
        let kind = FrameKind::from_code(reader.byte()?);
        let object = match reader.id()? {
            0 => None,
            id => Some(self.tables.object(Id::new(id - 1)).map(|_| Id::new(id - 1)).ok_or(Malformed)?),
        };
        *address = reader.delta(*address)?;
        let count = reader.count()?;
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            let (function, file) = (Id::new(reader.id()?), Id::new(reader.id()?));
            let known = |id| self.tables.strings().get(id).is_some();
            if !known(function) || !known(file) {
                return Err(Malformed);
            }
            lines.push(Line { function, file, line: reader.id()? });
        }
        let before = self.tables.locations().len();
        self.tables.intern_location(Location { kind, object, address: Svma(*address), lines: lines.into() });
        grew(before, self.tables.locations().len())
    }

    fn read_stack(&mut self, reader: &mut Reader<'_>, buffer: &mut Vec<LocationId>) -> Result<(), Malformed> {
        let end = end_of_code(reader.byte()?).ok_or(Malformed)?;
        buffer.clear();
        let mut id = 0;
        for _ in 0..reader.count()? {
            id = reader.delta(id)?;
            let location = Id::new(u32::try_from(id).map_err(|_| Malformed)?);
            self.tables.location(location).ok_or(Malformed)?;
            buffer.push(location);
        }
        let before = self.tables.stacks().len();
        self.tables.intern_stack(buffer, end);
        grew(before, self.tables.stacks().len())
    }
}

/// An element that is there twice would shift all that follow.
const fn grew(before: usize, after: usize) -> Result<(), Malformed> {
    if after == before + 1 { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use flamekeeper_profile::{BuildIdKind, StackEnd, StopReason};

    use super::*;

    fn grow(dictionary: &mut Dictionary, from: u64) {
        let tables = &mut dictionary.tables;
        let id = BuildId::new(BuildIdKind::Gnu, &from.to_le_bytes()).unwrap();
        let object = tables.intern_object(Some(id), "/usr/bin/é");
        let anonymous = tables.intern_object(None, "[anon]");
        let locations = [
            tables.intern_address(FrameKind::Native, Some(object), Svma(0x1000 + from)),
            tables.intern_address(FrameKind::Native, Some(anonymous), Svma(u64::MAX - from)),
            tables.intern_named(FrameKind::Kernel, None, Svma(from), "schedule"),
        ];
        tables.intern_stack(&locations, StackEnd::Root);
        tables.intern_stack(&locations[1..], StackEnd::Truncated(StopReason::BadFrame));
        tables.intern_stack(&[], StackEnd::Unstated);
    }

    /// Segments read back in order give the same tables; what is written is not written again.
    #[test]
    fn segments_round_trip() {
        let mut dictionary = Dictionary::default();
        let mut copy = Dictionary::default();
        for from in [0, 7, 7, 1 << 40] {
            grow(&mut dictionary, from);
            if let Some(segment) = dictionary.next_segment() {
                copy.read_segment(&segment).unwrap();
            }
            assert_eq!(dictionary.next_segment(), None);
        }
        assert_eq!(format!("{:?}", copy.tables), format!("{:?}", dictionary.tables));
        assert_eq!(copy.next_segment(), None);
    }

    /// A segment cut off anywhere, or read twice, is refused and never panics.
    #[test]
    fn refuses_damage() {
        let mut dictionary = Dictionary::default();
        grow(&mut dictionary, 3);
        let segment = dictionary.next_segment().unwrap();
        for cut in 0..segment.len() {
            assert_eq!(Dictionary::default().read_segment(&segment[..cut]), Err(Malformed), "{cut}");
        }
        assert_eq!(dictionary.read_segment(&segment), Err(Malformed));
        for at in 0..segment.len() {
            let mut damaged = segment.clone();
            damaged[at] ^= 0xff;
            _ = Dictionary::default().read_segment(&damaged);
        }
    }
}
