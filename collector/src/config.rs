//! The collector's configuration: what is written ([`RawConfig`], [`Args`]) becomes a validated [`Config`] in a second step.
//!
//! Precedence, key by key: flag, environment variable (`FLAMEKEEPER_*`), file, default.

mod args;
mod file;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flamekeeper_profile::Timestamp;

pub use args::Args;
pub use file::{ConfigError, Place, RawConfig};
pub use value::{Age, ByteSize, ValueError};

use crate::store::Retention;

/// Where the collector looks for its configuration when none is named. It may be absent.
pub const DEFAULT_PATH: &str = "/etc/flamekeeper/collector.toml";

/// The validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where agents, browsers and the command line connect.
    pub listen: SocketAddr,
    /// Where profiles and symbols are kept.
    pub data_dir: PathBuf,
    /// How much is kept.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4040)),
            data_dir: "/var/lib/flamekeeper".into(),
            retention: Retention { age: 3 * 24 * 3600 * Timestamp::SECOND, bytes: 20_000_000_000 },
        }
    }
}

impl fmt::Display for Config {
    /// As TOML, complete.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen = \"{}\"", self.listen)?;
        writeln!(f, "data_dir = {:?}", self.data_dir.display().to_string())?;
        writeln!(f, "\n[retention]\nage = \"{}\"\nmax_bytes = \"{}\"", Age(self.retention.age), ByteSize(self.retention.bytes))
    }
}

/// Checks a configuration file with the code that the collector itself uses, and gives what it says.
///
/// # Errors
/// [`ConfigError`] names the file, and where it can, line, column and key.
pub fn check_config(path: &Path) -> Result<Config, ConfigError> {
    Ok(RawConfig::read(path)?.over(Config::default()))
}

#[cfg(test)]
mod tests;
