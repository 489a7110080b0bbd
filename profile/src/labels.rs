//! Labels: what a series of samples belongs to.

use std::collections::BTreeMap;

/// Names of the labels that Flamekeeper itself sets, in the short form that selectors use.
/// `flamekeeper-wire` maps them to the attribute names of the OpenTelemetry semantic conventions.
pub mod label {
    /// Service name (`service.name`).
    pub const SERVICE: &str = "service";
    /// Service version (`service.version`), else the build id of the main executable.
    pub const VERSION: &str = "version";
    /// Host name (`host.name`).
    pub const HOST: &str = "host";
    /// Process id (`process.pid`).
    pub const PID: &str = "pid";
    /// Path of the main executable (`process.executable.path`).
    pub const EXE: &str = "exe";
    /// Name of the process's main thread, as the kernel knows it (`process.executable.name`).
    pub const COMM: &str = "comm";
    /// systemd unit (`systemd.unit`).
    pub const UNIT: &str = "unit";
    /// Innermost systemd slice (`systemd.slice`).
    pub const SLICE: &str = "slice";
    /// Container id (`container.id`).
    pub const CONTAINER: &str = "container";
    /// Uid of the Kubernetes pod (`k8s.pod.uid`).
    pub const POD: &str = "pod";
    /// Name of the thread that ran (`thread.name`). It splits series, and so is set only where somebody asks for it.
    pub const THREAD: &str = "thread";
    /// Which of a service's instances (`service.instance.id`).
    pub const INSTANCE: &str = "instance";
    /// How a process ended whose last live heap this is: `killed` (or left without its exit handlers). On no other series.
    pub const ENDED: &str = "ended";
    /// Deployment environment, such as `production` (`deployment.environment.name`).
    pub const ENVIRONMENT: &str = "environment";
}

/// A sorted set of labels, name to value. Equal sets compare and hash equal whatever the order of insertion.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(BTreeMap<Box<str>, Box<str>>);

impl Labels {
    /// No labels.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets a label; an empty value removes it, since an absent label and an empty one select the same.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.into(), value.into());
        }
    }

    /// The same labels and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// The value of a label; the empty text where it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    /// All labels, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
