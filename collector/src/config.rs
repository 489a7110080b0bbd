//! The collector's configuration: what is written ([`RawConfig`], [`Args`]) becomes a validated [`Config`] in a second step.
//!
//! Precedence, key by key: flag, environment variable (`FLAMEKEEPER_*`), file, default.

mod access;
mod args;
mod clickhouse;
mod deploys;
mod file;
mod symbols;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flamekeeper_profile::Timestamp;

pub use access::{AccessConfig, AccessError, HeaderText, Network, RawAccess, TokenPlace, TokenSource};
pub use args::Args;
pub use clickhouse::{CREDENTIAL, ClickHouseConfig, HttpUrl, Name, PasswordError, RawClickHouse, StoreKind};
pub use deploys::{RawDeploys, WebhookUrl};
pub use file::{ConfigError, Place, RawConfig};
pub use symbols::{RawSymbols, SymbolsConfig};
pub use value::{Age, ByteSize, Niceness, Span, ValueError};

use crate::store::Retention;
use crate::webhook::WebhookConfig;

/// Where the collector looks for its configuration when none is named. It may be absent.
pub const DEFAULT_PATH: &str = "/etc/flamekeeper/collector.toml";

/// The validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where agents, browsers and the command line connect.
    pub listen: SocketAddr,
    /// Where profiles and symbols are kept.
    pub data_dir: PathBuf,
    /// Whether profiles are kept there.
    pub store: StoreKind,
    /// Where else.
    pub clickhouse: ClickHouseConfig,
    /// Bytes of memory that the collector may take; see [`crate::memory`].
    pub memory: u64,
    /// How much is kept.
    pub retention: Retention,
    /// Bytes that stay free on the disk.
    pub min_free_bytes: u64,
    /// How symbols are kept and converted.
    pub symbols: SymbolsConfig,
    /// Who is told of new versions.
    pub webhook: WebhookConfig,
    /// Who is let in.
    pub access: AccessConfig,
}

const DAY: u64 = 24 * 3600 * Timestamp::SECOND;

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4040)),
            data_dir: "/var/lib/flamekeeper".into(),
            store: StoreKind::Embedded,
            clickhouse: ClickHouseConfig::default(),
            memory: 1 << 30,
            retention: Retention { raw: 3 * DAY, minute: 30 * DAY, hour: 365 * DAY, bytes: 20_000_000_000 },
            min_free_bytes: 1_000_000_000,
            symbols: SymbolsConfig::default(),
            webhook: WebhookConfig::default(),
            access: AccessConfig::default(),
        }
    }
}

impl Config {
    /// Where profiles are kept, in a few words.
    #[must_use]
    pub fn store_text(&self) -> String {
        match (self.store, &self.clickhouse.cluster) {
            (StoreKind::Embedded, _) => "embedded".to_owned(),
            (StoreKind::Clickhouse, None) => format!("ClickHouse at {}, database {}", self.clickhouse.url, self.clickhouse.database),
            (StoreKind::Clickhouse, Some(cluster)) => {
                format!("ClickHouse at {}, database {}, cluster {cluster}", self.clickhouse.url, self.clickhouse.database)
            }
        }
    }
}

impl fmt::Display for Config {
    /// As TOML, complete.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen = \"{}\"", self.listen)?;
        writeln!(f, "data_dir = {:?}", self.data_dir.display().to_string())?;
        writeln!(f, "store = \"{}\"", self.store.as_str())?;
        writeln!(f, "memory = \"{}\"", ByteSize(self.memory))?;
        let Retention { raw, minute, hour, bytes } = self.retention;
        writeln!(f, "\n[retention]\nage = \"{}\"\nminute_age = \"{}\"\nhour_age = \"{}\"", Age(raw), Age(minute), Age(hour))?;
        writeln!(f, "max_bytes = \"{}\"\nmin_free_bytes = \"{}\"", ByteSize(bytes), ByteSize(self.min_free_bytes))?;
        write!(f, "\n{}\n{}\n{}\n", self.clickhouse, self.symbols, self.access)?;
        deploys::show(&self.webhook, f)
    }
}

/// Checks a configuration file with the code that the collector itself uses, and gives what it says.
///
/// # Errors
/// [`ConfigError`] names the file, and where it can, line, column and key.
pub fn check_config(path: &Path) -> Result<Config, ConfigError> {
    let config = RawConfig::read(path)?.over(Config::default());
    config.access.check(config.listen).map_err(|error| ConfigError::Access { path: path.into(), error })?;
    Ok(config)
}

#[cfg(test)]
mod tests;
