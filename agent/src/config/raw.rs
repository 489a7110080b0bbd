//! The configuration as it is written: every key optional.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use flamekeeper_transport::Credentials;
use serde::Deserialize;

use super::budget::{CpuCeiling, Horizon, MemoryCeiling};
use super::error::{ConfigError, Source};
use super::scrape::RawScrape;
use super::users::User;
use super::value::{ByteSize, CollectorAddress, Event, FaultPeriod, Frequency, Label, RingBytes, StackBytes, WindowLength};
use super::{Config, Exclude};
use crate::identity::choice::{Choice, ProcessLabel};

/// The configuration file, key by key; see [`super::Config`] for what each means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // The keys are documented at the fields of `Config` that they set.
pub struct RawConfig {
    pub collector: Option<CollectorAddress>,
    pub token_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub host_name: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub frequency_hz: Option<Frequency>,
    pub window: Option<WindowLength>,
    pub event: Option<Event>,
    pub stack_bytes: Option<StackBytes>,
    pub ring_bytes: Option<RingBytes>,
    pub spool: RawSpool,
    pub symbols: RawSymbols,
    pub java: RawJava,
    pub memory: RawMemory,
    pub budget: RawBudget,
    pub metrics: RawMetrics,
    pub exclude: RawExclude,
    pub process_labels: Option<Vec<ProcessLabel>>,
    pub labels: BTreeMap<String, String>,
    pub scrape: Option<Vec<RawScrape>>,
}

/// The table `[spool]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawSpool {
    pub dir: Option<PathBuf>,
    pub max_bytes: Option<ByteSize>,
}

/// The table `[symbols]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawSymbols {
    pub upload: Option<bool>,
    pub max_object_bytes: Option<ByteSize>,
    pub max_bytes_per_second: Option<ByteSize>,
}

/// The table `[java]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawJava {
    pub perf_map: Option<bool>,
}

/// The table `[memory]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawMemory {
    pub levels: Option<bool>,
    pub page_faults: Option<FaultPeriod>,
}

/// The table `[budget]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawBudget {
    pub cpu_percent: Option<CpuCeiling>,
    pub horizon: Option<Horizon>,
    pub memory: Option<MemoryCeiling>,
}

/// The table `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawMetrics {
    pub listen: Option<SocketAddr>,
}

/// The table `[exclude]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct RawExclude {
    pub processes: Option<Vec<String>>,
    pub units: Option<Vec<String>>,
    pub slices: Option<Vec<String>>,
    pub users: Option<Vec<User>>,
    pub environment: Option<bool>,
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}

impl RawConfig {
    /// Lays what is written here over `config`. Labels add up, name by name; every other key replaces.
    pub(super) fn over(self, mut config: Config, source: &Source<'_>) -> Result<Config, ConfigError> {
        set(&mut config.collector, self.collector);
        let written = Credentials { token_file: self.token_file, ca: self.ca, client_cert: self.client_cert, client_key: self.client_key };
        config.credentials = written.over(config.credentials);
        config.host_name = self.host_name.or(config.host_name);
        set(&mut config.state_dir, self.state_dir);
        set(&mut config.sampling.frequency, self.frequency_hz);
        set(&mut config.sampling.window, self.window);
        set(&mut config.sampling.event, self.event);
        set(&mut config.sampling.stack_bytes, self.stack_bytes);
        config.sampling.ring_bytes = self.ring_bytes.or(config.sampling.ring_bytes);
        config.spool.dir = self.spool.dir.or(config.spool.dir);
        set(&mut config.spool.max_bytes, self.spool.max_bytes);
        set(&mut config.symbols.upload, self.symbols.upload);
        set(&mut config.symbols.max_object_bytes, self.symbols.max_object_bytes);
        set(&mut config.symbols.max_bytes_per_second, self.symbols.max_bytes_per_second);
        set(&mut config.java.perf_map, self.java.perf_map);
        set(&mut config.memory.levels, self.memory.levels);
        set(&mut config.memory.page_faults, self.memory.page_faults);
        config.budget.cpu = self.budget.cpu_percent.or(config.budget.cpu);
        set(&mut config.budget.horizon, self.budget.horizon);
        set(&mut config.budget.memory, self.budget.memory);
        config.metrics.listen = self.metrics.listen.or(config.metrics.listen);
        let Exclude { processes, units, slices, users, environment } = &mut config.exclude;
        set(processes, self.exclude.processes);
        set(units, self.exclude.units);
        set(slices, self.exclude.slices);
        set(users, self.exclude.users);
        set(environment, self.exclude.environment);
        set(&mut config.process_labels, self.process_labels.map(Choice::from_iter));
        for (name, value) in self.labels {
            let conflict =
                |error: super::value::ValueError| ConfigError::Conflict { origin: source.to_string(), message: error.to_string() };
            let label = Label::new(&name, &value).map_err(conflict)?;
            config.labels.set(&label.name, &label.value);
        }
        if let Some(all) = self.scrape {
            config.scrape = super::scrape::validated(all, source)?;
        }
        check(&config, source)?;
        Ok(config)
    }
}

/// The rules that tie several keys together.
fn check(config: &Config, source: &Source<'_>) -> Result<(), ConfigError> {
    let conflict = |message: String| Err(ConfigError::Conflict { origin: source.to_string(), message });
    if config.labels.len() > 32 {
        return conflict(format!("{} labels are set, at most 32 are allowed; remove some from [labels]", config.labels.len()));
    }
    let reserved = ["service", "version", "host"].into_iter().chain(ProcessLabel::KNOWN);
    if let Some(name) = reserved.into_iter().find(|name| !config.labels.get(name).is_empty()) {
        let what = if name == "host" { "set host_name instead" } else { "the agent sets it for each process; choose another name" };
        return conflict(format!("the label {name:?} cannot be set in [labels]: {what}"));
    }
    if config.credentials.client_cert.is_some() != config.credentials.client_key.is_some() {
        return conflict("client_cert and client_key belong together: set both or none".to_owned());
    }
    if config.process_labels.iter().count() > 64 {
        return conflict("process_labels names more than 64 labels; a pattern such as \"k8s.*\" stands for many".to_owned());
    }
    let variable = config.process_labels.iter().find(|label| matches!(label, ProcessLabel::Variable(_)));
    if let Some(label) = variable.filter(|_| config.exclude.environment) {
        return conflict(format!(
            "process_labels names {label}, and exclude.environment = true forbids to look at the environment; remove one"
        ));
    }
    if !config.state_dir.is_absolute() {
        return conflict(format!("state_dir must be an absolute path, not {:?}", config.state_dir));
    }
    Ok(())
}
