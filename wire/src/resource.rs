//! The resource attributes that a process publishes of itself: the payload of the OpenTelemetry process context.
//!
//! Source: OTEP 4719. Its first form had a `Resource` as payload, the present one a `ProcessContext`, whose first field is
//! the resource; both say version 2 in their header, so they are told apart by what they hold. Written by the profiled
//! process, and so hostile: bounded by [`MAX_PAYLOAD`], never panics.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// The largest payload that is looked at, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// `opentelemetry.proto.common.v1.ProcessContext`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct ProcessContext {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
}

/// Names and values of the attributes, in their order; values that are no single text, number or truth are left out. None
/// for a payload that is neither form, or too large.
#[must_use]
pub fn process_context(payload: &[u8]) -> Option<Vec<(String, String)>> {
    if payload.len() > MAX_PAYLOAD {
        return None;
    }
    let plain = Resource::decode(payload).ok().filter(is_named);
    let resource = plain.or_else(|| ProcessContext::decode(payload).ok()?.resource.filter(is_named))?;
    let texts = resource.attributes.into_iter().filter_map(|attribute| {
        let text = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::BoolValue(value) => value.to_string(),
            Value::IntValue(value) => value.to_string(),
            Value::DoubleValue(value) => value.to_string(),
            Value::ArrayValue(_) | Value::KvlistValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_) => return None,
        };
        Some((attribute.key, text))
    });
    Some(texts.collect())
}

/// The other form, read as this one, has the bytes of a message where a name should be.
fn is_named(resource: &Resource) -> bool {
    resource.attributes.iter().all(|attribute| !attribute.key.is_empty() && !attribute.key.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

    use super::*;

    fn resource() -> Resource {
        let attribute =
            |key: &str, value| KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() };
        let text = |text: &str| Value::StringValue(text.to_owned());
        let list = Value::ArrayValue(ArrayValue { values: Vec::new() });
        let attributes = vec![
            attribute("service.name", text("api")),
            attribute("list", list),
            attribute("n", Value::IntValue(7)),
            attribute("deployment.environment.name", text("prod")),
        ];
        Resource { attributes, ..Resource::default() }
    }

    /// Both forms of the payload give the same attributes.
    #[test]
    fn both_forms() {
        let plain = process_context(&resource().encode_to_vec()).unwrap();
        let wrapped = process_context(&ProcessContext { resource: Some(resource()) }.encode_to_vec()).unwrap();
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        assert_eq!(plain, [("service.name", "api"), ("n", "7"), ("deployment.environment.name", "prod")].map(pair));
        assert_eq!(wrapped, plain);
    }

    /// Changed, cut and oversized payloads do not panic, and what is no message is none.
    #[test]
    fn hostile_payloads() {
        let bytes = ProcessContext { resource: Some(resource()) }.encode_to_vec();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            for value in [0, 0x0a, 0x7f, 0xff] {
                changed[place] = value;
                std::hint::black_box(process_context(&changed));
            }
            std::hint::black_box(process_context(&bytes[..place]));
        }
        assert_eq!(process_context(&vec![0x0a; MAX_PAYLOAD + 1]), None);
        assert_eq!(process_context(&[0xff; 40]), None);
        // Deep nesting ends at the decoder's own limit.
        assert_eq!(process_context(&[0x0a; 60_001]), None);
    }
}
