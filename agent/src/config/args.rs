//! The flags and environment variables of the agent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flamekeeper_transport::Credentials;

use super::budget::{CpuCeiling, Horizon, MemoryCeiling};
use super::error::{ConfigError, Source};
use super::raw::{RawBudget, RawConfig, RawMetrics, RawSpool, RawSymbols};
use super::value::{ByteSize, CollectorAddress, Event, Frequency, Label, RingBytes, StackBytes, WindowLength};
use super::{Config, DEFAULT_PATH, file};
use crate::identity::choice::ProcessLabel;

/// The agent's flags. Each beats the environment variable that stands beside it, which beats the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Configuration file (TOML). Without it, /etc/flamekeeper/agent.toml is read where it exists
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the configuration in effect, as a file that gives it again, and exit
    #[arg(long)]
    pub print_config: bool,
    /// Check the configuration, say nothing where it is right, and exit
    #[arg(long, conflicts_with = "print_config")]
    pub check_config: bool,
    /// Address of the collector [default: http://127.0.0.1:4040]
    #[arg(long, value_name = "URL", env = "FLAMEKEEPER_COLLECTOR")]
    pub collector: Option<CollectorAddress>,
    /// What is shown to it.
    #[command(flatten)]
    pub credentials: Credentials,
    /// Samples a second on each busy CPU, 1 to 999 [default: 19]
    #[arg(long, value_name = "HZ", env = "FLAMEKEEPER_FREQUENCY_HZ")]
    pub frequency_hz: Option<Frequency>,
    /// Window that samples are folded in, 1s to 5m [default: 10s]
    #[arg(long, value_name = "TIME", env = "FLAMEKEEPER_WINDOW")]
    pub window: Option<WindowLength>,
    /// What triggers a sample: auto, cpu-clock or cycles [default: auto]
    #[arg(long, value_name = "EVENT", env = "FLAMEKEEPER_EVENT")]
    pub event: Option<Event>,
    /// User stack copied with each sample, 1KiB to 64KiB [default: 64KiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_STACK_BYTES")]
    pub stack_bytes: Option<StackBytes>,
    /// Ring shared with the kernel, for each CPU: a power of two from 256KiB to 64MiB [default: from a budget]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_RING_BYTES")]
    pub ring_bytes: Option<RingBytes>,
    /// The host's name in labels [default: the kernel's]
    #[arg(long, value_name = "NAME", env = "FLAMEKEEPER_HOST_NAME")]
    pub host_name: Option<String>,
    /// Directory of what must survive a restart [default: /var/lib/flamekeeper-agent, or $STATE_DIRECTORY]
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory of batches that the collector has not acknowledged [default: spool in the state directory]
    #[arg(long, value_name = "PATH", env = "FLAMEKEEPER_SPOOL_DIR")]
    pub spool_dir: Option<PathBuf>,
    /// Bytes that the spool may hold; the oldest batches go first, and are counted [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_SPOOL_MAX_BYTES")]
    pub spool_max_bytes: Option<ByteSize>,
    /// Whether to upload symbols that the collector lacks [default: true]
    #[arg(long, value_name = "BOOL", env = "FLAMEKEEPER_SYMBOLS_UPLOAD")]
    pub symbols_upload: Option<bool>,
    /// Objects with symbols larger than this are not uploaded [default: 512MiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_SYMBOLS_MAX_OBJECT_BYTES")]
    pub symbols_max_object_bytes: Option<ByteSize>,
    /// Bytes of symbols a second that are uploaded at most, compressed [default: 4MiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_SYMBOLS_MAX_BYTES_PER_SECOND")]
    pub symbols_max_bytes_per_second: Option<ByteSize>,
    /// Labels of processes beside service, version and host: of pid, exe, comm, unit, slice, container, pod, thread, env.NAME for
    /// an environment variable, and names of resource attributes (a * at the end stands for any rest)
    /// [default: pid,exe,comm,unit,container,pod,service.instance.id,deployment.environment.name,k8s.*]
    #[arg(long, value_name = "NAME,...", env = "FLAMEKEEPER_PROCESS_LABELS", value_delimiter = ',')]
    pub process_labels: Vec<ProcessLabel>,
    /// CPU time that the agent itself may use, in per cent of one core [default: 0.25 for each CPU, at least 0.5]
    #[arg(long, value_name = "PERCENT", env = "FLAMEKEEPER_BUDGET_CPU_PERCENT")]
    pub budget_cpu_percent: Option<CpuCeiling>,
    /// Time over which that holds, 6s to 10m; bursts within it are allowed [default: 60s]
    #[arg(long, value_name = "TIME", env = "FLAMEKEEPER_BUDGET_HORIZON")]
    pub budget_horizon: Option<Horizon>,
    /// Memory that the agent may use, rings included, at least 32MiB [default: 128MiB]
    #[arg(long, value_name = "SIZE", env = "FLAMEKEEPER_BUDGET_MEMORY")]
    pub budget_memory: Option<MemoryCeiling>,
    /// Address to serve the agent's own figures at, as Prometheus reads them [default: none]
    #[arg(long, value_name = "ADDRESS", env = "FLAMEKEEPER_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// A label of every series of this host; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", env = "FLAMEKEEPER_LABELS", value_delimiter = ',')]
    pub labels: Vec<Label>,
}

impl Args {
    /// The configuration: these flags (and environment variables) over the file over the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says which file or flag is wrong, where, and what was expected.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        // systemd's StateDirectory=, see systemd.exec(5).
        if let Some(dir) = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
            config.state_dir = dir;
        }
        let mut config = self.load_over(config)?;
        config.credentials = config.credentials.with_systemd();
        Ok(config)
    }

    /// As [`Self::load`], over other defaults.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_over(&self, mut config: Config) -> Result<Config, ConfigError> {
        let default = Path::new(DEFAULT_PATH);
        if let Some(path) = self.config.as_deref().or_else(|| default.exists().then_some(default)) {
            config = file::read(path)?.over(config, &Source::File(path))?;
        }
        self.raw().over(config, &Source::Flags)
    }

    fn raw(&self) -> RawConfig {
        RawConfig {
            collector: self.collector.clone(),
            token_file: self.credentials.token_file.clone(),
            ca: self.credentials.ca.clone(),
            client_cert: self.credentials.client_cert.clone(),
            client_key: self.credentials.client_key.clone(),
            host_name: self.host_name.clone(),
            state_dir: self.state_dir.clone(),
            frequency_hz: self.frequency_hz,
            window: self.window,
            event: self.event,
            stack_bytes: self.stack_bytes,
            ring_bytes: self.ring_bytes,
            spool: RawSpool { dir: self.spool_dir.clone(), max_bytes: self.spool_max_bytes },
            symbols: RawSymbols {
                upload: self.symbols_upload,
                max_object_bytes: self.symbols_max_object_bytes,
                max_bytes_per_second: self.symbols_max_bytes_per_second,
            },
            process_labels: (!self.process_labels.is_empty()).then(|| self.process_labels.clone()),
            budget: RawBudget { cpu_percent: self.budget_cpu_percent, horizon: self.budget_horizon, memory: self.budget_memory },
            metrics: RawMetrics { listen: self.metrics_listen },
            labels: self.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
            ..RawConfig::default()
        }
    }
}
