//! Round trips and refusals of the OTLP form.

use flamekeeper_profile::{
    AgentFigures, Batch, BuildId, BuildIdKind, Figure, FrameKind, Labels, Ledger, LossReason, SampleType, Series, StackEnd, StopReason,
    Svma, Tables, Timestamp, Window, label,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::profiles::v1development as otlp;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{DecodeError, decode, encode};
use crate::Limits;

fn batch() -> Batch {
    let mut tables = Tables::new();
    let gnu = BuildId::new(BuildIdKind::Gnu, &[1, 2, 3]).unwrap();
    let go = BuildId::new(BuildIdKind::Go, b"abc/def").unwrap();
    let exe = tables.intern_object(Some(gnu), "/usr/bin/api");
    let gopher = tables.intern_object(Some(go), "/usr/bin/gopher");
    let kernel = tables.intern_object(None, "[kernel]");
    let leaf = tables.intern_named(FrameKind::Kernel, Some(kernel), Svma(0), "do_syscall_64");
    let main = tables.intern_address(FrameKind::Native, Some(exe), Svma(0x1234));
    let go_main = tables.intern_address(FrameKind::Go, Some(gopher), Svma(0x99));
    let whole = tables.intern_stack(&[leaf, main], StackEnd::Root);
    let cut = tables.intern_stack(&[leaf, main], StackEnd::Truncated(StopReason::CopyExhausted));
    let other = tables.intern_stack(&[go_main], StackEnd::Root);
    let host = Labels::new().with(label::HOST, "web-1");
    let labels = host.clone().with(label::SERVICE, "api").with(label::PID, "42").with("zone", "b");
    let mut ledger = Ledger::new();
    ledger.take(12);
    ledger.lose(LossReason::RingFull, 2);
    ledger.note(flamekeeper_profile::Caveat::InterpreterFrames, 4);
    let mut figures = AgentFigures::default();
    figures.set(Figure::MemoryBytes, 30_000_000);
    figures.set(Figure::FrequencySteps, 0);
    Batch {
        window: Window::new(Timestamp(1_000_000_000_000), Timestamp(1_010_000_000_000)),
        labels: host.clone(),
        tables,
        series: vec![
            Series { labels: labels.clone(), sample_type: SampleType::cpu(50_000_000), values: vec![(whole, 5), (cut, 3)] },
            Series { labels, sample_type: SampleType::plain("alloc_space", "bytes"), values: vec![(whole, 4096)] },
            Series { labels: host.with(label::SERVICE, "gopher"), sample_type: SampleType::cpu(50_000_000), values: vec![(other, 2)] },
        ],
        ledger,
        figures,
    }
}

/// What a stack is called in words, for comparing batches whose handles differ.
fn words(batch: &Batch, series: &Series) -> Vec<String> {
    let tables = &batch.tables;
    let location = |id| {
        let location = tables.location(id).unwrap();
        let object = location.object.and_then(|id| tables.object(id)).unwrap();
        let lines: Vec<_> = location.lines.iter().map(|line| tables.string(line.function)).collect();
        format!("{}@{:?}{}{:?}{lines:?}", location.address, object.build_id, tables.string(object.path), location.kind)
    };
    let line = |(stack, value): &(_, u64)| {
        let stack = tables.stack(*stack).unwrap();
        format!("{:?} {} {value}", stack.locations.iter().map(|id| location(*id)).collect::<Vec<_>>(), stack.end.as_str())
    };
    series.values.iter().map(line).collect()
}

/// A batch comes back with its window, labels, types, stacks, values and ledger.
#[test]
fn round_trips() {
    let sent = batch();
    let got = decode(&encode(&sent), &Limits::default()).unwrap();
    assert_eq!((got.window, &got.labels, got.ledger, got.figures), (sent.window, &sent.labels, sent.ledger, sent.figures));
    assert_eq!(got.series.len(), sent.series.len());
    for (got_series, sent_series) in got.series.iter().zip(&sent.series) {
        assert_eq!((&got_series.labels, &got_series.sample_type), (&sent_series.labels, &sent_series.sample_type));
        assert_eq!(words(&got, got_series), words(&sent, sent_series));
    }
    assert_eq!(got.ledger.taken, got.samples() + got.ledger.lost_total());
}

/// Element 0 of each dictionary table is the zero value, nothing stands twice, and addresses lie within their mapping.
#[test]
fn keeps_the_rules_of_the_dictionary() {
    let request = ExportProfilesServiceRequest::decode(&*encode(&batch())).unwrap();
    let dictionary = request.dictionary.unwrap();
    assert_eq!(dictionary.string_table[0], "");
    assert_eq!(dictionary.mapping_table[0], otlp::Mapping::default());
    assert_eq!(dictionary.location_table[0], otlp::Location::default());
    assert_eq!(dictionary.function_table[0], otlp::Function::default());
    assert_eq!(dictionary.attribute_table[0], otlp::KeyValueAndUnit::default());
    assert_eq!(dictionary.stack_table[0], otlp::Stack::default());
    assert_eq!(dictionary.link_table, [otlp::Link::default()]);
    assert_eq!(dictionary.stack_table.len(), 3, "two ends of one stack share its locations");
    let mut strings = dictionary.string_table.clone();
    strings.sort();
    strings.dedup();
    assert_eq!(strings.len(), dictionary.string_table.len());
    for location in &dictionary.location_table[1..] {
        let mapping = &dictionary.mapping_table[location.mapping_index as usize];
        assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));
    }
}

/// A request as the OpenTelemetry eBPF profiler sends it: timestamps instead of values, keys and values by index,
/// process attributes on the sample.
fn foreign() -> ExportProfilesServiceRequest {
    let strings =
        ["", "samples", "count", "cpu", "nanoseconds", "process.executable.name", "nginx", "thread.name", "w1", "host.name", "edge"];
    let text = |index| Some(AnyValue { value: Some(any_value::Value::StringValueStrindex(index)) });
    let profile = otlp::Profile {
        sample_type: Some(otlp::ValueType { type_strindex: 1, unit_strindex: 2 }),
        period_type: Some(otlp::ValueType { type_strindex: 3, unit_strindex: 4 }),
        period: 50,
        samples: vec![
            otlp::Sample { stack_index: 1, attribute_indices: vec![1, 2], timestamps_unix_nano: vec![7, 8, 9], ..otlp::Sample::default() },
            otlp::Sample { stack_index: 1, attribute_indices: vec![1], timestamps_unix_nano: vec![7], ..otlp::Sample::default() },
        ],
        ..otlp::Profile::default()
    };
    let resource =
        Resource { attributes: vec![KeyValue { key_strindex: 9, value: text(10), ..KeyValue::default() }], ..Resource::default() };
    ExportProfilesServiceRequest {
        resource_profiles: vec![otlp::ResourceProfiles {
            resource: Some(resource),
            scope_profiles: vec![otlp::ScopeProfiles { profiles: vec![profile], ..otlp::ScopeProfiles::default() }],
            ..otlp::ResourceProfiles::default()
        }],
        dictionary: Some(otlp::ProfilesDictionary {
            string_table: strings.map(str::to_owned).to_vec(),
            location_table: vec![otlp::Location::default(), otlp::Location { address: 3, ..otlp::Location::default() }],
            stack_table: vec![otlp::Stack::default(), otlp::Stack { location_indices: vec![1] }],
            attribute_table: vec![
                otlp::KeyValueAndUnit::default(),
                otlp::KeyValueAndUnit { key_strindex: 5, value: text(6), unit_strindex: 0 },
                otlp::KeyValueAndUnit { key_strindex: 7, value: text(8), unit_strindex: 0 },
            ],
            ..otlp::ProfilesDictionary::default()
        }),
    }
}

/// Another sender's choices are understood, and its threads do not split a series.
#[test]
fn takes_other_senders() {
    let batch = decode(&foreign().encode_to_vec(), &Limits::default()).unwrap();
    assert_eq!(batch.series.len(), 1);
    let series = &batch.series[0];
    assert_eq!((series.labels.get(label::SERVICE), series.labels.get(label::HOST)), ("nginx", "edge"));
    assert_eq!((series.sample_type.query_name(), series.total()), ("cpu", 4));
    assert_eq!((batch.ledger.taken, batch.labels.get(label::HOST)), (4, "edge"));
    assert_eq!(batch.tables.stack(series.values[0].0).unwrap().end, StackEnd::Unstated);
}

/// Each broken rule has its own error.
#[test]
fn refuses_broken_references_and_values() {
    let broken = |change: &dyn Fn(&mut ExportProfilesServiceRequest)| {
        let mut request = foreign();
        change(&mut request);
        decode(&request.encode_to_vec(), &Limits::default()).unwrap_err()
    };
    let sample = |request: &mut ExportProfilesServiceRequest, change: &dyn Fn(&mut otlp::Sample)| {
        change(&mut request.resource_profiles[0].scope_profiles[0].profiles[0].samples[0]);
    };
    let index = |error| matches!(error, DecodeError::Index { .. });
    assert!(index(broken(&|r| sample(r, &|s| s.stack_index = 2))));
    assert!(index(broken(&|r| sample(r, &|s| s.stack_index = -1))));
    assert!(index(broken(&|r| sample(r, &|s| s.attribute_indices = vec![99]))));
    assert!(index(broken(&|r| r.dictionary.as_mut().unwrap().location_table[1].mapping_index = 5)));
    assert!(index(broken(&|r| r.dictionary.as_mut().unwrap().string_table.truncate(3))));
    assert!(matches!(broken(&|r| sample(r, &|s| s.values = vec![-1])), DecodeError::Rule(_)));
    assert!(matches!(broken(&|r| sample(r, &|s| s.timestamps_unix_nano.clear())), DecodeError::Rule(_)));
    let small = Limits { samples: 1, ..Limits::default() };
    assert!(matches!(decode(&foreign().encode_to_vec(), &small), Err(DecodeError::Limit { what: "samples", found: 2, limit: 1 })));
}

/// A body of many empty messages is refused before they are made.
#[test]
fn refuses_a_body_that_would_grow() {
    // Two bytes each: an empty sample within profile, scope and resource.
    let mut body = [0x12, 0x00].repeat(3 << 20);
    for tag in [0x12_u8, 0x12, 0x0a] {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(body.len() as u64, &mut outer);
        outer.append(&mut body);
        body = outer;
    }
    assert!(matches!(decode(&body, &Limits::default()), Err(DecodeError::Limit { what: "messages (or more)", .. })));
}

/// No cut or altered body makes the decoder panic.
#[test]
fn survives_mutations() {
    let good = encode(&batch());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for cut in 0..good.len() {
        _ = decode(&good[..cut], &Limits::default());
    }
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random() % 4 {
            let place = usize::try_from(random()).unwrap_or(0) % bytes.len();
            bytes[place] = random().to_le_bytes()[0];
        }
        _ = decode(&bytes, &Limits::default());
    }
}
