//! Who a process is: the labels of a host and of its processes.
//!
//! The service of a process is, in this order: what its environment declares (`OTEL_SERVICE_NAME`, or `service.name`
//! in `OTEL_RESOURCE_ATTRIBUTES`), its container's id, its systemd unit, the name of its executable (for an
//! interpreter too: `python3.11`). Its version is `service.version` in `OTEL_RESOURCE_ATTRIBUTES`, else the build id of
//! its main executable. Kernel threads are the service `kernel`.
//!
//! Of an environment only those two variables are looked at. Every text is bounded and free of control characters,
//! for all of it is chosen by the profiled process. Nothing here fails: what cannot be read is absent.

mod cgroup;
mod environ;
mod text;

use std::io::Read as _;

use flamekeeper_profile::{BuildId, Labels, label};
use procfs::process::Process;

use crate::config::{Config, Exclude};
use environ::Declared;
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
}

impl From<&Config> for IdentityConfig {
    fn from(config: &Config) -> Self {
        Self { host_name: config.host_name.clone(), labels: config.labels.clone(), exclude: config.exclude.clone() }
    }
}

/// What the sampling side knows about a process at its exec.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFacts<'a> {
    /// Process id, in the agent's pid namespace.
    pub pid: u32,
    /// Name of the main thread.
    pub comm: &'a str,
    /// Path of the main executable as the process sees it; empty for a kernel thread.
    pub exe: &'a str,
    /// Build id of the main executable.
    pub build_id: Option<&'a BuildId>,
}

/// What a process says of itself by other means than its environment (the OpenTelemetry process context mapping);
/// it beats the environment. Nothing reads that mapping yet.
#[derive(Clone, Debug, Default)]
struct Context {
    declared: Declared,
}

/// Gives hosts and processes their labels.
#[derive(Clone, Debug)]
pub struct Identity {
    base: Labels,
    host: Labels,
    exclude: Exclude,
}

impl Identity {
    /// Reads the host's own facts, once.
    #[must_use]
    pub fn new(config: IdentityConfig) -> Self {
        let kernel = |name: &str| clean(&read_bounded(&format!("/proc/sys/kernel/{name}")), MAX_VALUE);
        let host_name = config.host_name.map(|name| clean(name.as_bytes(), MAX_VALUE)).filter(|name| !name.is_empty());
        let base = config.labels.with(label::HOST, &host_name.unwrap_or_else(|| kernel("hostname")));
        let host = base
            .clone()
            .with(HOST_ID, &machine_id())
            .with(HOST_ARCH, architecture())
            .with(OS_VERSION, &kernel("osrelease"))
            .with(AGENT_VERSION, env!("CARGO_PKG_VERSION"));
        Self { base, host, exclude: config.exclude }
    }

    /// The labels of this host, for [`flamekeeper_profile::Batch::labels`].
    #[must_use]
    pub fn host_labels(&self) -> Labels {
        self.host.clone()
    }

    /// The labels of a process: its own, the host's name, and the configured ones. Reads the process's environment and
    /// cgroup; a process that is gone or closed to the agent is known by its executable's name.
    #[must_use]
    pub fn process(&self, facts: &ProcessFacts<'_>) -> Labels {
        let comm = clean(facts.comm.as_bytes(), MAX_VALUE);
        let labels = self.base.clone().with(label::PID, &facts.pid.to_string()).with(label::COMM, &comm);
        if facts.exe.is_empty() {
            return labels.with(label::SERVICE, KERNEL_SERVICE);
        }
        let process = i32::try_from(facts.pid).ok().and_then(|pid| Process::new(pid).ok());
        let declared = process.as_ref().map(declared).unwrap_or_default();
        let place = process.as_ref().map(place).unwrap_or_default();
        name(labels, facts, &Context::default(), &declared, &place)
    }

    /// Whether the configuration excludes the process with these labels.
    #[must_use]
    pub fn excludes(&self, labels: &Labels) -> bool {
        let any = |patterns: &[String], name: &str| !name.is_empty() && patterns.iter().any(|pattern| matches(pattern, name));
        any(&self.exclude.processes, labels.get(label::COMM))
            || any(&self.exclude.processes, base_name(labels.get(label::EXE)))
            || any(&self.exclude.units, labels.get(label::UNIT))
    }
}

/// The identity of this machine for the spool: the machine id, else the empty text.
#[must_use]
pub(crate) fn machine_id() -> String {
    let id = clean(&read_bounded("/etc/machine-id"), 64);
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id } else { String::new() }
}

fn name(labels: Labels, facts: &ProcessFacts<'_>, context: &Context, declared: &Declared, place: &cgroup::Place) -> Labels {
    let exe = clean(facts.exe.as_bytes(), 4096);
    let exe = exe.strip_suffix(" (deleted)").unwrap_or(&exe);
    let own = base_name(exe);
    let comm = labels.get(label::COMM).to_owned();
    let unit = place.unit.as_deref().map(cgroup::service_of_unit);
    let says = context.declared.service.as_deref().or(declared.service.as_deref());
    let service = says.or(place.container.as_deref()).or(unit).unwrap_or(if own.is_empty() { &comm } else { own });
    let version = context.declared.version.clone().or_else(|| declared.version.clone());
    let version = version.or_else(|| facts.build_id.map(BuildId::to_string));
    labels
        .with(label::SERVICE, service)
        .with(label::VERSION, version.as_deref().unwrap_or_default())
        .with(label::EXE, exe)
        .with(label::UNIT, place.unit.as_deref().unwrap_or_default())
        .with(label::CONTAINER, place.container.as_deref().unwrap_or_default())
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A `*` at the end of the pattern stands for any rest.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn read_bounded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes));
    if read.is_ok() { bytes } else { Vec::new() }
}

fn declared(process: &Process) -> Declared {
    let mut bytes = Vec::new();
    let Ok(file) = process.open_relative("environ") else { return Declared::default() };
    match file.take(environ::MAX_BYTES).read_to_end(&mut bytes) {
        Ok(_) => environ::declared(&bytes),
        Err(_) => Declared::default(),
    }
}

/// The place that the first hierarchy with something to say names: version 2 has one, version 1 one a controller.
fn place(process: &Process) -> cgroup::Place {
    let Ok(groups) = process.cgroups() else { return cgroup::Place::default() };
    let mut best = cgroup::Place::default();
    for group in &groups.0 {
        let place = cgroup::place(&group.pathname);
        // A container in any hierarchy beats a unit in another.
        if place.container.is_some() {
            return place;
        }
        best.unit = best.unit.or(place.unit);
    }
    best
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
