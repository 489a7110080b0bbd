//! `[[scrape]]`: heap profiles that programs serve themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use flamekeeper_profile::{Labels, label};
use flamekeeper_wire::units::parse_duration;
use serde::Deserialize;

use super::error::{ConfigError, Source};
use super::value::{ByteSize, Label, ValueError, from_text, wrong};

/// Addresses that one agent scrapes.
const MOST: usize = 64;

/// An address that serves a heap profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeConfig {
    /// Where it is served.
    pub url: ScrapeUrl,
    /// The service that it is the heap of.
    pub service: String,
    /// That service's version; empty where none is set.
    pub version: String,
    /// How often it is fetched.
    pub interval: ScrapeInterval,
    /// What is shown there.
    pub login: Option<Login>,
    /// Authorities (PEM) that an https server may be known by; those that this host trusts where none is set.
    pub ca: Option<PathBuf>,
    /// The certificate (PEM, with its chain) that is shown to a server that asks for one.
    pub client_cert: Option<PathBuf>,
    /// That certificate's key.
    pub client_key: Option<PathBuf>,
    /// Bytes of a profile, decompressed, at most.
    pub max_bytes: ByteSize,
    /// Labels that its series get, beside those of the host.
    pub labels: Labels,
}

/// What a request shows: the first line of a file that not everybody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A bearer token.
    Token(PathBuf),
    /// `user:password`, as HTTP's basic authentication.
    Basic(PathBuf),
}

/// The table, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // The keys are documented at the fields of `ScrapeConfig` that they set.
pub struct RawScrape {
    pub url: Option<ScrapeUrl>,
    pub service: Option<String>,
    pub version: Option<String>,
    pub interval: Option<ScrapeInterval>,
    pub token_file: Option<PathBuf>,
    pub basic_auth_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub max_bytes: Option<ByteSize>,
    pub labels: BTreeMap<String, String>,
}

/// All tables of a configuration.
pub(super) fn validated(all: Vec<RawScrape>, source: &Source<'_>) -> Result<Vec<ScrapeConfig>, ConfigError> {
    let conflict = |message: String| ConfigError::Conflict { origin: source.to_string(), message };
    if all.len() > MOST {
        return Err(conflict(format!("there are {} tables [[scrape]], at most {MOST} are allowed", all.len())));
    }
    all.into_iter().map(|raw| raw.validated().map_err(conflict)).collect()
}

impl RawScrape {
    fn validated(self) -> Result<ScrapeConfig, String> {
        let url = self.url.ok_or("a table [[scrape]] has no url: say where the heap profile is served")?;
        let wants = |what: &str| format!("[[scrape]] of {url}: {what}");
        let service = self.service.ok_or_else(|| wants("service is missing: the name of the service that it is the heap of"))?;
        for (name, value) in [(label::SERVICE, Some(&service)), (label::VERSION, self.version.as_ref())] {
            let Some(value) = value else { continue };
            Label::new(name, value).map_err(|_| wants(&format!("{name} is a text of 1 to 256 bytes without control characters")))?;
        }
        let login = match (self.token_file, self.basic_auth_file) {
            (None, None) => None,
            (Some(path), None) => Some(Login::Token(path)),
            (None, Some(path)) => Some(Login::Basic(path)),
            (Some(_), Some(_)) => return Err(wants("token_file and basic_auth_file exclude each other")),
        };
        if self.client_cert.is_some() != self.client_key.is_some() {
            return Err(wants("client_cert and client_key belong together: set both or none"));
        }
        let mut labels = Labels::new();
        for (name, value) in &self.labels {
            let label = Label::new(name, value).map_err(|error| wants(&error.to_string()))?;
            if [label::SERVICE, label::VERSION, label::HOST, "heap.source"].contains(&&*label.name) {
                return Err(wants(&format!("the label {name:?} cannot be set in labels")));
            }
            labels.set(&label.name, &label.value);
        }
        if labels.len() > 16 {
            return Err(wants("at most 16 labels are allowed"));
        }
        Ok(ScrapeConfig {
            url,
            service,
            version: self.version.unwrap_or_default(),
            interval: self.interval.unwrap_or_default(),
            login,
            ca: self.ca,
            client_cert: self.client_cert,
            client_key: self.client_key,
            max_bytes: self.max_bytes.unwrap_or(ByteSize(64 << 20)),
            labels,
        })
    }
}

/// As a table of the file.
impl fmt::Display for ScrapeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::print::Quoted;
        writeln!(f, "[[scrape]]\nurl = {}\nservice = {}", Quoted(&self.url.0), Quoted(&self.service))?;
        if !self.version.is_empty() {
            writeln!(f, "version = {}", Quoted(&self.version))?;
        }
        writeln!(f, "interval = \"{}\"\nmax_bytes = \"{}\"", self.interval, self.max_bytes)?;
        let login = self.login.as_ref().map(|login| match login {
            Login::Token(path) => ("token_file", path),
            Login::Basic(path) => ("basic_auth_file", path),
        });
        let files = [("ca", &self.ca), ("client_cert", &self.client_cert), ("client_key", &self.client_key)];
        let files = files.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?)));
        for (key, path) in login.into_iter().chain(files) {
            writeln!(f, "{key} = {}", Quoted(&path.to_string_lossy()))?;
        }
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{} = {}", Quoted(name), Quoted(value))).collect();
        if labels.is_empty() { Ok(()) } else { writeln!(f, "labels = {{ {} }}", labels.join(", ")) }
    }
}

/// Where a heap profile is served: `http://` or `https://`, with its path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ScrapeUrl(String);

impl ScrapeUrl {
    pub(super) const EXPECTED: &str = "the address of a heap profile, such as \"http://127.0.0.1:6060/debug/pprof/heap\"";

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Whether the address is of this host itself.
    #[must_use]
    pub fn is_on_this_host(&self) -> bool {
        let host = self.0.parse::<hyper::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
        let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }
}

impl FromStr for ScrapeUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Ok(url) = text.trim().parse::<hyper::Uri>() else { return wrong(Self::EXPECTED, text) };
        let scheme = url.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
        let authority = url.authority().filter(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
        // Passwords in addresses end up in logs; a bare host serves no profile.
        if scheme.is_none() || authority.is_none() || url.path().len() < 2 || text.contains('#') {
            return wrong(Self::EXPECTED, text);
        }
        Ok(Self(text.trim().to_owned()))
    }
}

from_text!(ScrapeUrl);

impl fmt::Display for ScrapeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often a heap profile is fetched: 1 s to 1 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ScrapeInterval(Duration);

impl ScrapeInterval {
    pub(super) const EXPECTED: &str = "a time from 1s to 1h with its unit, such as \"60s\"";

    /// The time between two fetches.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Default for ScrapeInterval {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl FromStr for ScrapeInterval {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match parse_duration(text) {
            Some(time) if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&time) => Ok(Self(time)),
            _ => wrong(Self::EXPECTED, text),
        }
    }
}

from_text!(ScrapeInterval);

impl fmt::Display for ScrapeInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX) {
            millis if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            millis => write!(f, "{millis}ms"),
        }
    }
}
