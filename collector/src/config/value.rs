//! Values of the configuration, each with its rule and its text form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use flamekeeper_wire::units::{parse_bytes, parse_duration, show_bytes};
use serde::Deserialize;

/// A text that breaks the rule of its value; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, not {found:?}")]
pub struct ValueError {
    expected: &'static str,
    found: String,
}

impl ValueError {
    pub(super) fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(80).collect() }
    }
}

/// A number of bytes, at least 256 MiB: less does not hold the store's own journal. Text: `20GB`, `500MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bytes = parse_bytes(text).filter(|bytes| *bytes >= 256 << 20);
        bytes.map(Self).ok_or_else(|| ValueError::new("a size of at least 256MiB with its unit, such as \"20GB\"", text))
    }
}

impl TryFrom<String> for ByteSize {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// An age in nanoseconds, at least a minute and at most 10 years. Text: `3d`, `12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Age(pub u64);

const MINUTE: u64 = 60;
const TEN_YEARS: u64 = 10 * 366 * 24 * 60 * MINUTE;

impl FromStr for Age {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let duration = parse_duration(text).filter(|duration| (MINUTE..=TEN_YEARS).contains(&duration.as_secs()));
        let nanoseconds = duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok());
        nanoseconds.map(Self).ok_or_else(|| ValueError::new("an age from 1m to 3660d with its unit, such as \"3d\" or \"12h\"", text))
    }
}

impl TryFrom<String> for Age {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000_000;
        let units = [(86_400, "d"), (3600, "h"), (60, "m")];
        match units.into_iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", seconds / size),
            None => write!(f, "{seconds}s"),
        }
    }
}

/// A span of time, in whole seconds from 1 s to a day. Text: `90s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let whole = |span: &Duration| span.subsec_nanos() == 0 && (1..=86_400).contains(&span.as_secs());
        let span = parse_duration(text).filter(whole);
        span.map(Self).ok_or_else(|| ValueError::new("a time from 1s to 1d with its unit, such as \"90s\" or \"5m\"", text))
    }
}

impl TryFrom<String> for Span {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            seconds if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

/// How nice a process is to others, 0 to 19: nice(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Niceness(pub u8);

impl FromStr for Niceness {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let number = text.parse().ok().filter(|number| *number <= 19);
        number.map(Self).ok_or_else(|| ValueError::new("a whole number from 0 to 19", text))
    }
}

impl TryFrom<u8> for Niceness {
    type Error = ValueError;

    fn try_from(number: u8) -> Result<Self, ValueError> {
        number.to_string().parse()
    }
}

/// The address of a server, `http://HOST[:PORT][/PATH]` or `https://HOST[:PORT][/PATH]`; or what else stands in `DEBUGINFOD_URLS` and names none: nothing, and words about
/// signatures (`ima:enforcing`), which are left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerUrl(pub Option<String>);

impl FromStr for ServerUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() || text.starts_with("ima:") {
            return Ok(Self(None));
        }
        let is_url = ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        let plain = is_url && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#'));
        if plain {
            Ok(Self(Some(text.to_owned())))
        } else {
            Err(ValueError::new("the address of a server, such as \"http://debuginfod:8002\"", text))
        }
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}
