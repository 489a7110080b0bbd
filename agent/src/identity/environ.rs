//! The two environment variables that name a service; nothing else of an environment is looked at or kept.
//!
//! Source: the OpenTelemetry specification of SDK environment variables. `OTEL_SERVICE_NAME` beats `service.name` in
//! `OTEL_RESOURCE_ATTRIBUTES`.

use super::text::{MAX_VALUE, clean, percent_decode};

/// Bytes of an environment that are read at most. Linux allows far more, but a label is not worth it.
pub(super) const MAX_BYTES: u64 = 128 << 10;

/// What an environment says about its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) service: Option<String>,
    pub(super) version: Option<String>,
}

/// Reads the content of `/proc/PID/environ`: `NAME=value`, each ended by a zero byte. The first of a name counts, as
/// in getenv(3).
pub(super) fn declared(environ: &[u8]) -> Declared {
    let mut name = None;
    let mut attributes = None;
    for entry in environ.split(|byte| *byte == 0) {
        if let Some(value) = entry.strip_prefix(b"OTEL_SERVICE_NAME=") {
            name = name.or(Some(value));
        } else if let Some(value) = entry.strip_prefix(b"OTEL_RESOURCE_ATTRIBUTES=") {
            attributes = attributes.or(Some(value));
        }
    }
    let attributes = attributes.unwrap_or_default();
    let present = |text: String| Some(text).filter(|text| !text.is_empty());
    Declared {
        service: name.and_then(|name| present(clean(name, MAX_VALUE))).or_else(|| attribute(attributes, b"service.name")),
        version: attribute(attributes, b"service.version"),
    }
}

/// The value of a key in `key=value,key=value`, percent-decoded. The last of a key counts, as in the SDKs' maps.
fn attribute(attributes: &[u8], key: &[u8]) -> Option<String> {
    let pairs = attributes.split(|byte| *byte == b',');
    let mut values = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii() == key).then(|| &pair[equals + 1..])
    });
    let value = values.next_back()?;
    Some(clean(&percent_decode(value), MAX_VALUE)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environ: &[u8]) -> (Option<String>, Option<String>) {
        let Declared { service, version } = declared(environ);
        (service, version)
    }

    /// The name beats the attribute, encodings are undone, secrets beside them are not touched.
    #[test]
    fn reads_the_two_variables() {
        let some = |text: &str| Some(text.to_owned());
        let environ = b"PATH=/bin\0OTEL_SERVICE_NAME=api\0OTEL_RESOURCE_ATTRIBUTES=service.name=x, service.version=1%2E4,a=b\0SECRET=s";
        assert_eq!(of(environ), (some("api"), some("1.4")));
        assert_eq!(of(b"OTEL_RESOURCE_ATTRIBUTES=service.name=caf%C3%A9%0a\0"), (some("café"), None));
        assert_eq!(of(b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=x"), (some("x"), None));
        assert_eq!(of(b"XOTEL_SERVICE_NAME=no\0OTEL_RESOURCE_ATTRIBUTES=,=,service.name,\0"), (None, None));
        assert_eq!(of(b""), (None, None));
    }

    /// An OTEL_SERVICE_NAME that only holds control characters falls back to the attribute.
    #[test]
    fn empty_after_cleaning_is_absent() {
        assert_eq!(of(b"OTEL_SERVICE_NAME=\x01\x02\0OTEL_RESOURCE_ATTRIBUTES=service.name=x").0.as_deref(), Some("x"));
    }
}
