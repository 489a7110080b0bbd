//! Which labels the processes of a host get, beside `service`, `version` and `host`.

use std::fmt;
use std::str::FromStr;

use flamekeeper_profile::label;
use flamekeeper_wire::otlp::label_of;

/// A label that processes can get. Text: `pid`, `env.NAME`, or the name of a resource attribute, which has a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessLabel {
    /// One that the agent finds out by itself: see [`ProcessLabel::KNOWN`].
    Known(&'static str),
    /// An environment variable: the label `env.NAME`.
    Variable(String),
    /// A resource attribute that the process declares of itself; a `*` at the end stands for any rest.
    Attribute(String),
}

impl ProcessLabel {
    /// The labels that the agent finds out by itself.
    pub const KNOWN: [&str; 8] =
        [label::PID, label::EXE, label::COMM, label::UNIT, label::SLICE, label::CONTAINER, label::POD, label::THREAD];
    /// What a text must be.
    pub(crate) const EXPECTED: &str = "a label of processes: pid, exe, comm, unit, slice, container, pod, thread, env.NAME for an \
         environment variable, or a resource attribute such as \"deployment.environment.name\" or \"k8s.*\"";
}

/// A text that is no [`ProcessLabel`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {}, not {found:?}", ProcessLabel::EXPECTED)]
pub struct NoProcessLabel {
    found: String,
}

impl FromStr for ProcessLabel {
    type Err = NoProcessLabel;

    fn from_str(text: &str) -> Result<Self, NoProcessLabel> {
        let is_name = |name: &str| (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte);
        if let Some(known) = Self::KNOWN.into_iter().find(|known| *known == text) {
            return Ok(Self::Known(known));
        }
        match text.strip_prefix("env.") {
            Some(name) if is_name(name) => Ok(Self::Variable(name.to_owned())),
            None if text.contains('.') && is_name(text.strip_suffix('*').unwrap_or(text)) => Ok(Self::Attribute(text.to_owned())),
            _ => Err(NoProcessLabel { found: text.chars().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for ProcessLabel {
    type Error = NoProcessLabel;

    fn try_from(text: String) -> Result<Self, NoProcessLabel> {
        text.parse()
    }
}

impl<'de> serde::Deserialize<'de> for ProcessLabel {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ProcessLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "env.{name}"),
            Self::Attribute(name) => f.write_str(name),
        }
    }
}

/// The longest name of a label, in bytes: that of a selector.
const MAX_NAME: usize = 64;

/// What a label's name is made of, so that a selector can name it.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/')
}

/// The chosen labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice(Vec<ProcessLabel>);

impl Default for Choice {
    /// What costs no series of its own beside the process's, and tells nothing that the process did not declare.
    fn default() -> Self {
        let known = [label::PID, label::EXE, label::COMM, label::UNIT, label::CONTAINER, label::POD].map(ProcessLabel::Known);
        let attributes =
            ["service.instance.id", "deployment.environment.name", "k8s.*"].map(|name| ProcessLabel::Attribute(name.to_owned()));
        Self(known.into_iter().chain(attributes).collect())
    }
}

impl FromIterator<ProcessLabel> for Choice {
    fn from_iter<I: IntoIterator<Item = ProcessLabel>>(labels: I) -> Self {
        let mut chosen: Vec<ProcessLabel> = Vec::new();
        for label in labels {
            if !chosen.contains(&label) {
                chosen.push(label);
            }
        }
        Self(chosen)
    }
}

impl Choice {
    /// The labels in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &ProcessLabel> {
        self.0.iter()
    }

    /// Whether a label that the agent finds out by itself is chosen.
    #[must_use]
    pub fn has(&self, known: &str) -> bool {
        self.0.iter().any(|label| matches!(label, ProcessLabel::Known(name) if *name == known))
    }

    /// Name and value of an entry of an environment (`NAME=value`), where its variable is chosen.
    pub(super) fn variable<'a>(&'a self, entry: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
        self.0.iter().find_map(|label| match label {
            ProcessLabel::Variable(name) => Some((&**name, entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?)),
            ProcessLabel::Known(_) | ProcessLabel::Attribute(_) => None,
        })
    }

    /// The label that a resource attribute sets, where it is chosen. An attribute cannot take the place of a label that the
    /// agent finds out by itself, but of the pod and the container: a cgroup often does not tell them.
    pub(super) fn attribute<'a>(&self, name: &'a str) -> Option<&'a str> {
        let chosen = self.0.iter().any(|label| match label {
            ProcessLabel::Attribute(pattern) => pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start)),
            ProcessLabel::Known(_) | ProcessLabel::Variable(_) => false,
        });
        let sound = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte) && !name.starts_with("env.");
        let label = label_of(name);
        let own = [label::SERVICE, label::VERSION, label::HOST].contains(&label)
            || ProcessLabel::KNOWN.contains(&label) && label != label::POD && label != label::CONTAINER;
        (chosen && sound && !own).then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every form reads and prints the same; what is none says what there is.
    #[test]
    fn texts_round_trip() {
        for text in ["pid", "thread", "env.TEAM", "env.a.b", "k8s.*", "deployment.environment.name"] {
            assert_eq!(text.parse::<ProcessLabel>().unwrap().to_string(), text);
        }
        for bad in ["", "*", "pod_uid", "env.", "env.*", "env.A B", "a.b c", "service", "host"] {
            let error = bad.parse::<ProcessLabel>().unwrap_err().to_string();
            assert!(error.contains("env.NAME") && error.ends_with(&format!("not {bad:?}")), "{error}");
        }
    }

    /// Attributes are chosen by name or by its start, and never take the place of what the agent knows.
    #[test]
    fn attributes() {
        let choice: Choice = ["k8s.*", "process.*", "host.*", "service.*"].into_iter().map(|text| text.parse().unwrap()).collect();
        let cases = [
            ("k8s.pod.name", Some("k8s.pod.name")),
            ("k8s.pod.uid", Some("pod")),
            ("service.instance.id", Some("instance")),
            ("process.pid", None),
            ("host.name", None),
            ("service.name", None),
            ("cloud.region", None),
            ("k8s.a b", None),
        ];
        for (name, want) in cases {
            assert_eq!(choice.attribute(name), want, "{name}");
        }
        assert!(Choice::default().has("pid") && !Choice::default().has("thread"));
    }
}
