//! The contents of the dictionaries as bytes: labels, sample types, objects, locations, stacks; and ledgers.

use flamekeeper_profile::{AgentFigures, BuildId, BuildIdKind, Figure, FrameKind, Labels, Ledger, SampleType, StackEnd};

use super::codec::{Damaged, Reader, put, put_bytes};
use super::row::{end_code, end_of};

pub(super) fn encode_labels(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    put_labels(&mut out, labels);
    out
}

pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    put(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

pub(super) fn read_labels(reader: &mut Reader<'_>) -> Result<Labels, Damaged> {
    let mut labels = Labels::new();
    for _ in 0..reader.number()? {
        labels.set(reader.text()?, reader.text()?);
    }
    Ok(labels)
}

/// Passes over labels; gives their bytes.
pub(super) fn skip_labels<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Damaged> {
    let before = reader.rest();
    for _ in 0..reader.number()? {
        reader.bytes()?;
        reader.bytes()?;
    }
    Ok(&before[..before.len() - reader.rest().len()])
}

pub(super) fn encode_type(sample_type: &SampleType) -> Vec<u8> {
    let mut out = Vec::new();
    for text in [&sample_type.name, &sample_type.unit, &sample_type.period_name, &sample_type.period_unit] {
        put_bytes(&mut out, text.as_bytes());
    }
    put(&mut out, sample_type.period);
    out
}

pub(super) fn decode_type(bytes: &[u8]) -> Result<SampleType, Damaged> {
    let mut reader = Reader::new(bytes);
    let mut text = || Ok::<_, Damaged>(reader.text()?.into());
    let (name, unit, period_name, period_unit) = (text()?, text()?, text()?, text()?);
    Ok(SampleType { name, unit, period_name, period_unit, period: reader.number()? })
}

/// An object whose path is a number of the dictionary of texts.
pub(super) struct ObjectRecord {
    pub(super) path: u32,
    pub(super) build_id: Option<BuildId>,
}

impl ObjectRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, u64::from(self.path));
        if let Some(id) = &self.build_id {
            out.push(match id.kind() {
                BuildIdKind::Gnu => 1,
                BuildIdKind::Go => 2,
                BuildIdKind::Htlhash => 3,
            });
            put_bytes(&mut out, id.bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let path = reader.small()?;
        if reader.is_empty() {
            return Ok(Self { path, build_id: None });
        }
        let kind = match reader.number()? {
            1 => BuildIdKind::Gnu,
            2 => BuildIdKind::Go,
            3 => BuildIdKind::Htlhash,
            _ => return Err(Damaged),
        };
        let build_id = BuildId::new(kind, reader.bytes()?).map_err(|_| Damaged)?;
        Ok(Self { path, build_id: Some(build_id) })
    }
}

/// A location whose object and texts are numbers of their dictionaries.
#[derive(Clone, Debug)]
pub(super) struct LocationRecord {
    pub(super) kind: FrameKind,
    pub(super) object: Option<u32>,
    pub(super) address: u64,
    /// Function, file and line, innermost first.
    pub(super) lines: Vec<(u32, u32, u32)>,
}

impl LocationRecord {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code());
        put(out, self.object.map_or(0, |object| u64::from(object) + 1));
        put(out, self.address);
        for (function, file, line) in &self.lines {
            for part in [function, file, line] {
                put(out, u64::from(*part));
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (kind, rest) = bytes.split_first().ok_or(Damaged)?;
        let mut reader = Reader::new(rest);
        let object = match reader.number()? {
            0 => None,
            next => Some(u32::try_from(next - 1).map_err(|_| Damaged)?),
        };
        let address = reader.number()?;
        let mut lines = Vec::new();
        while !reader.is_empty() {
            lines.push((reader.small()?, reader.small()?, reader.small()?));
        }
        Ok(Self { kind: FrameKind::from_code(*kind), object, address, lines })
    }
}

pub(super) fn put_stack(out: &mut Vec<u8>, locations: &[u32], end: StackEnd) {
    out.push(end_code(end));
    for location in locations {
        put(out, u64::from(*location));
    }
}

pub(super) fn decode_stack(bytes: &[u8], locations: &mut Vec<u32>) -> Result<StackEnd, Damaged> {
    let (end, rest) = bytes.split_first().ok_or(Damaged)?;
    let mut reader = Reader::new(rest);
    while !reader.is_empty() {
        locations.push(reader.small()?);
    }
    Ok(end_of(*end))
}

pub(super) fn put_ledger(out: &mut Vec<u8>, ledger: &Ledger) {
    put(out, ledger.taken);
    for (name, count) in ledger.entries() {
        put_bytes(out, name.as_bytes());
        put(out, count);
    }
    put_bytes(out, b"");
}

pub(super) fn read_ledger(reader: &mut Reader<'_>) -> Result<Ledger, Damaged> {
    let mut ledger = Ledger::new();
    ledger.take(reader.number()?);
    loop {
        match reader.text()? {
            "" => return Ok(ledger),
            name => ledger.add_entry(name, reader.number()?),
        }
    }
}

/// They stand behind the ledger; a record of an earlier version ends before them.
pub(super) fn put_figures(out: &mut Vec<u8>, figures: &AgentFigures) {
    for (figure, value) in figures.iter() {
        put_bytes(out, figure.as_str().as_bytes());
        put(out, value);
    }
}

pub(super) fn read_figures(reader: &mut Reader<'_>) -> Result<AgentFigures, Damaged> {
    let mut figures = AgentFigures::default();
    while !reader.is_empty() {
        let figure = Figure::parse(reader.text()?);
        let value = reader.number()?;
        figure.into_iter().for_each(|figure| figures.set(figure, value));
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every record reads back, and cut ones are damage or at least no panic.
    #[test]
    fn round_trips() {
        let labels = Labels::new().with("service", "api").with("host", "web-1");
        let encoded = [encode_labels(&labels), vec![7]].concat();
        let mut reader = Reader::new(&encoded);
        assert_eq!(skip_labels(&mut reader), Ok(&encoded[..encoded.len() - 1]));
        assert_eq!(reader.rest(), [7]);
        assert_eq!(read_labels(&mut Reader::new(&encoded)), Ok(labels));
        let sample_type = SampleType::cpu(50);
        assert_eq!(decode_type(&encode_type(&sample_type)), Ok(sample_type));
        let id = BuildId::new(BuildIdKind::Go, b"x/y").unwrap();
        let object = ObjectRecord { path: 7, build_id: Some(id.clone()) }.encode();
        assert_eq!(ObjectRecord::decode(&object).unwrap().build_id, Some(id));
        let location = LocationRecord { kind: FrameKind::Kernel, object: Some(0), address: u64::MAX, lines: vec![(1, 2, 3), (4, 5, 6)] };
        let mut out = Vec::new();
        location.put(&mut out);
        let read = LocationRecord::decode(&out).unwrap();
        assert_eq!((read.kind, read.object, read.address, read.lines), (FrameKind::Kernel, Some(0), u64::MAX, location.lines));
        let mut locations = Vec::new();
        let mut stack = Vec::new();
        put_stack(&mut stack, &[9, 8, 1 << 30], StackEnd::Unstated);
        assert_eq!(decode_stack(&stack, &mut locations), Ok(StackEnd::Unstated));
        assert_eq!(locations, [9, 8, 1 << 30]);
        let mut ledger = Ledger::new();
        ledger.take(9);
        ledger.lose(flamekeeper_profile::LossReason::SpoolFull, 2);
        ledger.note(flamekeeper_profile::Caveat::InterpreterFrames, 3);
        let mut out = Vec::new();
        put_ledger(&mut out, &ledger);
        assert_eq!(read_ledger(&mut Reader::new(&out)), Ok(ledger));
        for cut in 0..out.len() {
            assert_eq!(read_ledger(&mut Reader::new(&out[..cut])), Err(Damaged));
        }
    }

    /// Figures read back; one of a later version is passed over, a record without any has none.
    #[test]
    fn figures_round_trip() {
        let mut figures = AgentFigures::default();
        figures.set(Figure::MemoryBytes, 1 << 40);
        figures.set(Figure::CacheSteps, 0);
        let mut out = Vec::new();
        put_figures(&mut out, &figures);
        put_bytes(&mut out, b"of_tomorrow");
        put(&mut out, 7);
        assert_eq!(read_figures(&mut Reader::new(&out)), Ok(figures));
        assert_eq!(read_figures(&mut Reader::new(&[])), Ok(AgentFigures::default()));
        assert_eq!(read_figures(&mut Reader::new(&out[..out.len() - 1])), Err(Damaged));
    }
}
