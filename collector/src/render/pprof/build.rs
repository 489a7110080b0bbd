//! Fills pprof's tables.

use std::collections::HashMap;

use flamekeeper_profile::{BuildId, BuildIdKind, Completeness, Frame, LocationId, ObjectId, StackEnd, Value};

use super::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};
use crate::query::SymbolizedProfile;

/// The tables under way. Ids are places in them, from 1.
#[derive(Default)]
pub(super) struct Builder {
    out: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<LocationId, u64>,
    mappings: HashMap<ObjectId, u64>,
}

/// Counts and weights beyond 63 bits are stated as the greatest that pprof holds.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn next_id(len: usize) -> u64 {
    // A length in memory fits 64 bits.
    len as u64 + 1
}

impl Builder {
    pub(super) fn build(mut self, profile: &SymbolizedProfile) -> Profile {
        self.string("");
        let total = profile.total();
        let counts_samples = total.samples > 0 || profile.profile_type() == "cpu";
        if counts_samples {
            let samples = self.value_type("samples", "count");
            self.out.sample_type.push(samples);
        }
        let weight = self.value_type(profile.profile_type(), profile.unit());
        self.out.sample_type.push(weight);
        self.out.default_sample_type = weight.r#type;
        if counts_samples {
            self.out.period_type = Some(weight);
            self.out.period = period(profile.stacks.iter().map(|(_, value)| *value));
        }
        self.out.time_nanos = signed(profile.window().from.0);
        self.out.duration_nanos = signed(profile.window().duration());
        for (stack, value) in &profile.stacks {
            let (locations, end) = profile.stack(*stack);
            let location_id = locations.iter().map(|location| self.location(profile, *location)).collect();
            let values = if counts_samples { vec![signed(value.samples), signed(value.weight)] } else { vec![signed(value.weight)] };
            let label = self.labels(end);
            self.out.sample.push(Sample { location_id, value: values, label });
        }
        self.comments(profile.completeness());
        self.out
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let place = signed(self.out.string_table.len() as u64);
        self.out.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), place);
        place
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.string(name), unit: self.string(unit) }
    }

    fn labels(&mut self, end: StackEnd) -> Vec<Label> {
        match end {
            StackEnd::Root | StackEnd::Unstated => Vec::new(),
            StackEnd::Truncated(reason) => vec![Label { key: self.string("truncated"), str: self.string(reason.as_str()) }],
        }
    }

    fn location(&mut self, profile: &SymbolizedProfile, place: LocationId) -> u64 {
        if let Some(known) = self.locations.get(&place) {
            return *known;
        }
        let location = profile.tables.location(place);
        let mapping = location.and_then(|location| location.object).map_or(0, |object| self.mapping(profile, object));
        let frames = || profile.names.location(place).filter(|frame| frame.unnamed.is_none());
        let line: Vec<Line> = frames().map(|frame| self.line(frame)).collect();
        if let Some(mapping) = usize::try_from(mapping).ok().and_then(|id| self.out.mapping.get_mut(id.wrapping_sub(1))) {
            mapping.has_functions &= !line.is_empty();
            mapping.has_filenames |= frames().any(|frame| !frame.file.is_empty());
            mapping.has_line_numbers |= frames().any(|frame| frame.line > 0);
            mapping.has_inline_frames |= frames().any(|frame| frame.inlined);
        }
        let id = next_id(self.out.location.len());
        let address = location.map_or(0, |location| location.address.0);
        self.out.location.push(Location { id, mapping_id: mapping, address, line });
        self.locations.insert(place, id);
        id
    }

    fn mapping(&mut self, profile: &SymbolizedProfile, place: ObjectId) -> u64 {
        if let Some(known) = self.mappings.get(&place) {
            return *known;
        }
        let object = profile.tables.object(place);
        let path = object.map_or("", |object| profile.tables.string(object.path));
        let build_id = object.and_then(|object| object.build_id.as_ref()).map(build_id_text).unwrap_or_default();
        let id = next_id(self.out.mapping.len());
        let mapping = Mapping {
            id,
            memory_start: 0,
            memory_limit: u64::MAX,
            file_offset: 0,
            filename: self.string(path),
            build_id: self.string(&build_id),
            has_functions: true, // Until a location without a name turns up.
            ..Mapping::default()
        };
        self.out.mapping.push(mapping);
        self.mappings.insert(place, id);
        id
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let (name, filename) = (self.string(&frame.name), self.string(&frame.file));
        let next = next_id(self.out.function.len());
        let function_id = *self.functions.entry((name, filename)).or_insert(next);
        if function_id == next {
            self.out.function.push(Function { id: next, name, system_name: name, filename, start_line: i64::from(frame.start_line) });
        }
        Line { function_id, line: i64::from(frame.line) }
    }

    fn comments(&mut self, completeness: &Completeness) {
        let lost = completeness.ledger.losses().map(|(reason, count)| format!("samples lost, {}: {count}", reason.as_str()));
        let caveats = completeness.ledger.caveats().map(|(caveat, count)| format!("samples with the caveat {}: {count}", caveat.as_str()));
        let truncated = completeness.truncated.iter().map(|(reason, count)| format!("stacks truncated, {}: {count}", reason.as_str()));
        let unnamed = (completeness.unnamed > 0).then(|| format!("samples in functions without a name: {}", completeness.unnamed));
        for comment in lost.chain(caveats).chain(truncated).chain(unnamed).collect::<Vec<_>>() {
            let place = self.string(&comment);
            self.out.comment.push(place);
        }
    }
}

/// pprof writes a build id as its hexadecimal digits, and Go's as its text.
fn build_id_text(id: &BuildId) -> String {
    match id.kind() {
        BuildIdKind::Go => String::from_utf8_lossy(id.bytes()).into_owned(),
        BuildIdKind::Gnu | BuildIdKind::Htlhash => id.hex(),
    }
}

/// What a sample is worth, where all are worth the same; else 0, pprof's word for unknown.
fn period(mut values: impl Iterator<Item = Value>) -> i64 {
    let of = |value: Value| if value.samples > 0 && value.weight.is_multiple_of(value.samples) { value.weight / value.samples } else { 0 };
    let Some(first) = values.next().map(of) else { return 0 };
    if values.all(|value| of(value) == first) { signed(first) } else { 0 }
}
