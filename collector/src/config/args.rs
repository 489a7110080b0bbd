//! The collector's flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::access::RawAccess;
use super::clickhouse::{RawClickHouse, StoreKind};
use super::deploys::RawDeploys;
use super::file::{ConfigError, RawConfig, RawRetention};
use super::symbols::RawSymbols;
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
    /// Directory of profiles and symbols [default: /var/lib/flamekeeper, or $STATE_DIRECTORY]
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where profiles are kept [default: embedded]
    #[arg(long, value_name = "STORE", env = "FLAMEKEEPER_STORE")]
    pub store: Option<StoreKind>,
    /// The ClickHouse to keep them in.
    #[command(flatten)]
    pub clickhouse: RawClickHouse,
    /// Memory that the collector may take: near it, agents and people are told to come back in a moment [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_MEMORY")]
    pub memory: Option<ByteSize>,
    /// How long profiles are kept as they came, per process and 10 s; also how late an agent may be [default: 3d]
    #[arg(long, value_name = "AGE", env = "FLAMEKEEPER_RETENTION_AGE")]
    pub retention_age: Option<Age>,
    /// How long profiles are kept per minute, merged by service and version [default: 30d]
    #[arg(long, value_name = "AGE", env = "FLAMEKEEPER_RETENTION_MINUTE_AGE")]
    pub retention_minute_age: Option<Age>,
    /// How long profiles are kept per hour, merged by service and version, and per process [default: 365d]
    #[arg(long, value_name = "AGE", env = "FLAMEKEEPER_RETENTION_HOUR_AGE")]
    pub retention_hour_age: Option<Age>,
    /// How many bytes profiles may take on disk; above it the oldest go first [default: 20GB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_RETENTION_MAX_BYTES")]
    pub retention_max_bytes: Option<ByteSize>,
    /// How many bytes stay free on the disk: below, the oldest profiles go, and agents are told to wait [default: 1GB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_RETENTION_MIN_FREE_BYTES")]
    pub retention_min_free_bytes: Option<ByteSize>,
    /// How symbols are kept and converted.
    #[command(flatten)]
    pub symbols: RawSymbols,
    /// Who is told of new versions.
    #[command(flatten)]
    pub deploys: RawDeploys,
    /// Who is let in.
    #[command(flatten)]
    pub access: RawAccess,
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
            store: self.store,
            clickhouse: self.clickhouse.clone(),
            memory: self.memory,
            retention: RawRetention {
                age: self.retention_age,
                minute_age: self.retention_minute_age,
                hour_age: self.retention_hour_age,
                max_bytes: self.retention_max_bytes,
                min_free_bytes: self.retention_min_free_bytes,
            },
            symbols: self.symbols.clone(),
            deploys: self.deploys.clone(),
            access: self.access.clone(),
        };
        let mut config = Config::default();
        // systemd's StateDirectory=, see systemd.exec(5).
        if let Some(dir) = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
            config.data_dir = dir;
        }
        Ok(flags.over(file.over(config)))
    }
}
