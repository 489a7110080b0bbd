//! The values of the configuration, each with its rule and its text form.
//!
//! Every type reads itself from text (flags, environment, and texts in the file), so each rule is written once.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use flamekeeper_wire::units::{parse_bytes, parse_duration, show_bytes};
use serde::Deserialize;

/// A text or number that breaks the rule of its value; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, not {found:?}")]
pub struct ValueError {
    expected: &'static str,
    found: String,
}

pub(super) fn wrong<T>(expected: &'static str, found: impl fmt::Display) -> Result<T, ValueError> {
    // What was found may be a whole file by mistake: the error shows its start.
    Err(ValueError { expected, found: found.to_string().chars().take(80).collect() })
}

/// Reads from TOML through the text form.
macro_rules! from_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
    };
}

pub(super) use from_text;

/// A number of bytes, at least 1 MiB. Text: `64MiB`, `1GiB`, `500MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub(super) const EXPECTED: &str = "a size of at least 1MiB with its unit, such as \"64MiB\" or \"1GiB\"";
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_bytes(text) {
            Some(bytes) if bytes >= 1 << 20 => Ok(Self(bytes)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(ByteSize);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// Samples a second on each busy CPU: 1 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Frequency(u32);

impl Frequency {
    pub(super) const EXPECTED: &str = "a whole number of samples a second from 1 to 999, such as 19";

    /// Samples a second.
    #[must_use]
    pub const fn hertz(self) -> u32 {
        self.0
    }
}

impl Default for Frequency {
    fn default() -> Self {
        Self(19)
    }
}

impl TryFrom<i64> for Frequency {
    type Error = ValueError;

    fn try_from(hertz: i64) -> Result<Self, ValueError> {
        match u32::try_from(hertz) {
            Ok(hertz @ 1..=999) => Ok(Self(hertz)),
            _ => wrong(Self::EXPECTED, hertz),
        }
    }
}

impl FromStr for Frequency {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.trim().parse::<i64>().ok().map_or_else(|| wrong(Self::EXPECTED, text), Self::try_from)
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many page faults there are to one that is sampled: 1 to 1,000,000, or 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct FaultPeriod(u32);

impl FaultPeriod {
    pub(super) const EXPECTED: &str = "a whole number of page faults from 1 to 1000000, such as 101, or 0 to sample none";

    /// Page faults; 0: none is sampled.
    #[must_use]
    pub const fn faults(self) -> u32 {
        self.0
    }
}

impl Default for FaultPeriod {
    fn default() -> Self {
        Self(101)
    }
}

impl TryFrom<i64> for FaultPeriod {
    type Error = ValueError;

    fn try_from(faults: i64) -> Result<Self, ValueError> {
        match u32::try_from(faults) {
            Ok(faults @ 0..=1_000_000) => Ok(Self(faults)),
            _ => wrong(Self::EXPECTED, faults),
        }
    }
}

impl fmt::Display for FaultPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The length of a window: 1 s to 5 min. Text: `10s`, `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WindowLength(Duration);

impl WindowLength {
    pub(super) const EXPECTED: &str = "a time from 1s to 5m with its unit, such as \"10s\"";

    /// The length.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Default for WindowLength {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl FromStr for WindowLength {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_duration(text) {
            Some(length) if (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&length) => Ok(Self(length)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(WindowLength);

impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX) {
            millis if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}

/// Bytes of user stack copied with each sample: 1 KiB to 64 KiB. The kernel wants a multiple of 8 below 64 KiB
/// (`perf_event_open(2)`), so the value is rounded down to one, and `64KiB` means 65528.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StackBytes(u32);

impl StackBytes {
    const MAX: u32 = 65528;
    pub(super) const EXPECTED: &str = "a size from 1KiB to 64KiB with its unit, such as \"64KiB\"";

    /// Bytes, a multiple of 8.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl Default for StackBytes {
    fn default() -> Self {
        Self(Self::MAX)
    }
}

impl FromStr for StackBytes {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_bytes(text).and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(bytes @ 1024..=0x1_0000) => Ok(Self((bytes & !7).min(Self::MAX))),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(StackBytes);

impl fmt::Display for StackBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0.into(), f)
    }
}

/// Bytes of the ring of one CPU: a power of two from 256 KiB (four of the largest records) to 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RingBytes(u64);

impl RingBytes {
    pub(super) const EXPECTED: &str = "a power of two from 256KiB to 64MiB with its unit, such as \"2MiB\"";

    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for RingBytes {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_bytes(text) {
            Some(bytes) if bytes.is_power_of_two() && (256 << 10..=64 << 20).contains(&bytes) => Ok(Self(bytes)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(RingBytes);

impl fmt::Display for RingBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_bytes(self.0, f)
    }
}

/// What triggers a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Event {
    /// What measures CPU time: the CPU clock.
    #[default]
    Auto,
    /// The kernel's software CPU clock.
    CpuClock,
    /// Hardware cycles, which are no time; fails to start without them.
    Cycles,
}

impl Event {
    pub(super) const EXPECTED: &str = "\"auto\", \"cpu-clock\" or \"cycles\"";

    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::CpuClock => "cpu-clock",
            Self::Cycles => "cycles",
        }
    }
}

impl FromStr for Event {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let all = [Self::Auto, Self::CpuClock, Self::Cycles];
        all.into_iter().find(|event| event.as_str() == text).map_or_else(|| wrong(Self::EXPECTED, text), Ok)
    }
}

from_text!(Event);

/// The collector's base address: `http://host:port` or `https://host:port`, a path allowed, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CollectorAddress(String);

impl CollectorAddress {
    pub(super) const EXPECTED: &str = "the collector's address, such as \"http://127.0.0.1:4040\" or \"https://profiles.example\"";

    /// The address of a path on the collector; `path` starts with a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Whether what is sent there crosses a network that everybody on the way can read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let host = self.0.parse::<hyper::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
        let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        !self.is_secure() && host != "localhost" && !address.is_some_and(|address| address.is_loopback())
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CollectorAddress {
    fn default() -> Self {
        Self("http://127.0.0.1:4040".into())
    }
}

impl FromStr for CollectorAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Ok(url) = text.trim().parse::<hyper::Uri>() else { return wrong(Self::EXPECTED, text) };
        let scheme = url.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let authority = url.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        let (Some(scheme), Some(authority)) = (scheme, authority) else { return wrong(Self::EXPECTED, text) };
        if url.query().is_some() || text.contains('#') {
            return wrong(Self::EXPECTED, text);
        }
        Ok(Self(format!("{scheme}://{authority}{}", url.path().trim_end_matches('/'))))
    }
}

from_text!(CollectorAddress);

impl fmt::Display for CollectorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label of the configuration. Text: `name=value`; the name is 1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Label {
    pub(super) const EXPECTED: &str =
        "a label: its name 1 to 64 of a-z, 0-9, _, . and -, its value a text of 1 to 256 bytes without control characters";

    /// A label of these parts.
    ///
    /// # Errors
    /// [`ValueError`] where a part breaks its rule.
    pub fn new(name: &str, value: &str) -> Result<Self, ValueError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        let name_fits = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        let value_fits = (1..=256).contains(&value.len()) && !value.chars().any(char::is_control);
        if name_fits && value_fits {
            Ok(Self { name: name.into(), value: value.into() })
        } else {
            wrong(Self::EXPECTED, format!("{name}={value}"))
        }
    }
}

impl FromStr for Label {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Some((name, value)) = text.split_once('=') else { return wrong("a label as name=value", text) };
        Self::new(name.trim(), value.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes and times want a unit, print what they read, and never overflow.
    #[test]
    fn texts_round_trip() {
        for text in ["64MiB", "1GiB", "3TiB", "1500KiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for bad in ["64", "64M", "1.5GiB", "-1MiB", "99999999999TiB", "", "MiB", "1KiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!("1m".parse::<WindowLength>().unwrap().to_string(), "60s");
        assert_eq!("1500ms".parse::<WindowLength>().unwrap().to_string(), "1500ms");
        for bad in ["10", "0s", "1h", "10 parsecs"] {
            assert!(bad.parse::<WindowLength>().is_err(), "{bad}");
        }
        assert_eq!("64KiB".parse::<StackBytes>().unwrap().bytes(), 65528);
        assert_eq!("65528B".parse::<StackBytes>().unwrap().to_string(), "65528B");
        assert!("3MiB".parse::<RingBytes>().is_err());
        assert!("1000".parse::<Frequency>().is_err());
    }

    /// An address is kept without its last slash; it tells whether others can read what is sent there.
    #[test]
    fn addresses() {
        let address: CollectorAddress = "http://profiles.example:4040/keeper/".parse().unwrap();
        assert_eq!(address.join("/x"), "http://profiles.example:4040/keeper/x");
        let secure: CollectorAddress = "https://profiles.example".parse().unwrap();
        assert_eq!(secure.as_str(), "https://profiles.example");
        assert!(address.is_open() && !address.is_secure() && secure.is_secure() && !secure.is_open());
        for near in ["http://127.0.0.1:4040", "http://[::1]:4040/", "http://localhost"] {
            assert!(!near.parse::<CollectorAddress>().unwrap().is_open(), "{near}");
        }
        for bad in ["profiles:4040", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://x/#y", "/x", "http:///x"] {
            assert!(bad.parse::<CollectorAddress>().is_err(), "{bad}");
        }
    }
}
