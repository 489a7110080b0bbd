//! The configuration file: each mistake with its place and what was expected.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use flamekeeper_wire::units::Place;
use serde::Deserialize;

use super::Config;
use super::access::{AccessError, RawAccess};
use super::clickhouse::{RawClickHouse, StoreKind};
use super::deploys::RawDeploys;
use super::symbols::RawSymbols;
use super::value::{Age, ByteSize};

/// A configuration file larger than this is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// A configuration as written: what is absent keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// See [`Config::listen`].
    pub listen: Option<SocketAddr>,
    /// See [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// See [`Config::store`].
    pub store: Option<StoreKind>,
    /// See [`Config::clickhouse`].
    #[serde(default)]
    pub clickhouse: RawClickHouse,
    /// See [`Config::memory`].
    pub memory: Option<ByteSize>,
    /// See [`Config::retention`].
    #[serde(default)]
    pub retention: RawRetention,
    /// See [`Config::symbols`].
    #[serde(default)]
    pub symbols: RawSymbols,
    /// See [`Config::webhook`].
    #[serde(default)]
    pub deploys: RawDeploys,
    /// See [`Config::access`].
    #[serde(default)]
    pub access: RawAccess,
}

/// The table `[retention]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRetention {
    /// How long profiles are kept as they came.
    pub age: Option<Age>,
    /// How long they are kept per minute; at least as long as the first.
    pub minute_age: Option<Age>,
    /// How long they are kept per hour; at least as long as per minute.
    pub hour_age: Option<Age>,
    /// How many bytes they may take on disk.
    pub max_bytes: Option<ByteSize>,
    /// How many bytes stay free on the disk.
    pub min_free_bytes: Option<ByteSize>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the configuration file {} could not be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands in the file is wrong: no TOML, an unknown key (with those that exist), a value that breaks its rule.
    #[error("{}:{place}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where.
        place: Place,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// Who is let in does not fit together.
    #[error("{}: {error}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        error: AccessError,
    },
}

impl RawConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        read.map_err(|error| ConfigError::Read { path: path.into(), error })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            ConfigError::Wrong { path: path.into(), place: Place::of(text, offset), message }
        })
    }

    /// What is written, over another configuration.
    #[must_use]
    pub fn over(self, mut config: Config) -> Config {
        config.listen = self.listen.unwrap_or(config.listen);
        config.data_dir = self.data_dir.unwrap_or(config.data_dir);
        config.store = self.store.unwrap_or(config.store);
        config.clickhouse = self.clickhouse.over(config.clickhouse);
        config.memory = self.memory.map_or(config.memory, |bytes| bytes.0);
        let (written, kept) = (self.retention, &mut config.retention);
        kept.raw = written.age.map_or(kept.raw, |age| age.0);
        // A coarser tier outlives a finer one: whoever asks for long raw rows need not ask for the others too.
        kept.minute = written.minute_age.map_or(kept.minute, |age| age.0).max(kept.raw);
        kept.hour = written.hour_age.map_or(kept.hour, |age| age.0).max(kept.minute);
        kept.bytes = written.max_bytes.map_or(kept.bytes, |bytes| bytes.0);
        config.min_free_bytes = written.min_free_bytes.map_or(config.min_free_bytes, |bytes| bytes.0);
        config.symbols = self.symbols.over(config.symbols);
        config.webhook = self.deploys.over(config.webhook);
        config.access = self.access.over(config.access);
        config
    }
}
