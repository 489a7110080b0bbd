//! The catalog of a partition: its series, their labels and types. It grows by segments, as a dictionary does.

use flamekeeper_profile::{Id, Labels, SampleType, Series, Table, label};

use super::format::ServiceId;
use super::varint::{self, Malformed, Reader};

/// A handle of a series in the catalog.
pub(super) type SeriesId = Id<SeriesEntry>;

/// Labels by their places in the catalog's strings, by name.
pub(super) type LabelIds = Box<[(u32, u32)]>;

/// A series: labels and type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesEntry {
    pub(super) service: ServiceId,
    pub(super) sample_type: Id<SampleType>,
    pub(super) labels: LabelIds,
}

/// The series of a partition.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    strings: Table<Box<str>>,
    types: Table<SampleType>,
    series: Table<SeriesEntry>,
    written: (usize, usize, usize),
}

impl Catalog {
    pub(super) const fn series(&self) -> &Table<SeriesEntry> {
        &self.series
    }

    pub(super) fn sample_type(&self, id: Id<SampleType>) -> Option<&SampleType> {
        self.types.get(id)
    }

    /// The labels of these places.
    pub(super) fn labels(&self, ids: &[(u32, u32)]) -> Labels {
        let mut labels = Labels::new();
        let text = |id| self.strings.get(Id::new(id)).map_or("", |text| text);
        for (name, value) in ids {
            labels.set(text(*name), text(*value));
        }
        labels
    }

    /// The service of a name, if the partition has it.
    pub(super) fn service(&self, name: &str) -> Option<ServiceId> {
        self.strings.find(name).map(|id| ServiceId(id.raw()))
    }

    pub(super) fn intern_labels(&mut self, labels: &Labels) -> LabelIds {
        let mut place = |text: &str| self.strings.intern_with(text, || text.into()).raw();
        labels.iter().map(|(name, value)| (place(name), place(value))).collect()
    }

    pub(super) fn intern_series(&mut self, series: &Series) -> (SeriesId, ServiceId) {
        let labels = self.intern_labels(&series.labels);
        let name = series.labels.get(label::SERVICE);
        let service = ServiceId(self.strings.intern_with(name, || name.into()).raw());
        let sample_type = self.types.intern(series.sample_type.clone());
        (self.series.intern(SeriesEntry { service, sample_type, labels }), service)
    }

    /// A segment with everything that no segment holds yet; `None` where there is nothing.
    pub(super) fn next_segment(&mut self) -> Option<Vec<u8>> {
        let now = (self.strings.len(), self.types.len(), self.series.len());
        if now == self.written {
            return None;
        }
        let mut out = Vec::new();
        varint::put(&mut out, (now.0 - self.written.0) as u64);
        for (_, text) in self.strings.iter().skip(self.written.0) {
            varint::put_bytes(&mut out, text.as_bytes());
        }
        varint::put(&mut out, (now.1 - self.written.1) as u64);
        for (_, sample_type) in self.types.iter().skip(self.written.1) {
            for text in [&sample_type.name, &sample_type.unit, &sample_type.period_name, &sample_type.period_unit] {
                varint::put_bytes(&mut out, text.as_bytes());
            }
            varint::put(&mut out, sample_type.period);
        }
        varint::put(&mut out, (now.2 - self.written.2) as u64);
        for (_, series) in self.series.iter().skip(self.written.2) {
            varint::put(&mut out, series.service.0.into());
            varint::put(&mut out, series.sample_type.raw().into());
            put_labels(&mut out, &series.labels);
        }
        self.written = now;
        Some(out)
    }

    /// Adds a segment that was read back. Segments must come in the order in which they were written.
    pub(super) fn read_segment(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader(bytes);
        for _ in 0..reader.count()? {
            let expected = self.strings.len();
            in_place(expected, self.strings.intern(reader.text()?.into()).index())?;
        }
        for _ in 0..reader.count()? {
            let [name, unit, period_name, period_unit] = [reader.text()?, reader.text()?, reader.text()?, reader.text()?].map(Box::from);
            let sample_type = SampleType { name, unit, period_name, period_unit, period: reader.number()? };
            let expected = self.types.len();
            in_place(expected, self.types.intern(sample_type).index())?;
        }
        for _ in 0..reader.count()? {
            let service = ServiceId(reader.id()?);
            let sample_type = Id::new(reader.id()?);
            if self.types.get(sample_type).is_none() || self.strings.get(Id::new(service.0)).is_none() {
                return Err(Malformed);
            }
            let labels = self.read_labels(&mut reader)?;
            let expected = self.series.len();
            in_place(expected, self.series.intern(SeriesEntry { service, sample_type, labels }).index())?;
        }
        self.written = (self.strings.len(), self.types.len(), self.series.len());
        reader.end()
    }

    /// Labels as [`put_labels`] wrote them; each place must exist.
    pub(super) fn read_labels(&self, reader: &mut Reader<'_>) -> Result<LabelIds, Malformed> {
        let count = reader.count()?;
        let mut labels = Vec::with_capacity(count);
        for _ in 0..count {
            let pair = (reader.id()?, reader.id()?);
            if self.strings.get(Id::new(pair.0)).is_none() || self.strings.get(Id::new(pair.1)).is_none() {
                return Err(Malformed);
            }
            labels.push(pair);
        }
        Ok(labels.into())
    }
}

/// Labels as places in the catalog's strings.
pub(super) fn put_labels(out: &mut Vec<u8>, labels: &[(u32, u32)]) {
    varint::put(out, labels.len() as u64);
    for (name, value) in labels {
        varint::put(out, (*name).into());
        varint::put(out, (*value).into());
    }
}

/// An element that is there twice would shift all that follow.
const fn in_place(expected: usize, found: usize) -> Result<(), Malformed> {
    if expected == found { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments read back in order give the same catalog; a cut one is refused.
    #[test]
    fn segments_round_trip() {
        let (mut catalog, mut copy) = (Catalog::default(), Catalog::default());
        for pid in ["1", "2", "1", ""] {
            let labels = Labels::new().with(label::SERVICE, "api").with(label::PID, pid);
            catalog.intern_series(&Series { labels, sample_type: SampleType::cpu(1000 + pid.len() as u64), values: Vec::new() });
            let Some(segment) = catalog.next_segment() else { continue };
            for cut in 0..segment.len() {
                assert_eq!(Catalog::default().read_segment(&segment[..cut]), Err(Malformed), "{cut}");
            }
            copy.read_segment(&segment).unwrap();
        }
        assert_eq!(format!("{copy:?}"), format!("{catalog:?}"));
        assert_eq!(copy.series().len(), 3);
        assert!(copy.service("api").is_some() && copy.service("web").is_none());
    }
}
