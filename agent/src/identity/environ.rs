//! What an environment says of its service: two variables, and those that the configuration names. Nothing else of an
//! environment is looked at or kept.
//!
//! Source: the OpenTelemetry specification of SDK environment variables. `OTEL_SERVICE_NAME` beats `service.name` in
//! `OTEL_RESOURCE_ATTRIBUTES`.

use flamekeeper_profile::Labels;

use super::choice::Choice;
use super::text::{MAX_VALUE, clean, percent_decode};

/// Bytes of an environment that are read at most. Linux allows far more, but a label is not worth it.
pub(super) const MAX_BYTES: u64 = 128 << 10;
/// Labels that a process can give itself; further ones are left out. With those of the host and the configuration they stay
/// within what a batch may have.
const MAX_LABELS: usize = 16;

/// What a process says of itself, by its environment or its process context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(super) service: Option<String>,
    pub(super) version: Option<String>,
    /// The chosen variables and attributes, by the names of their labels.
    pub(super) labels: Labels,
}

impl Declared {
    /// Takes up a resource attribute; a later one of a name replaces an earlier.
    fn attribute(&mut self, name: &str, value: &[u8], choice: &Choice) {
        let text = clean(value, MAX_VALUE);
        match name {
            _ if text.is_empty() => {}
            "service.name" => self.service = Some(text),
            "service.version" => self.version = Some(text),
            _ => {
                if let Some(label) = choice.attribute(name) {
                    self.label(label, &text);
                }
            }
        }
    }

    fn label(&mut self, name: &str, value: &str) {
        if self.labels.len() < MAX_LABELS || !self.labels.get(name).is_empty() {
            self.labels.set(name, value);
        }
    }
}

/// Reads the content of `/proc/PID/environ`: `NAME=value`, each ended by a zero byte. The first of a name counts, as
/// in getenv(3).
pub(super) fn declared(environ: &[u8], choice: &Choice) -> Declared {
    let (mut service, mut attributes) = (None, None);
    let mut said = Declared::default();
    for entry in environ.split(|byte| *byte == 0) {
        if let Some(value) = entry.strip_prefix(b"OTEL_SERVICE_NAME=") {
            service = service.or(Some(value));
        } else if let Some(value) = entry.strip_prefix(b"OTEL_RESOURCE_ATTRIBUTES=") {
            attributes = attributes.or(Some(value));
        } else if let Some((name, value)) = choice.variable(entry) {
            let label = format!("env.{name}");
            if said.labels.get(&label).is_empty() {
                said.label(&label, &clean(value, MAX_VALUE));
            }
        }
    }
    for pair in attributes.unwrap_or_default().split(|byte| *byte == b',') {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        if let Ok(name) = std::str::from_utf8(pair[..equals].trim_ascii()) {
            said.attribute(name, &percent_decode(&pair[equals + 1..]), choice);
        }
    }
    let name = service.map(|name| clean(name, MAX_VALUE)).filter(|name| !name.is_empty());
    said.service = name.or(said.service);
    said
}

/// What resource attributes say, given one by one.
pub(super) fn declared_by_attributes<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>, choice: &Choice) -> Declared {
    let mut said = Declared::default();
    attributes.for_each(|(name, value)| said.attribute(name, value.as_bytes(), choice));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environ: &[u8]) -> (Option<String>, Option<String>) {
        let Declared { service, version, .. } = declared(environ, &Choice::default());
        (service, version)
    }

    /// The name beats the attribute, encodings are undone, secrets beside them are not touched.
    #[test]
    fn reads_the_two_variables() {
        let some = |text: &str| Some(text.to_owned());
        let environ = b"PATH=/bin\0OTEL_SERVICE_NAME=api\0OTEL_RESOURCE_ATTRIBUTES=service.name=x, service.version=1%2E4,a=b\0SECRET=s";
        assert_eq!(of(environ), (some("api"), some("1.4")));
        assert_eq!(of(b"OTEL_RESOURCE_ATTRIBUTES=service.name=caf%C3%A9%0a\0"), (some("caf\u{e9}"), None));
        assert_eq!(of(b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=x"), (some("x"), None));
        assert_eq!(of(b"XOTEL_SERVICE_NAME=no\0OTEL_RESOURCE_ATTRIBUTES=,=,service.name,\0"), (None, None));
        assert_eq!(of(b""), (None, None));
    }

    /// An OTEL_SERVICE_NAME that only holds control characters falls back to the attribute.
    #[test]
    fn empty_after_cleaning_is_absent() {
        assert_eq!(of(b"OTEL_SERVICE_NAME=\x01\x02\0OTEL_RESOURCE_ATTRIBUTES=service.name=x").0.as_deref(), Some("x"));
    }

    /// Chosen variables and attributes become labels, by their short names where they have one; others do not.
    #[test]
    fn chosen_ones_become_labels() {
        let choice: Choice = ["env.TEAM", "deployment.environment.name", "k8s.*"].into_iter().map(|text| text.parse().unwrap()).collect();
        let environ = b"TEAM=a\0TEAM=b\0TEAMS=c\0OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=prod,k8s.pod.name=p-1,\
            k8s.pod.uid=u-1,cloud.region=eu,process.pid=7,k8s.bad name=x\0";
        let said = declared(environ, &choice);
        let labels: Vec<_> = said.labels.iter().collect();
        assert_eq!(labels, [("env.TEAM", "a"), ("environment", "prod"), ("k8s.pod.name", "p-1"), ("pod", "u-1")]);
        let by_attributes = declared_by_attributes([("service.name", "api"), ("k8s.pod.name", "p-2")].into_iter(), &choice);
        assert_eq!((by_attributes.service.as_deref(), by_attributes.labels.get("k8s.pod.name")), (Some("api"), "p-2"));
    }

    /// A process cannot give itself more labels than a batch has room for.
    #[test]
    fn labels_are_bounded() {
        let choice: Choice = ["k8s.*"].into_iter().map(|text| text.parse().unwrap()).collect();
        let many: Vec<String> = (0..1000).map(|at| format!("k8s.{at}=x")).collect();
        let said = declared(format!("OTEL_RESOURCE_ATTRIBUTES={}\0", many.join(",")).as_bytes(), &choice);
        assert_eq!(said.labels.len(), MAX_LABELS);
    }
}
