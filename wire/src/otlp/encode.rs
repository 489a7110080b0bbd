//! From a batch to the message.

use std::collections::HashMap;

use flamekeeper_profile::{
    Batch, FrameKind, Labels, Ledger, Location, LocationId, Object, SampleType, Series, StackEnd, StackId, Tables, label,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::profiles::v1development as otlp;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::attributes::{attribute_of, build_id_attribute};
use super::{AGENT_FIGURE, FRAME_TYPE, LEDGER_ENTRY, LEDGER_SCOPE, LEDGER_TAKEN, SCOPE, STACK_END};

/// A map whose keys come from the batch's own tables.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Encodes a batch as an `ExportProfilesServiceRequest`.
///
/// Handles that point nowhere in the batch's tables are encoded as absent.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let mut encoder = Encoder::new(&batch.tables);
    let mut resources: Vec<otlp::ResourceProfiles> = Vec::new();
    let mut place_of: Map<&Labels, usize> = Map::default();
    for series in &batch.series {
        let profile = encoder.profile(batch, series);
        let place = *place_of.entry(&series.labels).or_insert_with(|| {
            resources.push(resource(&series.labels, SCOPE));
            resources.len() - 1
        });
        resources[place].scope_profiles[0].profiles.push(profile);
    }
    let mut ledger = resource(&batch.labels, LEDGER_SCOPE);
    ledger.scope_profiles[0].profiles.push(encoder.ledger(batch));
    resources.push(ledger);
    ExportProfilesServiceRequest { resource_profiles: resources, dictionary: Some(encoder.dictionary) }.encode_to_vec()
}

fn resource(labels: &Labels, scope: &str) -> otlp::ResourceProfiles {
    let attribute = |(name, value): (&str, &str)| {
        let number = if name == label::PID { value.parse().ok() } else { None };
        let value = number.map_or_else(|| any_value::Value::StringValue(value.to_owned()), any_value::Value::IntValue);
        KeyValue { key: attribute_of(name).to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    };
    otlp::ResourceProfiles {
        resource: Some(Resource { attributes: labels.iter().map(attribute).collect(), ..Resource::default() }),
        scope_profiles: vec![otlp::ScopeProfiles {
            scope: Some(InstrumentationScope {
                name: scope.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            ..otlp::ScopeProfiles::default()
        }],
        ..otlp::ResourceProfiles::default()
    }
}

/// Builds the dictionary: each thing once, and only what a sample refers to.
struct Encoder<'a> {
    tables: &'a Tables,
    dictionary: otlp::ProfilesDictionary,
    strings: Map<Box<str>, i32>,
    attributes: Map<(i32, Box<str>), i32>,
    functions: Map<otlp::Function, i32>,
    mappings: Map<Object, i32>,
    locations: Map<LocationId, i32>,
    stacks: Map<&'a [LocationId], i32>,
}

impl<'a> Encoder<'a> {
    fn new(tables: &'a Tables) -> Self {
        // Element 0 of every table is the zero value, as the format demands.
        let dictionary = otlp::ProfilesDictionary {
            mapping_table: vec![otlp::Mapping::default()],
            location_table: vec![otlp::Location::default()],
            function_table: vec![otlp::Function::default()],
            link_table: vec![otlp::Link::default()],
            string_table: vec![String::new()],
            attribute_table: vec![otlp::KeyValueAndUnit::default()],
            stack_table: vec![otlp::Stack::default()],
        };
        Self {
            tables,
            dictionary,
            strings: Map::from_iter([("".into(), 0)]),
            attributes: Map::default(),
            functions: Map::from_iter([(otlp::Function::default(), 0)]),
            mappings: Map::default(),
            locations: Map::default(),
            stacks: Map::from_iter([(&[] as &[LocationId], 0)]),
        }
    }

    fn profile(&mut self, batch: &Batch, series: &Series) -> otlp::Profile {
        let samples = series.values.iter().map(|(stack, value)| self.sample(*stack, *value)).collect();
        self.profile_of(batch, &series.sample_type, samples)
    }

    fn profile_of(&mut self, batch: &Batch, sample_type: &SampleType, samples: Vec<otlp::Sample>) -> otlp::Profile {
        let period_type = (sample_type.period > 0).then(|| self.value_type(&sample_type.period_name, &sample_type.period_unit));
        otlp::Profile {
            sample_type: Some(self.value_type(&sample_type.name, &sample_type.unit)),
            samples,
            time_unix_nano: batch.window.from.0,
            duration_nano: batch.window.duration(),
            period_type,
            period: i64::try_from(sample_type.period).unwrap_or(i64::MAX),
            ..otlp::Profile::default()
        }
    }

    fn ledger(&mut self, batch: &Batch) -> otlp::Profile {
        let Ledger { taken, .. } = batch.ledger;
        let entries = std::iter::once((LEDGER_TAKEN.to_owned(), taken)).chain(batch.ledger.entries());
        let entries = entries.map(|(name, value)| (LEDGER_ENTRY, name, value));
        let figures = batch.figures.iter().map(|(figure, value)| (AGENT_FIGURE, figure.as_str().to_owned(), value));
        let sample = |(key, name, value): (&str, String, u64)| otlp::Sample {
            attribute_indices: vec![self.attribute(key, &name)],
            values: vec![i64::try_from(value).unwrap_or(i64::MAX)],
            ..otlp::Sample::default()
        };
        let samples = entries.chain(figures).map(sample).collect();
        self.profile_of(batch, &SampleType::plain("ledger", "count"), samples)
    }

    fn sample(&mut self, stack: StackId, value: u64) -> otlp::Sample {
        let tables = self.tables;
        let (locations, end) =
            tables.stack(stack).map_or((&[] as &[LocationId], StackEnd::Unstated), |stack| (&stack.locations, stack.end));
        let attribute_indices = if end == StackEnd::Root { Vec::new() } else { vec![self.attribute(STACK_END, end.as_str())] };
        otlp::Sample {
            stack_index: self.stack(locations),
            attribute_indices,
            values: vec![i64::try_from(value).unwrap_or(i64::MAX)],
            ..otlp::Sample::default()
        }
    }

    fn stack(&mut self, locations: &'a [LocationId]) -> i32 {
        if let Some(index) = self.stacks.get(locations) {
            return *index;
        }
        let location_indices = locations.iter().map(|id| self.location(*id)).collect();
        let index = push(&mut self.dictionary.stack_table, otlp::Stack { location_indices });
        self.stacks.insert(locations, index);
        index
    }

    fn location(&mut self, id: LocationId) -> i32 {
        if let Some(index) = self.locations.get(&id) {
            return *index;
        }
        let tables = self.tables;
        let index = tables.location(id).map_or(0, |location| self.new_location(location));
        self.locations.insert(id, index);
        index
    }

    fn new_location(&mut self, location: &Location) -> i32 {
        let object = location.object.and_then(|id| self.tables.object(id));
        let mapping_index = object.map_or(0, |object| self.mapping(object));
        if let Some(mapping) = self.dictionary.mapping_table.get_mut(mapping_index as usize).filter(|_| mapping_index > 0) {
            // An address stands within its mapping; ours start at the object's own zero.
            mapping.memory_limit = mapping.memory_limit.max(location.address.0.saturating_add(1));
        }
        let lines = location.lines.iter().map(|line| {
            let function = otlp::Function {
                name_strindex: self.string(self.tables.string(line.function)),
                filename_strindex: self.string(self.tables.string(line.file)),
                ..otlp::Function::default()
            };
            otlp::Line { function_index: self.function(function), line: i64::from(line.line), column: 0 }
        });
        let lines = lines.collect();
        let attribute_indices = match location.kind {
            FrameKind::Other => Vec::new(),
            kind => vec![self.attribute(FRAME_TYPE, kind.as_str())],
        };
        push(&mut self.dictionary.location_table, otlp::Location { mapping_index, address: location.address.0, lines, attribute_indices })
    }

    fn function(&mut self, function: otlp::Function) -> i32 {
        let table = &mut self.dictionary.function_table;
        *self.functions.entry(function).or_insert_with(|| push(table, function))
    }

    fn mapping(&mut self, object: &Object) -> i32 {
        if let Some(index) = self.mappings.get(object) {
            return *index;
        }
        let build_id = object.build_id.as_ref();
        let attribute_indices = build_id.map(|id| self.attribute(build_id_attribute(id.kind()), &attribute_text(id))).into_iter().collect();
        let filename_strindex = self.string(self.tables.string(object.path));
        let mapping = otlp::Mapping { filename_strindex, attribute_indices, ..otlp::Mapping::default() };
        let index = push(&mut self.dictionary.mapping_table, mapping);
        self.mappings.insert(object.clone(), index);
        index
    }

    fn attribute(&mut self, key: &str, value: &str) -> i32 {
        let key_strindex = self.string(key);
        let table = &mut self.dictionary.attribute_table;
        *self.attributes.entry((key_strindex, value.into())).or_insert_with(|| {
            let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
            push(table, otlp::KeyValueAndUnit { key_strindex, value: Some(value), unit_strindex: 0 })
        })
    }

    fn value_type(&mut self, name: &str, unit: &str) -> otlp::ValueType {
        otlp::ValueType { type_strindex: self.string(name), unit_strindex: self.string(unit) }
    }

    fn string(&mut self, text: &str) -> i32 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = push(&mut self.dictionary.string_table, text.to_owned());
        self.strings.insert(text.into(), index);
        index
    }
}

/// A Go build id is a text, and stands as such in its attribute; the others stand as hexadecimal digits.
fn attribute_text(id: &flamekeeper_profile::BuildId) -> String {
    match (id.kind(), std::str::from_utf8(id.bytes())) {
        (flamekeeper_profile::BuildIdKind::Go, Ok(text)) => text.to_owned(),
        _ => id.hex(),
    }
}

fn push<T>(table: &mut Vec<T>, element: T) -> i32 {
    table.push(element);
    // A batch is bounded far below 2^31 entries a table; beyond it the reference would become "not set".
    i32::try_from(table.len() - 1).unwrap_or(0)
}
