//! What is read here is what `prost` reads, whatever the bytes.

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};

use super::*;

/// Random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    fn index(&mut self) -> i32 {
        [0, 1, 200, 70_000, -1][self.below(5) as usize]
    }

    fn indexes(&mut self) -> Vec<i32> {
        (0..self.below(5)).map(|_| self.index()).collect()
    }

    fn many<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }
}

fn dictionary(random: &mut Random) -> otlp::ProfilesDictionary {
    let location = |random: &mut Random| otlp::Location {
        mapping_index: random.index(),
        address: [0, 1, u64::MAX][random.below(3) as usize],
        lines: random.many(|random| otlp::Line { function_index: random.index(), line: i64::from(random.index()), column: 3 }),
        attribute_indices: random.indexes(),
    };
    let function = |random: &mut Random| otlp::Function {
        name_strindex: random.index(),
        system_name_strindex: random.index(),
        filename_strindex: random.index(),
        start_line: 7,
    };
    let attribute = |random: &mut Random| otlp::KeyValueAndUnit {
        key_strindex: random.index(),
        value: Some(AnyValue { value: Some(any_value::Value::BoolValue(true)) }),
        unit_strindex: 0,
    };
    otlp::ProfilesDictionary {
        mapping_table: random.many(|random| otlp::Mapping {
            attribute_indices: random.indexes(),
            memory_limit: 9,
            ..otlp::Mapping::default()
        }),
        location_table: random.many(location),
        function_table: random.many(function),
        link_table: random.many(|_| otlp::Link::default()),
        string_table: random.many(|random| ["", "main", "λ"][random.below(3) as usize].to_owned()),
        attribute_table: random.many(attribute),
        stack_table: random.many(|random| otlp::Stack { location_indices: random.indexes() }),
    }
}

fn profile(random: &mut Random) -> otlp::Profile {
    let sample = |random: &mut Random| otlp::Sample {
        stack_index: random.index(),
        attribute_indices: random.indexes(),
        link_index: 1,
        values: random.many(|random| i64::from(random.index())),
        timestamps_unix_nano: random.many(|random| random.below(9)),
    };
    otlp::Profile {
        sample_type: Some(otlp::ValueType { type_strindex: random.index(), unit_strindex: 2 }),
        samples: random.many(sample),
        time_unix_nano: 5,
        duration_nano: random.below(3),
        period_type: None,
        period: i64::from(random.index()),
        original_payload: vec![1; 3],
        ..otlp::Profile::default()
    }
}

/// The same tables as ours would be.
fn compare_dictionary(theirs: &otlp::ProfilesDictionary, ours: &Message<'_>) {
    assert_eq!((&theirs.mapping_table, &theirs.attribute_table), (&ours.mappings, &ours.attributes));
    assert_eq!(theirs.string_table, ours.strings);
    let functions = theirs.function_table.iter().map(|function| Function {
        name: function.name_strindex,
        system_name: function.system_name_strindex,
        file: function.filename_strindex,
    });
    assert!(functions.eq(ours.functions.iter().copied()));
    let stacks = ours.stacks.iter().map(|message| {
        let mut indices = Vec::new();
        stack(message, |index| indices.push(index)).unwrap();
        indices
    });
    assert!(theirs.stack_table.iter().map(|stack| stack.location_indices.clone()).eq(stacks));
    assert_eq!(theirs.location_table.len(), ours.locations.len());
    for (theirs, location) in theirs.location_table.iter().zip(&ours.locations) {
        assert_eq!((theirs.mapping_index, theirs.address), (location.mapping, location.address));
        assert_eq!(theirs.attribute_indices, part(&ours.attribute_indices, &location.attributes));
        let lines = theirs.lines.iter().map(|line| Line { function: line.function_index, line: line.line });
        assert!(lines.eq(part(&ours.lines, &location.lines).iter().copied()));
    }
}

fn compare_profile(theirs: &otlp::Profile, ours: &Profile<'_>) {
    assert_eq!(theirs.sample_type.unwrap_or_default(), ours.sample_type);
    assert_eq!(theirs.period_type.unwrap_or_default(), ours.period_type);
    assert_eq!((theirs.period, theirs.time_unix_nano, theirs.duration_nano), (ours.period, ours.from, ours.duration));
    assert_eq!(theirs.samples.len(), ours.samples);
    let mut found = 0;
    let read = ours.samples(|sample| {
        let theirs = &theirs.samples[found];
        found += 1;
        assert_eq!((theirs.stack_index, &theirs.attribute_indices), (sample.stack, &sample.attributes));
        let sum = theirs.values.iter().fold(0_u64, |sum, value| sum.saturating_add(value.cast_unsigned()));
        assert_eq!(sample.value, if theirs.values.is_empty() { theirs.timestamps_unix_nano.len() as u64 } else { sum });
        Ok(())
    });
    let bad =
        |sample: &otlp::Sample| sample.values.iter().any(|v| *v < 0) || sample.values.is_empty() && sample.timestamps_unix_nano.is_empty();
    assert_eq!(read.is_err(), theirs.samples.iter().any(bad));
}

/// Random messages, whole and damaged, are read as `prost` reads them.
#[test]
fn reads_what_prost_reads() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let limits = Limits::default();
    let mut both = 0;
    for round in 0..20_000 {
        let mut bytes = match round % 2 {
            0 => dictionary(&mut random).encode_to_vec(),
            _ => profile(&mut random).encode_to_vec(),
        };
        if round % 4 > 1 && !bytes.is_empty() {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.below(256) as u8;
        }
        if round % 2 == 0 {
            let mut ours = Message::default();
            if let (Ok(theirs), Ok(())) = (otlp::ProfilesDictionary::decode(&*bytes), ours.read(&bytes, &limits)) {
                compare_dictionary(&theirs, &ours);
                both += 1;
            }
        } else if let (Ok(theirs), Ok(ours)) = (otlp::Profile::decode(&*bytes), Profile::read(&bytes)) {
            compare_profile(&theirs, &ours);
            both += 1;
        }
    }
    assert!(both > 12_000, "only {both} messages were read by both");
}

/// Tables that come in several parts are joined, as the format has it.
#[test]
fn parts_are_joined() {
    let mut random = Random(7);
    let (first, second) = (dictionary(&mut random), dictionary(&mut random));
    let request = |dictionary| ExportProfilesServiceRequest { resource_profiles: Vec::new(), dictionary: Some(dictionary) }.encode_to_vec();
    let (a, b) = (first.encode_to_vec(), second.encode_to_vec());
    let joined = ExportProfilesServiceRequest::decode(&*[request(first), request(second)].concat()).unwrap();
    let mut ours = Message::default();
    ours.read(&a, &Limits::default()).unwrap();
    ours.read(&b, &Limits::default()).unwrap();
    compare_dictionary(&joined.dictionary.unwrap(), &ours);
}
