//! The agent's configuration: what is written ([`RawConfig`], [`Args`]) becomes a validated [`Config`] in a second step.
//!
//! Precedence, key by key: flag, environment variable (`FLAMEKEEPER_*`), file, default. Each value type knows its own
//! rule and its text form ([`value`]), so that a wrong value is refused with the same words wherever it was written.

mod args;
pub mod budget;
mod error;
mod file;
mod keys;
mod print;
mod raw;
pub mod scrape;
pub mod users;
pub mod value;

use std::path::{Path, PathBuf};

use flamekeeper_profile::Labels;
use flamekeeper_transport::Credentials;

pub use args::Args;
use budget::{BudgetConfig, MetricsConfig};
pub use error::{ConfigError, Place};
pub use raw::RawConfig;
use users::{NoUser, User};

use crate::identity::choice::Choice;
use scrape::ScrapeConfig;
use value::{ByteSize, CollectorAddress, Event, FaultPeriod, Frequency, RingBytes, StackBytes, WindowLength};

/// Where the agent looks for its configuration when none is named. It may be absent.
pub const DEFAULT_PATH: &str = "/etc/flamekeeper/agent.toml";

/// The validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where batches and symbols are sent.
    pub collector: CollectorAddress,
    /// What is shown to that collector, and by what it is known.
    pub credentials: Credentials,
    /// The host's name in labels; the kernel's host name where none is set.
    pub host_name: Option<String>,
    /// Where the agent keeps what must survive a restart.
    pub state_dir: PathBuf,
    /// How samples are taken.
    pub sampling: SamplingConfig,
    /// The batches on disk that the collector has not acknowledged.
    pub spool: SpoolConfig,
    /// The upload of symbols.
    pub symbols: SymbolsConfig,
    /// Java virtual machines.
    pub java: JavaConfig,
    /// The memory of processes.
    pub memory: MemoryConfig,
    /// What the agent itself may use.
    pub budget: BudgetConfig,
    /// Its own figures.
    pub metrics: MetricsConfig,
    /// What is not profiled.
    pub exclude: Exclude,
    /// Labels that processes get, beside their service, version and host.
    pub process_labels: Choice,
    /// Labels that every series of this host gets.
    pub labels: Labels,
    /// Heap profiles that are fetched.
    pub scrape: Vec<ScrapeConfig>,
}

/// How samples are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplingConfig {
    /// Samples a second on each busy CPU.
    pub frequency: Frequency,
    /// Length of the window that samples are folded in.
    pub window: WindowLength,
    /// What triggers a sample.
    pub event: Event,
    /// Bytes of user stack copied with each sample.
    pub stack_bytes: StackBytes,
    /// Bytes of ring shared with the kernel, for each CPU; sized from a budget by the engine where none is set.
    pub ring_bytes: Option<RingBytes>,
}

/// The batches on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The directory; `spool` in the state directory where none is set.
    pub dir: Option<PathBuf>,
    /// Bytes that it may hold; the oldest batches go first, and are counted.
    pub max_bytes: ByteSize,
}

/// The upload of symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolsConfig {
    /// Whether the agent uploads symbols that the collector lacks.
    pub upload: bool,
    /// Objects larger than this are left out. Bytes, uncompressed.
    pub max_object_bytes: ByteSize,
    /// Bytes a second that are sent at most, compressed.
    pub max_bytes_per_second: ByteSize,
}

/// Java virtual machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JavaConfig {
    /// Whether one that was sampled without names is asked, through its attach protocol, to write its perf map
    /// (`jcmd PID Compiler.perfmap`, JDK 17 on). It gets a SIGQUIT for that, if it catches it.
    pub perf_map: bool,
}

/// The memory of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Whether it is read how much each process has.
    pub levels: bool,
    /// How many page faults there are to one that is sampled, at least.
    pub page_faults: FaultPeriod,
}

/// What is not profiled. Its samples are counted as lost for the reason `excluded`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclude {
    /// Names of executables (the last part of the path) or of processes as the kernel knows them; a `*` at the end
    /// stands for any rest.
    pub processes: Vec<String>,
    /// systemd units; a `*` at the end stands for any rest.
    pub units: Vec<String>,
    /// systemd slices, the innermost of a process (`user-1000.slice` for what that user started); a `*` as above.
    pub slices: Vec<String>,
    /// Users, by the real user id of a process. Nothing of their processes is read but whom they belong to.
    pub users: Vec<User>,
    /// Whether environment variables of processes are not looked at.
    pub environment: bool,
}

impl Exclude {
    /// The users' numbers.
    ///
    /// # Errors
    /// [`NoUser`]: a name that this host does not know.
    pub fn user_ids(&self) -> Result<Vec<u32>, NoUser> {
        self.users.iter().map(User::id).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            collector: CollectorAddress::default(),
            credentials: Credentials::default(),
            host_name: None,
            state_dir: "/var/lib/flamekeeper-agent".into(),
            sampling: SamplingConfig::default(),
            spool: SpoolConfig { dir: None, max_bytes: ByteSize(1 << 30) },
            symbols: SymbolsConfig { upload: true, max_object_bytes: ByteSize(512 << 20), max_bytes_per_second: ByteSize(4 << 20) },
            java: JavaConfig::default(),
            memory: MemoryConfig { levels: true, page_faults: FaultPeriod::default() },
            budget: BudgetConfig::default(),
            metrics: MetricsConfig::default(),
            exclude: Exclude::default(),
            process_labels: Choice::default(),
            labels: Labels::new(),
            scrape: Vec::new(),
        }
    }
}

impl Config {
    /// Where unacknowledged batches are kept.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.spool.dir.clone().unwrap_or_else(|| self.state_dir.join("spool"))
    }

    /// The configuration that a file alone gives.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and where it can, line, column and key.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        file::read(path)?.over(Self::default(), &error::Source::File(path))
    }
}

/// Checks a configuration file with the code that the agent itself uses, and gives what it says.
///
/// # Errors
/// [`ConfigError`] names the file, and where it can, line, column and key.
pub fn check_config(path: &Path) -> Result<Config, ConfigError> {
    Config::from_file(path)
}

#[cfg(test)]
mod tests;
