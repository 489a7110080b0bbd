//! pprof's `profile.proto`, as any program writes it.

use std::collections::HashMap;

use flamekeeper_profile::{FrameKind, Line, Location, LocationId, Merged, ObjectId, StackEnd, Svma, Value};
use flamekeeper_wire::pprof::{self as proto, PprofError, ValueType};

use super::{FileError, FileLimits, Selected};
use crate::store::MergedProfile;

/// A pprof that was read, not yet looked into.
#[derive(Debug)]
pub(super) struct Pprof {
    profile: proto::Profile,
}

/// Which column holds what is asked for, and how its samples are known.
struct Columns {
    weight: usize,
    samples: Samples,
}

enum Samples {
    /// A column of its own.
    Column(usize),
    /// What a sample weighs.
    Period(u64),
    /// The file does not say it.
    Unknown,
}

impl Pprof {
    pub(super) fn parse(bytes: &[u8], limits: FileLimits) -> Result<Self, FileError> {
        let profile = proto::decode(bytes, limits.entries).map_err(|error| match error {
            PprofError::Foreign => FileError::Foreign,
            PprofError::TooLarge(limit) => FileError::TooLarge { what: "entries in a table", limit },
        })?;
        if profile.sample_type.is_empty() {
            return Err(FileError::Foreign);
        }
        Ok(Self { profile })
    }

    fn text(&self, place: i64) -> &str {
        self.profile.text(place)
    }

    pub(super) fn select(&self, wanted: Option<&str>) -> Result<Selected, FileError> {
        let columns = self.columns(wanted)?;
        let kind = self.profile.sample_type[columns.weight];
        let mut reader = Reader::new(self);
        let mut merged = Merged::new();
        reader.locations(&mut merged)?;
        for sample in &self.profile.sample {
            let value = value(sample, &columns)?;
            if value == Value::default() {
                continue;
            }
            let locations = reader.stack(sample)?;
            let stack = merged.tables.intern_stack(&locations, StackEnd::Unstated);
            merged.add_value(stack, value);
        }
        let merged = MergedProfile { merged, unit: self.text(kind.unit).to_owned(), ..MergedProfile::default() };
        #[allow(clippy::cast_precision_loss)] // A length is told no more exactly than this.
        let seconds = self.profile.duration_nanos.max(0) as f64 / 1e9;
        Ok(Selected { profile_type: self.text(kind.r#type).to_owned(), merged, seconds })
    }

    /// As `go tool pprof` chooses: the default that the file names, else its last type.
    fn columns(&self, wanted: Option<&str>) -> Result<Columns, FileError> {
        let types = &self.profile.sample_type;
        let find = |name: &str| types.iter().position(|kind| self.text(kind.r#type) == name);
        let weight = match wanted {
            Some(name) => find(name).ok_or_else(|| FileError::NoType {
                wanted: name.to_owned(),
                known: types.iter().map(|kind| self.text(kind.r#type).to_owned()).collect(),
            })?,
            None => find(self.text(self.profile.default_sample_type)).unwrap_or(types.len() - 1),
        };
        Ok(Columns { weight, samples: self.samples(weight) })
    }

    /// Objects and bytes of a heap are scaled up from samples, so counts of them are none.
    fn samples(&self, weight: usize) -> Samples {
        let types = &self.profile.sample_type;
        let named = |kind: &ValueType, name: &str, unit: &str| self.text(kind.r#type) == name && self.text(kind.unit) == unit;
        if let Some(column) = types.iter().position(|kind| named(kind, "samples", "count")) {
            return Samples::Column(column);
        }
        let kind = types[weight];
        let is_time = matches!(self.text(kind.unit), "nanoseconds" | "microseconds" | "milliseconds");
        let same = |period: ValueType| self.text(period.r#type) == self.text(kind.r#type) && self.text(period.unit) == self.text(kind.unit);
        match (self.profile.period_type.filter(|period| is_time && same(*period)), u64::try_from(self.profile.period)) {
            (Some(_), Ok(period)) if period > 1 => Samples::Period(period),
            _ => Samples::Unknown,
        }
    }
}

fn value(sample: &proto::Sample, columns: &Columns) -> Result<Value, FileError> {
    let column = |place: usize| {
        let value = sample.value.get(place).copied().ok_or(FileError::Damaged("a sample has fewer values than there are types"))?;
        u64::try_from(value).map_err(|_| FileError::Negative)
    };
    let weight = column(columns.weight)?;
    let samples = match columns.samples {
        Samples::Column(place) => column(place)?,
        Samples::Period(period) => weight / period,
        Samples::Unknown => 0,
    };
    Ok(Value { weight, samples })
}

/// Places of a pprof's entries by their ids, and what they became.
struct Reader<'a> {
    pprof: &'a Pprof,
    functions: HashMap<u64, &'a proto::Function>,
    locations: HashMap<u64, LocationId>,
}

impl<'a> Reader<'a> {
    fn new(pprof: &'a Pprof) -> Self {
        let functions = pprof.profile.function.iter().map(|function| (function.id, function)).collect();
        Self { pprof, functions, locations: HashMap::new() }
    }

    fn locations(&mut self, merged: &mut Merged) -> Result<(), FileError> {
        let profile = &self.pprof.profile;
        let mappings: HashMap<u64, &proto::Mapping> = profile.mapping.iter().map(|mapping| (mapping.id, mapping)).collect();
        let mut objects: HashMap<u64, ObjectId> = HashMap::new();
        for location in &profile.location {
            let mapping = mappings.get(&location.mapping_id);
            let object = mapping.map(|mapping| {
                // The file alone: two builds of a program mostly lie in two folders.
                let path = self.pprof.text(mapping.filename);
                let name = path.rsplit('/').next().unwrap_or(path);
                *objects.entry(mapping.id).or_insert_with(|| merged.tables.intern_object(None, name))
            });
            let lines = location.line.iter().map(|line| self.line(line, merged)).collect::<Result<Box<[Line]>, _>>()?;
            // Where it is named, the address says no more; else it is what stays the same from run to run.
            let in_file = |mapping: &&proto::Mapping| location.address.wrapping_sub(mapping.memory_start).wrapping_add(mapping.file_offset);
            let address = if lines.is_empty() { Svma(mapping.map_or(location.address, in_file)) } else { Svma(0) };
            let id = merged.tables.intern_location(Location { kind: FrameKind::Native, object, address, lines });
            self.locations.insert(location.id, id);
        }
        Ok(())
    }

    fn line(&self, line: &proto::Line, merged: &mut Merged) -> Result<Line, FileError> {
        let function = self.functions.get(&line.function_id).ok_or(FileError::Damaged("a line names a function that is not there"))?;
        let name = [function.name, function.system_name].map(|place| self.pprof.text(place)).into_iter().find(|name| !name.is_empty());
        Ok(Line {
            function: merged.tables.intern_string(name.unwrap_or("[unknown]")),
            file: merged.tables.intern_string(self.pprof.text(function.filename)),
            line: u32::try_from(line.line).unwrap_or(0),
        })
    }

    fn stack(&self, sample: &proto::Sample) -> Result<Vec<LocationId>, FileError> {
        let find = |id: &u64| self.locations.get(id).copied().ok_or(FileError::Damaged("a sample names a location that is not there"));
        sample.location_id.iter().map(find).collect()
    }
}
