//! The collector's flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file::{ConfigError, RawConfig, RawRetention};
use super::value::{Age, ByteSize};
use super::{Config, DEFAULT_PATH};

/// Flags of the collector; what is not given comes from the file, else from the defaults.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Configuration file (TOML) [default: /etc/flamekeeper/collector.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "FLAMEKEEPER_COLLECTOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address of the page, the API and for agents; port 0 takes a free one [default: 127.0.0.1:4040]
    #[arg(long, value_name = "ADDRESS", env = "FLAMEKEEPER_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Directory of profiles and symbols [default: /var/lib/flamekeeper]
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long profiles are kept [default: 3d]
    #[arg(long, value_name = "AGE", env = "FLAMEKEEPER_RETENTION_AGE")]
    pub retention_age: Option<Age>,
    /// How many bytes profiles may take on disk; above it the oldest go first [default: 20GB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_RETENTION_MAX_BYTES")]
    pub retention_max_bytes: Option<ByteSize>,
    /// Print the effective configuration as TOML, and end
    #[arg(long)]
    pub print_config: bool,
}

impl Args {
    /// The configuration: flags and environment over the file over the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] where the file is wrong, or was named and is not there.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let file = match &self.config {
            Some(path) => RawConfig::read(path)?,
            None if Path::new(DEFAULT_PATH).exists() => RawConfig::read(Path::new(DEFAULT_PATH))?,
            None => RawConfig::default(),
        };
        let flags = RawConfig {
            listen: self.listen,
            data_dir: self.data_dir.clone(),
            retention: RawRetention { age: self.retention_age, max_bytes: self.retention_max_bytes },
        };
        Ok(flags.over(file.over(Config::default())))
    }
}
