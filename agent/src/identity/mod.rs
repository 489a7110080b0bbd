//! Who a process is: the labels of a host and of its processes.
//!
//! The service of a process is, in this order: what its process context says (`context`), what its environment declares
//! (`OTEL_SERVICE_NAME`, or `service.name` in `OTEL_RESOURCE_ATTRIBUTES`), its container's id, its systemd unit, the name of
//! its executable (for an interpreter too: `python3.11`). Its version is the declared `service.version`, else the build id
//! of its main executable. Kernel threads are the service `kernel`.
//!
//! Most processes of a busy host are dead before anybody can ask them. So an `origin::Origin` goes along with each process,
//! from its parent, and is made exact by what its samples carry: the id of its cgroup (`cgroups`), and a copy of its stack,
//! at whose top the environment lies (`stack`), or by what its siblings have said (`siblings`). procfs is asked for the rest (`observer`).
//!
//! Of an environment only those two variables and the configured ones (`choice`) are looked at, and none where the configuration
//! forbids it. Every text is bounded and
//! free of control characters, for all of it is chosen by the profiled process. Nothing here fails: what cannot be read is
//! absent.

mod cgroup;
mod cgroups;
pub mod choice;
pub mod context;
mod environ;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub(crate) mod observer;
pub(crate) mod origin;
mod siblings;
pub mod stack;
mod text;

use std::io::Read as _;

use flamekeeper_profile::{BuildId, Labels, label};

use crate::config::{Config, Exclude};
use cgroup::Place;
use choice::Choice;
use environ::Declared;
use origin::Origin;
use text::{MAX_VALUE, clean};

/// Label of the host's stable id (`host.id`).
pub const HOST_ID: &str = "host.id";
/// Label of the machine's architecture (`host.arch`).
pub const HOST_ARCH: &str = "host.arch";
/// Label of the kernel's release (`os.version`).
pub const OS_VERSION: &str = "os.version";
/// Label of the agent's version, on a batch's own labels.
pub const AGENT_VERSION: &str = "agent.version";

/// The service of kernel threads.
pub const KERNEL_SERVICE: &str = "kernel";

/// What the configuration says about identity.
#[derive(Clone, Debug, Default)]
pub struct IdentityConfig {
    /// The host's name; the kernel's where none is set.
    pub host_name: Option<String>,
    /// Labels that the host and every process get.
    pub labels: Labels,
    /// What is not profiled.
    pub exclude: Exclude,
    /// Which labels processes get.
    pub process_labels: Choice,
}

impl From<&Config> for IdentityConfig {
    fn from(config: &Config) -> Self {
        Self {
            host_name: config.host_name.clone(),
            labels: config.labels.clone(),
            exclude: config.exclude.clone(),
            process_labels: config.process_labels.clone(),
        }
    }
}

/// What the sampling side knows about a process at its exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessFacts<'a> {
    /// Process id, in the agent's pid namespace.
    pub(crate) pid: u32,
    /// Name of the main thread.
    pub(crate) comm: &'a str,
    /// Path of the main executable as the process sees it; empty for a kernel thread.
    pub(crate) exe: &'a str,
    /// Build id of the main executable.
    pub(crate) build_id: Option<&'a BuildId>,
}

/// What a process's samples are labelled with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Named {
    /// The labels.
    pub(crate) labels: Labels,
    /// Whether the configuration excludes the process.
    pub(crate) excluded: bool,
}

/// Gives hosts and processes their labels.
#[derive(Clone, Debug)]
pub struct Identity {
    base: Labels,
    host: Labels,
    exclude: Exclude,
    choice: Choice,
}

impl Identity {
    /// Reads the host's own facts, once.
    #[must_use]
    pub fn new(config: IdentityConfig) -> Self {
        let kernel = |name: &str| clean(&read_bounded(&format!("/proc/sys/kernel/{name}"), 4096), MAX_VALUE);
        let host_name = config.host_name.map(|name| clean(name.as_bytes(), MAX_VALUE)).filter(|name| !name.is_empty());
        let base = config.labels.with(label::HOST, &host_name.unwrap_or_else(|| kernel("hostname")));
        let host = base
            .clone()
            .with(HOST_ID, &machine_id())
            .with(HOST_ARCH, architecture())
            .with(OS_VERSION, &kernel("osrelease"))
            .with(AGENT_VERSION, env!("CARGO_PKG_VERSION"));
        Self { base, host, exclude: config.exclude, choice: config.process_labels }
    }

    /// The labels of this host, for [`flamekeeper_profile::Batch::labels`].
    #[must_use]
    pub fn host_labels(&self) -> Labels {
        self.host.clone()
    }

    /// The labels that all series of this host have.
    pub(crate) const fn base(&self) -> &Labels {
        &self.base
    }

    /// Which labels processes get.
    pub(crate) const fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whether environment variables are not looked at.
    pub(crate) const fn hides_environment(&self) -> bool {
        self.exclude.environment
    }

    /// The labels of a process: its own, the host's name, and the configured ones.
    pub(crate) fn process(&self, facts: &ProcessFacts<'_>, origin: &Origin) -> Named {
        let comm = clean(facts.comm.as_bytes(), MAX_VALUE);
        let exe = clean(facts.exe.as_bytes(), 4096);
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
        let nowhere = Place::default();
        let place = origin.place.as_deref().filter(|_| !exe.is_empty()).unwrap_or(&nowhere);
        let mut labels = self.base.clone();
        // What the agent has found out itself comes last, and over what the process says.
        let context = origin.context.declared.as_deref();
        for (name, value) in [origin.declared(), context].into_iter().flatten().flat_map(|said| said.labels.iter()) {
            labels.set(name, value);
        }
        let pid = facts.pid.to_string();
        let known = [
            (label::PID, &*pid),
            (label::COMM, &comm),
            (label::EXE, exe),
            (label::UNIT, place.unit.as_deref().unwrap_or_default()),
            (label::SLICE, place.slice.as_deref().unwrap_or_default()),
            (label::CONTAINER, place.container.as_deref().unwrap_or_default()),
            (label::POD, place.pod.as_deref().unwrap_or_default()),
        ];
        for (name, value) in known.into_iter().filter(|(name, value)| !value.is_empty() && self.choice.has(name)) {
            labels.set(name, value);
        }
        let named = if exe.is_empty() {
            labels.with(label::SERVICE, KERNEL_SERVICE)
        } else {
            let says = [context, origin.declared()];
            let version = first(says, |said| said.version.clone()).or_else(|| facts.build_id.map(BuildId::to_string));
            let service = first(says, |said| said.service.clone()).unwrap_or_else(|| service(exe, &comm, place).to_owned());
            labels.with(label::SERVICE, &service).with(label::VERSION, &version.unwrap_or_default())
        };
        Named { labels: named, excluded: self.excludes(&comm, base_name(exe), place) }
    }

    /// Whether the configuration excludes a process of this name and executable in this place.
    fn excludes(&self, comm: &str, exe: &str, place: &Place) -> bool {
        let any = |patterns: &[String], name: &str| !name.is_empty() && patterns.iter().any(|pattern| matches(pattern, name));
        let Exclude { processes, units, slices, .. } = &self.exclude;
        let (unit, slice) = (place.unit.as_deref().unwrap_or_default(), place.slice.as_deref().unwrap_or_default());
        any(processes, comm) || any(processes, exe) || any(units, unit) || any(slices, slice)
    }
}

/// The identity of this machine for the spool: the machine id, else the empty text.
#[must_use]
pub(crate) fn machine_id() -> String {
    let id = clean(&read_bounded("/etc/machine-id", 4096), 64);
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id } else { String::new() }
}

/// The first that says something.
fn first<T>(says: [Option<&Declared>; 2], what: impl Fn(&Declared) -> Option<T>) -> Option<T> {
    says.into_iter().flatten().find_map(what)
}

/// The service of a process that declares none.
fn service<'a>(exe: &'a str, comm: &'a str, place: &'a Place) -> &'a str {
    let unit = place.unit.as_deref().map(cgroup::service_of_unit);
    let own = base_name(exe);
    place.container.as_deref().or(unit).unwrap_or(if own.is_empty() { comm } else { own })
}

/// A thread's name as a label.
pub(crate) fn thread_name(name: &str) -> String {
    clean(name.as_bytes(), MAX_VALUE)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A `*` at the end of the pattern stands for any rest.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn read_bounded(path: &str, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    if read.is_ok() { bytes } else { Vec::new() }
}

/// The architecture by its name in the OpenTelemetry conventions.
const fn architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        _ => std::env::consts::ARCH,
    }
}

#[cfg(test)]
mod tests;
